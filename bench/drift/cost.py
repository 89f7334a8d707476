"""Cost of a drift check, by step and family of tests, and of the MMD next to alibi-detect's."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bench.arithmetic import markdown_table, ratios, spread
from bench.drift.features import ScoredTexts
from bench.drift.scenarios import pools_of
from bench.drift.texts import FILMS, TRAINED
from bench.errors import BenchError
from bench.machine import keep_to_cores
from bench.serving.engines import Worker
from bench.serving.servers import ROOT
from textclf.config import DriftOptions
from textclf.data.prediction_log.log import PredictionLog, logged_predictions
from textclf.drift.features import TextFeatures
from textclf.drift.reference import Reference, load_reference, projection_of, save_reference
from textclf.files import atomic_file
from textclf.stats.drift_tests.compare import compare

OURS = "project"
MMD_ENGINES = (OURS, "alibi-torch", "alibi-tensorflow")
TITLES = {OURS: "this project", "alibi-torch": "alibi-detect, PyTorch", "alibi-tensorflow": "alibi-detect, TensorFlow"}
STARTING, REFERENCE, READING, ALL = "starting monitoring.py", "loading the reference", "reading the log", "all of it"
_VERSION = "bench"
# Time between two logged texts.
_SPAN_SECONDS = 1.0


def check_costs(
    texts: Mapping[str, ScoredTexts], folder: Path, options: DriftOptions, size: int, rounds: int, cores: int, seed: int
) -> list[dict[str, float]]:
    """Time a check of `size` logged film reviews against a reference of `size`; return seconds by step, per round.

    Raises:
        BenchError: if there are too few cores or reviews.
    """
    keep_to_cores(cores)
    reference, latest = _two_samples(texts, size, seed)
    folder.mkdir(parents=True, exist_ok=True)
    path, log_path = folder / "reference.npz", folder / "predictions.sqlite"
    save_reference(reference, path)
    for leftover in folder.glob(f"{log_path.name}*"):
        leftover.unlink()
    log = PredictionLog(f"sqlite:///{log_path}", clock=time.time)
    with contextlib.closing(log):
        times = (time.time() - _SPAN_SECONDS * np.arange(len(latest), 0, -1)).tolist()
        log.append(logged_predictions(times, _VERSION, [str(each) for each in latest.predicted], latest))
        log.close()  # Each check opens the log itself.
        with threadpool_limits(cores):
            return [_one_check(log, path, options, size, seed) for _ in range(rounds)]


def _one_check(log: PredictionLog, path: Path, options: DriftOptions, size: int, seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import monitoring"], cwd=ROOT, check=True)
    start = time.perf_counter()
    reference = load_reference(path).features
    loaded = time.perf_counter()
    latest = log.read(_VERSION, max_rows=size, rng=rng).features
    log.close()
    read = time.perf_counter()
    results = compare(reference, latest, options, rng, class_count=reference.logits.shape[1], clock=time.perf_counter)
    end = time.perf_counter()
    families = {family.name: family.seconds or 0.0 for family in results.families}
    return {STARTING: start - begin, REFERENCE: loaded - start, READING: read - loaded, **families, ALL: end - begin}


def mmd_costs(
    texts: Mapping[str, ScoredTexts],
    folder: Path,
    engines: Sequence[str],
    sizes: Sequence[int],
    permutations: int,
    rounds: int,
    cores: int,
    peers_python: str | None,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """Return the responses of each engine (bench.drift.mmd_worker) by size, one per round; engines take turns.

    Raises:
        BenchError: if an engine ends before it responds, or there are too few cores or reviews.
    """
    keep_to_cores(cores)
    reference, latest = _two_samples(texts, max(sizes), seed)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = folder / "mmd.npz"
    with atomic_file(arrays, "wb") as file:
        np.savez(file, reference=np.asarray(reference.features.embeddings), latest=np.asarray(latest.embeddings))
    found: dict[str, dict[int, list[dict[str, Any]]]] = {name: {size: [] for size in sizes} for name in engines}
    with contextlib.ExitStack() as stack:
        workers = []
        for name in engines:
            python = sys.executable if name == OURS else peers_python or sys.executable
            worker = Worker(name, python, arrays, cores, folder / f"mmd-{name}.log", module="bench.drift.mmd_worker")
            stack.callback(worker.stop)
            workers.append(worker)
        for number in range(rounds):
            for size in sizes:
                for worker in workers if number % 2 == 0 else reversed(workers):
                    say(f"round {number + 1} of {rounds}: {worker.name}, {size:,} texts a side")
                    found[worker.name][size].append(worker.ask({"size": size, "permutations": permutations}))
    return found


def check_table(checks: Sequence[dict[str, float]], size: int) -> str:
    """Return the seconds of each step: median and range of the rounds."""
    rows = []
    for step in checks[0]:
        seconds = spread([each[step] for each in checks])
        rows.append([step, f"{seconds.median:.2f}", f"{seconds.low:.2f} to {seconds.high:.2f}"])
    return markdown_table(
        [f"{size:,} logged texts against {size:,}", "seconds", f"range of {len(checks)} rounds"], rows
    )


def mmd_table(found: dict[str, dict[int, list[dict[str, Any]]]], permutations: int) -> str:
    """Return the seconds of each MMD test, and their ratio to this project's, round by round."""
    rows = []
    for name, by_size in found.items():
        for size, responses in by_size.items():
            seconds = [each["seconds"] for each in responses]
            cells = [f"{TITLES[name]}, {size:,} a side", f"{spread(seconds).median:.2f}"]
            times = ratios(seconds, [each["seconds"] for each in found[OURS][size]])
            cells.append(f"{times.median:.1f} ({times.low:.1f} to {times.high:.1f})")
            rows.append([*cells, f"{responses[0]['p']:.4f}", f"{responses[0]['squared']:.3e}"])
    return markdown_table([f"MMD, {permutations:,} permutations", "seconds", "times ours", "p", "squared MMD"], rows)


def _two_samples(texts: Mapping[str, ScoredTexts], size: int, seed: int) -> tuple[Reference, TextFeatures]:
    """Draw a reference and a disjoint window of film reviews."""
    projection = projection_of(texts[TRAINED].pooled)
    films = pools_of({FILMS: texts[FILMS]}, projection)[FILMS]
    if len(films) < 2 * size:
        raise BenchError(f"expected {2 * size:,} film reviews, found {len(films):,}; take fewer")
    order = np.random.default_rng(seed).permutation(len(films))
    before, after = order[:size], order[size : 2 * size]
    names = sorted(set(films.labels.tolist()))
    labels = np.array([names.index(label) for label in films.labels[before].tolist()], np.int64)
    return Reference(films.features.take(before), labels, projection, n_all=size), films.features.take(after)
