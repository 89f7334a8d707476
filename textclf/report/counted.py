"""Numbers with the words that follow them, in singular or plural."""


def counted(count: int, one: str, many: str = "") -> str:
    """The number and the words for it, such as "1 text is" and "1,200 texts are"; `many` defaults to `one` and "s"."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
