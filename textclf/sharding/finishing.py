"""The end of a run: the sums of all shards in _SUCCESS, and the drift of the texts against the reference."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textclf.config import DriftOptions
from textclf.drift.features import TextFeatures
from textclf.errors import InputError
from textclf.listing import shortened
from textclf.sharding.drift_sample import SampledRows, largest_number, read_sample, rows_up_to
from textclf.sharding.ledger import Ledger
from textclf.sharding.output_folder import DRIFT_JSON, DRIFT_PAGE, SHARDS, SUCCESS
from textclf.sharding.shard_scoring import COUNTED

FORMAT = 1


@dataclass(frozen=True)
class RunSummary:
    """The sums of a run.

    Attributes:
        rows, scored: rows of the input, and those with a prediction.
        counts: predictions by label, errors by reason, predictions by stage, unusual texts by reason.
        files: hash of each shard's file.
        drift: verdict, sentence and number of the texts that were compared; None without a comparison.
    """

    rows: int
    scored: int
    counts: dict[str, dict[str, int]]
    files: dict[str, str]
    drift: dict[str, Any] | None

    def lines(self) -> Iterator[str]:
        """The sums in words, a line each."""
        yield f"rows: {self.rows:,}, scored: {self.scored:,}"
        if self.counts["labels"]:
            yield "labels: " + ", ".join(
                f"{label} {count:,} ({count / self.scored:.1%})" for label, count in self.counts["labels"].items()
            )
        if self.counts["errors"]:
            yield "errors: " + ", ".join(f"{reason} {count:,}" for reason, count in self.counts["errors"].items())
        if self.drift is not None:
            yield f"drift: {self.drift['sentence']}"


def finish(
    ledger: Ledger, model_path: Path, *, clock: Callable[[], float] = time.time, say: Callable[[str], None] = print
) -> RunSummary:
    """Write _SUCCESS and the drift report, once every shard is done.

    Args:
        ledger: the run.
        model_path: folder of the version.
        clock: seconds since the epoch.
        say: receives a line about what is missing for the drift report.

    Raises:
        InputError: if a shard is missing or damaged.
        OSError: if the storage fails.
    """
    plan, folder = ledger.plan, ledger.folder
    if missing := sorted(set(range(plan.shards)) - ledger.done()):
        raise InputError(
            f"{folder}: expected all {plan.shards} shards, found {plan.shards - len(missing)}; missing: "
            f"{shortened(missing, 10)}; run the command without --finish"
        )
    folder.remove_leftovers()
    rows = scored = 0
    counters: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
    files = {}
    for shard in range(plan.shards):
        result = ledger.result(shard)
        rows, scored = rows + result.rows, scored + result.scored
        files[result.file] = result.sha256
        for name, counter in counters.items():
            counter.update(getattr(result, name))
    drift = _drift(ledger, model_path, scored, clock, say) if plan.drift else None
    counts = {name: dict(sorted(counter.items())) for name, counter in counters.items()}
    summary = RunSummary(rows, scored, counts, files, drift)
    folder.write(SUCCESS, _success_text(ledger, summary).encode())
    return summary


def _success_text(ledger: Ledger, summary: RunSummary) -> str:
    plan = ledger.plan
    values = {
        "format": FORMAT,
        "version": plan.version,
        "manifest_sha256": plan.manifest_sha256,
        "plan": plan.hash,
        "shards": plan.shards,
        "rows": summary.rows,
        "scored": summary.scored,
        **summary.counts,
        "label_shares": {label: round(count / summary.scored, 6) for label, count in summary.counts["labels"].items()},
        "drift": summary.drift,
        "files": summary.files,
    }
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"


def _drift(
    ledger: Ledger, model_path: Path, scored: int, clock: Callable[[], float], say: Callable[[str], None]
) -> dict[str, Any] | None:
    features = sampled_features(ledger)
    if features is None:
        return None
    try:
        from textclf.monitoring.comparison import compare_samples
        from textclf.monitoring.samples import Draws, LabelledSample, LatestSample, open_version
        from textclf.report.drift_html import drift_page
    except ModuleNotFoundError as error:
        say(f"drift was not compared: it needs {error.name}; install textclf with its extra `monitor`")
        return None
    report = compare_samples(
        open_version(model_path),
        LatestSample(features, "texts that were scored in shards", scored),
        LabelledSample(),
        options=DriftOptions(),
        draws=Draws(0),
        now=clock(),
    )
    ledger.folder.write(DRIFT_JSON, report.to_json().encode())
    ledger.folder.write(DRIFT_PAGE, drift_page(report).encode())
    return {"verdict": report.verdict, "sentence": report.sentence, "texts": len(features)}


def sampled_features(ledger: Ledger) -> TextFeatures | None:
    """The features of a uniform sample of all rows; None without rows.

    Raises:
        InputError: if a file of the samples is missing or damaged.
    """
    number = largest_number(_samples(ledger, with_features=False))
    parts = (rows_up_to(sample, number) for sample in _samples(ledger, with_features=True))
    found = [part for part in parts if part is not None]
    return TextFeatures.concatenate(found) if found else None


def _samples(ledger: Ledger, with_features: bool) -> Iterator[SampledRows]:
    for shard in range(ledger.plan.shards):
        name = f"{SHARDS}/{ledger.plan.stem(shard)}.npz"
        content = ledger.folder.read(name) or b""
        yield read_sample(content, f"{ledger.folder}/{name}", with_features=with_features)
