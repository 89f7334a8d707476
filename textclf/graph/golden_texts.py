"""The texts of an engine's self-check, whose logits the manifest records."""

# Written for this project: praise, blame, both, neither, a question, unusual characters, a long and a short text.
GOLDEN_TEXTS = (
    "A warm and funny film that never loses its nerve.",
    "Two hours of my life, gone, for a plot that a child would be ashamed of.",
    "The first half drags, but the last ten minutes are worth the ticket.",
    "The parcel arrived on Tuesday morning.",
    "Which of the two settings should I choose to make it start faster?",
    "café Zürich ①② 東京 … 😀 <br /> e-mail: someone@example.org",
    "It rained. " * 60 + "In the end I liked it more than I had expected.",
    "no",
)


def golden_texts_of(windows: int, max_length: int) -> tuple[str, ...]:
    """The golden texts of a version; if it reads several windows, one more text has two."""
    if windows == 1:
        return GOLDEN_TEXTS
    # Three wordpieces each: one and a half windows, so that the two overlap.
    return (*GOLDEN_TEXTS, "It rained. " * (max_length // 2) + "In the end I liked it.")
