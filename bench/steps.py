"""Steps of a benchmark, each done once: a killed run continues at the step where it stopped."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.reports import write_json

# Results of one step, as a JSON object.
Result = dict[str, Any]


class Steps:
    """Results of the steps of a run, kept in a JSON file.

    Args:
        path: the file; it need not exist.
        say: receives a line for each step.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path = path
        self.say = say

    def is_done(self, *names: str) -> bool:
        """Return whether all these steps are done."""
        return set(names) <= set(self.results())

    def results(self) -> dict[str, Result]:
        """Return the results so far, by the name of the step."""
        try:
            found: dict[str, Result] = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        return found

    def run(self, name: str, work: Callable[[], Result]) -> Result:
        """Do a step unless it is done; return its results, with the `seconds` that it took."""
        done = self.results()
        if name not in done:
            self.say(f"{name} …")
            began = time.perf_counter()
            found = work()
            done[name] = {"seconds": time.perf_counter() - began, **found}
            write_json(self.path, done)
        self.say(f"{name}: {done[name]['seconds']:.0f} s")
        return done[name]
