"""Writes the evaluation page of a version, from what it contains or from its data set."""

from pathlib import Path

import click

from textclf.config import DataOptions
from textclf.data.datasets import Dataset, load_dataset
from textclf.errors import DatasetError
from textclf.evaluation.class_words import class_words
from textclf.evaluation.scoring import drawn_rows, evaluate, evaluated_split
from textclf.files import atomic_file
from textclf.phases import announce_scoring
from textclf.report.evaluation_figures import EvaluatedTexts
from textclf.report.evaluation_html import evaluation_page
from textclf.runtime.loading import predictor_of_version
from textclf.store.evaluation import EVALUATION_FILE, Evaluation
from textclf.store.model_store import ModelVersion


def write_evaluation_page(
    version: ModelVersion, path: Path, dataset_path: Path | None = None, threads: int | None = None
) -> None:
    """Write the page of a version to `path`.

    Args:
        version: the version.
        path: HTML file to write or replace.
        dataset_path: data set of the training; its test part is scored again, and its texts are shown. None shows
            the results that the version contains.
        threads: number of threads of the engine; None uses all cores.

    Raises:
        ModelStoreError: if the version is damaged.
        DatasetError: if the data can't be read, or has other classes than the version.
        OSError: if the page can't be written.
    """
    known: EvaluatedTexts | None = None
    evaluation: Evaluation | None = None
    notes: list[str] = []
    if dataset_path is not None:
        evaluation, known, notes = _evaluated(version, dataset_path, threads)
    elif version.has(EVALUATION_FILE):
        version.verify([EVALUATION_FILE])
        evaluation = Evaluation.load(version.part(EVALUATION_FILE), len(version.manifest.class_names))
    page = evaluation_page(version.manifest, evaluation, known, notes)
    with atomic_file(path) as file:
        file.write(page)


def _evaluated(
    version: ModelVersion, dataset_path: Path, threads: int | None
) -> tuple[Evaluation, EvaluatedTexts, list[str]]:
    """Score the test part of a data set; returns the evaluation, its texts, and notes on the data."""
    manifest = version.manifest
    dataset = load_dataset(dataset_path, options=DataOptions.from_dict(manifest.data.get("options", {})))
    if dataset.class_names != manifest.class_names:
        raise DatasetError(
            f"{dataset_path}: expected the classes of version {version.id} ({', '.join(manifest.class_names[:20])}), "
            f"found {', '.join(dataset.class_names[:20])}; name the data set of the training"
        )
    name, split = evaluated_split(dataset)
    rows = drawn_rows(len(split))
    texts = [split.texts[row] for row in rows]
    click.echo(f"measuring:     {len(texts):,} {name} texts of {dataset_path.resolve()}")
    announce_scoring(texts, manifest.max_length, f"{len(texts):,} {name} texts")
    predictor = predictor_of_version(version, threads=threads)
    linear = None if predictor.cascade is None else predictor.cascade.linear
    tokenizer = predictor.backend.tokenizer
    words = () if linear is None or tokenizer is None else class_words(linear, tokenizer, dataset.train.texts)
    if not words and version.has(EVALUATION_FILE):
        words = Evaluation.load(version.part(EVALUATION_FILE), len(manifest.class_names)).words
    evaluation = evaluate(predictor, name, split.texts, split.labels, words)
    return evaluation, EvaluatedTexts(texts, []), _notes(version, dataset, name)


def _notes(version: ModelVersion, dataset: Dataset, name: str) -> list[str]:
    """A sentence if the texts are not those that the version was measured on."""
    expected = version.manifest.data.get("fingerprint", {}).get(name)
    if expected is None or expected == dataset.fingerprints[name]:
        return []
    return [
        f"The {name} texts of {dataset.source.name} differ from those at the training (another fingerprint). Texts "
        f"that the model was trained on may be among them, so these results may be too good."
    ]
