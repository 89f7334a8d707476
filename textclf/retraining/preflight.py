"""Checks before a retraining: problems that would otherwise appear after an hour of work."""

import importlib.util
from pathlib import Path

from textclf.errors import DatasetError, TrainingError

# Packages of training that a serving environment lacks.
_TRAINING_PACKAGES = ("tensorflow", "tf_keras", "datasketch")


def check_packages() -> None:
    """Check that the packages for training are installed.

    Raises:
        TrainingError: if one is missing.
    """
    missing = [name for name in _TRAINING_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingError(
            f"expected the packages of the extra `train`, found no {', '.join(missing)}; run it where models are "
            f"trained (promote, rollback, history and lift-hold work here)"
        )


def check_old_data(old_dataset_path: Path, data_dir: Path) -> None:
    """Check that the champion's data is at its path or in the folder for downloads.

    Raises:
        DatasetError: if it is in neither.
    """
    if not old_dataset_path.exists() and not (data_dir / old_dataset_path.name).exists():
        raise DatasetError(
            f"{old_dataset_path}: expected the data that the model was trained on, found nothing here and in "
            f"{data_dir}; check --old-dataset-path"
        )
