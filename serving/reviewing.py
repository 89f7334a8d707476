"""The labelling queue over HTTP: draw texts to label, store their labels, and take a label back."""

import ipaddress
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

import numpy as np
from flask import Response

from serving.api.errors import ApiError, ErrorCode
from serving.api.request_body import JSON
from serving.api.requests import Limits
from serving.api.responses import json_body
from serving.api.review_requests import parse_draw_request, parse_label_request, parse_undo_request
from serving.observability.metrics import Metrics
from serving.observability.request_record import RequestRecord
from serving.settings import Settings
from textclf.data.feedback_store import FeedbackStore, stored_label
from textclf.data.labelling.draw_signatures import DrawSignatures
from textclf.data.labelling.labelled_texts import LabelledKeys, LabelledTexts
from textclf.data.labelling.queue import AUDIT, MODES, LabellingQueue, QueuedText
from textclf.data.prediction_log.database_url import OFF
from textclf.data.prediction_log.log import PredictionLog
from textclf.errors import DatasetError, StorageUnavailableError
from textclf.labels import OTHER_LABEL
from textclf.runtime.predictor import Predictor

_SECONDS_A_DAY = 86_400


class Reviewing:
    """The views of the labelling queue; the constructor opens nothing.

    Args:
        settings: of the server.
        reviews: stores the labels.
        limits: of a request.
        metrics: counts draws, labels and removed labels.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        settings: Settings,
        reviews: FeedbackStore,
        limits: Limits,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.reviews = reviews
        self.metrics = metrics
        self.signatures = DrawSignatures(settings.new_data_dir, clock)
        self.labelled = LabelledTexts(settings.new_data_dir)
        self._limits = limits
        self._clock = clock
        self._queue: LabellingQueue | None = None
        if self.has_texts:
            log = PredictionLog(settings.prediction_log_url, clock=clock)
            self._queue = LabellingQueue(log, self.signatures)

    @property
    def has_texts(self) -> bool:
        """Whether the server logs texts, which can be drawn."""
        return self.settings.prediction_log_text and self.settings.prediction_log_url != OFF

    def stop(self) -> None:
        """Close the connections to the log."""
        if self._queue is not None:
            self._queue.log.close()

    def check_audit(self, is_audit: bool) -> None:
        """Refuse an audit label without a draw, unless every request has shown the API key.

        A server that logs no texts draws none, so there an audit needs no signature.

        Raises:
            ApiError: if the label says that it is an audit, and the sender may not say so.
        """
        if is_audit and self.has_texts and not self.settings.api_key:
            raise ApiError(
                ErrorCode.UNAUTHORIZED,
                "audit: expected false, or a server with an API key, got true without a key; label a text that /review "
                "draws, or set API_KEY",
                {"WWW-Authenticate": "Bearer"},
            )

    def texts(self, record: RequestRecord, predictor: Predictor, _content_type: str, content: str) -> Response:
        """POST /review/texts.

        Raises:
            ApiError: if there is no log with texts, or any client may read them.
            PredictionLogError: if the log can't be read.
            StorageUnavailableError: if the index of the reviews, or the key of the draws, can't be read.
        """
        wanted = parse_draw_request(content, self._limits, MODES)
        record.model = predictor.full_name
        if self._queue is None:
            raise ApiError(
                ErrorCode.REVIEW_UNAVAILABLE,
                "expected a prediction log with texts, found "
                + ("none" if self.settings.prediction_log_url == OFF else "one without texts")
                + "; set PREDICTION_LOG_TEXT=1 and PREDICTION_LOG_URL, and new texts can be labelled",
            )
        self._check_readers()
        since = None if wanted.days is None else self._clock() - wanted.days * _SECONDS_A_DAY
        rng = np.random.default_rng()  # A generator is for one thread.
        labelled = self._labelled_keys()
        if wanted.mode == AUDIT:
            found = self._queue.audit(
                predictor.version_id, wanted.count, rng, labelled, since=since, skipped=wanted.skipped
            )
        else:
            found = self._queue.informative(
                predictor.version_id,
                wanted.count,
                rng,
                labelled,
                temperature=predictor.temperature,
                unusual=None if predictor.unusual is None else predictor.unusual.reason,
                since=since,
                skipped=wanted.skipped,
            )
        record.scored = [item.text for item in found]
        self.metrics.texts_drawn(wanted.mode, len(found))
        body = {
            "mode": wanted.mode,
            "texts": [_shown(item) for item in found],
            "labels": [*predictor.class_names, OTHER_LABEL],
            "labelled": {"texts": len(labelled.all), "audits": len(labelled.audits)},
            "model": predictor.full_name,
        }
        return _response(body)

    def label(self, record: RequestRecord, predictor: Predictor, _content_type: str, content: str) -> Response:
        """POST /review/labels."""
        given = parse_label_request(content, self._limits)
        record.model = predictor.full_name
        record.scored = [given.text]
        classes = predictor.class_names
        label = stored_label(given.label, classes)
        draw = None
        if given.draw is not None:
            draw = self.signatures.check(given.draw, given.text, predictor.version_id)
        review_id = self.reviews.save(
            given.text,
            label,
            classes,
            predictor.full_name,
            given.source,
            audit=draw is not None,
            review_id=None if draw is None else draw.review_id,
        )
        record.texts = 1
        self.metrics.review_stored()
        undo = self.signatures.sign_undo(review_id)
        body = {"id": review_id, "label": label, "audit": draw is not None, "undo": undo}
        return _response(body, HTTPStatus.CREATED)

    def undo(self, record: RequestRecord, predictor: Predictor, _content_type: str, content: str) -> Response:
        """POST /review/undo."""
        review_id = self.signatures.check_undo(parse_undo_request(content, self._limits))
        record.model = predictor.full_name
        is_removed = self.reviews.remove(review_id)
        if is_removed:
            self.metrics.review_removed()
        return _response({"id": review_id, "removed": is_removed})

    def _check_readers(self) -> None:
        """Refuse to show logged texts to clients that have shown no key, unless all of them are on this machine.

        Raises:
            ApiError: if there is no key, and HOST is no loopback address.
        """
        if not self.settings.api_key and not _is_loopback(self.settings.host):
            raise ApiError(
                ErrorCode.REVIEW_NEEDS_KEY,
                f"expected a server with an API key, because the logged texts are personal data, found none on HOST "
                f"{self.settings.host}; set API_KEY, or HOST=127.0.0.1 to label on the server's machine",
            )

    def _labelled_keys(self) -> LabelledKeys:
        try:
            return self.labelled.read()
        except DatasetError as error:
            raise StorageUnavailableError(str(error)) from error


def _is_loopback(host: str) -> bool:
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(item: QueuedText) -> dict[str, object]:
    shown: dict[str, object] = {"key": item.key, "text": item.text}
    if item.draw is not None:
        return {**shown, "draw": item.draw}
    return {**shown, "label": item.label, "reasons": list(item.reasons)}


def _response(body: Mapping[str, object], status: int = HTTPStatus.OK) -> Response:
    return Response(json_body(body), status, content_type=JSON)
