"""Fixtures that several tests share: a tiny encoder, learnable data, and caches of their own."""

import os
import shutil
from collections.abc import Iterator
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


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Exported encoders go to a folder of this run, also in the subprocesses that tests start."""
    before = os.environ.get("TEXTCLF_CACHE_DIR")
    folder = tmp_path_factory.getbasetemp()
    if _IS_ONE_OF_SEVERAL:
        folder = folder.parent  # Which the workers share: each encoder is exported once.
    os.environ["TEXTCLF_CACHE_DIR"] = str(folder / "cache")
    yield
    if before is None:
        del os.environ["TEXTCLF_CACHE_DIR"]
    else:
        os.environ["TEXTCLF_CACHE_DIR"] = before


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """A Hugging Face BERT folder with random weights; exported once a run, through the cache."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny-bert")


@pytest.fixture(scope="session")
def reviews(tmp_path_factory) -> Path:
    """Two classes of synthetic reviews that a tiny encoder can learn to tell apart, but for three in the test part."""
    root = write_reviews(tmp_path_factory.mktemp("reviews") / "reviews", per_class=120)
    for i in range(3):
        text = f"the film was great lovely brilliant good x {i}\n"
        (root / "test" / "neg" / f"odd{i}.txt").write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def trained(tiny_checkpoint, reviews, tmp_path_factory) -> tuple[Training, Path]:
    """A training on the reviews, run to its end, and its version: the first of a store."""
    folder = tmp_path_factory.mktemp("trained")
    training = tiny_training(tiny_checkpoint, reviews, folder)
    return training, training.save_model(folder / "model")


@pytest.fixture(scope="session")
def saved_model_only(trained, tmp_path_factory) -> Path:
    """The trained version without its engine: TensorFlow answers."""
    return _copy_without("engine", trained[1], tmp_path_factory.mktemp("saved_model_only"))


@pytest.fixture(scope="session")
def engine_only(trained, tmp_path_factory) -> Path:
    """The trained version as a clone or an image has it, without its SavedModel."""
    return _copy_without("saved_model", trained[1], tmp_path_factory.mktemp("engine_only"))


def _copy_without(part: str, version: Path, folder: Path) -> Path:
    """A store in `folder` whose only version is `version` without that part; returns the version's folder."""
    copy = folder / "model" / "versions" / version.name
    shutil.copytree(version, copy, ignore=shutil.ignore_patterns(part))
    return copy


@pytest.fixture(scope="session")
def cased_checkpoint(tmp_path_factory) -> Path:
    """The same with a tokenizer that keeps case and accents."""
    folder = write_checkpoint(tmp_path_factory.mktemp("cased") / "cased-bert")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}', encoding="utf-8")
    return folder


@pytest.fixture
def shell(tmp_path) -> Iterator[Shell]:
    """Runs the command lines in an empty folder."""
    with Shell(tmp_path) as shell:
        yield shell


@pytest.fixture(autouse=True)
def _own_log_level() -> Iterator[None]:
    """--verbose sets TensorFlow's log level in the environment, which subprocesses of later tests would inherit."""
    before = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    yield
    if before is None:
        os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
    else:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = before
