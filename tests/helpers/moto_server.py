"""moto's server in a process of its own: AWS services that keep everything in memory, over HTTP."""

import contextlib
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from serving_stack import free_port, wait_for

# moto accepts any credentials until enforce_permissions().
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST", "AWS_SECRET_ACCESS_KEY": "made-up-secret-key"}


class MotoServer:
    """A running server.

    Attributes:
        url: its address, for AWS_ENDPOINT_URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which boto3 uses the server, and nothing of this machine."""
        return {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self, service: str) -> Any:
        """Return a client of a service."""
        session = boto3.session.Session(*CREDENTIALS.values(), region_name="us-east-1")
        return session.client(service, endpoint_url=self.url)

    def enforce_permissions(self) -> None:
        """From now on a request needs a user whose policies allow it."""
        self._post("reset-auth", b"0")

    def allow_all(self) -> None:
        """Accept any credentials again."""
        self._post("reset-auth", b"1000000")

    def _post(self, path: str, body: bytes) -> None:
        # The server would parse a form.
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}/moto-api/{path}", data=body, headers=headers, method="POST")
        with urllib.request.urlopen(request, timeout=20):
            pass


@contextlib.contextmanager
def running_moto(folder: Path) -> Iterator[MotoServer]:
    """Run the server on a free port of 127.0.0.1; its log is `folder`/moto.log."""
    port = free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with open(folder / "moto.log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=kept, stdout=log, stderr=subprocess.STDOUT)
    server = MotoServer(f"http://127.0.0.1:{port}")
    try:
        wait_for(lambda: _responds(server.url, process), 60)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=20)


def _responds(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "moto ended; see moto.log"
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close()
        return True
    return False
