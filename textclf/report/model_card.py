"""The model card of a version: its manifest as Markdown, with front matter that the Hugging Face Hub reads.

It names no path, user or machine: a person may publish it. Names and labels are escaped.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textclf.report.drift_terms import percent
from textclf.report.shortcomings import matrix_of, measured_split, shortcoming_sentences
from textclf.report.unsure import CurvePoint, curve_rows, unsure_lines
from textclf.report.unusual import unusual_sentence
from textclf.stats.intervals import macro_f1_interval, wilson_interval
from textclf.store.manifest import Manifest

_PUNCTUATION = re.compile(r"([\\`*_{}\[\]#!|~$])")
_SPLIT_TITLES = {"test": "test", "validation_select": "selection", "validation": "calibration"}
# Options of a training whose values are names of this software; other texts may be paths.
_NAMED_OPTIONS = {"optimiser", "head_init", "precision", "metric", "select", "train_on"}
_MANY_CLASSES = 100


@dataclass(frozen=True)
class ExportNotes:
    """The part of a card that describes an exported folder.

    Attributes:
        library: the library that loads it, as the Hub names it.
        usage: Markdown that shows how to use it.
        differences: sentences in Markdown about what differs from the version.
    """

    library: str
    usage: str
    differences: Sequence[str]


def model_card(manifest: Manifest, export: ExportNotes | None = None) -> str:
    """The card as Markdown that ends with a line break.

    Args:
        manifest: the version; values that it lacks are left out.
        export: the exported folder that the card describes; None describes the version.
    """
    lines = [
        *_front_matter(manifest, export),
        f"# {escaped(manifest.name)}",
        "",
        f"A classifier of texts with {len(manifest.class_names)} classes. It is version {manifest.id or '(not saved)'} "
        f"of textclf{f', made at {manifest.created}' if manifest.created else ''}.",
    ]
    if export is not None:
        lines += ["", "## Use", "", export.usage.strip()]
        lines += ["", "## What differs from the version", "", *(f"- {sentence}" for sentence in export.differences)]
    lines += ["", "## Model", "", *_table(("", ""), _model(manifest))]
    lines += _results(manifest)
    lines += _unsure(manifest)
    lines += ["", "## Data", "", *_table(("", ""), _data(manifest))]
    lines += ["", "## Training", "", *_table(("", ""), _training(manifest))]
    lines += ["", "## Limits", "", *(f"- {sentence}" for sentence in _limits(manifest))]
    return "\n".join(lines) + "\n"


def escaped(text: object) -> str:
    """A text as one line of Markdown without markup, also in a cell of a table."""
    plain = _printable(str(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _PUNCTUATION.sub(r"\\\1", plain)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _front_matter(manifest: Manifest, export: ExportNotes | None) -> list[str]:
    """YAML; each value is JSON, which YAML contains. Imported versions may record a licence, and none a language."""
    values: dict[str, Any] = {"pipeline_tag": "text-classification", "tags": ["text-classification", "textclf"]}
    if export is not None:
        values["library_name"] = export.library
    if licence := manifest.source.get("license"):
        values["license"] = _printable(str(licence))
    split = measured_split(manifest.metrics)
    found = _figures(manifest, split) if split else []
    if found:
        values["metrics"] = ["accuracy", "f1"]
        results = [{"type": kind, "name": title, "value": round(value, 4)} for kind, title, value, *_ in found]
        dataset = {"type": "private", "name": _source(manifest), "split": _SPLIT_TITLES[str(split)]}
        task = {"type": "text-classification", "name": "Text classification"}
        values["model-index"] = [
            {"name": _printable(manifest.name), "results": [{"task": task, "dataset": dataset, "metrics": results}]}
        ]
    return ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()), "---", ""]


def _figures(manifest: Manifest, split: str) -> list[tuple[str, str, float, float, float]]:
    """Type, title, value and 95% interval of the main metrics of a split; [] without counts."""
    matrix = matrix_of(manifest.metrics[split], len(manifest.class_names))
    if matrix is None:
        return []
    right, texts = int(matrix.trace()), int(matrix.sum())
    return [
        ("accuracy", "accuracy", right / texts, *wilson_interval(right, texts)),
        ("f1", "macro F1", *macro_f1_interval(matrix)),
    ]


def _model(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "encoder", escaped(_encoder(manifest))
    yield "pooling", escaped(manifest.training.get("pooling", "cls"))
    reads = f"up to {manifest.max_length} wordpieces, {'lower case' if manifest.lower_case else 'cased'}"
    if manifest.windows > 1:
        reads = f"up to {manifest.windows} windows of {reads}"
    elif manifest.truncation == "head+tail":
        reads += f"; of a longer text the beginning ({manifest.head_fraction:.0%}) and the end"
    else:
        reads += "; of a longer text the beginning"
    yield "reads", reads
    names = manifest.class_names
    shown = ", ".join(map(escaped, names[:_MANY_CLASSES]))
    yield "classes", shown if len(names) <= _MANY_CLASSES else f"{shown}, … ({len(names)} in all)"
    yield "temperature", f"{manifest.temperature:.4g}"
    if len(names) == 2:
        yield "threshold", f"{manifest.threshold:g} on P({escaped(names[1])})"
    if manifest.engine:
        yield "engine", escaped(manifest.engine.get("precision"))
    if isinstance(manifest.cascade.get("settings"), dict):
        yield "cascade", "on: a linear model predicts the texts that it is sure of"


def _results(manifest: Manifest) -> list[str]:
    """The section of results; [] if none are recorded."""
    split = measured_split(manifest.metrics)
    found = _figures(manifest, split) if split else []
    if split is None or not found:
        return []
    metrics = manifest.metrics[split]
    lines = ["", "## Results", "", f"The {manifest.measured} on {metrics['n']:,} {_SPLIT_TITLES[split]} texts:", ""]
    rows = [(title, f"{value:.4f}", f"{low:.4f} to {high:.4f}") for _, title, value, low, high in found]
    for name, title in (
        ("roc_auc", "ROC AUC"),
        ("log_loss", "log loss"),
        ("expected_calibration_error", "calibration error"),
    ):
        if isinstance(metrics.get(name), int | float):
            rows.append((title, f"{metrics[name]:.4f}", ""))
    lines += _table(("metric", "value", "95% interval"), rows)
    per_class = metrics.get("per_class")
    if isinstance(per_class, Mapping) and len(per_class) <= _MANY_CLASSES:
        rows_of_classes = [
            (
                escaped(name),
                str(values["support"]),
                *map(_figure, (values["precision"], values["recall"], values["f1"])),
            )
            for name, values in per_class.items()
        ]
        lines += ["", *_table(("class", "texts", "precision", "recall", "F1"), rows_of_classes)]
    cascade = manifest.cascade.get("test")
    if isinstance(cascade, Mapping) and isinstance(cascade.get("accuracy"), Mapping):
        accuracy = _figure(cascade["accuracy"].get("cascade"))
        texts = f"{cascade.get('texts', 0):,} test texts"
        lines += ["", f"The cascade, with which a server answers, has an accuracy of {accuracy} on {texts}."]
    return lines


def _unsure(manifest: Manifest) -> list[str]:
    """The section of unsure predictions; [] without thresholds."""
    if not manifest.unsure:
        return []
    lines = ["", "## Unsure predictions", "", "A prediction below the threshold of its class is marked as unsure."]
    lines += ["", *(f"- {escaped(line)}" for line in unsure_lines(manifest.unsure))]
    rows = [
        (f"{row.confidence:.4f}", *_curve_cells(row.calibration), *_curve_cells(row.test))
        for row in curve_rows(manifest.unsure)
    ]
    titles = ("confidence from", "calibration texts", "errors (95% interval)", "test texts", "errors (95% interval)")
    return [*lines, "", *_table(titles, rows)] if rows else lines


def _curve_cells(point: CurvePoint | None) -> tuple[str, str]:
    """Coverage and error rate of a point of the curve."""
    if point is None:
        return "-", "-"
    return percent(point.coverage), f"{percent(point.error)} ({percent(point.low)} to {percent(point.high)})"


def _data(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "name", escaped(_source(manifest))
    counts = manifest.data.get("counts", {})
    for key, title in (("train_read", "training texts read"), ("test_read", "test texts read")):
        if isinstance(counts.get(key), int):
            yield title, f"{counts[key]:,}"
    removed = sum(counts.get(key) or 0 for key in ("duplicates", "conflicts", "in_test"))
    if counts:
        yield "removed as duplicates, contradictions or in test", f"{removed:,}"
    fingerprint = manifest.data.get("fingerprint")
    if isinstance(fingerprint, Mapping) and "all" in fingerprint:
        yield "fingerprint", escaped(fingerprint["all"])


def _training(manifest: Manifest) -> Iterator[tuple[str, str]]:
    options = manifest.training.get("options", {})
    for name, value in options.items():
        if isinstance(value, bool | int | float) or (name in _NAMED_OPTIONS and value is not None):
            yield escaped(name), escaped(f"{value:g}" if isinstance(value, float) else value)
    if teachers := options.get("teachers"):
        yield "teachers", str(len(teachers))
    for name in ("steps", "best_epoch"):
        if name in manifest.training:
            yield escaped(name), escaped(manifest.training[name])
    software = ", ".join(f"{name} {version}" for name, version in manifest.software.items())
    if software:
        yield "software", escaped(software)


def _limits(manifest: Manifest) -> Iterator[str]:
    licence = escaped(manifest.source.get("license") or "")
    stated = f"The imported model has the licence {licence}." if licence else "The version records no licence."
    yield f"{stated} It records no languages. Those of the encoder and of the data apply."
    split = measured_split(manifest.metrics)
    matrix = None if split is None else matrix_of(manifest.metrics[split], len(manifest.class_names))
    if split is None or matrix is None:
        yield "The version records no test: nothing is known about its errors."
    else:
        yield from (f"{escaped(one[:1].upper() + one[1:])}." for one in shortcoming_sentences(matrix, manifest, split))
        error = 1 - int(matrix.trace()) / int(matrix.sum())
        part = f"the {_SPLIT_TITLES[split]} part"
        yield f"{percent(error)} of texts like those of {part} get a wrong label; of other texts it may be more."
    if sentence := unusual_sentence(manifest.unusual):
        yield f"The version marks unusual texts: {escaped(sentence)}."


def _encoder(manifest: Manifest) -> str:
    """The name of the encoder; a name that may be a path loses its folders."""
    name = manifest.encoder["model_name"]
    may_be_path = name.startswith(("/", ".", "~")) or (bool(manifest.source) and not manifest.source.get("revision"))
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1] if may_be_path else name


def _source(manifest: Manifest) -> str:
    """The name of the data without folders, credentials or queries."""
    text = re.split(r"[?#]", str(manifest.data.get("source") or ""))[0]
    return _printable(re.split(r"[/\\]", text.rstrip("/\\"))[-1]) or "not recorded"


def _figure(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "-"


def _table(titles: Sequence[str], rows: Any) -> list[str]:
    lines = [titles, ["---"] * len(titles), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]
