"""Results of a training job for people: metrics and plots in output/data, which SageMaker uploads as output.tar.gz."""

import json
import shutil
from pathlib import Path

from textclf.files import atomic_file
from textclf.store.manifest import Manifest

METRICS_FILE = "metrics.json"
PLOTS = "plots"


def write_results(folder: Path, version: Path, manifest: Manifest) -> None:
    """Write metrics.json and plots/ into `folder`, which is made.

    Args:
        version: folder of the model version that the job has saved.
        manifest: its manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = {
        "version": manifest.id,
        "name": manifest.name,
        "metrics": manifest.metrics,
        "history": manifest.training.get("history", {}),
    }
    with atomic_file(folder / METRICS_FILE) as file:
        json.dump(results, file, indent=2)
    if (version / PLOTS).is_dir():
        shutil.copytree(version / PLOTS, folder / PLOTS, dirs_exist_ok=True)
