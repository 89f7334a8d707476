"""Precision of `textclf data audit` on flipped labels, compared with cleanlab on TF-IDF features.

A share of the labels is flipped to another class at random. Each method ranks all texts, and the precision among the
top n counts how many of the n first were flipped; n is the number of flips. Errors that the published labels have
themselves count as mistakes of the method. The settings of the audit were chosen on banking77 and Amazon
reviews, with trec and sst2_sentences in view.

    python -m pip install --target PEER cleanlab==2.9.0
    PYTHONPATH=PEER python -m bench.accuracy.label_errors --data-dir DATA --json label_errors.json

DATA contains the sets (bench.labelled_sets). See bench/README.md.
"""

import functools
import operator
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from bench.arithmetic import markdown_table
from bench.errors import BenchError
from bench.labelled_sets import SETS, read_set
from bench.reports import chosen_names
from bench.steps import Result, Steps
from textclf.audit.copies import find_copies
from textclf.audit.label_search import search_labels
from textclf.audit.reading_model import ReadTexts, reading_model
from textclf.cli.commands import Command
from textclf.encoder_handles import EMBEDDED_ENCODER
from textclf.stats.folds import FOLDS
from textclf.stats.label_errors import grouped_folds, out_of_fold, self_confidence
from textclf.tokenization.text_key import TextKeys

DEFAULT_SETS = "trec,sst2_sentences,stack_overflow_16k,clinc150,banking77"
FLIPPED = 0.05
AUDIT, FAST, CLEANLAB = "audit", "audit --no-embeddings", "cleanlab, TF-IDF"
MARGIN = "cleanlab, TF-IDF, normalised margin"

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def flipped(labels: IntArray, classes: int, seed: int, share: float = FLIPPED) -> tuple[IntArray, BoolArray]:
    """Return labels of which a share has another class at random, and which were flipped, both [n]."""
    random = np.random.default_rng(seed)
    rows = random.permutation(len(labels))[: round(share * len(labels))]
    noisy = labels.copy()
    noisy[rows] = (labels[rows] + random.integers(1, classes, len(rows))) % classes
    is_flipped = np.zeros(len(labels), np.bool_)
    is_flipped[rows] = True
    return noisy, is_flipped


def precision_at_flips(confidence: npt.NDArray[np.float64], is_flipped: BoolArray) -> float:
    """Return the share of flipped labels among the n lowest confidences, with n flips; NaN counts as highest."""
    first = np.argsort(np.nan_to_num(confidence, nan=np.inf), kind="stable")[: is_flipped.sum()]
    return float(is_flipped[first].mean())


def tf_idf_probabilities(texts: Sequence[str], labels: IntArray, classes: int, seed: int) -> npt.NDArray[np.float64]:
    """Return out-of-fold probabilities [n, K] of the usual recipe: TF-IDF and logistic regression."""

    def predict(fitted: npt.NDArray[np.intp], predicted: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
        model.fit([texts[row] for row in fitted], labels[fitted])
        found = np.zeros((len(predicted), classes))
        found[:, model.classes_] = model.predict_proba([texts[row] for row in predicted])
        return found

    return out_of_fold(grouped_folds(labels, np.arange(len(labels)), FOLDS, seed), classes, predict)


def cleanlab_scores(labels: IntArray, probabilities: npt.NDArray[np.float64], method: str) -> npt.NDArray[np.float64]:
    """Return cleanlab's quality score of each label; low is bad.

    Raises:
        BenchError: if cleanlab is not installed.
    """
    try:
        from cleanlab.rank import get_label_quality_scores
    except ImportError as error:
        raise BenchError(
            f"cleanlab: expected the package, found none ({error}); install it apart from the project, as in --help"
        ) from error
    return np.asarray(get_label_quality_scores(labels, probabilities, method=method), np.float64)


def measured(
    texts: Sequence[str], labels: IntArray, classes: int, read: ReadTexts, groups: IntArray, seed: int
) -> Result:
    """Return the precision of each method for one choice of flips."""
    noisy, is_flipped = flipped(labels, classes, seed)
    found: Result = {"flips": int(is_flipped.sum())}
    for name, its_read in ((AUDIT, read), (FAST, ReadTexts(read.wordpieces, read.lengths, None))):
        search = search_labels(its_read, noisy, groups, classes, FOLDS, seed)
        if search is None:
            raise BenchError("expected enough texts to search label errors, found too few; raise --max-texts")
        found[name] = precision_at_flips(search.confidence, is_flipped)
        if name == AUDIT:
            listed = is_flipped[search.errors]
            found |= {"listed": len(listed), "right": int(listed.sum())}
    probabilities = tf_idf_probabilities(texts, noisy, classes, seed)
    scores = cleanlab_scores(noisy, probabilities, "self_confidence")
    if not np.allclose(scores, self_confidence(probabilities, noisy)):
        raise BenchError("expected our self-confidence to be cleanlab's, found a difference; compare the formulas")
    found[CLEANLAB] = precision_at_flips(scores, is_flipped)
    found[MARGIN] = precision_at_flips(cleanlab_scores(noisy, probabilities, "normalized_margin"), is_flipped)
    return found


def table(results: dict[str, Result], names: Sequence[str]) -> str:
    """Return the mean of each figure over the choices of flips, with the lowest and the highest."""

    def row(title: str, figure: Callable[[Result], float]) -> list[str]:
        cells = [title]
        for name in names:
            values = [figure(result) for step, result in results.items() if step.startswith(f"{name}/")]
            spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.2f}{spread}")
        return cells

    rows = [row(method, operator.itemgetter(method)) for method in (AUDIT, FAST, CLEANLAB, MARGIN)]
    rows.append(row("audit, precision of all rows that it lists", lambda found: found["right"] / found["listed"]))
    rows.append(row("audit, share of the flips in these rows", lambda found: found["right"] / found["flips"]))
    return markdown_table(["", *names], rows)


@click.command(cls=Command)
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of the sets.")
@click.option("--unpacked-dir", type=click.Path(path_type=Path), default="datasets", help="Folder for archives.")
@click.option("--sets", default=DEFAULT_SETS, help=f"Some of {', '.join(SETS)}.")
@click.option("--encoder", default=EMBEDDED_ENCODER, help="Encoder of the embeddings.")
@click.option("--max-texts", default=4000, help="Texts of a set; more are sampled.")
@click.option("--repeats", default=3, help="Choices of the flips.")
@click.option("--json", "output", type=click.Path(path_type=Path), default="label_errors.json", help="Results.")
def main(
    data_dir: Path, unpacked_dir: Path, sets: str, encoder: str, max_texts: int, repeats: int, output: Path
) -> None:
    """Compare the audit with cleanlab on flipped labels; a repeated run skips what is done."""
    names = chosen_names(sets, tuple(SETS), "--sets")
    steps = Steps(output, lambda line: click.echo(line, err=True))
    model = reading_model(encoder, None, with_embeddings=True)
    for name in names:
        wanted = [f"{name}/{seed}" for seed in range(repeats)]
        if steps.is_done(*wanted):
            continue
        found = read_set(name, data_dir, unpacked_dir)
        texts, labels = found.learnable
        rows = np.random.default_rng(0).permutation(len(texts))[:max_texts]
        texts, labels = [texts[row] for row in rows], labels[rows]
        read, groups = model.read(texts), find_copies(texts, TextKeys(model.tokenizer)).group_of
        for seed in range(repeats):
            work = functools.partial(measured, texts, labels, len(found.data.class_names), read, groups, seed)
            steps.run(f"{name}/{seed}", work)
    click.echo(table(steps.results(), names))


if __name__ == "__main__":
    main()
