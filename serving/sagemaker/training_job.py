"""`train`: one training as SageMaker runs it, in the folders below PREFIX.

input/config/hyperparameters.json   all strings (serving/sagemaker/hyperparameters.py)
input/data/train|validation|test    the channels (serving/sagemaker/channels.py)
checkpoints/                        a job that was stopped goes on from here
model/                              the model store that gets the new version
output/failure                      why the job failed, if it did
"""

import contextlib
import importlib.util
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

from serving.sagemaker.channels import join_channels
from serving.sagemaker.hyperparameters import Hyperparameters, read_hyperparameters
from textclf.config import DataOptions
from textclf.errors import ConfigError, TextClfError

DEFAULT_PREFIX = "/opt/ml"
_USAGE = """\
usage: train

Trains on the data channels in PREFIX/input/data (PREFIX is /opt/ml by default) with the hyperparameters in
PREFIX/input/config/hyperparameters.json, and saves the model in PREFIX/model."""


def main() -> None:
    """Train; exits with 0, with 1 and the reason in output/failure, or with 143 after SIGTERM."""
    if len(sys.argv) > 1:
        sys.exit(_USAGE)
    prefix = Path(os.environ.get("PREFIX", "").strip() or DEFAULT_PREFIX)
    signal.signal(signal.SIGTERM, _end)
    with failure_reported(prefix / "output" / "failure"):
        train(prefix)


def train(prefix: Path) -> Path:
    """Run the job below `prefix`; returns the folder of the new model version.

    Raises:
        TextClfError: TensorFlow is not installed, or a hyperparameter, the data or the training is at fault.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise ConfigError(
            "expected TensorFlow, which the serving image does without; train with the training image "
            "(docker build --target training)"
        )
    asked = read_hyperparameters(prefix / "input" / "config" / "hyperparameters.json")
    with _dataset(prefix / "input" / "data", prefix, asked) as dataset_path:
        from train_model import Training  # Takes TensorFlow along.

        training = Training(
            dataset_path=str(dataset_path),
            url=asked.url,
            data_dir=str(prefix / "datasets"),
            runs_dir=str(prefix / "checkpoints"),
            **asked.options,
        )
        return training.save_model(prefix / "model", asked.name, asked.promote)


@contextlib.contextmanager
def failure_reported(failure: Path) -> Iterator[None]:
    """Write why the block failed into the file `failure`: one clear text, then the traceback; then exit with 1."""
    with contextlib.suppress(OSError):  # Where it can't be removed, it can't be written either, which is said below.
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
    """The data set that the job is given: by a hyperparameter, relative to `prefix`, or by its channels."""
    if asked.dataset_path:
        if (channels / "train").exists():
            raise ConfigError(
                f"dataset_path: expected it only where there is no channel train, got both; leave it out, or "
                f"remove {channels / 'train'}"
            )
        yield prefix / asked.dataset_path
        return
    with tempfile.TemporaryDirectory(prefix="textclf-train-") as folder:
        root = Path(folder, "dataset")
        join_channels(channels, root, _data_options(asked.options))
        yield root


def _data_options(options: Mapping[str, object]) -> DataOptions:
    known = DataOptions().to_dict()
    return DataOptions.from_dict({name: value for name, value in options.items() if name in known})


def _end(_signal: int, _frame: object) -> None:
    sys.exit(128 + signal.SIGTERM)
