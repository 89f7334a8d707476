"""Measurements of a running server: speed, memory, accuracy, and overload."""

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.arithmetic import Load, load_of
from bench.errors import BenchError
from bench.serving.load_generator import Response, Run, closed_loop, open_loop, post
from bench.serving.servers import Memory, Running, memory_of
from bench.serving.texts import (
    LabelledText,
    fit,
    in_even_order,
    pieces_of_texts,
    repeated_texts,
    sample_of_test_texts,
    short_texts,
)
from textclf.store.model_store import ModelVersion
from textclf.tokenization.text_tokenizer import load_tokenizer

SHORT_TOKENS = 16
SHORT_TEXTS = 100
# Texts of chats: a share of the requests has one of a few texts, the others have texts that come once.
CHAT_TOKENS = 64
FREQUENT_TEXTS = 50
FREQUENT_SHARE = 0.4
PATH = "/predict"
OVERLOAD_FACTOR = 4
# More than the server accepts at a time, so that excess requests reach it instead of waiting in the client.
OVERLOAD_CONNECTIONS = 256
_MAX_RUN_SECONDS = 1800.0


@dataclass(frozen=True)
class Scenario:
    """Kind of load: one text per request, from clients that wait for each response.

    `texts` is the attribute of RequestSet with its requests.
    """

    name: str
    title: str
    texts: str
    clients: int


SCENARIOS = (
    Scenario("reviews", "reviews, 16 clients", texts="reviews", clients=16),
    Scenario("short-2", f"{SHORT_TOKENS} tokens, 2 clients", texts="short", clients=2),
    Scenario("short-16", f"{SHORT_TOKENS} tokens, 16 clients", texts="short", clients=16),
    Scenario(
        "repeated",
        f"up to {CHAT_TOKENS} tokens, {FREQUENT_SHARE:.0%} from {FREQUENT_TEXTS} texts, 16 clients",
        texts="repeated",
        clients=16,
    ),
)


@dataclass(frozen=True)
class Round:
    """Results of one server in one round.

    Attributes:
        ready_seconds: seconds from the start of its process to the first good response.
        memory: memory after all scenarios.
        loads: results by the name of the scenario.
        accuracy: accuracy on the test texts; None if not measured, which is done once per server.
    """

    ready_seconds: float
    memory: Memory
    loads: dict[str, Load]
    accuracy: float | None


@dataclass(frozen=True)
class Overload:
    """Results before, during and after an overload.

    Attributes:
        unloaded: results with one client.
        capacity, after: results with 16 clients, before and right after the overload.
        rate: requests per second during the overload.
        during: results during the overload.
    """

    unloaded: Load
    capacity: Load
    rate: float
    during: Load
    after: Load


@dataclass(frozen=True)
class RequestSet:
    """Requests of the benchmark.

    Attributes:
        labelled: texts for accuracy.
        labelled_requests: their requests.
        reviews, short: requests for speed.
        repeated: requests of which some repeat earlier ones, see repeated_texts.
    """

    labelled: Sequence[LabelledText]
    labelled_requests: Sequence[bytes]
    reviews: Sequence[bytes]
    short: Sequence[bytes]
    repeated: Sequence[bytes]


def make_requests(version: ModelVersion, dataset_path: Path, count: int, load_count: int) -> RequestSet:
    """Make the requests, the same for the same version and data set.

    Args:
        version: version with its engine, whose tokenizer counts wordpieces.
        dataset_path: data set with a test part.
        count: number of texts for accuracy.
        load_count: number of them that the measurements of speed send.
    """
    tokenizer = load_tokenizer(version.part("engine"))

    def wordpieces(words: Sequence[str]) -> list[int]:
        return [text.length - 2 for text in tokenizer(words)]

    sample = sample_of_test_texts(dataset_path, version.manifest, count)
    labelled = [LabelledText(fit(text.text, version.manifest, wordpieces), text.label) for text in sample]
    texts = [text.text for text in labelled]
    return RequestSet(
        labelled,
        labelled_requests=_requests(texts),
        reviews=_requests(in_even_order(texts[:load_count])),
        short=_requests(short_texts(texts, SHORT_TOKENS, SHORT_TEXTS, wordpieces)),
        repeated=_requests(
            repeated_texts(pieces_of_texts(texts, CHAT_TOKENS, wordpieces), FREQUENT_TEXTS, FREQUENT_SHARE)
        ),
    )


def _requests(texts: Sequence[str]) -> list[bytes]:
    return [post(PATH, {"text": text}) for text in texts]


def accuracy(run: Run, labelled: Sequence[LabelledText]) -> float:
    """Return the share of right labels.

    Raises:
        BenchError: if a response does not have status 200.
    """
    return sum(_label(response) == labelled[response.number].label for response in run.responses) / len(labelled)


def _label(response: Response) -> object:
    if response.status != 200:
        raise BenchError(
            f"expected status 200 for every test text, got status {response.status}: {response.body[:200]!r}"
        )
    return json.loads(response.body)["label"]


def measure(
    server: Running,
    request_set: RequestSet,
    scenarios: Sequence[Scenario],
    seconds: float,
    warm_up: float,
    with_accuracy: bool,
) -> Round:
    """Measure one round of a running server."""
    closed_loop(server.address, request_set.reviews, 16, seconds=warm_up)
    loads = {}
    for scenario in scenarios:
        requests = getattr(request_set, scenario.texts)
        loads[scenario.name] = load_of(closed_loop(server.address, requests, scenario.clients, seconds=seconds))
    memory = memory_of(server.pid)
    right = None
    if with_accuracy:
        requests = request_set.labelled_requests
        run = closed_loop(server.address, requests, 16, count=len(requests), seconds=_MAX_RUN_SECONDS)
        right = accuracy(run, request_set.labelled)
    return Round(server.ready_seconds, memory, loads, right)


def overload(
    server: Running, requests: Sequence[bytes], seconds: float, overload_seconds: float, seed: int = 0
) -> Overload:
    """Send Poisson arrivals at OVERLOAD_FACTOR times the capacity of the server, which is measured first.

    A closed loop would measure how fast the server refuses requests: each 429 would start the next request at once.
    """

    def closed(clients: int) -> Load:
        return load_of(closed_loop(server.address, requests, clients, seconds=seconds))

    closed(16)  # Warms up.
    unloaded, capacity = closed(1), closed(16)
    rate = OVERLOAD_FACTOR * capacity.per_second
    chance = random.Random(seed)  # noqa: S311
    gaps = (chance.expovariate(rate) for _ in itertools.count())
    arrivals = list(itertools.takewhile(lambda moment: moment < overload_seconds, itertools.accumulate(gaps)))
    during = load_of(open_loop(server.address, requests, arrivals, connections=OVERLOAD_CONNECTIONS))
    return Overload(unloaded, capacity, rate, during, closed(16))
