"""The queries of the dashboard and the alerts, and the metrics and labels that a query in PromQL names."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import yaml

MONITORING = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
_SELECTOR = re.compile(r"\b(textclf_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring) ?\(([^)]*)\)")
# Labels that Prometheus adds to what it scrapes.
OF_THE_SCRAPE = {"job", "instance"}


class Query(NamedTuple):
    """An expression and where it is from."""

    where: str
    expression: str


def dashboard_queries(range_interval: str = "1m") -> list[Query]:
    """Every query of the dashboard; `range_interval` replaces Grafana's variable."""
    dashboard = json.loads((MONITORING / "dashboards" / "textclf.json").read_text(encoding="utf-8"))
    return [
        Query(panel["title"], target["expr"].replace("$__rate_interval", range_interval))
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]


def alert_queries() -> list[Query]:
    """The expression of every alert."""
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [Query(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


def selectors(expression: str) -> list[tuple[str, dict[str, tuple[str, str]]]]:
    """Return the metrics in an expression, each with its matchers: label to operator and value."""
    return [
        (name, {label: (operator, value) for label, operator, value in _MATCHER.findall(matchers)})
        for name, matchers in _SELECTOR.findall(expression)
    ]


def grouped_labels(expression: str) -> set[str]:
    """Return the labels that an expression groups or joins by."""
    return {label.strip() for labels in _GROUPING.findall(expression) for label in labels.split(",")}


def matches(matcher: tuple[str, str], value: str) -> bool:
    """Return whether a label with this value fits a matcher of a query."""
    operator, expected = matcher
    if "~" in operator:
        return (re.fullmatch(expected, value) is not None) == (operator == "=~")
    return (expected == value) == (operator == "=")
