"""The server of the retraining story: sending texts and labels at a limited rate, and the served version."""

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
from bench.steps import Result
from textclf.data.prediction_log.log import PredictionLog
from textclf.errors import PredictionLogError
from textclf.store.model_store import ModelStore

# A request to see that the server is ready, and which version it serves.
PROBE = post("/predict", {"text": "a film"})
_POLL_SECONDS = 1.0
_CONNECTIONS = 4
_LOGGED_SECONDS = 20.0
_SWAP_SECONDS = 120.0
# Responses in a row from one version, because there are several workers.
_IN_A_ROW = 5


@dataclass(frozen=True)
class Place:
    """Folder and settings of a story.

    Attributes:
        folder: folder for everything.
        films: data set that the champion was trained on.
        rate: texts sent per second.
        margin: margin of the gate.
    """

    folder: Path
    films: Path
    rate: float
    margin: float

    @property
    def store(self) -> Path:
        """Return the model store that is served."""
        return self.folder / "model"

    @property
    def new_data(self) -> Path:
        """Return the folder of stored feedback."""
        return self.folder / "new_data"

    @property
    def log_url(self) -> str:
        """Return the URL of the prediction log."""
        return f"sqlite:///{self.folder / 'predictions' / 'log.sqlite'}"

    def server(self) -> Server:
        """Return this project's server: gunicorn without nginx."""
        (plain,) = (server for server in project_servers(self.store, self.folder) if server.name == "project")
        settings = {"PREDICTION_LOG_URL": self.log_url, "MODEL__POLL_SECONDS": str(_POLL_SECONDS)}
        return dataclasses.replace(plain, environment={**plain.environment, **settings})


def serve(place: Place, server: Running, reviews: Sequence[Review]) -> Result:
    """Send reviews, one per request, and wait until all are logged; return the accuracy and the time span.

    Raises:
        BenchError: if a request fails, or a prediction is not logged in time.
    """
    began = time.time()
    sent = _send(server, [post("/predict", {"text": review.text}) for review in reviews], place.rate)
    right = sum(json.loads(response.body)["label"] == reviews[response.number].label for response in sent.responses)
    ended = time.time()
    deadline = ended + _LOGGED_SECONDS
    version = ModelStore(place.store).open().id
    with contextlib.closing(PredictionLog(place.log_url)) as log:
        while (logged := _logged(log, version, began)) < len(reviews):
            if time.time() > deadline:
                raise BenchError(
                    f"expected {len(reviews)} predictions in the log, found {logged}; see the server's log"
                )
            time.sleep(0.2)
    return {"texts": len(reviews), "accuracy": right / len(reviews), "since": began, "until": time.time()}


def send_labels(place: Place, server: Running, reviews: Sequence[Review]) -> None:
    """Send the labels of the reviews to POST /feedback.

    Raises:
        BenchError: if one is not stored.
    """
    bodies = [
        {"text": review.text, "label": review.label, "source": review.source, "audit": review.audit}
        for review in reviews
    ]
    _send(server, [post("/feedback", body) for body in bodies], place.rate, good=201)


def served_version(server: Running) -> str:
    """Return the id of the served version."""
    (response,) = _send(server, [PROBE], rate=1.0).responses
    return str(json.loads(response.body)["model"]).split()[-1]


def seconds_to_swap(server: Running, version: str) -> float:
    """Return the seconds until the running server serves a version.

    Raises:
        BenchError: if it does not in time.
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
    with contextlib.suppress(PredictionLogError):  # There is no log before the first prediction.
        return log.read(version, since, max_rows=1).total_rows
    return 0


def _send(server: Running, requests: Sequence[bytes], rate: float, good: int = 200) -> Run:
    """Send requests at a rate, with at most _CONNECTIONS open, so that the server refuses none."""
    arrivals = [at / rate for at in range(len(requests))]
    sent = open_loop(server.address, requests, arrivals, connections=_CONNECTIONS)
    bad = [response for response in sent.responses if response.status != good]
    if bad:
        raise BenchError(
            f"expected status {good} for every request, got {statuses_of(sent.responses)}: {bad[0].body[:200]!r}"
        )
    return sent
