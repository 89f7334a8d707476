"""Fixtures that several tests share: a tiny encoder, learnable data, and caches of their own."""

import os
from pathlib import Path

import pytest
from tiny_bert import write_checkpoint, write_reviews


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Exported encoders go to a folder of this run, also in the subprocesses that tests start."""
    before = os.environ.get("TEXTCLF_CACHE_DIR")
    os.environ["TEXTCLF_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
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
    """Two classes of synthetic reviews that a tiny encoder can learn to tell apart."""
    return write_reviews(tmp_path_factory.mktemp("reviews") / "reviews")
