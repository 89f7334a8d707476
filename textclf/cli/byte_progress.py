"""Shows how far a file has been read."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from textclf.progress_bar import progress_bar


@contextlib.contextmanager
def byte_progress(path: Path) -> Iterator[Callable[[int], None]]:
    """Show a progress bar over the bytes of a file; yields a function that sets the position."""
    done = 0
    bar: Any = None
    with contextlib.ExitStack() as until_the_end:

        def move_to(position: int) -> None:
            nonlocal done, bar
            if bar is None:
                # Created late, so that loading the model does not count as slow reading.
                bar = until_the_end.enter_context(progress_bar(path.stat().st_size, path.name, "B", unit_scale=True))
            bar.update(position - done)
            done = position

        yield move_to
