"""The benchmark of predictions next to explanations: its results by hand, and its report."""

import json

import pytest

from bench.serving.explanations import report, results_of
from bench.serving.load_generator import Response, Run


def run_of(seconds, *, status=200, body=b""):
    return Run([Response(number, status, 0.0, each, body) for number, each in enumerate(seconds)], 2.0, 0.0)


def test_results_and_report():
    body = json.dumps({"complete": True, "evaluations": 100}).encode()
    coarse = json.dumps({"complete": False, "evaluations": 20}).encode()
    answers = [
        Response(0, 200, 0.0, 0.5, body), Response(1, 200, 0.0, 0.7, coarse), Response(2, 429, 0.0, 0.1, b"{}")
    ]  # fmt: skip
    explained = Run(answers, 2.0, 0.0)
    first = run_of([0.01] * 9), run_of([0.015] * 9), explained
    second = run_of([0.02]), run_of([0.05]), explained
    found = results_of([first, second])
    assert found["alone"] == {"p50": pytest.approx(0.015), "p99": pytest.approx(0.015)}
    assert found["p99_ratio"] == {"median": pytest.approx(2.0), "low": pytest.approx(1.5), "high": pytest.approx(2.5)}
    assert found["explanations"] == {
        "per_second": pytest.approx(1.0),
        "p50": pytest.approx(0.6),
        "complete": 0.5,
        "evaluations": 60,
        "statuses": {200: 4, 429: 2},
    }
    text = report(found)
    assert "| no explanations | 15.0 | 15.0 |" in " ".join(text.split())
    assert "alone: 2.00 (1.50 to 2.50)" in text
    assert "50% complete" in text
