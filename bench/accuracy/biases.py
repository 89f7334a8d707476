"""Where a version of film reviews is wrong more often, and what it makes of words that should say nothing of a film.

Accuracy on test reviews by stars and by length; how often they are called positive; and sentences that differ only in
the group of people that they name.

    python -m bench.accuracy.biases --model-path model --dataset-path datasets/aclImdb

See bench/README.md.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

if not __package__:  # Run as a file: the packages lie beside its folder, not in it.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np
import numpy.typing as npt

from bench.arithmetic import markdown_table
from bench.errors import BenchError
from bench.machine import describe_machine
from bench.reports import write_json
from bench.steps import Figures
from textclf.cli.commands import Command
from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.readers import read_part
from textclf.environment import usable_cores
from textclf.runtime.loading import predictor_of_version
from textclf.runtime.predictor import Predictor
from textclf.store.model_store import open_model

NAMES = ("neg", "pos")
# Wordpieces of a whole text, [CLS] and [SEP] included: the most in each slice but the last.
LENGTHS = (64, 128, 256, 512)
# As IMDB names its reviews: number and stars.
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
    """The stars in the names of IMDB's files; None where one is named otherwise."""
    found = [_REVIEW.fullmatch(name) for name in names]
    return None if None in found else [int(match[1]) for match in found if match is not None]


def read_reviews(path: Path) -> tuple[list[str], IntArray, list[str]]:
    """The test part of a data set: texts, class ids as in NAMES, and the names of the files.

    Raises:
        DatasetError: there is no data set, or it is damaged.
        BenchError: it has no test part, or other classes.
    """
    part = find_parts(path).test
    if part is None:
        raise BenchError(f"{path}: expected a data set with a test part; accuracy is measured on nothing else")
    read = read_part(part, DataOptions())
    if read.classes != set(NAMES):
        raise BenchError(f"{path}: expected the classes {', '.join(NAMES)}, got {', '.join(sorted(read.classes))}")
    labels = np.array([NAMES.index(label) for label in read.labels], np.int64)
    return read.texts, labels, [Path(file).name for file in read.paths]


def by_slice(slices: IntArray, labels: IntArray, predicted: IntArray) -> dict[int, Figures]:
    """Texts, accuracy, and the share predicted to be of the second class, by slice in ascending order.

    Args:
        slices: the slice of each of n texts, [n].
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


def group_figures(predictor: Predictor) -> dict[str, Figures]:
    """By kind of group: the mean score of all its sentences, and how far that of each group's is from it."""
    found: dict[str, Figures] = {}
    for kind, groups in GROUPS.items():
        texts = [sentence.format(group) for group in groups for sentence in SENTENCES]
        scores = [prediction.score for prediction in predictor.predict_batch(texts).predictions]
        means = np.reshape(scores, (len(groups), len(SENTENCES))).mean(axis=1)
        distances = dict(zip(groups, (means - means.mean()).tolist(), strict=True))
        found[kind] = {"mean": float(means.mean()), "distances": distances}
    return found


def by_length(tokens: IntArray, labels: IntArray, predicted: IntArray) -> dict[str, Figures]:
    """Slices of n texts by their wordpieces, [n], with titles."""
    lows = (1, *(most + 1 for most in LENGTHS))
    titles = [*(f"{low} to {most} wordpieces" for low, most in zip(lows, LENGTHS, strict=False)), f"from {lows[-1]} on"]
    slices = by_slice(np.searchsorted(LENGTHS, tokens), labels, predicted)
    return {titles[at]: row for at, row in slices.items()}


def slice_table(figures: Mapping[str, Figures]) -> str:
    """A row a slice."""
    header = ("reviews", "number", "accuracy", f"called {NAMES[1]}")
    rows = [
        (title, f"{row['texts']:,}", f"{row['accuracy']:.2%}", f"{row['second']:.1%}") for title, row in figures.items()
    ]
    return markdown_table(header, rows)


def group_table(figures: Mapping[str, Figures]) -> str:
    """A row a kind, its groups from the lowest score to the highest."""
    rows = []
    for kind, row in figures.items():
        ordered = sorted(row["distances"].items(), key=lambda pair: float(pair[1]))
        rows.append((kind, f"{row['mean']:.2f}", ", ".join(f"{group} {distance:+.2f}" for group, distance in ordered)))
    return markdown_table(("group", "mean score", "distance from it"), rows)


@click.command(cls=Command)
@click.option("--model-path", required=True, help="A model store, or a version in it; its classes are neg and pos.")
@click.option(
    "--dataset-path",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With a test part of neg and pos; the names of IMDB's files hold the stars.",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write every figure here.")
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
    answer = predictor.predict_batch(texts)
    slices: dict[str, Figures] = {}
    if (stars := stars_of(names)) is not None:
        of_stars = by_slice(np.array(stars), labels, answer.predicted)
        slices |= {"1 star" if at == 1 else f"{at} stars": row for at, row in of_stars.items()}
    if (tokens := answer.encoded.token_counts) is not None:
        slices |= by_length(tokens, labels, answer.predicted)
    slices["all"] = by_slice(np.zeros(len(texts), np.int64), labels, answer.predicted)[0]
    groups = group_figures(predictor)
    click.echo(f"\n{slice_table(slices)}\n\nSentences that say who people are:\n\n{group_table(groups)}")
    if json_path is not None:
        write_json(json_path, {"machine": machine, "version": version.id, "slices": slices, "groups": groups})


if __name__ == "__main__":
    main()
