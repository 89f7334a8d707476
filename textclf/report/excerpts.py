"""The beginning of a text, on one line."""


def excerpt(text: str, max_chars: int = 200) -> str:
    """The text without line breaks and repeated blanks, cut to `max_chars` characters with "…" at the end if longer."""
    line = " ".join(text.split())
    return line if len(line) <= max_chars else f"{line[:max_chars]}…"
