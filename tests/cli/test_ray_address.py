"""Addresses of Ray clusters where nothing listens: one line soon, for which Ray would wait minutes."""

import re
import socket
import time

import pytest

from textclf.errors import ConfigError
from textclf.ray_cluster import connected

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("is_option", [True, False], ids=["option", "RAY_ADDRESS"])
def test_nothing_listens(monkeypatch, is_option):
    address = f"127.0.0.1:{closed_port()}"
    monkeypatch.setenv("RAY_ADDRESS", "" if is_option else address)
    start = time.monotonic()
    with (
        pytest.raises(
            ConfigError, match=rf"--ray-address: expected a Ray cluster at {address}, found none \(.*refused"
        ),
        connected(address if is_option else ""),
    ):
        pytest.fail("connected")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "ray..head:6379"])
def test_an_address_that_can_not_exist(address):
    with pytest.raises(ConfigError, match=f"at {re.escape(address)}, found none"), connected(address):
        pytest.fail("connected")
