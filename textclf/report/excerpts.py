"""The beginning of a text, on one line."""

# Characters of a text on an HTML page.
MAX_TEXT_CHARS = 600


def excerpt(text: str, max_chars: int = 200) -> str:
    """The text without line breaks and repeated blanks, cut to `max_chars` characters with "…" at the end if longer."""
    line = " ".join(text.split())
    return line if len(line) <= max_chars else f"{line[:max_chars]}…"
