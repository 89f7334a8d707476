"""The programs of a server: gunicorn and nginx, with command lines, environments and nginx's configuration."""

import grp
import ipaddress
import json
import math
import os
import pwd
import resource
import signal
import string
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from serving.server.supervisor import Program
from serving.settings import MAX_FEEDBACK, Settings
from textclf.data.prediction_log.database_url import absolute_url
from textclf.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = Path(__file__).with_name("nginx.conf.template")
APPLICATION = "serving.wsgi:make_application()"
# Limit for finishing requests when the server stops; orchestrators kill after 30 s.
GRACE_SECONDS = 25
# Connections of one nginx process, which passes on about ten times the requests that a worker can serve.
MAX_CONNECTIONS = 4096

# Threads of a worker in addition to those of its slots: for /ping, /metrics and refusals with 429.
_SPARE_THREADS = 4
# A worker loads and warms its model, so it may be silent for longer than a request may take.
_BOOT_SECONDS = 60
# Keep-alive of a client's connection if gunicorn listens itself; nginx opens one per request.
_IDLE_SECONDS = 75
_WORKERS_PER_NGINX = 8
# User of an nginx that was started as root: Debian's choice, or a user that every system has.
_UNPRIVILEGED = ("www-data", "nobody")
# sockaddr_un has 108 bytes for a path, 104 on some systems.
_MAX_SOCKET_PATH = 100


class User(NamedTuple):
    """A user of the system, with its main group."""

    name: str
    group: str
    group_id: int


def unprivileged_user() -> User:
    """Return the user that a program started as root becomes.

    Raises:
        ConfigError: if the system has none of the known users.
    """
    for name in _UNPRIVILEGED:
        try:
            group_id = pwd.getpwnam(name).pw_gid
            return User(name, grp.getgrgid(group_id).gr_name, group_id)
        except KeyError:
            continue
    raise ConfigError(
        f"expected one of the users {', '.join(_UNPRIVILEGED)} for an nginx that is started as root, found none; "
        f"start serve as another user than root"
    )


def open_to_group(runtime: Path, user: User) -> None:
    """Let a user who is not the owner reach the sockets in the runtime folder."""
    os.chown(runtime, -1, user.group_id)
    runtime.chmod(0o750)


def raise_file_limit(max_connections: int) -> int:
    """Raise the limit of open files of this process and its children; return the possible number of connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * max_connections
    files = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return min(max_connections, files)


def gunicorn_program(
    settings: Settings, runtime: Path, metrics: Path, environ: Mapping[str, str], *, behind_nginx: bool
) -> Program:
    """Return gunicorn with the app, on one unix socket per worker in `runtime`, or on HOST:PORT without nginx.

    Args:
        runtime: folder for sockets and temporary files.
        metrics: empty folder for the workers' metrics.
        environ: environment to extend.

    Raises:
        ConfigError: if the path of `runtime` is too long for a socket.
    """
    addresses = [f"{url_host(settings.host)}:{settings.port}"]
    if behind_nginx:
        addresses = [f"unix:{runtime / socket_name}" for socket_name in _names(settings, "sock")]
        if len(addresses[-1]) > _MAX_SOCKET_PATH:
            raise ConfigError(
                f"TMPDIR: expected a folder with a shorter path (a socket's has at most {_MAX_SOCKET_PATH} "
                f"characters), got {runtime.parent}; set TMPDIR to another folder, /tmp for example"
            )
    command = [sys.executable, "-m", "gunicorn", "--config", str(Path(__file__).with_name("gunicorn_conf.py"))]
    options = {
        "worker-class": "serving.server.scgi_worker.ScgiWorker" if behind_nginx else "gthread",
        "workers": settings.model_server_workers,
        "threads": settings.max_concurrent + MAX_FEEDBACK + _SPARE_THREADS,
        "timeout": max(settings.model_server_timeout, _BOOT_SECONDS),
        "graceful-timeout": GRACE_SECONDS,
        "keep-alive": _IDLE_SECONDS,
        "worker-tmp-dir": runtime,
    }
    for option, value in (*(("bind", address) for address in addresses), *options.items()):
        command += [f"--{option}", str(value)]
    # Absolute, because gunicorn runs in the folder that it imports the app from.
    paths = {
        "MODEL_PATH": settings.model_path,
        "NEW_DATA_DIR": settings.new_data_dir,
        "PROMETHEUS_MULTIPROC_DIR": metrics,
        "TEXTCLF_SERVED_VERSION_FILE": runtime / "served",  # See serving/model/served_version.py.
    }
    return Program(
        "gunicorn",
        [*command, APPLICATION],
        ROOT,
        {
            # The matrix products of numpy are small here. With its own threads OpenBLAS would keep a core busy for
            # some hundredths of a second after each product.
            "OPENBLAS_NUM_THREADS": "1",
            **environ,
            **{name: str(path.absolute()) for name, path in paths.items()},
            "PREDICTION_LOG_URL": absolute_url(settings.prediction_log_url),
        },
    )


def nginx_program(nginx: str, runtime: Path, environ: Mapping[str, str]) -> Program:
    """Return nginx with the configuration in `runtime`."""
    # -p .: files and sockets are relative to the working folder, so nginx's user needs no access to the folders above.
    # -e: errors before the configuration is read go to stderr too, not to the system's log.
    command = [nginx, "-p", ".", "-c", "nginx.conf", "-e", "stderr"]
    return Program("nginx", command, runtime, {"PATH": environ.get("PATH", "")}, drain_signal=signal.SIGQUIT)


def nginx_conf(settings: Settings, connections: int, user: User | None = None) -> str:
    """Return the text of nginx.conf; it contains no setting except whole numbers, a checked address and the user.

    `connections` limits those of one nginx process, including those to the workers.
    """
    names, markers = _names(settings, "ready"), _names(settings, "warm")
    values = {
        "user": f"user {user.name} {user.group};" if user else "",
        "processes": math.ceil(settings.model_server_workers / _WORKERS_PER_NGINX),
        "connections": int(connections),
        "servers": "\n".join(f"        server unix:{name} max_fails=0;" for name in names),
        "warm_checks": "\n".join(f"            if (-e {name}) {{ set $warm 1; }}" for name in markers),
        "address": f"{url_host(settings.host)}:{settings.port}",
        "max_body_bytes": settings.max_body_bytes,
        "timeout": settings.model_server_timeout,
        "error_locations": _error_locations(settings),
    }
    return _Template(TEMPLATE.read_text("utf-8")).substitute(values)


def _error_locations(settings: Settings) -> str:
    """The locations of nginx's own errors, whose bodies have the form of the API's errors."""
    retry, timeout = "Retry-After 1", settings.model_server_timeout
    errors = (
        (404, "not_found", "There is no such path"),
        (400, "bad_request", "The request breaks a rule of HTTP"),
        (405, "method_not_allowed", "No path takes this method", "Allow $allowed_methods"),
        (413, "body_too_large", f"The body has more than {settings.max_body_bytes} bytes (MAX_BODY_BYTES)"),
        (414, "uri_too_long", "The path and query have more than 8 KiB"),
        (431, "headers_too_large", "A header has more than 8 KiB, or all have more than 32 KiB"),
        (500, "internal_error", "The server failed"),
        (503, "not_ready", "No worker is ready; try again", retry),
        (503, "worker_lost", "The worker ended during the request; send it again", retry),
        (503, "timed_out", f"No response within {timeout} s (MODEL_SERVER_TIMEOUT); send fewer texts at a time"),
    )
    lines = []
    for status, code, message, *headers in errors:
        lines += [f"        location = /.nginx/{code} {{", "            internal;"]
        for header in ("X-Request-Id $passed_request_id", *headers):
            lines.append(f"            add_header {header} always;")
        body = json.dumps({"error": {"code": code, "message": message}})
        lines += [f"            return {status} '{body}';", "        }"]
    return "\n".join(lines)


class _Template(string.Template):
    """A template with fields like %{name}, because $ is nginx's own."""

    delimiter = "%"


def _names(settings: Settings, suffix: str) -> list[str]:
    """The workers' files in the runtime folder (see serving/server/gunicorn_conf.py)."""
    return [f"{number}.{suffix}" for number in range(settings.model_server_workers)]


def url_host(host: str) -> str:
    """Return the host in the form that a URL needs before the port."""
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
