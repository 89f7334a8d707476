"""Model versions as text for people: the list of a store, one version, two side by side.

Reads manifests, and the drift reference of a single version. Values that a manifest lacks are shown as "-".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from textclf.drift.reference import REFERENCE_FILE, load_reference
from textclf.errors import ModelStoreError
from textclf.report.shortcomings import version_shortcomings
from textclf.report.unsure import unsure_lines
from textclf.report.unusual import unusual_sentence
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelStore, ModelVersion

NOTHING = "-"
# Name of a metric -> its title, and whether more is better.
_METRICS = {
    "accuracy": ("accuracy", True),
    "macro_f1": ("macro F1", True),
    "roc_auc": ("ROC AUC", True),
    "log_loss": ("log loss", False),
    "expected_calibration_error": ("calibration error", False),
}
# Dotted name of a result of a cascade -> its title, and whether more is better.
_CASCADE_RESULTS: dict[str, tuple[str, bool | None]] = {
    "texts": ("texts", None),
    "exit_share": ("share that the linear stage predicts", None),
    "accuracy.encoder": ("accuracy: encoder", True),
    "accuracy.linear": ("accuracy: linear stage", True),
    "accuracy.combination": ("accuracy: both combined", True),
    "accuracy.cascade": ("accuracy: cascade", True),
    "accuracy_on_exits.linear": ("  linear stage, where it predicts", True),
    "accuracy_on_exits.encoder": ("  encoder, on those texts", True),
    "expected_calibration_error.encoder": ("calibration error: encoder", False),
    "expected_calibration_error.cascade": ("calibration error: cascade", False),
    "expected_calibration_error.linear_stage": ("  where the linear stage predicts", False),
    "expected_calibration_error.encoder_stage": ("  where the encoder predicts", False),
}
# Split of a cascade's results -> its name in the fingerprint of the data; the most important first.
_CASCADE_SPLITS = {"test": "test", "validation": "validation_calibrate"}
_SPLITS = ("test", "validation", "train")
# Configuration of a version; also the options of `training`, and `data` without the fingerprints.
_CHOSEN = (
    "name", "class_names", "encoder", "max_length", "truncation", "head_fraction", "windows", "lower_case",
    "temperature", "threshold", "software",
)  # fmt: skip
_WARNINGS = {
    True: "",
    False: ": NOT the same texts, so these numbers are not comparable; score both versions on one set",
    None: ": the manifests do not record whether the texts are the same; compare with care",
}
_MANY_CLASSES = 20
_WEAKEST = 10


def describe_versions(store: ModelStore) -> str:
    """The versions of a store as a table, newest first; `*` marks the current one.

    A version that can't be read has a line, too, and its reason below the table.
    """
    ids = store.version_ids()
    if not ids:
        return f"{store.path}: no version yet; textclf train saves the first"
    current = store.current_id()
    titles = (
        "", "version", "created (UTC)", "encoder", "classes", "test accuracy", "macro F1", "cascade", "parts", "parent"
    )  # fmt: skip
    rows: list[Sequence[str]] = [titles]
    damaged = []
    for version_id in reversed(ids):
        mark = "*" if version_id == current else ""
        try:
            version = store.open(version_id)
        except ModelStoreError as error:
            rows.append((mark, version_id, "unreadable", *[NOTHING] * (len(titles) - 3)))
            damaged.append(str(error))
            continue
        manifest = version.manifest
        rows.append(
            (
                mark,
                version_id,
                _time(manifest.created),
                manifest.encoder["model_name"],
                str(len(manifest.class_names)),
                _figure(_metric(manifest, "test", "accuracy")),
                _figure(_metric(manifest, "test", "macro_f1")),
                _cascade_share(manifest),
                " ".join(_parts(version)) or NOTHING,
                manifest.parent or NOTHING,
            )
        )
    remedy = f"make an existing version current (textclf versions promote ID {store.option})"
    if current is None:
        damaged.append(f"no version is current: {remedy}")
    elif current not in ids:
        damaged.append(f"current names {current}, which is missing: {remedy}")
    return "\n".join([*table(rows), *damaged])


def describe_version(version: ModelVersion) -> str:
    """All about one version: warnings, model, metrics, data, options and software."""
    manifest = version.manifest
    missing = sorted({path.split("/", 1)[0] for path in manifest.files} - set(_parts(version)))
    cut = f"{manifest.max_length} wordpieces, {manifest.truncation}"
    if manifest.truncation == "head+tail":
        cut += f" ({manifest.head_fraction:.0%} head)"
    if manifest.windows > 1:
        cut = f"up to {manifest.windows} windows of {manifest.max_length} wordpieces, trained on {manifest.truncation}"
    head = [
        ("version", manifest.id),
        ("model", manifest.name),
        ("path", str(version.path)),
        ("created", f"{_time(manifest.created)} UTC"),
        ("parent", manifest.parent or NOTHING),
        ("encoder", manifest.encoder["model_name"]),
        ("", manifest.encoder["name_to_handle"]),
        ("classes", _some(manifest.class_names)),
        ("texts cut to", f"{cut}, {'lower case' if manifest.lower_case else 'cased'}"),
        ("temperature", f"{manifest.temperature:.4g}"),
        (
            "threshold",
            f"{manifest.threshold:g} on P({manifest.class_names[1]})" if len(manifest.class_names) == 2 else "",
        ),
        ("parts", " ".join(_parts(version)) + (f"  (missing: {' '.join(missing)})" if missing else "")),
    ]
    if manifest.engine:
        head += [("engine", f"{manifest.engine.get('precision')}, {manifest.engine.get('graph')} graph")]
        head += [("", f"refused {reason}") for reason in manifest.engine.get("refused", [])]
    head += _cascade_state(manifest)
    head += [("unusual texts", unusual_sentence(manifest.unusual))]
    head += [("unsure" if row == 0 else "", line) for row, line in enumerate(unsure_lines(manifest.unsure))]
    if version.has(REFERENCE_FILE):
        head += [("reference", _reference(version.part(REFERENCE_FILE)))]
    warnings = [f"warning: {sentence}" for sentence in version_shortcomings(version)]
    lines = [*warnings, *([""] if warnings else []), *table([row for row in head if row[1]])]
    if splits := _splits(manifest):
        titles = ["", "texts", *(title for title, _ in _METRICS.values())]
        rows = [titles] + [
            [split, _texts(manifest, split), *(_figure(_metric(manifest, split, name)) for name in _METRICS)]
            for split in splits
        ]
        lines += ["", f"metrics of the {manifest.measured}", *_indent(table(rows))]
        lines += _per_class(manifest, splits[0])
    if splits := _cascade_splits(manifest):
        rows = [["", *splits]] + [
            [title, *(_cascade_figure(name, _cascade_value(manifest, split, name)) for split in splits)]
            for name, (title, _) in _CASCADE_RESULTS.items()
        ]
        lines += ["", "cascade", *_indent(table(rows))]
    for title in ("source", "data", "training", "calibration", "parity", "software"):
        if values := getattr(manifest, title):
            lines += ["", title, *_indent(table([(key, _value(value)) for key, value in _flat(values)]))]
    return "\n".join(lines)


def compare_versions(a: ModelVersion, b: ModelVersion) -> str:
    """Two versions side by side: metrics with their difference (b - a), then the configuration that differs.

    Warns if the versions were tested on different texts.
    """
    one, two = a.manifest, b.manifest
    lines = [f"a  {one.id}  {one.name}", f"b  {two.id}  {two.name}"]
    if one.parent == two.id:
        lines.append("b is the parent of a")
    elif two.parent == one.id:
        lines.append("a is the parent of b")
    for split in (split for split in _splits(one) if split in _splits(two)):
        same_texts = _same_texts(one, two, split)
        rows = [["", "a", "b", "b - a", ""], ["texts", *(_texts(each, split) for each in (one, two)), "", ""]]
        for name, (title, more_is_better) in _METRICS.items():
            before, after = _metric(one, split, name), _metric(two, split, name)
            difference, verdict = _difference(before, after, more_is_better)
            rows.append([title, _figure(before), _figure(after), difference, "" if same_texts is False else verdict])
        lines += ["", f"metrics on {split}{_WARNINGS[same_texts]}", *_indent(table(rows))]
    lines += _compared_cascades(one, two)
    differing = list(_differences(_configuration(one), _configuration(two)))
    if differing:
        lines += ["", "what differs", *_indent(table([("", "a", "b"), *differing]))]
    else:
        lines += ["", "nothing else differs"]
    return "\n".join(lines)


def _parts(version: ModelVersion) -> list[str]:
    return [part for part in sorted({path.split("/", 1)[0] for path in version.manifest.files}) if version.has(part)]


def _reference(path: Path) -> str:
    """The size of the drift reference, or the reason why it can't be read."""
    try:
        reference = load_reference(path)
    except ModelStoreError as error:
        return f"unreadable: {error}"
    size = f"{len(reference.labels)} of {reference.n_all} held-out texts"
    projection = reference.projection
    directions = "no embeddings" if projection is None else f"embeddings in {len(projection.components)} directions"
    return f"{size}, error rate {reference.error_rate:.2%}, {directions}"


def _splits(manifest: Manifest) -> list[str]:
    """The splits with metrics, the most important first."""
    return sorted(
        manifest.metrics, key=lambda split: (_SPLITS.index(split) if split in _SPLITS else len(_SPLITS), split)
    )


def _metric(manifest: Manifest, split: str, name: str) -> float | None:
    value = manifest.metrics.get(split, {}).get(name)
    return value if isinstance(value, int | float) else None


def _texts(manifest: Manifest, split: str) -> str:
    return str(_metric(manifest, split, "n") or NOTHING)


def _per_class(manifest: Manifest, split: str) -> list[str]:
    per_class = manifest.metrics[split].get("per_class")
    if not isinstance(per_class, dict):
        return []
    title, shown = f"classes on {split}", list(per_class.items())
    if len(shown) > _MANY_CLASSES:
        title += f", the {_WEAKEST} of {len(shown)} with the lowest F1"
        shown = sorted(shown, key=lambda item: -1.0 if item[1].get("f1") is None else item[1]["f1"])[:_WEAKEST]
    rows = [["", "texts", "precision", "recall", "F1"]]
    for name, values in shown:
        found = (_figure(values.get(column)) for column in ("precision", "recall", "f1"))
        rows.append([name, str(values.get("support", NOTHING)), *found])
    return ["", title, *_indent(table(rows))]


def _cascade_state(manifest: Manifest) -> list[tuple[str, str]]:
    """The state of the cascade, as rows of a table; [] for a version without one."""
    if not manifest.cascade:
        return []
    settings, why_off = manifest.cascade.get("settings"), str(manifest.cascade.get("why_off") or "")
    if not isinstance(settings, dict):
        return [("cascade", f"off: {why_off}")]
    encoder, linear, confidence = (
        _value(settings.get(name)) for name in ("encoder_weight", "linear_weight", "exit_confidence")
    )
    rest = "the encoder" if linear == "0" else f"encoder and linear stage together, weighted {encoder} and {linear}"
    early = "" if confidence == NOTHING else f"the linear stage predicts from a probability of {confidence} on, else "
    return [("cascade", f"on: {early}{rest}"), *([("partly off", why_off)] if why_off else [])]


def _cascade_share(manifest: Manifest) -> str:
    """The share of texts that the linear stage predicts, for a column."""
    if not manifest.cascade:
        return NOTHING
    if not isinstance(manifest.cascade.get("settings"), dict):
        return "off"
    splits = _cascade_splits(manifest)
    share = _cascade_value(manifest, splits[0], "exit_share") if splits else None
    return _cascade_figure("exit_share", share)


def _cascade_splits(manifest: Manifest) -> list[str]:
    return [split for split in _CASCADE_SPLITS if isinstance(manifest.cascade.get(split), dict)]


def _cascade_value(manifest: Manifest, split: str, name: str) -> float | None:
    value = dict(_flat(manifest.cascade[split])).get(name)
    return value if isinstance(value, int | float) else None


def _cascade_figure(name: str, value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:.1%}" if name == "exit_share" else f"{value:.4f}" if isinstance(value, float) else str(value)


def _compared_cascades(one: Manifest, two: Manifest) -> list[str]:
    """Lines: the cascade of each version, and their results with the difference if both have one; [] if none has."""
    if not (one.cascade or two.cascade):
        return []
    rows: list[Sequence[str]] = [
        (name, text)
        for name, manifest in (("a", one), ("b", two))
        for _, text in _cascade_state(manifest) or [("", "none")]
    ]
    lines = ["", "cascade", *_indent(table(rows))]
    for split in (split for split in _cascade_splits(one) if split in _cascade_splits(two)):
        same_texts = _same_texts(one, two, _CASCADE_SPLITS[split])
        rows = [["", "a", "b", "b - a", ""]]
        for name, (title, more_is_better) in _CASCADE_RESULTS.items():
            before, after = (_cascade_value(each, split, name) for each in (one, two))
            difference, verdict = "", ""
            if more_is_better is not None:
                difference, verdict = _difference(before, after, more_is_better)
            shown = (_cascade_figure(name, each) for each in (before, after))
            rows.append([title, *shown, difference, "" if same_texts is False else verdict])
        lines += ["", f"cascade on {split}{_WARNINGS[same_texts]}", *_indent(table(rows))]
    return lines


def _difference(before: float | None, after: float | None, more_is_better: bool) -> tuple[str, str]:
    if before is None or after is None:
        return NOTHING, ""
    change = after - before
    if round(change, 4) == 0:
        return "0.0000", "same"
    return f"{change:+.4f}", "better" if (change > 0) == more_is_better else "worse"


def _same_texts(one: Manifest, two: Manifest, split: str) -> bool | None:
    """Whether both were measured on the same texts; None if the manifests do not record it."""
    if one.class_names != two.class_names:
        return None  # The fingerprint depends on the list of classes.
    before, after = one.data.get("fingerprint"), two.data.get("fingerprint")
    if isinstance(before, dict) and isinstance(after, dict):
        before, after = before.get(split), after.get(split)
        return None if before is None or after is None else bool(before == after)
    # A fingerprint of all the data: new training texts change it while the test texts stay.
    return True if before is not None and before == after else None


def _configuration(manifest: Manifest) -> dict[str, str]:
    values = {key: getattr(manifest, key) for key in _CHOSEN}
    values["data"] = {key: value for key, value in manifest.data.items() if key != "fingerprint"}
    values["training"] = manifest.training.get("options", {})
    return {name: _value(value) for name, value in _flat(values)}


def _differences(one: dict[str, str], two: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    for name in sorted(one.keys() | two.keys()):
        before, after = one.get(name, NOTHING), two.get(name, NOTHING)
        if before != after:
            yield name, before, after


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) pairs of nested dicts, in their order."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _value(value: object) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return _some([_value(item) for item in value])
    return str(value)


def _some(items: Sequence[str], max_shown: int = 12) -> str:
    shown = ", ".join(items[:max_shown])
    return shown if len(items) <= max_shown else f"{shown}, … ({len(items)} in all)"


def _figure(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"


def _time(iso: str) -> str:
    return iso[:16].replace("T", " ")


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned lines, with two spaces between columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _indent(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
