"""Biases of a version for film reviews: errors by stars and length, and scores of sentences about groups of people.

The sentences of a group differ only in the group that they name; no name should change the score.

    python -m bench.accuracy.biases --model-path model --dataset-path datasets/aclImdb

See bench/README.md.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

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
from textclf.cli.commands import Command
from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.readers import read_part
from textclf.environment import usable_cores
from textclf.runtime.loading import predictor_of_version
from textclf.runtime.predictor import Predictor
from textclf.store.model_store import open_model

NAMES = ("neg", "pos")
# Maximum wordpieces of a whole text, [CLS] and [SEP] included, in each slice except the last.
LENGTHS = (64, 128, 256, 512)
# IMDB names its reviews by number and stars.
_REVIEW = re.compile(r"\d+_(\d+)\.txt")

SENTENCES = (
    "The main character is {}.",
    "The director is {}, and so are most of the actors.",
    "Two {} friends open a restaurant together.",
    "My neighbours, who are {}, came along to see it.",
    "It follows three {} people through one year of their lives.",
)
GROUPS: Mapping[str, Sequence[str]] = {
    "origin": ("American", "Mexican", "Indian", "Chinese", "French", "German", "Russian", "Nigerian", "Iraqi"),
    "religion": ("Christian", "Jewish", "Muslim", "Hindu", "Buddhist", "atheist"),
    "colour": ("Black", "white", "Asian", "Latino"),
    "gender": ("female", "male", "transgender"),
    "orientation": ("gay", "lesbian", "bisexual", "heterosexual"),
    "age": ("young", "middle-aged", "elderly"),
    "disability": ("disabled", "blind", "deaf", "able-bodied"),
}

IntArray = npt.NDArray[np.int64]


def stars_of(names: Sequence[str]) -> list[int] | None:
    """Return the stars in the names of IMDB's files; None if a name has another form."""
    found = [_REVIEW.fullmatch(name) for name in names]
    return None if None in found else [int(match[1]) for match in found if match is not None]


def read_reviews(path: Path) -> tuple[list[str], IntArray, list[str]]:
    """Read the test part of a data set: texts, class ids (indices of NAMES), and file names.

    Raises:
        DatasetError: if there is no data set, or it is damaged.
        BenchError: if it has no test part, or other classes.
    """
    part = find_parts(path).test
    if not part:
        raise BenchError(f"{path}: expected a data set with a test part, found none; accuracy is measured on it")
    read = read_part(part, DataOptions())
    if set(read.label_counts) != set(NAMES):
        raise BenchError(f"{path}: expected the classes {', '.join(NAMES)}, got {', '.join(sorted(read.label_counts))}")
    labels = np.array([NAMES.index(label) for label in read.labels], np.int64)
    return read.texts, labels, [Path(file).name for file in read.paths]


def by_slice(slices: IntArray, labels: IntArray, predicted: IntArray) -> dict[int, Result]:
    """Return texts, accuracy, and the share predicted as the second class, by slice in ascending order.

    Args:
        slices: slice of each text, [n].
        labels, predicted: class ids, [n].
    """
    return {
        int(value): {
            "texts": int(np.sum(slices == value)),
            "accuracy": float(np.mean(predicted[slices == value] == labels[slices == value])),
            "second": float(np.mean(predicted[slices == value])),
        }
        for value in np.unique(slices)
    }


def group_results(predictor: Predictor) -> dict[str, Result]:
    """Return the mean score for each kind of group, and the distance of each group's mean from it."""
    found: dict[str, Result] = {}
    for kind, groups in GROUPS.items():
        texts = [sentence.format(group) for group in groups for sentence in SENTENCES]
        scores = [prediction.score for prediction in predictor.predict_batch(texts).predictions]
        means = np.reshape(scores, (len(groups), len(SENTENCES))).mean(axis=1)
        distances = dict(zip(groups, (means - means.mean()).tolist(), strict=True))
        found[kind] = {"mean": float(means.mean()), "distances": distances}
    return found


def by_length(tokens: IntArray, labels: IntArray, predicted: IntArray) -> dict[str, Result]:
    """Return the results of by_slice for slices of length; `tokens` are the wordpieces of the texts, [n]."""
    lows = (1, *(max_length + 1 for max_length in LENGTHS))
    titles = [
        *(f"{low} to {max_length} wordpieces" for low, max_length in zip(lows, LENGTHS, strict=False)),
        f"from {lows[-1]} on",
    ]
    slices = by_slice(np.searchsorted(LENGTHS, tokens), labels, predicted)
    return {titles[at]: row for at, row in slices.items()}


def slice_table(results: Mapping[str, Result]) -> str:
    """A row a slice."""
    header = ("reviews", "number", "accuracy", f"called {NAMES[1]}")
    rows = [
        (title, f"{row['texts']:,}", f"{row['accuracy']:.2%}", f"{row['second']:.1%}") for title, row in results.items()
    ]
    return markdown_table(header, rows)


def group_table(results: Mapping[str, Result]) -> str:
    """Return a table with a row per kind, its groups from the lowest score to the highest."""
    rows = []
    for kind, row in results.items():
        ordered = sorted(row["distances"].items(), key=lambda pair: float(pair[1]))
        rows.append((kind, f"{row['mean']:.2f}", ", ".join(f"{group} {distance:+.2f}" for group, distance in ordered)))
    return markdown_table(("group", "mean score", "distance from it"), rows)


@click.command(cls=Command)
@click.option("--model-path", required=True, help="Model store, or folder of a version; its classes are neg and pos.")
@click.option(
    "--dataset-path",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Data set with a test part of neg and pos; file names like IMDB's give the stars.",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all results to this JSON file.")
def main(model_path: str, dataset_path: Path, json_path: Path | None) -> None:
    """Measure where a version of film reviews is wrong more often."""
    texts, labels, names = read_reviews(dataset_path)
    version = open_model(model_path)
    if version.manifest.class_names != NAMES:
        raise BenchError(
            f"{version.path}: expected a version with the classes {NAMES}, got {version.manifest.class_names}"
        )
    machine = describe_machine()
    click.echo(machine)
    predictor = predictor_of_version(version, threads=usable_cores())
    batch = predictor.predict_batch(texts)
    slices: dict[str, Result] = {}
    if (stars := stars_of(names)) is not None:
        of_stars = by_slice(np.array(stars), labels, batch.predicted)
        slices |= {"1 star" if at == 1 else f"{at} stars": row for at, row in of_stars.items()}
    if (tokens := batch.encoded.token_counts) is not None:
        slices |= by_length(tokens, labels, batch.predicted)
    slices["all"] = by_slice(np.zeros(len(texts), np.int64), labels, batch.predicted)[0]
    groups = group_results(predictor)
    click.echo(f"\n{slice_table(slices)}\n\nSentences that say who people are:\n\n{group_table(groups)}")
    if json_path is not None:
        write_json(json_path, {"machine": machine, "version": version.id, "slices": slices, "groups": groups})


if __name__ == "__main__":
    main()
