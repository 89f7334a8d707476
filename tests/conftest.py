"""Shared fixtures: a tiny encoder, learnable data, a trained version, and separate caches."""

import fcntl
import gc
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_lines import Shell
from tiny_bert import write_checkpoint, write_reviews
from tiny_training import tiny_training

from train_model import Training

# Several workers of pytest-xdist run at a time.
_IS_ONE_OF_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ
# The first file needs the trained version. Another worker runs the second file meanwhile, and does not wait for it.
_FIRST = ("stages/test_retraining.py", "serving/test_serve.py")
# Folders with long files, in their order.
_LONG = ("stages", "training", "tuning", "serving", "project", "store", "hub")


def pytest_configure() -> None:
    """Give each worker and its subprocesses one core, and Ctrl-C, which a shell lets background commands ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if _IS_ONE_OF_SEVERAL:
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run long files first, so that no worker has to finish one of them alone at the end."""
    tests = Path(__file__).parent
    turns = {name: turn for turn, name in enumerate((*_FIRST, *_LONG))}

    def turn_of(item: pytest.Item) -> int:
        path = item.path.relative_to(tests)
        return turns.get(path.as_posix(), turns.get(path.parts[0], len(turns)))

    items.sort(key=turn_of)


def pytest_collection_finish() -> None:
    """Exclude modules and tests, which stay until the end, from garbage collection."""
    gc.freeze()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Path:
    """Folder of this run, shared by all its workers."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if _IS_ONE_OF_SEVERAL else folder


@pytest.fixture(scope="session")
def made_once(shared_folder) -> Callable[[str, Callable[[Path], object]], Path]:
    """made_once(name, make): folder that make(folder) fills in the first worker that needs it; the others read it."""

    def made_once(name: str, make: Callable[[Path], object]) -> Path:
        folder, mark = shared_folder / name, shared_folder / f"{name}.made"
        with open(shared_folder / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not mark.exists():
                shutil.rmtree(folder, ignore_errors=True)  # Left by a worker that failed.
                folder.mkdir()
                make(folder)
                mark.touch()
        return folder

    return made_once


@pytest.fixture(scope="session", autouse=True)
def _own_cache(shared_folder):
    """Export encoders to a folder of this run, also in subprocesses of tests."""
    before = os.environ.get("TEXTCLF_CACHE_DIR")
    os.environ["TEXTCLF_CACHE_DIR"] = str(shared_folder / "cache")
    yield
    if before is None:
        del os.environ["TEXTCLF_CACHE_DIR"]
    else:
        os.environ["TEXTCLF_CACHE_DIR"] = before


@pytest.fixture(scope="session")
def tiny_checkpoint(made_once) -> Path:
    """Hugging Face BERT folder with random weights; exported once per run, through the cache."""
    return made_once("tiny", lambda folder: write_checkpoint(folder / "tiny-bert")) / "tiny-bert"


@pytest.fixture(scope="session")
def reviews(made_once) -> Path:
    """Synthetic reviews of two classes that a tiny encoder can separate, except for three in the test part."""

    def make(folder: Path) -> None:
        root = write_reviews(folder / "reviews", per_class=120)
        for i in range(3):
            text = f"the film was great lovely brilliant good x {i}\n"
            (root / "test" / "neg" / f"odd{i}.txt").write_text(text, encoding="utf-8")

    return made_once("data", make) / "reviews"


@pytest.fixture(scope="session")
def trained_folder(tiny_checkpoint, reviews, made_once) -> Path:
    """Folder of a training on the reviews: model/ (store of one version), runs/, and fitted/ (runs before saving)."""

    def make(folder: Path) -> None:
        training = tiny_training(tiny_checkpoint, reviews, folder)
        training.fit_model()
        shutil.copytree(folder / "runs", folder / "fitted")
        training.save_model(folder / "model")

    return made_once("trained", make)


@pytest.fixture(scope="session")
def trained_version(trained_folder) -> Path:
    """Folder of the version that was trained on the reviews."""
    (path,) = (trained_folder / "model" / "versions").iterdir()
    return path


@pytest.fixture(scope="session")
def trained(trained_folder, trained_version, tiny_checkpoint, reviews, tmp_path_factory) -> tuple[Training, Path]:
    """The finished and measured training on the reviews, and the folder of its version."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(trained_folder / "fitted", folder / "runs")  # It continues there: nothing is left to fit.
    training = tiny_training(tiny_checkpoint, reviews, folder)
    training.predict_model()
    return training, trained_version


@pytest.fixture(scope="session")
def saved_model_only(trained_version, tmp_path_factory) -> Path:
    """Store of the trained version without its engine: TensorFlow predicts."""
    return _copy_without("engine", trained_version, tmp_path_factory.mktemp("saved_model_only"))


@pytest.fixture(scope="session")
def engine_only(trained_version, tmp_path_factory) -> Path:
    """Store of the trained version without its SavedModel, like in a clone or an image."""
    return _copy_without("saved_model", trained_version, tmp_path_factory.mktemp("engine_only"))


def _copy_without(part: str, version: Path, folder: Path) -> Path:
    """Copy a version without one part into a new store in `folder`; return the copy's folder."""
    copy = folder / "model" / "versions" / version.name
    shutil.copytree(version, copy, ignore=shutil.ignore_patterns(part))
    return copy


@pytest.fixture(scope="session")
def cased_checkpoint(made_once) -> Path:
    """Hugging Face BERT folder with random weights, whose tokenizer keeps case and accents."""

    def make(folder: Path) -> None:
        checkpoint = write_checkpoint(folder / "cased-bert")
        (checkpoint / "tokenizer_config.json").write_text('{"do_lower_case": false}', encoding="utf-8")

    return made_once("cased", make) / "cased-bert"


@pytest.fixture
def _coarse_quantising(monkeypatch) -> None:
    """Quantise with few texts: the slow part of saving, for tests that do not measure its quality."""
    monkeypatch.setattr("textclf.training.export.engine_export._CALIBRATION_TEXTS", 4)


@pytest.fixture
def shell(tmp_path) -> Iterator[Shell]:
    """Shell that runs command lines in an empty folder."""
    with Shell(tmp_path) as shell:
        yield shell


@pytest.fixture(autouse=True)
def _own_log_level() -> Iterator[None]:
    """Reset log levels: of the loggers before a test, and of TensorFlow's environment variable after it.

    --verbose sets the variable, and subprocesses of later tests would inherit it.
    """
    logging.getLogger().setLevel(logging.WARNING)
    # The handlers are pytest's, and the same for all tests.
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.NOTSET)
    logging.disable(logging.NOTSET)
    before = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    yield
    if before is None:
        os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
    else:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = before
