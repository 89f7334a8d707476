"""`train`: a training job as SageMaker runs it, in the folders below PREFIX.

input/config/hyperparameters.json   all strings (serving/sagemaker/hyperparameters.py)
input/config/*.json                 hosts and modes of the channels (serving/sagemaker/job_config.py)
input/data/train|validation|test    the channels (serving/sagemaker/channels.py)
checkpoints/                        a stopped job resumes from here
model/                              the model store of the new version
output/data/                        metrics and plots (serving/sagemaker/job_results.py)
output/failure                      the reason, if the job failed
"""

import contextlib
import importlib.util
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from serving.sagemaker.channels import join_channels
from serving.sagemaker.hyperparameters import Hyperparameters, read_hyperparameters
from serving.sagemaker.job_config import read_job
from serving.sagemaker.job_results import write_results
from serving.sagemaker.metric_lines import epoch_line, final_line
from serving.settings import DEFAULT_PREFIX
from textclf.cli.termination import ends_on_sigterm
from textclf.errors import ConfigError, TextClfError, TrainingError
from textclf.store.model_store import ModelStore

# SageMaker sends SIGKILL 120 seconds after SIGTERM. Until then a step may end and a checkpoint be written.
_STOP_SECONDS = 110.0
_USAGE = """\
usage: train

Trains on the data channels in PREFIX/input/data (default of PREFIX: /opt/ml) with the hyperparameters in
PREFIX/input/config/hyperparameters.json, and saves the model in PREFIX/model."""


def main() -> None:
    """Train; exits with 0, with 1 and the reason in output/failure, or with 143 after SIGTERM."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(_USAGE)  # noqa: T201
        return
    if len(sys.argv) > 1:
        sys.exit(_USAGE)
    prefix = Path(os.environ.get("PREFIX", "").strip() or DEFAULT_PREFIX)
    with ends_on_sigterm(_STOP_SECONDS), failure_reported(prefix / "output" / "failure"):
        train(prefix)


def train(prefix: Path) -> Path | None:
    """Run the job below `prefix`; return the folder of the new model version, or None on another host than the chief.

    Raises:
        TextClfError: if TensorFlow is not installed, a hyperparameter or the data is invalid, or the training fails.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise ConfigError(
            "expected TensorFlow, which the serving image does not have; train with the training image "
            "(docker build --target training)"
        )
    config = prefix / "input" / "config"
    cluster = read_job(config)
    if cluster is not None and not cluster.is_chief:
        from train_model import help_chief

        help_chief(cluster)
        return None
    asked = read_hyperparameters(config / "hyperparameters.json")
    for note in asked.notes:
        _log(f"note:          {note}")
    with _dataset(prefix / "input" / "data", prefix, asked) as dataset_path:
        from train_model import Training  # Imports TensorFlow.

        training = Training(
            dataset_path=str(dataset_path),
            url=asked.url,
            data_dir=str(prefix / "datasets"),
            runs_dir=str(prefix / "checkpoints"),
            recipe=asked.recipe,
            given=asked.options,
            cluster=cluster,
            **asked.options,
        )
        training.fit_model(on_epoch=lambda epoch, values: _log(epoch_line(epoch, values)))
        check_served(training.why_withheld(), asked.promote)
        version = training.save_model(prefix / "model", asked.name, asked.promote)
    manifest = ModelStore(prefix / "model").open(version.name).manifest
    if line := final_line(manifest.metrics):
        _log(line)
    write_results(prefix / "output" / "data", version, manifest)
    return version


def check_served(why_withheld: str, promote: bool) -> None:
    """Refuse a model that would not become current, because nobody can promote it inside model.tar.gz.

    The checkpoints stay, so the same job with promote continues from them.

    Raises:
        TrainingError: if something is wrong with the model, and the job does not promote it all the same.
    """
    if why_withheld and not promote:
        raise TrainingError(f"{why_withheld}; nothing was saved: to save it all the same, set promote to true")


@contextlib.contextmanager
def failure_reported(failure: Path) -> Iterator[None]:
    """If the block fails, write the reason and the traceback to the file `failure`, and exit with 1."""
    with contextlib.suppress(OSError):  # If it can't be removed, the write below fails and is reported.
        failure.unlink()
    try:
        yield
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, TextClfError):
            reason = f"{type(error).__name__}: {reason}"
        try:
            failure.parent.mkdir(parents=True, exist_ok=True)
            failure.write_text(f"{reason}\n\n{traceback.format_exc()}", encoding="utf-8")
        except OSError as unwritable:
            traceback.print_exc()
            print(f"error: {failure} can't be written: {unwritable}", file=sys.stderr)  # noqa: T201
        sys.exit(f"error: {reason}")


@contextlib.contextmanager
def _dataset(channels: Path, prefix: Path, asked: Hyperparameters) -> Iterator[Path]:
    """Yield the data set: the hyperparameter dataset_path, relative to `prefix`, or the joined channels."""
    if asked.dataset_path:
        if (channels / "train").exists():
            raise ConfigError(
                f"dataset_path: expected it only without a channel train, got both; remove the hyperparameter, or "
                f"the folder {channels / 'train'}"
            )
        yield prefix / asked.dataset_path
        return
    with tempfile.TemporaryDirectory(prefix="textclf-train-") as folder:
        root = Path(folder, "dataset")
        join_channels(channels, root)
        yield root


def _log(line: str) -> None:
    """Write a line at once: a tuning job stops bad trainings by their metrics."""
    print(line, flush=True)  # noqa: T201
