"""The share of held-out texts that a version marks as unusual, as a sentence."""

from typing import Any

from textclf.report.drift_terms import percent
from textclf.unusual_reasons import MEANINGS


def unusual_sentence(counts: dict[str, Any]) -> str:
    """The sentence for Manifest.unusual; "" for a version that marks no text."""
    texts, flagged = counts.get("texts"), counts.get("flagged")
    if not isinstance(texts, int) or not isinstance(flagged, dict):
        return ""
    marked = sum(flagged.values())
    share = f" ({percent(marked / texts)})" if texts else ""
    reasons = ", ".join(f"{MEANINGS.get(reason, reason)} ({count:,})" for reason, count in flagged.items() if count)
    only = "" if counts.get("judges_words") else "; too few training texts to judge words, only texts without letters"
    return f"{marked:,} of {texts:,} held-out texts{share}{f': {reasons}' if reasons else ''}{only}"
