"""Renders a template of this folder as a self-contained HTML page, without scripts and with all names escaped."""

import math
from datetime import UTC, datetime
from pathlib import Path

import jinja2

from textclf.report.drift_terms import percent


def render_page(template: str, **values: object) -> str:
    """The page of a template that extends page.html.jinja; texts and names in `values` never become markup."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(decimal=_decimal, percent=percent, number="{:,}".format, time=_time)
    return environment.get_template(template).render(**values)


def _decimal(value: float) -> str:
    """The number with three decimals; small p-values with a power of ten."""
    if value != 0 and abs(value) < 0.001:
        exponent = math.floor(math.log10(abs(value)))
        return f"{value / 10**exponent:.1f}·10^{exponent}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
