"""Parts of the retraining benchmarks: a champion trained on films, and `retraining.py run` with its decision.

Every training and retraining runs the project's command lines, each in its own process.
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
from bench.steps import Result, Steps
from textclf.cli.options import Decorator, field_option, record_options
from textclf.config import EncoderOptions, ModelOptions, TrainingOptions
from textclf.encoder_handles import EMBEDDED_ENCODER
from textclf.files import atomic_folder
from textclf.retraining.combined_dataset import REMOVED_FILE, SUMMARY_FILE
from textclf.retraining_options import GateOptions
from textclf.store.decision_log import DecisionLog
from textclf.store.model_store import ModelStore

# Exit statuses of `retraining.py run`: promoted, rejected, undecided.
_DECIDED = (0, 3, 4)
# Fields of a scale that do not change the champion.
_CHALLENGERS = ("products", "margin")


@dataclass(frozen=True)
class Scale:
    """Size of a benchmark; the fields are command-line options.

    Attributes:
        films: number of film reviews that the champion is trained on.
        golden: maximum number of film reviews in the reference test set of the gate.
        products: number of product reviews that arrive later.
        max_length, epochs, init_lr, encoder: options of the training.
        seed: random seed of the draws and of the training.
        margin: margin of the gate.
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
        """Return the name of the folder for a champion of this scale."""
        values = {name: value for name, value in dataclasses.asdict(self).items() if name not in _CHALLENGERS}
        return f"champion-{_digest(values)}"

    def digest(self, *others: object) -> str:
        """Return 12 hex digits that change with the scale and the other values."""
        return _digest([dataclasses.asdict(self), *others])


def scale_options(films: int, golden: int, products: int) -> Decorator:
    """Return a decorator that passes `scale`, a Scale, to a click command; the arguments are defaults."""
    reviews = click.IntRange(100)
    options: dict[str, Decorator] = {
        "films": click.option("--films", default=films, type=reviews, help="Film reviews to train the champion on."),
        "golden": click.option("--golden", default=golden, type=reviews, help="Maximum number of test reviews."),
        "products": click.option(
            "--products", default=products, type=reviews, help="Product reviews that arrive later."
        ),
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
    """Trained champion.

    Attributes:
        store: model store that contains only the champion.
        films: data set that it was trained on; its test part is the reference test set.
        results: accuracy on the reference test set, and seconds.
    """

    store: Path
    films: Path
    results: Result


def trained_champion(scale: Scale, data: Path, work: Path, say: Callable[[str], None]) -> Champion:
    """Train a champion in a folder of `work`, unless it exists for this scale; a killed training continues.

    Raises:
        BenchError: if the data is missing, or the training fails.
    """
    folder = work / scale.name_of_champion
    folder.mkdir(parents=True, exist_ok=True)
    steps = Steps(folder / "steps.json", say)
    store, texts = folder / "model", folder / "films"

    def draw() -> Result:
        found = draw_films(data, scale.films, scale.golden, scale.seed)
        for name, reviews in (("train", found.train), ("test", found.golden)):
            write_table(texts / f"{name}.jsonl", reviews)
        return {"train": len(found.train), "golden": len(found.golden)}

    def train() -> Result:
        if not ModelStore(store).version_ids():
            paths = ("--dataset-path", texts, "--model-dir", store, "--runs-dir", folder / "runs", "--name", "story")
            recipe = ("--max-length", scale.max_length, "--epochs", scale.epochs, "--init-lr", scale.init_lr)
            # No option may depend on the number of texts, and the version becomes current whatever it is worth.
            others = ("--recipe", "none", "--encoder", scale.encoder, "--seed", scale.seed)
            run("train_model.py", *paths, *recipe, *others, log=folder / "log")
        return {"accuracy": ModelStore(store).open().manifest.metrics["test"]["accuracy"]}

    drawn = steps.run("draw films", draw)
    return Champion(store, texts, {**drawn, **steps.run("train the champion", train)})


def copy_store(store: Path, target: Path) -> None:
    """Copy a store without the SavedModel, unless the target exists."""
    if not target.exists():
        with atomic_folder(target) as folder:
            shutil.copytree(store, folder, ignore=shutil.ignore_patterns("saved_model"), dirs_exist_ok=True)


def retrain(store: Path, films: Path, new: Path, work: Path, margin: float) -> Result:
    """Run `retraining.py run` unless it has decided already; return the decision and the outcomes of combining.

    Args:
        store: model store with the champion as its first version.
        films: data set that the champion was trained on.
        new: new labelled texts.
        work: folder for the combined data, the runs and the log.
        margin: margin of the gate.

    Raises:
        BenchError: if the retraining fails, or has too few texts to train.
    """
    combined = work / "combined"
    if not _decisions(store):
        paths = ("--old-dataset-path", films, "--new-dataset-path", new, "--combined-dataset-path", combined)
        places = ("--model-dir", store, "--runs-dir", work / "runs", "--data-dir", work, "--margin", margin)
        run("retraining.py", "run", *paths, *places, log=work / "log", good=_DECIDED)
    if not (decisions := _decisions(store)):
        raise BenchError(f"expected a decision, found none: the held-out texts are too few (see {work / 'log'})")
    entry = decisions[0]
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
    """Run `python SCRIPT ARGUMENTS` with its output in a log; return the exit status.

    Raises:
        BenchError: if the status is not one of the good ones.
    """
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    with open(log, "ab") as output:
        status = subprocess.run(command, stdout=output, stderr=output, check=False).returncode  # noqa: S603
    if status not in good:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        raise BenchError(f"{script}: ended with status {status}: {' '.join(lines[-1:])[:500]} (all of it: {log})")
    return status


def accuracy_table(rows: Sequence[tuple[str, Result]]) -> str:
    """Return a table of champion and challenger; rows are names and the gate's results on a set."""
    header = ("set", "texts", "champion", "challenger", "difference", "lower 95% bound")
    return markdown_table(
        header,
        [
            (
                name,
                f"{results['texts']:,}",
                f"{results['champion_accuracy']:.2%}",
                f"{results['challenger_accuracy']:.2%}",
                points(results["difference"]),
                points(results["lower_bound"]) if "lower_bound" in results else "",
            )
            for name, results in rows
        ],
    )


def points(share: float) -> str:
    """Format a difference of shares in points."""
    return f"{100 * share:+.2f}"


def _decisions(store: Path) -> list[dict[str, Any]]:
    """Return the decisions of the gate."""
    return [entry for entry in DecisionLog(store).entries() if "gate" in entry]


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
