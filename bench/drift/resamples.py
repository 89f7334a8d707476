"""Resamples spread over processes, their figures kept in a file as they come: a killed run goes on where it was."""

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
        scenario: its name.
        size: texts in the window.
        number: of this resample among those of the scenario and size, from 0.
    """

    scenario: str
    size: int
    number: int


# What a resample gives, as JSON holds it.
Figures = dict[str, Any]
_SAY_SECONDS = 30.0
_SCENARIOS = "bench.drift.scenarios"
# Set in each process before its first resample.
_compare: Callable[[Resample], Figures]


def fingerprint(*of: object) -> str:
    """16 hex digits that change with the values, and with the code that the figures come from.

    Its comments, docstrings and line breaks do not count.
    """
    importlib.import_module(_SCENARIOS)
    names = sorted(name for name in sys.modules if name.startswith("textclf.stats."))
    digest = hashlib.sha256(json.dumps(of, default=str).encode())
    for name in [*names, "textclf.drift.features", "textclf.drift.reference", _SCENARIOS]:
        source = sys.modules[name].__file__
        digest.update(f"{name}\n{_code(Path(source).read_text(encoding='utf-8')) if source else ''}\n".encode())
    return digest.hexdigest()[:16]


def read_results(path: Path) -> dict[Resample, Figures]:
    """What was found so far; a line that a killed run left half is not counted."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            figures = json.loads(line)
            found[Resample(figures["scenario"], figures["size"], figures["number"])] = figures
        except (ValueError, KeyError, TypeError):
            continue
    return found


def run_missing(
    wanted: Sequence[Resample],
    path: Path,
    prepare: Callable[[], Callable[[Resample], Figures]],
    jobs: int,
    say: Callable[[str], None] = lambda _: None,
) -> dict[Resample, Figures]:
    """The figures of all that is wanted: those in the file, and those that are computed now and written to it.

    Args:
        wanted: resamples.
        path: a file of JSON lines, of this run or one before it.
        prepare: called once in each process, gives what compares; both it and a Resample can be pickled.
        jobs: processes, with one thread each for their products of matrices.
        say: gets a line now and then.

    Raises:
        BenchError: a process could not be prepared, or ended; its output says why.
    """
    found = read_results(path)
    missing = [resample for resample in wanted if resample not in found]
    if missing:
        _end_torn_line(path)
        start = said = time.monotonic()
        spawn = multiprocessing.get_context("spawn")
        # Not multiprocessing.Pool, which starts processes that can't be prepared again and again.
        with ProcessPoolExecutor(jobs, spawn, _start, (prepare,)) as pool, open(path, "a") as file:
            for count, figures in enumerate(_as_they_come(pool, missing), 1):
                file.write(json.dumps(figures) + "\n")
                file.flush()
                found[Resample(figures["scenario"], figures["size"], figures["number"])] = figures
                if time.monotonic() - said > _SAY_SECONDS or count == len(missing):
                    said = time.monotonic()
                    rate = count / (said - start)
                    left = (len(missing) - count) / rate / 60
                    say(f"{count:,} of {len(missing):,} resamples, {rate:.2f} a second, {left:.0f} minutes to go")
    return {resample: found[resample] for resample in wanted}


def _as_they_come(pool: ProcessPoolExecutor, missing: Sequence[Resample]) -> Iterator[Figures]:
    try:
        for done in as_completed([pool.submit(_one, resample) for resample in missing]):
            yield done.result()
    except BrokenProcessPool as error:
        raise BenchError(f"a process that compares has ended: {error}; its output says why") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _start(prepare: Callable[[], Callable[[Resample], Figures]]) -> None:
    global _compare
    threadpool_limits(1)
    _compare = prepare()


def _one(resample: Resample) -> Figures:
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
