"""Loads a version from a folder of MLflow; MLmodel names this module as its loader, so nothing is unpickled."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

    from textclf.runtime.predictor import Predictor

TEXT, LABEL, SCORE = "text", "label", "score"
PROBABILITY = "p:"


class VersionModel:
    """A version as MLflow calls it.

    Args:
        predictor: the loaded version.
    """

    def __init__(self, predictor: "Predictor") -> None:
        self.predictor = predictor

    def predict(self, model_input: "pandas.DataFrame", params: dict[str, Any] | None = None) -> "pandas.DataFrame":
        """Return label, score and the probabilities of all classes, one row per row of `model_input`.

        Args:
            model_input: table with a column `text`; others are ignored.
            params: ignored.

        Raises:
            InputError: if a text is not a well-formed str.
        """
        import pandas

        found = self.predictor.predict(model_input[TEXT].tolist())
        columns: dict[str, list[Any]] = {
            LABEL: [item.label for item in found],
            SCORE: [item.score for item in found],
        }
        for name in self.predictor.class_names:
            columns[PROBABILITY + name] = [item.probabilities[name] for item in found]
        return pandas.DataFrame(columns, index=model_input.index)


def _load_pyfunc(data_path: str) -> VersionModel:
    """Load the version in a folder; MLflow calls this by name."""
    from textclf.runtime.loading import predictor_of_version
    from textclf.store.model_store import open_model

    return VersionModel(predictor_of_version(open_model(data_path)))
