"""Real Chromium, driven by Playwright, and a server on 127.0.0.1 whose pages it opens."""

import contextlib
import shutil
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import axe_playwright_python
from flask import Flask
from playwright.sync_api import Browser, Page, sync_playwright
from serving_stack import skip_or_fail
from werkzeug.serving import WSGIRequestHandler, make_server

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# The first start of a browser on a busy machine takes long.
SECONDS = 60


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """Run Chromium; skip or fail without it (skip_or_fail)."""
    path = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if path is None:
        skip_or_fail("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        # Chromium's sandbox does not run as root; it opens only the pages of the tests.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=1000 * SECONDS)
        yield browser
        browser.close()


class _Silent(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Write nothing."""


@contextlib.contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve an app in threads of this process; gives its URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def new_page(browser: Browser, *, is_narrow: bool = False, accepts: str | None = None) -> Iterator[Page]:
    """Open a page: wide and light, or 360 px wide and dark.

    At the end the page must have had no error, no warning and no violation of its policy. `accepts` is a part of the
    messages that are expected.
    """
    size = {"width": 360, "height": 740} if is_narrow else {"width": 1100, "height": 900}
    scheme = "dark" if is_narrow else "light"
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    context.set_default_timeout(1000 * SECONDS)
    messages: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: messages.append(f"error: {error}"))
    yield page
    bad = [message for message in messages if message.startswith(("error", "warning"))]
    assert [message for message in bad if accepts is None or accepts not in message] == []
    context.close()


def check_accessible(page: Page) -> None:
    """Check a page with axe-core, and that nothing is wider than the window."""
    page.evaluate(_axe())
    found = page.evaluate("axe.run()")["violations"]
    assert [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"


@cache
def _axe() -> str:
    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
