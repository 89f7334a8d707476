"""`healthcheck`: asks the server that HOST and PORT describe whether it is ready, for what runs a command to know."""

import contextlib
import http.client
import ipaddress
import os
import sys
from http import HTTPStatus

from serving.settings import Settings
from textclf.errors import ConfigError

_SECONDS = 2


def main() -> None:
    """Exit with 0 if the server answers /ping with 200, else with 1 and the reason."""
    try:
        settings = Settings.from_environment(os.environ)
        status = ping(reachable(settings.host), settings.port)
    except (ConfigError, OSError, http.client.HTTPException) as error:
        sys.exit(f"healthcheck: {' '.join(str(error).split()) or type(error).__name__}")
    if status != HTTPStatus.OK:
        sys.exit(f"healthcheck: /ping answered {status}")


def ping(host: str, port: int) -> int:
    """The status that /ping answers with.

    Raises:
        OSError, http.client.HTTPException: nobody answers, or not in time, or not in HTTP.
    """
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=_SECONDS)) as connection:
        connection.request("GET", "/ping")
        return connection.getresponse().status


def reachable(host: str) -> str:
    """Where a server that listens on `host` is reached from the same machine: "every address" is none to connect to."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            return "127.0.0.1" if address.version == 4 else "::1"
    return host
