"""`healthcheck`: ask the server at HOST and PORT whether it is ready, for orchestrators that run a command."""

import contextlib
import http.client
import ipaddress
import os
import sys
from http import HTTPStatus

from serving.hosting import read_settings
from textclf.errors import ConfigError

_SECONDS = 2


def main() -> None:
    """Exit with 0 if /ping returns 200, else with 1, the address and the reason."""
    address = ""
    try:
        settings = read_settings(os.environ)
        host = reachable(settings.host)
        address = f"{host}, port {settings.port}: "
        status = ping(host, settings.port)
    except (ConfigError, OSError, http.client.HTTPException) as error:
        sys.exit(f"healthcheck: {address}{' '.join(str(error).split()) or type(error).__name__}")
    if status != HTTPStatus.OK:
        sys.exit(f"healthcheck: {address}/ping returned {status}")


def ping(host: str, port: int) -> int:
    """Return the status of /ping.

    Raises:
        OSError, http.client.HTTPException: if there is no response in time, or it is not HTTP.
    """
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=_SECONDS)) as connection:
        connection.request("GET", "/ping")
        return connection.getresponse().status


def reachable(host: str) -> str:
    """Return the address at which a server on `host` is reached locally; "all interfaces" becomes loopback."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            return "127.0.0.1" if address.version == 4 else "::1"
    return host
