"""Titles of test families, tests and effects in drift reports, and the format of shares."""

TITLES = {
    "length": "length of the texts",
    "form": "form",
    "score": "scores and predicted classes",
    "content": "words",
    "embedding": "embeddings",
    "stages": "stages of the cascade",
    "error": "errors",
    "unknown": "unknown wordpieces",
    "continuation": "wordpieces that continue a word",
    "non_letter": "characters other than letters",
    "logits": "logits",
    "classes": "predicted classes",
    "words": "words",
    "embeddings": "embeddings",
    "disagreement": "disagreement of the stages",
    "error_rate": "error rate of the audits",
    "cusum": "errors over time",
}
EFFECTS = {
    "length": "KS distance",
    "unknown": "KS distance",
    "continuation": "KS distance",
    "non_letter": "KS distance",
    "logits": "KS distance",
    "classes": "total variation",
    "words": "AUC of a domain classifier",
    "embeddings": "MMD as a share of that of unlike samples",
    "disagreement": "change of the rate",
    "error_rate": "rise of the error rate",
    "cusum": "rise of the error rate",
}


def percent(share: float) -> str:
    """A share in percent with one decimal."""
    return f"{100 * share:.1f}%"
