"""The routes GET /drift.json and /evaluation."""

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request

from serving.api.auth import check_api_key
from serving.api.concurrency import RequestSlots
from serving.api.errors import ApiError, ErrorCode
from serving.api.request_body import JSON
from serving.api.responses import json_body
from serving.model.model_holder import ModelHolder
from serving.pages import HEADERS
from serving.settings import Settings
from serving.store_report import evaluation_of, store_report
from textclf.store.manifest import is_version_id

HTML = "text/html; charset=utf-8"
# Seconds in which a link to an evaluation works: a link can't send the API key.
TICKET_SECONDS = 3600
# The page of textclf.report has its style inside, no script and no file.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class StoreViews:
    """The views.

    Args:
        holder: has the version that is served.
        slots: of GET requests that read files.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self, settings: Settings, holder: ModelHolder, slots: RequestSlots, clock: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self.holder = holder
        self.slots = slots
        self.clock = clock
        self._key = settings.api_key.encode("ascii")

    def register(self, app: Flask) -> None:
        """Add the routes to an app."""
        app.add_url_rule("/drift.json", "/drift.json", self.drift, methods=["GET"])
        app.add_url_rule("/evaluation", "/evaluation", self.evaluation, methods=["GET"])

    def drift(self) -> Response:
        """GET /drift.json: the versions of the store and the last drift check."""
        check_api_key(request.environ, self._key)
        with self.slots.acquire():
            served = self.holder.predictor.version_id if self.holder.is_ready else None
            report = store_report(self.settings.model_path, served)
            for version in report["versions"]:
                version["evaluation"] = self._link(version["id"])
            return Response(json_body(report), content_type=JSON, headers={"Cache-Control": "no-store"})

    def evaluation(self) -> Response:
        """GET /evaluation?version=ID: the evaluation page of a version."""
        version_id = request.args.get("version", "")
        if not self._has_ticket(version_id):
            check_api_key(request.environ, self._key)
        with self.slots.acquire():
            page = evaluation_of(self.settings.model_path, version_id) if is_version_id(version_id) else None
        if page is None:
            raise ApiError(
                ErrorCode.NOT_FOUND, "version: expected the id of a version of the store, got another; see /drift.json"
            )
        headers: dict[str, Any] = {**HEADERS, "Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
        return Response(page, content_type=HTML, headers=headers)

    def _link(self, version_id: str) -> str:
        path = f"/evaluation?version={version_id}"
        if not self._key:
            return path
        end = int(self.clock()) + TICKET_SECONDS
        return f"{path}&until={end}&ticket={self._ticket(version_id, end)}"

    def _ticket(self, version_id: str, end: int) -> str:
        return hmac.new(self._key, f"evaluation {version_id} {end}".encode(), hashlib.sha256).hexdigest()

    def _has_ticket(self, version_id: str) -> bool:
        """Whether the link comes from /drift.json, and is not too old."""
        until, ticket = request.args.get("until", ""), request.args.get("ticket", "")
        if not self._key or not re.fullmatch(r"[0-9]{1,12}", until, re.ASCII) or int(until) < self.clock():
            return False
        return hmac.compare_digest(self._ticket(version_id, int(until)).encode(), ticket.encode("utf-8", "replace"))
