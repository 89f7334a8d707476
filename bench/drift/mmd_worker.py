"""One MMD test in its own process: requests on standard input, responses on standard output.

    python -m bench.drift.mmd_worker ENGINE ARRAYS THREADS

ARRAYS is an .npz of `reference` and `latest`, float32 [texts, directions]. A request is a line of JSON, {"size": texts
a side, "permutations": int}; the response is {"seconds": float, "p": float, "squared": float}. The preparation of a
test is not timed; alibi-detect computes its bandwidth there, this project computes it in the test.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
# Runs one test; returns p and the squared MMD.
Run = Callable[[], tuple[float, float]]
Prepare = Callable[[Array, Array, int], Run]
_WARM_UP = {"size": 100, "permutations": 20}


def main() -> None:
    """Load the engine, report that it is ready, and answer requests until standard input ends."""
    engine, path, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    # Responses go to the original standard output. Messages of libraries go to the log.
    responses = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    prepare = ENGINES[engine](threads)
    with np.load(path, allow_pickle=False) as arrays:
        reference, latest = arrays["reference"], arrays["latest"]

    def response(request: dict[str, Any]) -> dict[str, Any]:
        size = request["size"]
        run = prepare(reference[:size], latest[:size], request["permutations"])
        start = time.perf_counter()
        p, squared = run()
        return {"seconds": time.perf_counter() - start, "p": float(p), "squared": float(squared)}

    response(_WARM_UP)  # The first test compiles and allocates.
    _say(responses, {"ready": True})
    for line in sys.stdin:
        _say(responses, response(json.loads(line)))


def _say(responses: Any, content: dict[str, Any]) -> None:
    responses.write(json.dumps(content) + "\n")
    responses.flush()


def _project(_threads: int) -> Prepare:
    """This project's MMD; environment variables set its threads."""
    from textclf.stats.drift_tests.mmd import mmd_test

    def prepare(reference: Array, latest: Array, permutations: int) -> Run:
        def run() -> tuple[float, float]:
            found = mmd_test(reference, latest, permutations, np.random.default_rng(0))
            return found.p, found.squared

        return run

    return prepare


def _alibi(backend: str, **options: Any) -> Prepare:
    from alibi_detect.cd import MMDDrift

    def prepare(reference: Array, latest: Array, permutations: int) -> Run:
        detector = MMDDrift(reference, backend=backend, n_permutations=permutations, **options)

        def run() -> tuple[float, float]:
            data = detector.predict(latest, return_p_val=True, return_distance=True)["data"]
            return data["p_val"], data["distance"]

        return run

    return prepare


def _alibi_torch(threads: int) -> Prepare:
    import torch

    torch.set_num_threads(threads)
    return _alibi("pytorch", device="cpu")


def _alibi_tensorflow(threads: int) -> Prepare:
    """alibi-detect's default backend."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return _alibi("tensorflow")


ENGINES: dict[str, Callable[[int], Prepare]] = {
    "project": _project,
    "alibi-torch": _alibi_torch,
    "alibi-tensorflow": _alibi_tensorflow,
}

if __name__ == "__main__":
    main()
