"""Training stage with a tiny encoder on a small data set: one or two seconds of fitting."""

from pathlib import Path

from train_model import Training


def tiny_training(checkpoint: Path, dataset: Path, folder: Path, **options: object) -> Training:
    """Return a Training on the synthetic reviews that writes below `folder`."""
    settings = {
        "model_name": "tiny-bert",
        "name_to_handle": str(checkpoint),
        "epochs": 4,
        "init_lr": 5e-3,
        "batch_size": 8,
        "max_length": 32,
        "precision": "float32",
        "data_dir": str(folder / "datasets"),
        "runs_dir": str(folder / "runs"),
    }
    return Training(dataset_path=str(dataset), **(settings | options))
