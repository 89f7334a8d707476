"""The cache of the encoder's outputs."""

import threading
import tracemalloc

import numpy as np
import pytest

from textclf.runtime.backend import ModelOutputs, Timings
from textclf.runtime.output_cache import CachedBackend, OutputCache, cached


def outputs(value, width=384):
    return ModelOutputs(np.full((1, 2), value, np.float32), np.full((1, width), value, np.float32))


class Backend:
    tokenizer = "makes ids"

    def __init__(self):
        self.calls = []

    def run(self, inputs, timings):
        self.calls.append([list(ids) for ids in inputs])
        timings.infer += 1
        logits = np.array([[sum(ids), 0] for ids in inputs], np.float32)
        return ModelOutputs(logits, -logits)


def test_a_repeated_text_is_computed_once():
    backend = Backend()
    with_cache = CachedBackend(backend, OutputCache(10_000))
    timings = Timings()
    first, second, other = (with_cache.run([ids], timings) for ids in ([1, 2], [1, 2], [2, 1]))
    assert backend.calls == [[[1, 2]], [[2, 1]]]
    assert (first.logits == second.logits).all()
    assert (first.embeddings == second.embeddings).all()
    assert (other.logits == [[3, 0]]).all()
    assert (timings.cache_hits, timings.cache_misses, timings.infer) == (1, 2, 2)


def test_several_texts_are_a_prepared_batch_and_do_not_use_the_cache():
    backend = Backend()
    with_cache = CachedBackend(backend, OutputCache(10_000))
    timings = Timings()
    with_cache.run([[1], [2]], timings)
    with_cache.run([[1], [2]], timings)
    assert backend.calls == [[[1], [2]]] * 2
    assert (timings.cache_hits, timings.cache_misses) == (0, 0)


def test_the_entries_used_last_stay():
    cache = OutputCache(8_000)  # Three entries of about 2.2 kB.
    for number in range(3):
        cache.put(bytes([number]), outputs(number))
    assert cache.get(b"\0").logits[0, 0] == 0
    cache.put(b"\3", outputs(3))
    assert cache.get(b"\1") is None
    assert [cache.get(bytes([number])).logits[0, 0] for number in (0, 2, 3)] == [0, 2, 3]
    assert len(cache) == 3


def test_an_entry_that_is_put_again_counts_once():
    sizes = []
    cache = OutputCache(10_000, sizes.append)
    cache.put(b"text", outputs(1))
    cache.put(b"text", outputs(2))
    assert cache.get(b"text").logits[0, 0] == 2
    assert sizes == [cache.used] * 2


def test_an_entry_above_the_limit_is_not_kept():
    cache = OutputCache(1000)
    cache.put(b"text", outputs(1))
    assert len(cache) == cache.used == 0


def test_kept_outputs_are_copies_that_nobody_can_change():
    cache = OutputCache(10_000)
    batch = np.ones((8, 384), np.float32)
    cache.put(b"text", ModelOutputs(np.ones((1, 2), np.float32), batch[:1]))
    batch[:] = 7
    found = cache.get(b"text")
    assert (found.embeddings == 1).all()
    assert found.embeddings.base is None
    with pytest.raises(ValueError, match="read-only"):
        found.logits[0, 0] = 3


@pytest.mark.parametrize("width", [8, 384])
def test_the_memory_stays_below_the_limit(width):
    cache = OutputCache(2_000_000)
    rows = [np.random.default_rng(n).integers(0, 30_000, 40).astype(np.int32) for n in range(4000)]
    tracemalloc.start()
    for row in rows:
        cache.put(row.tobytes(), outputs(1.0, width))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cache.used <= 2_000_000
    assert 0.7 * cache.used < used <= 1.05 * cache.used


def test_threads_may_share_a_cache():
    cache = OutputCache(20_000)

    def use(seed):
        random = np.random.default_rng(seed)
        for _ in range(2000):
            number = int(random.integers(0, 30))
            found = cache.get(bytes([number]))
            assert found is None or found.logits[0, 0] == number
            cache.put(bytes([number]), outputs(number))

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.used == len(cache) * (cache.used // len(cache)) <= 20_000


def test_only_backends_that_take_ids_get_a_cache():
    backend, sizes = Backend(), []
    assert cached(backend, 0, sizes.append) is backend
    first = cached(backend, 1000, sizes.append)
    again = cached(first, 1000, sizes.append)
    assert again.backend is backend
    assert again.cache is not first.cache
    assert sizes == [0, 0]
    backend.tokenizer = None
    assert cached(backend, 1000, sizes.append) is backend
