"""Draw logged texts of a model version at random, each row with the same chance, without reading the whole log.

Random ids between the lowest and the highest are looked up, and rows of other versions or without a text are passed
over. So every row has the same chance, whatever gaps the ids have. If that finds too few rows, the ids of the version
are listed once.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, func, select

from textclf.data.prediction_log.clock_check import AHEAD_SECONDS
from textclf.data.prediction_log.database import ROWS
from textclf.data.prediction_log.log import PredictionLog

# Ids that are looked up at a time, and how often.
_MIN_IDS, _MAX_IDS = 50, 400
_LOOK_UPS = 10
# A smaller span of ids is listed at once.
_MIN_SPAN = 800


@dataclass(frozen=True)
class LoggedText:
    """A row with its text.

    Attributes:
        id: number of the row.
        time: seconds since the epoch.
        label: predicted class.
        features: see textclf.data.prediction_log.feature_codec.
        text: the text, not blank.
    """

    id: int
    time: float
    label: str
    features: bytes
    text: str


def draw_texts(
    log: PredictionLog,
    version_id: str,
    count: int,
    rng: np.random.Generator,
    accepts: Callable[[LoggedText], bool],
    since: float | None = None,
) -> list[LoggedText]:
    """Up to `count` rows in random order, among those that `accepts` is true of; fewer mean that there are no more.

    Args:
        log: prediction log.
        version_id: model version that predicted the texts.
        count: number of rows.
        rng: draws the rows.
        accepts: is asked about each row once, in the order of the draw.
        since: time of the first row, in seconds since the epoch; None for all. Rows from the future are left out.

    Raises:
        PredictionLogError: if there is no log, or it can't be read.
    """
    wanted: list[ColumnElement[bool]] = [ROWS.c.version == version_id, ROWS.c.time < log.clock() + AHEAD_SECONDS]
    bounds = select(func.min(ROWS.c.id), func.max(ROWS.c.id))
    if since is not None:
        wanted.append(ROWS.c.time >= since)
        bounds = bounds.where(ROWS.c.time >= since)
    chosen: list[LoggedText] = []
    with log.reading() as connection:
        low, high = connection.execute(bounds).one()
        if low is not None:
            at_once = min(max(_MIN_IDS, 2 * count), _MAX_IDS)
            for ids in _order(connection, wanted, (low, high), at_once, rng):
                accepted = filter(accepts, _rows(connection, ids, wanted))
                chosen += itertools.islice(accepted, count - len(chosen))
                if len(chosen) == count:
                    break
    return chosen


def _order(
    connection: Connection,
    wanted: Sequence[ColumnElement[bool]],
    bounds: tuple[int, int],
    at_once: int,
    rng: np.random.Generator,
) -> Iterator[list[int]]:
    """All ids of the span in random order, some at a time: first any ids, later those of wanted rows only."""
    drawn: set[int] = set()
    low, high = bounds
    if high - low >= _MIN_SPAN:
        for _ in range(_LOOK_UPS):
            ids = dict.fromkeys(rng.integers(low, high, at_once, endpoint=True).tolist())
            yield [row_id for row_id in ids if row_id not in drawn]
            drawn.update(ids)
    of_version = select(ROWS.c.id).where(*wanted, ROWS.c.text.is_not(None))
    found = connection.execute(of_version, execution_options={"yield_per": 10_000}).scalars()
    rest: NDArray[np.int64] = rng.permutation(np.fromiter(found, np.int64))
    for start in range(0, len(rest), at_once):
        yield [row_id for row_id in rest[start : start + at_once].tolist() if row_id not in drawn]


def _rows(connection: Connection, ids: Sequence[int], wanted: Sequence[ColumnElement[bool]]) -> Iterator[LoggedText]:
    columns = select(ROWS.c.id, ROWS.c.time, ROWS.c.label, ROWS.c.features, ROWS.c.text)
    rows = connection.execute(columns.where(ROWS.c.id.in_(ids), *wanted, ROWS.c.text.is_not(None)))
    found = {row.id: row for row in rows}
    for row_id in ids:
        if row_id in found:
            yield LoggedText(*found[row_id])
