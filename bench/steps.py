"""A run of several steps, each of which is done once: a killed run goes on at the step where it was."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.reports import write_json

# What a step found, as JSON holds it.
Figures = dict[str, Any]


class Steps:
    """What the steps of a run found, in a file; the constructor only stores.

    Args:
        path: the file.
        say: gets a line for each step.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path = path
        self.say = say

    def is_done(self, *names: str) -> bool:
        """Whether all these steps are."""
        return set(names) <= set(self.figures())

    def figures(self) -> dict[str, Figures]:
        """What was found so far, by the name of the step."""
        try:
            found: dict[str, Figures] = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        return found

    def run(self, name: str, work: Callable[[], Figures]) -> Figures:
        """Do a step, if it was not done before: its figures, and the `seconds` that it took."""
        done = self.figures()
        if name not in done:
            self.say(f"{name} …")
            began = time.perf_counter()
            found = work()
            done[name] = {"seconds": time.perf_counter() - began, **found}
            write_json(self.path, done)
        self.say(f"{name}: {done[name]['seconds']:.0f} s")
        return done[name]
