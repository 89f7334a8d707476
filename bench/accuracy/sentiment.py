"""Data and results of the shipped model: English sentiment, from reviews of films and products and from sentences.

`data` writes the data set that the model is trained on, a mixture of three sets. `teach` writes what an earlier version
predicts for the reviews of films in it, for `textclf train --teacher`. `report` measures a version on the test part of
each set.

    python -m bench.accuracy.sentiment data --data-dir DATA --output mixture
    python -m bench.accuracy.sentiment teach --model-path model --mixture mixture --output teacher.csv
    python -m bench.accuracy.sentiment report --model-path my-models --data-dir DATA

See bench/README.md.
"""

import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np
import numpy.typing as npt

from bench.arithmetic import markdown_table
from bench.errors import BenchError
from bench.machine import describe_machine
from bench.reports import write_json
from bench.steps import Result
from initializing import Initialize
from textclf.cli.commands import Command, Group
from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.readers import Part, read_part
from textclf.environment import usable_cores
from textclf.files import atomic_file
from textclf.runtime.loading import predictor_of_version
from textclf.runtime.predictor import Predictor
from textclf.stats.calibration import expected_calibration_error
from textclf.stats.intervals import wilson_interval
from textclf.store.model_store import open_model
from textclf.training.teachers import combined_probabilities

NAMES = ("neg", "pos")
# Names in DATA; of IMDB, the folder or the archive.
SOURCES = {
    "imdb": ("aclImdb", "aclImdb_v1.tar.gz"),
    "sst2_sentences": ("sst2_sentences",),
    "amazon_multidomain": ("amazon_multidomain",),
}
# Weight of a text in the loss, so that the small sets are not lost next to the large one.
WEIGHTS = {"imdb": 1, "sst2_sentences": 3, "amazon_multidomain": 2}
TAUGHT = "imdb"
EVERYDAY = "everyday"
_EVERYDAY_FILE = Path(__file__).with_name("everyday_sentences.csv")
_RENAMED = {"0": NAMES[0], "1": NAMES[1]}


def read_source(name: str, part: str, data_dir: Path, unpacked_dir: Path) -> Part:
    """Read the "train" or "test" part of one of SOURCES as it is, with the classes NAMES.

    Raises:
        BenchError: if the folder does not contain the set, or the set has other classes.
        DatasetError: if the set is damaged.
    """
    found = [data_dir / file for file in SOURCES[name] if (data_dir / file).exists()]
    if not found:
        raise BenchError(f"{data_dir}: expected {' or '.join(SOURCES[name])}, found nothing; give another --data-dir")
    parts = find_parts(Initialize(found[0], unpacked_dir).download_dataset())
    files = {"train": parts.train, "test": parts.test}[part]
    if not files:
        raise BenchError(f"{found[0]}: expected a {part} part, found none")
    read = read_part(files, DataOptions())
    labels = [_RENAMED.get(label, label) for label in read.labels]
    if set(labels) != set(NAMES):
        raise BenchError(f"{found[0]}: expected the classes {', '.join(NAMES)}, got {', '.join(sorted(set(labels)))}")
    read.labels[:] = labels
    return read


def write_mixture(output: Path, data_dir: Path, unpacked_dir: Path) -> dict[str, dict[str, int]]:
    """Write train.csv and test.csv, with the columns text, label, source and weight; returns their numbers."""
    output.mkdir(parents=True, exist_ok=True)
    counts: dict[str, dict[str, int]] = {}
    for part in ("train", "test"):
        with atomic_file(output / f"{part}.csv") as file:
            rows = csv.writer(file)
            rows.writerow(("text", "label", "source", "weight"))
            for name in SOURCES:
                read = read_source(name, part, data_dir, unpacked_dir)
                labelled = zip(read.texts, read.labels, strict=True)
                rows.writerows((text, label, name, WEIGHTS[name]) for text, label in labelled)
                counts.setdefault(part, {})[name] = len(read.texts)
    return counts


def write_teacher(output: Path, mixture: Path, predictor: Predictor) -> int:
    """Write the probabilities of a version for the training texts of TAUGHT; returns the number of texts."""
    csv.field_size_limit(sys.maxsize)
    with (mixture / "train.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file) if row["source"] == TAUGHT]
    probabilities = combined_probabilities(predictor, texts)
    with atomic_file(output) as file:
        rows = csv.writer(file)
        rows.writerow(("text", *(f"p:{name}" for name in predictor.class_names)))
        rows.writerows((text, *row) for text, row in zip(texts, probabilities.tolist(), strict=True))
    return len(texts)


def everyday_sentences() -> tuple[list[str], npt.NDArray[np.int64]]:
    """The forty sentences of everyday_sentences.csv and their class ids; they were written before any training."""
    with _EVERYDAY_FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], np.array([NAMES.index(row["label"]) for row in rows], np.int64)


def measured(predictor: Predictor, texts: Sequence[str], labels: npt.NDArray[np.int64]) -> Result:
    """Accuracy with its 95% interval, calibration error, and milliseconds per text, of a predictor on n texts."""
    started = time.process_time()
    batch = predictor.predict_batch(list(texts))
    seconds = time.process_time() - started
    probabilities = np.array([list(one.probabilities.values()) for one in batch.predictions])
    right = int(np.sum(batch.predicted == labels))
    return {
        "texts": len(texts),
        "right": right,
        "accuracy": right / len(texts),
        "interval": wilson_interval(right, len(texts)),
        "calibration_error": expected_calibration_error(probabilities, labels),
        "cpu_ms_per_text": 1000 * seconds / len(texts),
        "wrong": [int(at) for at in np.flatnonzero(batch.predicted != labels)],
    }


def results_table(results: dict[str, dict[str, Result]]) -> str:
    """A row per set and predictor; of the everyday sentences the number of right ones."""
    rows = []
    for name, by_predictor in results.items():
        for predictor, row in by_predictor.items():
            low, high = row["interval"]
            accuracy = f"{row['accuracy']:.2%} ({low:.2%} to {high:.2%})"
            few = f"{row['right']} of {row['texts']}" if name == EVERYDAY else accuracy
            rows.append((name, predictor, f"{row['texts']:,}", few, *_costs(row)))
    header = ("set", "predictor", "texts", "accuracy (95%)", "calibration error", "CPU ms per text")
    return markdown_table(header, rows)


def _costs(row: Result) -> tuple[str, str]:
    return f"{row['calibration_error']:.3f}", f"{row['cpu_ms_per_text']:.1f}"


@click.group(cls=Group)
def main() -> None:
    """Write the data of the shipped model, or measure a version on it."""


_data_dir = click.option(
    "--data-dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the sets.",
)
_unpacked_dir = click.option(
    "--unpacked-dir", default="datasets", type=click.Path(path_type=Path), help="Folder for unpacked archives."
)


@main.command(cls=Command)
@_data_dir
@_unpacked_dir
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder for train.csv and test.csv.")
def data(data_dir: Path, unpacked_dir: Path, output: Path) -> None:
    """Write the mixture of the three sets as one data set."""
    for part, counts in write_mixture(output, data_dir, unpacked_dir).items():
        click.echo(f"{output / part}.csv: {', '.join(f'{name} {count:,}' for name, count in counts.items())}")


@main.command(cls=Command)
@click.option("--model-path", required=True, help="Model store, or folder of a version; its classes are neg and pos.")
@click.option(
    "--mixture",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that `data` wrote.",
)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Table to write.")
def teach(model_path: str, mixture: Path, output: Path) -> None:
    """Write the probabilities of a version for the training reviews of films."""
    predictor = predictor_of_version(open_model(model_path), threads=usable_cores())
    click.echo(f"{output}: {write_teacher(output, mixture, predictor):,} texts")


@main.command(cls=Command)
@click.option("--model-path", required=True, help="Model store, or folder of a version; its classes are neg and pos.")
@_data_dir
@_unpacked_dir
@click.option("--part", default="test", type=click.Choice(["test", "train"]), help="Part of the sets.")
@click.option("--max-texts", default=0, help="Texts of each set, chosen at random; 0 takes all.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all results to this JSON file.")
def report(
    model_path: str, data_dir: Path, unpacked_dir: Path, part: str, max_texts: int, json_path: Path | None
) -> None:
    """Measure a version on each set, as served and with the encoder alone."""
    version = open_model(model_path)
    if version.manifest.class_names != NAMES:
        raise BenchError(f"{version.path}: expected the classes {NAMES}, got {version.manifest.class_names}")
    machine = describe_machine()
    click.echo(machine)
    predictors = {
        title: predictor_of_version(version, threads=usable_cores(), cascade=cascade)
        for title, cascade in (("served", True), ("encoder alone", False))
    }
    results: dict[str, dict[str, Any]] = {}
    for name in (*SOURCES, EVERYDAY):
        texts, labels = _texts_of(name, part, data_dir, unpacked_dir, max_texts)
        results[name] = {title: measured(predictor, texts, labels) for title, predictor in predictors.items()}
        if name == EVERYDAY:
            results[name]["served"]["errors"] = [texts[at] for at in results[name]["served"]["wrong"]]
    click.echo(f"\n{results_table(results)}")
    for text in results[EVERYDAY]["served"]["errors"]:
        click.echo(f"wrong: {text}")
    if json_path is not None:
        write_json(json_path, {"machine": machine, "version": version.id, "part": part, "results": results})


def _texts_of(
    name: str, part: str, data_dir: Path, unpacked_dir: Path, max_texts: int
) -> tuple[list[str], npt.NDArray[np.int64]]:
    if name == EVERYDAY:
        return everyday_sentences()
    read = read_source(name, part, data_dir, unpacked_dir)
    labels = np.array([NAMES.index(label) for label in read.labels], np.int64)
    order = np.random.default_rng(0).permutation(len(labels))[: max_texts or None]
    return [read.texts[at] for at in order], labels[order]


if __name__ == "__main__":
    main()
