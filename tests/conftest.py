"""Fixtures that several tests share: a tiny encoder, learnable data, a trained version, and caches of their own."""

import fcntl
import gc
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_lines import Shell
from tiny_bert import write_checkpoint, write_reviews
from tiny_training import tiny_training

from train_model import Training

# Several workers of pytest-xdist run at a time.
_IS_ONE_OF_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ


def pytest_configure() -> None:
    """Workers share the cores: each takes one, and so do the subprocesses that its tests start."""
    if _IS_ONE_OF_SEVERAL:
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no worker is left alone with one of them in the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Modules and tests stay until the end: the collector need not look through them in each of its rounds."""
    gc.freeze()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Path:
    """Of this run: that of all its workers."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if _IS_ONE_OF_SEVERAL else folder


@pytest.fixture(scope="session")
def made_once(shared_folder) -> Callable[[str, Callable[[Path], object]], Path]:
    """made_once(name, make): the folder that make(folder) fills in the first worker that needs it; others read it."""

    def made_once(name: str, make: Callable[[Path], object]) -> Path:
        folder, mark = shared_folder / name, shared_folder / f"{name}.made"
        with open(shared_folder / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not mark.exists():
                shutil.rmtree(folder, ignore_errors=True)  # What a worker that failed has left.
                folder.mkdir()
                make(folder)
                mark.touch()
        return folder

    return made_once


@pytest.fixture(scope="session", autouse=True)
def _own_cache(shared_folder):
    """Exported encoders go to a folder of this run, also in the subprocesses that tests start."""
    before = os.environ.get("TEXTCLF_CACHE_DIR")
    os.environ["TEXTCLF_CACHE_DIR"] = str(shared_folder / "cache")
    yield
    if before is None:
        del os.environ["TEXTCLF_CACHE_DIR"]
    else:
        os.environ["TEXTCLF_CACHE_DIR"] = before


@pytest.fixture(scope="session")
def tiny_checkpoint(made_once) -> Path:
    """A Hugging Face BERT folder with random weights; exported once a run, through the cache."""
    return made_once("tiny", lambda folder: write_checkpoint(folder / "tiny-bert")) / "tiny-bert"


@pytest.fixture(scope="session")
def reviews(made_once) -> Path:
    """Two classes of synthetic reviews that a tiny encoder can learn to tell apart, but for three in the test part."""

    def make(folder: Path) -> None:
        root = write_reviews(folder / "reviews", per_class=120)
        for i in range(3):
            text = f"the film was great lovely brilliant good x {i}\n"
            (root / "test" / "neg" / f"odd{i}.txt").write_text(text, encoding="utf-8")

    return made_once("data", make) / "reviews"


@pytest.fixture(scope="session")
def trained_folder(tiny_checkpoint, reviews, made_once) -> Path:
    """Of a training on the reviews: model/, a store of its one version; runs/, and as fitted/ before it was saved."""

    def make(folder: Path) -> None:
        training = tiny_training(tiny_checkpoint, reviews, folder)
        training.fit_model()
        shutil.copytree(folder / "runs", folder / "fitted")
        training.save_model(folder / "model")

    return made_once("trained", make)


@pytest.fixture(scope="session")
def trained_version(trained_folder) -> Path:
    """The version that was trained on the reviews: the first of a store."""
    (path,) = (trained_folder / "model" / "versions").iterdir()
    return path


@pytest.fixture(scope="session")
def trained(trained_folder, trained_version, tiny_checkpoint, reviews, tmp_path_factory) -> tuple[Training, Path]:
    """That training, run to its end and measured, and its version."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(trained_folder / "fitted", folder / "runs")  # From which it goes on: there is nothing left to fit.
    training = tiny_training(tiny_checkpoint, reviews, folder)
    training.predict_model()
    return training, trained_version


@pytest.fixture(scope="session")
def saved_model_only(trained_version, tmp_path_factory) -> Path:
    """The trained version without its engine: TensorFlow answers."""
    return _copy_without("engine", trained_version, tmp_path_factory.mktemp("saved_model_only"))


@pytest.fixture(scope="session")
def engine_only(trained_version, tmp_path_factory) -> Path:
    """The trained version as a clone or an image has it, without its SavedModel."""
    return _copy_without("saved_model", trained_version, tmp_path_factory.mktemp("engine_only"))


def _copy_without(part: str, version: Path, folder: Path) -> Path:
    """A store in `folder` whose only version is `version` without that part; returns the version's folder."""
    copy = folder / "model" / "versions" / version.name
    shutil.copytree(version, copy, ignore=shutil.ignore_patterns(part))
    return copy


@pytest.fixture(scope="session")
def cased_checkpoint(made_once) -> Path:
    """The same with a tokenizer that keeps case and accents."""

    def make(folder: Path) -> None:
        checkpoint = write_checkpoint(folder / "cased-bert")
        (checkpoint / "tokenizer_config.json").write_text('{"do_lower_case": false}', encoding="utf-8")

    return made_once("cased", make) / "cased-bert"


@pytest.fixture
def _coarse_quantising(monkeypatch) -> None:
    """Quantising is the slow part of saving; this is for tests that do not ask how well it is done."""
    monkeypatch.setattr("textclf.training.export.engine_export._CALIBRATION_TEXTS", 4)


@pytest.fixture
def shell(tmp_path) -> Iterator[Shell]:
    """Runs the command lines in an empty folder."""
    with Shell(tmp_path) as shell:
        yield shell


@pytest.fixture(autouse=True)
def _own_log_level() -> Iterator[None]:
    """Of the records, as Python has it, whoever raised the root's level before. In the environment, as it was before.

    --verbose sets TensorFlow's there, which subprocesses of later tests would inherit.
    """
    logging.getLogger().setLevel(logging.WARNING)
    # pytest's, which are the same for all tests.
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.NOTSET)
    logging.disable(logging.NOTSET)
    before = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    yield
    if before is None:
        os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
    else:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = before
