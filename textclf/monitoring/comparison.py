"""Compare samples of a drift check with the reference of a version, and write the report."""

import time
from datetime import UTC, datetime

import numpy as np

from textclf.config import DriftOptions
from textclf.data.prediction_log.clock_check import AHEAD_SECONDS
from textclf.monitoring.audit_labels import audit_evidence_of
from textclf.monitoring.cascade_samples import comparable_samples, stage_notes
from textclf.monitoring.samples import (
    Draws,
    LabelledSample,
    LatestSample,
    OpenedVersion,
    blank_rows,
    with_held_out_outputs,
)
from textclf.report.drift_report import Compared, DriftReport, drift_report
from textclf.report.drift_summary import audit_advice, audit_sentence, missing_prior_sentence
from textclf.stats.drift_tests.compare import compare
from textclf.stats.drift_tests.estimated_accuracy import estimated_accuracy
from textclf.stats.drift_tests.label_shift import bbse_prior
from textclf.stats.drift_tests.unsure_shares import unsure_shares


def compare_samples(
    opened: OpenedVersion,
    latest: LatestSample,
    labelled: LabelledSample,
    baseline: LatestSample | None = None,
    *,
    options: DriftOptions,
    draws: Draws,
    now: float,
) -> DriftReport:
    """Compare the latest texts and their labels with the reference, and report the results.

    The texts are compared with those of `baseline` if it is given. Scores and embeddings are always compared with the
    reference. `now` is in seconds since the epoch.
    """
    manifest = opened.version.manifest
    notes = list(labelled.notes)
    if latest.damaged:
        notes.append(f"Damaged rows of the prediction log, left out: {latest.damaged}.")
    if latest.from_future:
        notes.append(
            f"Rows of the prediction log with times in the future, left out: {latest.from_future:,}. Check the clocks "
            f"of the servers and of this machine."
        )
    if opened.created > now + AHEAD_SECONDS:
        notes.append("The version was created in the future, so labels are not used until then. Check the clock.")
    reference, is_alike, left_out = comparable_samples(opened.reference, latest.features)
    notes += left_out
    sample = reference.features if baseline is None else with_held_out_outputs(baseline.features, reference.features)
    is_blank = blank_rows(latest.features)
    if is_blank.any():
        notes.append(f"Blank texts, not compared: {int(is_blank.sum()):,}.")
    features = latest.features.take(np.flatnonzero(is_alike & ~is_blank))
    if not len(features):
        features = reference.features.take(np.arange(0))  # An empty sample with the columns of the model.
    about_stages = stage_notes(sample, features, options.min_texts)
    notes += about_stages
    if not about_stages and len(features) and sample.embeddings is not None and features.embeddings is None:
        notes.append("The texts were logged without embeddings, so embeddings were not compared.")
    evidence = None
    if labelled.predictions is not None:
        evidence, left_out = audit_evidence_of(
            labelled.predictions, reference, opened.created, draws.stream(draws.AUDIT_ORDER), labelled.earlier
        )
        notes += left_out
    class_count = len(opened.class_names)
    results = compare(
        sample,
        features,
        options,
        draws.stream(draws.TESTS),
        class_count=class_count,
        audit=evidence,
        clock=time.perf_counter,
    )
    audits_since = _iso(labelled.audits_since)
    audits = audit_sentence(results, options.min_audits, audits_since, can_wait=labelled.can_wait)
    notes += [audits] if audits else []
    if latest.is_logged and (advice := audit_advice(results)) is not None:
        notes.append(advice)
    prior = accuracy = unsure = None
    if results.enough:
        prior = bbse_prior(reference.labels, reference.features.predicted, features.predicted, class_count)
        why_missing = missing_prior_sentence(prior)
        notes += [why_missing] if why_missing else []
        accuracy = estimated_accuracy(reference.features, reference.labels, features, manifest.temperature)
        unsure = unsure_shares(reference.features, features, manifest.temperature, manifest.unsure_below)
    return drift_report(
        results,
        sample,
        features,
        time=now,
        compared=Compared(
            model=manifest.name,
            version=opened.version.id,
            source=latest.source,
            texts=len(features),
            found=latest.found,
            since=_iso(latest.since),
            until=_iso(latest.until),
            reference="held-out texts of the version"
            if baseline is None
            else f"{baseline.source}; scores and embeddings are compared with held-out texts of the version",
            reference_texts=len(sample),
            reference_found=reference.n_all if baseline is None else baseline.found,
            other_versions=latest.other_versions,
            alpha=options.alpha,
            audits_since=audits_since,
        ),
        options=options,
        vocabulary=opened.vocabulary,
        class_names=opened.class_names,
        temperature=manifest.temperature,
        prior=prior,
        accuracy=accuracy,
        notes=notes,
        unsure=unsure,
    )


def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
