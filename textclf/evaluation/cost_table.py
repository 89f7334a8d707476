"""The cost table of unsure predictions: the cost of each error, and of an unsure prediction.

A table is a TOML file. Errors that it does not name cost 1.

    unsure = 0.2
    [errors.neg]    # the true class
    pos = 5         # the predicted class, and the cost
"""

import json
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from textclf.errors import ConfigError
from textclf.listing import shortened

DEFAULT_COST = 1.0
_EXAMPLE = "unsure = 0.2, and for the other costs [errors.TRUE_CLASS] with PREDICTED_CLASS = 5"


@dataclass(frozen=True)
class CostTable:
    """Costs of a prediction; a right one costs nothing.

    Attributes:
        unsure: cost of an unsure prediction, above 0.
        errors: cost by true class and by predicted class; the others cost DEFAULT_COST.
    """

    unsure: float
    errors: dict[str, dict[str, float]]

    @classmethod
    def read(cls, value: str) -> Self:
        """The table in a TOML file, or in a JSON object as `to_json` returns it.

        Args:
            value: path of the file, or the JSON object.

        Raises:
            ConfigError: if the file can't be read, or is not such a table.
        """
        is_json = value.lstrip().startswith("{")
        name, form = ("costs", "a JSON object") if is_json else (f"--costs {value}", "a TOML file in UTF-8")
        try:
            found = json.loads(value) if is_json else tomllib.loads(Path(value).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ConfigError(f"{name}: can't be read ({error.strerror}); check the path") from None
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{name}: expected {form}, found other text: {error}") from None
        return cls.from_dict(found, name)

    @classmethod
    def from_dict(cls, values: dict[str, Any], name: str = "costs") -> Self:
        """The table from the dict of `to_dict`; `name` begins the message of an error.

        Raises:
            ConfigError: if a key is unknown, or a cost is missing or not a number.
        """
        if unknown := sorted(set(values) - {"unsure", "errors"}):
            raise ConfigError(f"{name}: expected {_EXAMPLE}; found the unknown key {unknown[0]}")
        if not (_is_cost(values.get("unsure")) and values["unsure"] > 0):
            raise ConfigError(f"{name}: unsure: expected a cost above 0, found {values.get('unsure', 'none')!r}")
        errors = values.get("errors", {})
        if not (isinstance(errors, dict) and all(isinstance(row, dict) for row in errors.values())):
            raise ConfigError(f"{name}: errors: expected {_EXAMPLE}; found something else")
        for true, row in errors.items():
            for predicted, cost in row.items():
                if not _is_cost(cost) or true == predicted:
                    what = "no cost, because it is right" if true == predicted else "a cost of at least 0"
                    raise ConfigError(f"{name}: errors.{true}.{predicted}: expected {what}, found {cost!r}")
        return cls(float(values["unsure"]), {true: dict(row) for true, row in errors.items()})

    def to_dict(self) -> dict[str, Any]:
        """The table as a dict for JSON."""
        return {"unsure": self.unsure, "errors": self.errors}

    def to_json(self) -> str:
        """The table as one line, which `read` accepts."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def matrix(self, class_names: Sequence[str]) -> NDArray[np.float64]:
        """Cost of each error by true and predicted class, [K, K], with zeros on the diagonal.

        Raises:
            ConfigError: if the table names a class that is not in `class_names`.
        """
        names = {*self.errors, *(name for row in self.errors.values() for name in row)}
        if unknown := sorted(names - set(class_names)):
            raise ConfigError(
                f"costs: expected classes of the data ({shortened(class_names, 20)}), found {shortened(unknown)}; "
                f"correct the cost table"
            )
        positions = {name: class_id for class_id, name in enumerate(class_names)}
        found = np.full((len(positions), len(positions)), DEFAULT_COST)
        np.fill_diagonal(found, 0.0)
        for true, row in self.errors.items():
            for predicted, cost in row.items():
                found[positions[true], positions[predicted]] = cost
        return found


def _is_cost(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max
