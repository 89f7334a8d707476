"""What a running server is asked, and what it shows: speed, memory, accuracy, and how it takes too much."""

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.arithmetic import Load, load_of
from bench.errors import BenchError
from bench.serving.load_generator import Answer, Run, closed_loop, open_loop, post
from bench.serving.servers import Memory, Running, memory_of
from bench.serving.texts import LabelledText, fit, in_even_order, sample_of_test_texts, short_texts
from textclf.runtime.tokenizer import Tokenizer
from textclf.store.model_store import ModelVersion

SHORT_TOKENS = 16
SHORT_TEXTS = 100
PATH = "/predict"
OVERLOAD_FACTOR = 4
# More than the server takes at a time, so that what is too much reaches it and does not wait in the client.
OVERLOAD_CONNECTIONS = 256
_LONGEST_RUN = 1800.0


@dataclass(frozen=True)
class Scenario:
    """One kind of load: texts one a request, from so many clients that each wait for their answer."""

    name: str
    title: str
    is_short: bool
    clients: int


SCENARIOS = (
    Scenario("reviews", "reviews, 16 clients", is_short=False, clients=16),
    Scenario("short-2", f"{SHORT_TOKENS} tokens, 2 clients", is_short=True, clients=2),
    Scenario("short-16", f"{SHORT_TOKENS} tokens, 16 clients", is_short=True, clients=16),
)


@dataclass(frozen=True)
class Round:
    """What one server showed in one round.

    Attributes:
        ready_seconds: from the start of its process to the first good answer.
        memory: after all scenarios.
        loads: by the name of the scenario.
        accuracy: on the test texts; None where it was not measured, which is once a server.
    """

    ready_seconds: float
    memory: Memory
    loads: dict[str, Load]
    accuracy: float | None


@dataclass(frozen=True)
class Overload:
    """More than a server can answer, and what was before and after.

    Attributes:
        unloaded: one client.
        capacity, after: 16 clients, before and right afterwards.
        rate: requests a second that came meanwhile.
        during: of those.
    """

    unloaded: Load
    capacity: Load
    rate: float
    during: Load
    after: Load


@dataclass(frozen=True)
class Questions:
    """Requests, ready to be sent.

    Attributes:
        labelled: texts for accuracy, and their requests.
        reviews, short: requests for the measurements of speed.
    """

    labelled: Sequence[LabelledText]
    labelled_requests: Sequence[bytes]
    reviews: Sequence[bytes]
    short: Sequence[bytes]


def make_questions(version: ModelVersion, dataset_path: Path, count: int, load_count: int) -> Questions:
    """The same for the same version and data set.

    Args:
        version: with its engine, whose tokenizer says how long a text is.
        dataset_path: with a test part.
        count: texts for accuracy.
        load_count: how many of them the measurements of speed send.
    """
    tokenizer = Tokenizer.load(version.part("engine"))

    def wordpieces(words: Sequence[str]) -> list[int]:
        return [text.length - 2 for text in tokenizer(words)]

    sample = sample_of_test_texts(dataset_path, version.manifest, count)
    labelled = [LabelledText(fit(text.text, version.manifest, wordpieces), text.label) for text in sample]
    texts = [text.text for text in labelled]
    return Questions(
        labelled,
        labelled_requests=_requests(texts),
        reviews=_requests(in_even_order(texts[:load_count])),
        short=_requests(short_texts(texts, SHORT_TOKENS, SHORT_TEXTS, wordpieces)),
    )


def _requests(texts: Sequence[str]) -> list[bytes]:
    return [post(PATH, {"text": text}) for text in texts]


def accuracy(run: Run, labelled: Sequence[LabelledText]) -> float:
    """Share of right labels.

    Raises:
        BenchError: a text has no good answer.
    """
    return sum(_label(answer) == labelled[answer.number].label for answer in run.answers) / len(labelled)


def _label(answer: Answer) -> object:
    if answer.status != 200:
        raise BenchError(f"expected an answer for every test text, got status {answer.status}: {answer.body[:200]!r}")
    return json.loads(answer.body)["label"]


def measure(
    server: Running,
    questions: Questions,
    scenarios: Sequence[Scenario],
    seconds: float,
    warm_up: float,
    with_accuracy: bool,
) -> Round:
    """One round of one server, which runs."""
    closed_loop(server.address, questions.reviews, 16, seconds=warm_up)
    loads = {}
    for scenario in scenarios:
        requests = questions.short if scenario.is_short else questions.reviews
        loads[scenario.name] = load_of(closed_loop(server.address, requests, scenario.clients, seconds=seconds))
    memory = memory_of(server.pid)
    right = None
    if with_accuracy:
        requests = questions.labelled_requests
        run = closed_loop(server.address, requests, 16, count=len(requests), seconds=_LONGEST_RUN)
        right = accuracy(run, questions.labelled)
    return Round(server.ready_seconds, memory, loads, right)


def overload(
    server: Running, requests: Sequence[bytes], seconds: float, overload_seconds: float, seed: int = 0
) -> Overload:
    """Requests that come by chance (Poisson), OVERLOAD_FACTOR times as many as the server has just shown it can answer.

    They do not wait for each other as those of a closed loop would: a client that gets its 429 at once and asks
    again at once measures how fast a server can refuse.
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
