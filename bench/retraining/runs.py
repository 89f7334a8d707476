"""What the retraining benchmarks share: a champion trained on films, and `retraining.py run` with what it decided.

Everything runs as a user runs it: the project's own command lines, each in a process of its own.
"""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.arithmetic import markdown_table
from bench.errors import BenchError
from bench.retraining.story_texts import draw_films, write_table
from bench.serving.servers import ROOT
from bench.steps import Figures, Steps
from textclf.cli.options import Decorator, field_option, record_options
from textclf.config import EncoderOptions, GateOptions, ModelOptions, TrainingOptions
from textclf.encoder_handles import EMBEDDED_ENCODER
from textclf.files import atomic_folder
from textclf.retraining.combined_dataset import REMOVED_FILE, SUMMARY_FILE
from textclf.store.decision_log import DecisionLog
from textclf.store.model_store import ModelStore

# Of `retraining.py run`: promoted, rejected, undecided.
_DECIDED = (0, 3, 4)
# What of a scale is no matter of the champion.
_CHALLENGERS = ("products", "margin")


@dataclass(frozen=True)
class Scale:
    """How large a benchmark is; the fields are command-line options.

    Attributes:
        films: reviews that the champion is trained on.
        golden: test reviews that it is measured with, and that a challenger must not be worse on.
        products: reviews that come later.
        max_length, epochs, init_lr, encoder: of the training.
        seed: of the draws and of the training.
        margin: of the gate.
    """

    films: int
    golden: int
    products: int
    max_length: int
    epochs: int
    init_lr: float
    encoder: str
    seed: int
    margin: float

    @property
    def name_of_champion(self) -> str:
        """Of the folder that a champion of this scale is kept in."""
        values = {name: value for name, value in dataclasses.asdict(self).items() if name not in _CHALLENGERS}
        return f"champion-{_digest(values)}"

    def digest(self, *others: object) -> str:
        """12 hex digits that change with the scale, and with what else is given."""
        return _digest([dataclasses.asdict(self), *others])


def scale_options(films: int, golden: int, products: int) -> Decorator:
    """Decorate a click command: it gets the keyword argument `scale`, a Scale; the arguments are its defaults."""
    reviews = click.IntRange(100)
    options: dict[str, Decorator] = {
        "films": click.option("--films", default=films, type=reviews, help="Film reviews to train the champion on."),
        "golden": click.option("--golden", default=golden, type=reviews, help="Maximum number of test reviews."),
        "products": click.option("--products", default=products, type=reviews, help="Product reviews that come later."),
        "max_length": field_option(ModelOptions, "max_length", is_checked=True, default=128),
        "epochs": field_option(TrainingOptions, "epochs", is_checked=True, default=1),
        "init_lr": field_option(TrainingOptions, "init_lr", is_checked=True, default=1e-4),
        "encoder": field_option(EncoderOptions, "encoder", default=EMBEDDED_ENCODER),
        "seed": click.option("--seed", default=0, type=click.IntRange(0), help="Random seed."),
        "margin": field_option(GateOptions, "margin", is_checked=True),
    }
    return record_options("scale", Scale, options)


@dataclass(frozen=True)
class Champion:
    """A trained model.

    Attributes:
        store: the model store with it alone.
        films: the data set that it was trained on, whose test part is the golden set.
        figures: accuracy on the golden set, and seconds.
    """

    store: Path
    films: Path
    figures: Figures


def trained_champion(scale: Scale, data: Path, work: Path, say: Callable[[str], None]) -> Champion:
    """Train a champion in a folder of `work`, unless one of this scale is there; a killed training goes on.

    Raises:
        BenchError: the data is not there, or the training fails.
    """
    folder = work / scale.name_of_champion
    folder.mkdir(parents=True, exist_ok=True)
    steps = Steps(folder / "steps.json", say)
    store, texts = folder / "model", folder / "films"

    def draw() -> Figures:
        found = draw_films(data, scale.films, scale.golden, scale.seed)
        for name, reviews in (("train", found.train), ("test", found.golden)):
            write_table(texts / f"{name}.jsonl", reviews)
        return {"train": len(found.train), "golden": len(found.golden)}

    def train() -> Figures:
        if not ModelStore(store).version_ids():
            paths = ("--dataset-path", texts, "--model-dir", store, "--runs-dir", folder / "runs", "--name", "story")
            recipe = ("--max-length", scale.max_length, "--epochs", scale.epochs, "--init-lr", scale.init_lr)
            run("train_model.py", *paths, *recipe, "--encoder", scale.encoder, "--seed", scale.seed, log=folder / "log")
        return {"accuracy": ModelStore(store).open().manifest.metrics["test"]["accuracy"]}

    drawn = steps.run("draw films", draw)
    return Champion(store, texts, {**drawn, **steps.run("train the champion", train)})


def copy_store(store: Path, target: Path) -> None:
    """A store of its own for what is tried; the SavedModel, which nothing here needs, is left out."""
    if not target.exists():
        with atomic_folder(target) as folder:
            shutil.copytree(store, folder, ignore=shutil.ignore_patterns("saved_model"), dirs_exist_ok=True)


def retrain(store: Path, films: Path, new: Path, work: Path, margin: float) -> Figures:
    """`retraining.py run`, or what it had decided before: the decision with its figures, and what combining left out.

    Args:
        store: with the champion as its first version.
        films: what the champion was trained on.
        new: new labelled texts.
        work: gets the combined data, the runs and the log.
        margin: of the gate.

    Raises:
        BenchError: it fails.
    """
    combined = work / "combined"
    if not _decisions(store):
        paths = ("--old-dataset-path", films, "--new-dataset-path", new, "--combined-dataset-path", combined)
        places = ("--model-dir", store, "--runs-dir", work / "runs", "--data-dir", work, "--margin", margin)
        run("retraining.py", "run", *paths, *places, log=work / "log", good=_DECIDED)
    entry = _decisions(store)[0]
    for name in (REMOVED_FILE, SUMMARY_FILE):
        if (combined / name).exists():
            shutil.copy(combined / name, work / name)
    outcomes = json.loads((work / SUMMARY_FILE).read_bytes())["counts"]["outcomes"]
    gate = entry["gate"]["figures"]
    return {
        "action": entry["action"],
        "verdict": entry["gate"]["verdict"],
        "reasons": entry["reasons"],
        "champion": entry["champion"],
        "challenger": entry["challenger"],
        "outcomes": outcomes,
        "golden": gate["golden"],
        "holdout": gate["holdout"],
        "calibration": gate["calibration"],
    }


def run(script: str, *arguments: object, log: Path, good: Sequence[int] = (0,)) -> int:
    """`python <script> <arguments>` with its output in a log: the exit status.

    Raises:
        BenchError: it ends with another status than the good ones.
    """
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    with open(log, "ab") as output:
        status = subprocess.run(command, stdout=output, stderr=output, check=False).returncode  # noqa: S603
    if status not in good:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        raise BenchError(f"{script}: ended with status {status}: {' '.join(lines[-1:])[:500]} (all of it: {log})")
    return status


def accuracy_table(rows: Sequence[tuple[str, Figures]]) -> str:
    """Champion and challenger on the same texts; rows are names and the gate's figures of a set."""
    header = ("set", "texts", "champion", "challenger", "difference", "lower 95 % bound")
    return markdown_table(
        header,
        [
            (
                name,
                f"{figures['texts']:,}",
                f"{figures['champion_accuracy']:.2%}",
                f"{figures['challenger_accuracy']:.2%}",
                points(figures["difference"]),
                points(figures["lower_bound"]) if "lower_bound" in figures else "",
            )
            for name, figures in rows
        ],
    )


def points(share: float) -> str:
    """A difference of shares, in points."""
    return f"{100 * share:+.2f}"


def _decisions(store: Path) -> list[dict[str, Any]]:
    """Those of the gate."""
    return [entry for entry in DecisionLog(store).entries() if "gate" in entry]


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
