"""Resamples in several processes. Results are appended to a file at once: a killed run continues where it stopped."""

import ast
import hashlib
import importlib
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from bench.errors import BenchError


class Resample(NamedTuple):
    """One comparison to make.

    Attributes:
        scenario: name of the scenario.
        size: number of texts in the window.
        number: index of the resample within its scenario and size, from 0.
    """

    scenario: str
    size: int
    number: int


# Results of one resample, as a JSON object.
Result = dict[str, Any]
_SAY_SECONDS = 30.0
_SCENARIOS = "bench.drift.scenarios"
# Set in each process before its first resample.
_compare: Callable[[Resample], Result]


def fingerprint(*of: object) -> str:
    """Return 16 hex digits that change with the values and with the code that computes the results.

    Comments, docstrings and line breaks of the code do not count.
    """
    importlib.import_module(_SCENARIOS)
    names = sorted(name for name in sys.modules if name.startswith("textclf.stats."))
    digest = hashlib.sha256(json.dumps(of, default=str).encode())
    for name in [*names, "textclf.drift.features", "textclf.drift.reference", _SCENARIOS]:
        source = sys.modules[name].__file__
        digest.update(f"{name}\n{_code(Path(source).read_text(encoding='utf-8')) if source else ''}\n".encode())
    return digest.hexdigest()[:16]


def read_results(path: Path) -> dict[Resample, Result]:
    """Read the results so far; an incomplete line of a killed run is ignored."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            result = json.loads(line)
            found[Resample(result["scenario"], result["size"], result["number"])] = result
        except (ValueError, KeyError, TypeError):
            continue
    return found


def run_missing(
    wanted: Sequence[Resample],
    path: Path,
    prepare: Callable[[], Callable[[Resample], Result]],
    jobs: int,
    say: Callable[[str], None] = lambda _: None,
) -> dict[Resample, Result]:
    """Return the results of all wanted resamples; compute those that the file lacks, and append them.

    Args:
        wanted: resamples.
        path: file of JSON lines; it may exist from an earlier run.
        prepare: called once in each process; returns the function that compares. It can be pickled.
        jobs: number of processes, each with one thread.
        say: receives progress lines.

    Raises:
        BenchError: if a process cannot be prepared, or ends; its output tells why.
    """
    found = read_results(path)
    missing = [resample for resample in wanted if resample not in found]
    if missing:
        _end_torn_line(path)
        start = said = time.monotonic()
        spawn = multiprocessing.get_context("spawn")
        # multiprocessing.Pool would restart a process that fails to prepare, without end.
        with ProcessPoolExecutor(jobs, spawn, _start, (prepare,)) as pool, open(path, "a") as file:
            for count, result in enumerate(_as_they_come(pool, missing), 1):
                file.write(json.dumps(result) + "\n")
                file.flush()
                found[Resample(result["scenario"], result["size"], result["number"])] = result
                if time.monotonic() - said > _SAY_SECONDS or count == len(missing):
                    said = time.monotonic()
                    rate = count / (said - start)
                    left = (len(missing) - count) / rate / 60
                    say(f"{count:,} of {len(missing):,} resamples, {rate:.2f} a second, {left:.0f} minutes to go")
    return {resample: found[resample] for resample in wanted}


def _as_they_come(pool: ProcessPoolExecutor, missing: Sequence[Resample]) -> Iterator[Result]:
    try:
        for done in as_completed([pool.submit(_one, resample) for resample in missing]):
            yield done.result()
    except BrokenProcessPool as error:
        raise BenchError(f"a process that compares has ended: {error}; its output tells why") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _start(prepare: Callable[[], Callable[[Resample], Result]]) -> None:
    global _compare
    threadpool_limits(1)
    _compare = prepare()


def _one(resample: Resample) -> Result:
    return _compare(resample)


def _end_torn_line(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read() != b"\n":
                file.write(b"\n")


def _code(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
