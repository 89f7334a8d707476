"""The record of a request that metrics and the access log read; a light import, for processes without a model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.observability.tracing import RequestTrace
    from textclf.runtime.backend import Timings
    from textclf.runtime.prediction import Prediction

UNKNOWN_ROUTE = "unknown"
PREFIX = "textclf"
# Counters of workers and of `serve` (serving/observability/unanswered.py): name, meaning, labels.
REQUEST_COUNTER = ("requests", "Finished requests.", "route", "method", "status")
ERROR_COUNTER = ("errors", "Requests that ended with an error, by error code.", "code")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})


@dataclass(slots=True)
class RequestRecord:
    """Facts about a request and its response.

    Attributes:
        request_id: the client's X-Request-Id if it is safe to log, else a new id.
        method: HTTP method; "other" if it is not a standard one.
        path: requested path, without the query.
        status: HTTP status; 0 until the response starts.
        error: error code; "" if the request succeeded.
        texts, tokens: number of texts scored or stored, and of wordpieces of the scored texts.
        truncated: number of texts that the model read only in part.
        empty: number of texts without wordpieces.
        unusual: reasons of the texts that are not of the kind of the training texts.
        unsure: number of unsure predictions.
        rules: names of the rules that changed texts or predictions, once for each text.
        explanations, evaluations: number of texts explained, and of the encoder's evaluations for them.
        incomplete: number of explanations that ended early, because their time or their evaluations were used up.
        explain_seconds: time of the explanations with their predictions; None if none was asked for.
        linear: number of texts that the cascade's linear stage predicted; None without a cascade.
        model: name and version of the model.
        scored: the texts themselves; logged only if LOG_TEXT is on.
        body_is_read: whether the whole body was read from the connection.
        is_left_to_nginx: whether nginx counts and logs the request, because it has closed the connection: its client
            left, or it gave the request up (unanswered.py).
        trace: beginning of its spans; None without traces.
        seconds: time from the call of the app, after all headers arrived, until the response is ready to send.
    """

    request_id: str
    method: str
    path: str
    route: str = UNKNOWN_ROUTE
    status: int = 0
    error: str = ""
    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    empty: int = 0
    unusual: list[str] = field(default_factory=list)
    unsure: int = 0
    rules: list[str] = field(default_factory=list)
    explanations: int = 0
    evaluations: int = 0
    incomplete: int = 0
    explain_seconds: float | None = None
    linear: int | None = None
    model: str = ""
    scored: list[str] = field(default_factory=list)
    timings: "Timings | None" = None
    body_is_read: bool = False
    is_left_to_nginx: bool = False
    trace: "RequestTrace | None" = None
    seconds: float = 0.0

    def count(self, predictions: "Sequence[Prediction]") -> None:
        """Add the predictions of some texts."""
        self.texts += len(predictions)
        for prediction in predictions:
            self.tokens += prediction.tokens or 0
            self.truncated += bool(prediction.truncated)
            self.empty += prediction.is_empty
            self.unsure += prediction.unsure
            self.rules += prediction.rules
            if prediction.unusual_reason is not None:
                self.unusual.append(prediction.unusual_reason)


def public_method(method: str) -> str:
    """Return the method of a request as it is counted and logged: "other" if it is not a standard one."""
    return method if method in _METHODS else "other"
