"""Lists in messages."""

from collections.abc import Sequence


def shortened(names: Sequence[object], max_names: int = 3) -> str:
    """The first names, and the number of the others."""
    others = f" and {len(names) - max_names:,} more" if len(names) > max_names else ""
    return ", ".join(map(str, names[:max_names])) + others
