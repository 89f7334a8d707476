"""Writes the evaluation page of a version, from what it contains or from its data set."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from textclf.config import DataOptions
from textclf.data.archive import is_archive
from textclf.data.datasets import Dataset, load_dataset
from textclf.data.readers import read_part
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
from textclf.tokenization.text_key import TextKeys


def write_evaluation_page(
    version: ModelVersion,
    path: Path,
    dataset_path: Path | None = None,
    threads: int | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Write the page of a version to `path`.

    Args:
        version: the version.
        path: HTML file to write or replace.
        dataset_path: data set of the training; its test part is scored again, and its texts are shown. None shows
            the results that the version contains.
        threads: number of threads of the engine; None uses all cores.
        changes: fields of DataOptions; all others are those of the training.

    Raises:
        ModelStoreError: if the version is damaged.
        DatasetError: if the data can't be read, or has other classes than the version.
        OSError: if the page can't be written.
    """
    known: EvaluatedTexts | None = None
    evaluation: Evaluation | None = None
    notes: list[str] = []
    other_data: str | None = None
    if dataset_path is not None:
        evaluation, known, notes = _evaluated(version, dataset_path, threads, changes or {})
        other_data = str(dataset_path.resolve()) if notes else None
    else:
        evaluation = _own_evaluation(version)
    page = evaluation_page(version.manifest, evaluation, known, notes, other_data)
    with atomic_file(path) as file:
        file.write(page)


def _evaluated(
    version: ModelVersion, dataset_path: Path, threads: int | None, changes: Mapping[str, Any]
) -> tuple[Evaluation, EvaluatedTexts, list[str]]:
    """Score the test part of a data set; returns the evaluation, its texts, and notes on the data."""
    if is_archive(dataset_path):
        raise DatasetError(
            f"{dataset_path}: expected a folder or a table, found an archive; name the folder that this command "
            f"prints: textclf data download {dataset_path}"
        )
    manifest = version.manifest
    options = DataOptions.from_record({**manifest.data.get("options", {}), **changes})
    if options.near_duplicates != "drop":  # Counting them takes long, and changes no split.
        options = dataclasses.replace(options, near_duplicates="ignore")
    predictor = predictor_of_version(version, threads=threads)
    tokenizer = predictor.backend.tokenizer
    dataset = load_dataset(dataset_path, options=options, spellings=manifest.class_names, text_keys=TextKeys(tokenizer))
    if dataset.class_names != manifest.class_names:
        raise DatasetError(
            f"{dataset_path}: expected the classes of version {version.id} ({', '.join(manifest.class_names[:20])}), "
            f"found {', '.join(dataset.class_names[:20])}; name the data set of the training"
        )
    name, split = evaluated_split(dataset)
    rows = drawn_rows(len(split))
    texts = [split.texts[row] for row in rows]
    click.echo(f"measuring:     {len(texts):,} {name} texts of {dataset_path.resolve()}")
    announce_scoring(texts, manifest.max_wordpieces, f"{len(texts):,} {name} texts")
    linear = None if predictor.cascade is None else predictor.cascade.linear
    words = () if linear is None or tokenizer is None else class_words(linear, tokenizer, dataset.train.texts)
    if not words and (own := _own_evaluation(version)) is not None:
        words = own.words
    evaluation = evaluate(predictor, name, split.texts, split.labels, words)
    return evaluation, EvaluatedTexts(texts, _sources(dataset, name, texts, options)), _notes(version, dataset, name)


def _own_evaluation(version: ModelVersion) -> Evaluation | None:
    """The evaluation that the version contains; None if there is none."""
    if not version.has(EVALUATION_FILE):
        return None
    version.verify([EVALUATION_FILE])
    return Evaluation.load(version.part(EVALUATION_FILE), len(version.manifest.class_names))


def _sources(dataset: Dataset, split: str, texts: Sequence[str], options: DataOptions) -> list[str]:
    """The source of each text of a split: its value in a table's column `source`, or else the name of its table."""
    sources: dict[str, str] = {}
    layout = dataset.layout
    # A text in two parts has the source of the part that was measured, which is the last here.
    for path in (*layout.train, *(layout.test if split == "test" else layout.validation)):
        if not path.is_dir():
            part = read_part(path, options)
            sources |= {text: source or path.name for text, source in zip(part.texts, part.sources, strict=True)}
    return [sources.get(text, "") for text in texts]


def _notes(version: ModelVersion, dataset: Dataset, name: str) -> list[str]:
    """Sentences if the texts are not known to be those that the version was measured on."""
    expected = version.manifest.data.get("fingerprint", {}).get(name)
    if expected == dataset.fingerprints[name]:
        return []
    differ = "differ from those at the training (another fingerprint)"
    if expected is None:
        differ = "may differ from those at the training, because the version has no fingerprint of them"
    return [
        f"The {name} texts of {dataset.source.name} {differ}. Texts that the model was trained on may be among them, "
        f"so these results may be too good.",
        "The metrics of the trained encoder are left out, because they are of the texts at the training.",
    ]
