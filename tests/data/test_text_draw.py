"""Random draws from the prediction log: each row has the same chance, in SQLite and PostgreSQL."""

import dataclasses

import numpy as np
import pytest
from postgresql_server import running_postgresql
from random_features import random_rows
from scipy.stats import chisquare
from sqlalchemy import delete

from textclf.data.prediction_log.database import ROWS
from textclf.data.prediction_log.log import PredictionLog
from textclf.data.prediction_log.text_draw import draw_texts
from textclf.errors import PredictionLogError

NOW = 1_800_000_000.0


def everything(_row):
    return True


def log_of(url, rows):
    log = PredictionLog(url, clock=lambda: NOW)
    log.append(rows)
    return log


def rows_of(count, version="v1", text="text {}", start=NOW - 100_000, features=None):
    template = random_rows(1, version=version)[0]
    return [
        dataclasses.replace(template, time=start + at, version_id=version, text=text and text.format(at))
        for at in range(count)
    ]


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/log.sqlite"


def draws(log, count, runs, version="v1", **more):
    rng = np.random.default_rng(7)
    return [[row.text for row in draw_texts(log, version, count, rng, everything, **more)] for _ in range(runs)]


@pytest.mark.parametrize("is_sparse", [False, True])
def test_each_row_has_the_same_chance(url, is_sparse):
    """Ids with large gaps, between rows of another version and rows without a text. The chance of failure is 0.1%."""
    log = log_of(url, rows_of(600, "v2"))
    log.append([row for group in zip(rows_of(300), rows_of(300, text=None), strict=True) for row in group])
    if is_sparse:  # Random ids find too few rows, and the rest is listed.
        log.append(rows_of(9000, "v2"))
    else:
        with log._writing() as connection:
            connection.execute(delete(ROWS).where(ROWS.c.id.between(100, 500)))
    runs, count = 300, 10
    found = draws(log, count, runs)
    assert {len(texts) for texts in found} == {count}
    assert all(len(set(texts)) == count for texts in found)
    counts = np.zeros(300)
    for texts in found:
        for text in texts:
            counts[int(text.split()[1])] += 1
    # Without replacement the counts vary a little less than chi-square says.
    assert chisquare(counts).pvalue > 0.001
    first = np.bincount([int(texts[0].split()[1]) // 30 for texts in found], minlength=10)
    assert chisquare(first).pvalue > 0.001, "the order is random, too"


def test_all_rows_are_drawn_once_if_more_are_wanted(url):
    log = log_of(url, rows_of(1000))
    ((texts),) = draws(log, 5000, 1)
    assert sorted(texts) == sorted(f"text {at}" for at in range(1000))


def test_a_refused_row_is_replaced(url):
    log = log_of(url, rows_of(2000))
    rng = np.random.default_rng(0)
    found = draw_texts(log, "v1", 50, rng, lambda row: int(row.text.split()[1]) % 40 == 0)
    assert sorted(int(row.text.split()[1]) for row in found) == list(range(0, 2000, 40))


def test_a_span_of_time(url):
    log = log_of(url, rows_of(100))
    log.append(rows_of(1, text="of the future", start=NOW + 3600))
    ((texts),) = draws(log, 1000, 1, since=NOW - 100_000 + 90)
    assert sorted(texts) == [f"text {at}" for at in range(90, 100)]
    ((texts),) = draws(log, 1000, 1)
    assert "of the future" not in texts


def test_nothing_to_draw(url, tmp_path):
    log = log_of(url, rows_of(5, text=None))
    assert draws(log, 10, 1) == [[]]
    assert draws(log, 10, 1, since=NOW) == [[]]
    with pytest.raises(PredictionLogError, match="expected a prediction log, found none"):
        draws(PredictionLog(f"sqlite:///{tmp_path}/none.sqlite"), 1, 1)


def test_postgresql():
    with running_postgresql() as server:
        log = log_of(server.url, rows_of(1500, "v2"))
        log.append(rows_of(200))
        ((some), (others)) = draws(log, 20, 2)
        assert len(set(some)) == len(set(others)) == 20
        assert some != others
        ((texts),) = draws(log, 1000, 1)
        assert sorted(texts) == sorted(f"text {at}" for at in range(200))
        log.close()
