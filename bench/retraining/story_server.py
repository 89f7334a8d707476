"""The running server of a retraining story: what it is sent, at a bounded rate, and which version answers."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.arithmetic import statuses_of
from bench.errors import BenchError
from bench.retraining.story_texts import Review
from bench.serving.load_generator import Run, open_loop, post
from bench.serving.servers import Running, Server, project_servers
from bench.steps import Figures
from textclf.data.prediction_log.prediction_log import PredictionLog
from textclf.errors import PredictionLogError
from textclf.store.model_store import ModelStore

# A text that says nothing, to see that the server is ready and which version it serves.
QUESTION = post("/predict", {"text": "a film"})
_POLL_SECONDS = 1.0
_CONNECTIONS = 4
_LOGGED_SECONDS = 20.0
_SWAP_SECONDS = 120.0
# Answers in a row of one version: there are several workers.
_IN_A_ROW = 5


@dataclass(frozen=True)
class Place:
    """Where a story happens.

    Attributes:
        folder: of everything.
        films: the data set that the champion was trained on.
        rate: texts that are sent a second.
        margin: of the gate.
    """

    folder: Path
    films: Path
    rate: float
    margin: float

    @property
    def store(self) -> Path:
        """The model store that is served."""
        return self.folder / "model"

    @property
    def new_data(self) -> Path:
        """What POST /feedback stores."""
        return self.folder / "new_data"

    @property
    def log_url(self) -> str:
        """Of the prediction log."""
        return f"sqlite:///{self.folder / 'predictions' / 'log.sqlite'}"

    def server(self) -> Server:
        """The project's own, gunicorn alone, as `make serve` starts it where there is no nginx."""
        (plain,) = (server for server in project_servers(self.store, self.folder) if server.name == "project")
        settings = {"PREDICTION_LOG_URL": self.log_url, "MODEL__POLL_SECONDS": str(_POLL_SECONDS)}
        return dataclasses.replace(plain, environment={**plain.environment, **settings})


def serve(place: Place, server: Running, reviews: Sequence[Review]) -> Figures:
    """Have reviews answered, one a request, and wait for the log: how many answers are right, and from when to when.

    Raises:
        BenchError: one is not answered, or does not come into the log.
    """
    began = time.time()
    sent = _send(server, [post("/predict", {"text": review.text}) for review in reviews], place.rate)
    right = sum(json.loads(answer.body)["label"] == reviews[answer.number].label for answer in sent.answers)
    ended = time.time()
    deadline = ended + _LOGGED_SECONDS
    version = ModelStore(place.store).open().id
    with contextlib.closing(PredictionLog(place.log_url)) as log:
        while (logged := _logged(log, version, began)) < len(reviews):
            if time.time() > deadline:
                raise BenchError(
                    f"expected {len(reviews)} answers in the prediction log, found {logged}; see the server's log"
                )
            time.sleep(0.2)
    return {"texts": len(reviews), "accuracy": right / len(reviews), "since": began, "until": time.time()}


def send_labels(place: Place, server: Running, reviews: Sequence[Review]) -> None:
    """Send what people say the reviews are.

    Raises:
        BenchError: one is not stored.
    """
    bodies = [
        {"text": review.text, "label": review.label, "source": review.source, "audit": review.audit}
        for review in reviews
    ]
    _send(server, [post("/feedback", body) for body in bodies], place.rate, good=201)


def served_version(server: Running) -> str:
    """The id of the version that answers."""
    (answer,) = _send(server, [QUESTION], rate=1.0).answers
    return str(json.loads(answer.body)["model"]).split()[-1]


def seconds_to_swap(server: Running, version: str) -> float:
    """How long it takes until the running server answers with a version.

    Raises:
        BenchError: it does not.
    """
    began = time.perf_counter()
    in_a_row = 0
    while in_a_row < _IN_A_ROW:
        in_a_row = in_a_row + 1 if served_version(server) == version else 0
        if time.perf_counter() - began > _SWAP_SECONDS:
            raise BenchError(f"expected the running server to change to {version}; see its log")
        time.sleep(0.05)
    return time.perf_counter() - began


def _logged(log: PredictionLog, version: str, since: float) -> int:
    with contextlib.suppress(PredictionLogError):  # There is none before the first answer.
        return log.read(version, since, max_rows=1).total_rows
    return 0


def _send(server: Running, requests: Sequence[bytes], rate: float, good: int = 200) -> Run:
    """At that rate; a few at a time at most, so that none is refused."""
    arrivals = [at / rate for at in range(len(requests))]
    sent = open_loop(server.address, requests, arrivals, connections=_CONNECTIONS)
    bad = [answer for answer in sent.answers if answer.status != good]
    if bad:
        raise BenchError(
            f"expected status {good} for every request, got {statuses_of(sent.answers)}: {bad[0].body[:200]!r}"
        )
    return sent
