"""Every query of the dashboard and the alerts finds data: those of a real server under load, in a real Prometheus."""

import contextlib
import json
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_queries import (
    MONITORING,
    OF_THE_SCRAPE,
    Query,
    alert_queries,
    dashboard_queries,
    grouped_labels,
    matches,
    selectors,
)
from serving_stack import ROOT, Response, Stack, free_port, need_nginx, running_stack, skip_or_fail, wait_for
from tiny_engine import tiny_reviews, write_version

pytestmark = pytest.mark.slow
KEY = {"X_API_Key": "made-up-key"}
QUERIES = [*dashboard_queries(), *alert_queries()]


def use(stack: Stack) -> None:
    """Send requests of every kind, also those that fail, several at a time so that some get 429."""
    texts = [text for text, _ in tiny_reviews(150)]
    with ThreadPoolExecutor(12) as clients:
        statuses = [
            response.status
            for response in clients.map(lambda _: stack.request("POST", "/predict", {"X": texts}, **KEY), range(24))
        ]
    assert {200, 429} <= set(statuses)
    stack.request("POST", "/predict", {"X": ["", "the film was good " * 30, "xyzzy 42"]}, **KEY)
    stack.request("POST", "/predict", {"text": 3}, **KEY)
    stack.request("POST", "/explain", {"text": "the film was good"}, **KEY)
    stack.request("POST", "/feedback", {"text": "a great film", "label": "pos"}, **KEY)
    for mode in ("audit", "informative"):
        stack.request("POST", "/review/texts", {"mode": mode}, **KEY)


def check_drift(store: Path, log_url: str) -> None:
    command = [sys.executable, str(ROOT / "monitoring.py"), "check", "--model-path", str(store), "--log-url", log_url]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode in (0, 3), result.stdout + result.stderr


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Iterator[Stack]:
    """A server with all of its features, after some use and a drift check."""
    need_nginx()
    folder = tmp_path_factory.mktemp("observed")
    write_version(folder / "model", cascade=True, unusual=True)
    log_url = f"sqlite:///{folder}/log/predictions.sqlite"
    settings = {
        "API_KEY": KEY["X_API_Key"],
        "PREDICTION_LOG_URL": log_url,
        "PREDICTION_LOG_TEXT": "1",
        "MAX_CONCURRENT": "2",
    }
    with running_stack(folder, folder / "model", **settings) as stack:
        use(stack)
        wait_for(lambda: "textclf_prediction_log_rows_total 0" not in metrics(stack))
        check_drift(folder / "model", log_url)
        yield stack


def metrics(stack: Stack) -> str:
    response: Response = stack.request("GET", "/metrics", **KEY)
    assert response.status == 200
    return response.body.decode()


@pytest.fixture(scope="module")
def samples(stack) -> dict[str, list[dict[str, str]]]:
    """The labels of each sample in /metrics, by its name."""
    time.sleep(1)  # /metrics is up to a second old.
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(metrics(stack)):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(dict(sample.labels))
    return found


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.where}: {query.expression}"[:70])
def test_a_query_names_metrics_and_labels_that_exist(query: Query, samples):
    named = selectors(query.expression)
    assert named or "up{" in query.expression
    labels = set().union(*(samples[name][0] for name, _ in named)) if named else set()
    assert grouped_labels(query.expression) <= labels | OF_THE_SCRAPE
    for name, matchers in named:
        assert matchers.pop("job") == ("=", "textclf")
        own = [sample for sample in samples[name] if matchers.keys() <= sample.keys()]
        assert any(all(matches(matcher, sample[label]) for label, matcher in matchers.items()) for sample in own) or (
            # A server without failures has no such sample.
            matchers == {"status": ("=~", "5..")} and own
        ), f"{name} has no sample with {matchers}"


def test_every_metric_of_the_server_is_known():
    """A metric that is neither on the dashboard nor in an alert was left out on purpose."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    listed = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    used = {name for query in QUERIES for name, _ in selectors(query.expression)}
    used |= {name.rpartition("_")[0] for name in used if name.endswith(("_bucket", "_sum", "_count"))}
    assert listed - used == {
        "textclf_cache_hits_total",
        "textclf_cache_misses_total",
        "textclf_cache_bytes",
        "textclf_rule_texts_total",
        "textclf_explanation_evaluations_total",
        "textclf_reviews_removed_total",
        "textclf_unsure_texts_total",
        "textclf_drift_unsure_share",
        "textclf_drift_texts",
        "textclf_drift_adjusted_p",
        "textclf_drift_alarm",
    }


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=20) as page:
            return json.load(page)["data"]


@contextlib.contextmanager
def running_prometheus(folder: Path, target: int) -> Iterator[Prometheus]:
    """Run Prometheus with the configuration of deploy/compose, with another target, key file and interval."""
    configuration = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
    configuration["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")
    configuration["rule_files"] = [str(MONITORING / "alerts.yml")]
    (job,) = configuration["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    job["authorization"]["credentials_file"] = str(folder / "key")
    (folder / "key").write_text(KEY["X_API_Key"])
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with open(folder / "prometheus.log", "wb") as log:
        try:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        except FileNotFoundError:
            skip_or_fail("Prometheus is not installed (Debian: apt-get install --no-install-recommends prometheus)")
    with process:
        try:
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


def is_up(prometheus: Prometheus) -> bool:
    with contextlib.suppress(OSError):
        return any(target["health"] == "up" for target in prometheus.ask("targets")["activeTargets"])
    return False


def test_every_query_finds_data_in_prometheus(stack, tmp_path):
    stop = threading.Event()

    def use_until_the_end() -> None:
        while not stop.wait(0.5):
            use(stack)

    with running_prometheus(tmp_path, stack.port) as prometheus, ThreadPoolExecutor(1) as clients:
        using = clients.submit(use_until_the_end)
        try:
            wait_for(lambda: is_up(prometheus), 30)
            time.sleep(12)
        finally:
            stop.set()
        using.result()
        empty = []
        for where, expression in dashboard_queries("20s"):
            result = prometheus.ask("query", query=expression)["result"]
            if not any(sample["value"][1] != "NaN" for sample in result):
                empty.append((where, expression))
        assert empty == []
        # The value that an alert compares exists; a server without failures has no 5xx.
        for where, expression in alert_queries():
            compared = expression if expression.startswith("absent") else compared_value(expression)
            result = prometheus.ask("query", query=compared)["result"]
            assert result or where in ("TextclfAbsent", "TextclfServerErrors"), (where, compared)
        rules = prometheus.ask("rules")["groups"][0]["rules"]
        assert {rule["health"] for rule in rules} == {"ok"}
        states = {rule["name"]: rule["state"] for rule in rules}
        assert states["TextclfRefusesRequests"] == "pending", "429 are there, for less than five minutes"
        assert {states[name] for name in ("TextclfDown", "TextclfAbsent", "TextclfSwapFails")} == {"inactive"}


def compared_value(expression: str) -> str:
    """The left side of the last comparison in an alert."""
    for operator in (" > ", " == "):
        if operator in expression:
            return expression.rpartition(operator)[0]
    raise AssertionError(expression)
