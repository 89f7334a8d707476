"""The programs of a server: gunicorn and nginx, with command lines, environments and nginx's configuration."""

import grp
import ipaddress
import json
import math
import os
import pwd
import re
import resource
import signal
import string
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from serving.gateway import cors_headers, origins_of
from serving.server.supervisor import Program
from serving.server.worker_files import DRAINING_VARIABLE, draining_file
from serving.settings import MAX_DISCARDS, MAX_DRAWS, MAX_FEEDBACK, MAX_GETS, MAX_SCRAPES, Settings
from textclf.data.prediction_log.database_url import absolute_url
from textclf.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = Path(__file__).with_name("nginx.conf.template")
APPLICATION = "serving.wsgi:make_application()"
# Limits for finishing requests when the server stops, and for that after the drain; orchestrators kill after 30 s.
_GRACE_SECONDS = 25
_STOP_SECONDS = 28
# Connections of one nginx process, which passes on about ten times the requests that a worker can serve.
MAX_CONNECTIONS = 4096

# Threads of a worker in addition to those that its slots can hold: for /ping and refusals.
_SPARE_THREADS = 2
# A worker loads and warms its model, so it may be silent for longer than a request may take.
_BOOT_SECONDS = 60
_WORKERS_PER_NGINX = 8
# User of an nginx that was started as root: Debian's choice, or a user that every system has.
_UNPRIVILEGED = ("www-data", "nobody")
# A regular file in the runtime folder, in place of nginx's folders of temporary files.
NO_FOLDER = "no_folder"
_KEY_CHECK = """\
            if ($is_unauthorized) {
                return 401;
            }"""
# nginx's maps of Content-Length call a body of at most this size medium (nginx.conf.template).
_MEDIUM_BODY_BYTES = 100_000
# Room for the sizes of chunks, which nginx reads into the same buffer: chunks of 64 bytes and more fit.
_CHUNKS_PER_BODY = 8
# nginx's default on most processors, and what an entry needs next to its key: pointers and the length, aligned.
_MAP_BUCKET_BYTES = 64
_MAP_ENTRY_BYTES = 32
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


def grace_seconds(settings: Settings) -> float:
    """Return the limit for finishing requests after the drain."""
    return min(_GRACE_SECONDS, _STOP_SECONDS - settings.drain_seconds)


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
        "worker-class": f"serving.server.{'scgi_worker.ScgiWorker' if behind_nginx else 'http_worker.HttpWorker'}",
        "workers": settings.model_server_workers,
        "threads": sum(
            (
                settings.max_concurrent,
                settings.explain_concurrent,
                MAX_FEEDBACK,
                MAX_DRAWS,
                MAX_GETS,
                MAX_SCRAPES,
                MAX_DISCARDS,
                _SPARE_THREADS,
            )
        ),
        "timeout": max(settings.model_server_timeout, _BOOT_SECONDS),
        "graceful-timeout": math.ceil(grace_seconds(settings)),
        # For a client's connection if gunicorn listens itself; nginx opens one per request.
        "keep-alive": settings.keep_alive_seconds,
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
        DRAINING_VARIABLE: draining_file(runtime),
    }
    return Program(
        "gunicorn",
        [*command, APPLICATION],
        ROOT,
        {
            # The matrix products of numpy are small here. With its own threads OpenBLAS would keep a core busy for
            # some hundredths of a second after each product.
            "OPENBLAS_NUM_THREADS": "1",
            # By default glibc has a pool of memory for each thread. Its holes grow with each change of the model.
            "MALLOC_ARENA_MAX": "2",
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
    """Return the text of nginx.conf; with API_KEY it is secret.

    It contains no other setting except whole numbers, a checked address and the user.

    `connections` limits those of one nginx process, including those to the workers.
    """
    names, markers = _names(settings, "ready"), _names(settings, "warm")
    processes = math.ceil(settings.model_server_workers / _WORKERS_PER_NGINX)
    body_buffer_bytes = settings.max_body_bytes + settings.max_body_bytes // _CHUNKS_PER_BODY
    max_medium_bodies = settings.max_pending_body_bytes // 2 // _MEDIUM_BODY_BYTES
    max_large_bodies = settings.max_pending_body_bytes // 2 // body_buffer_bytes
    origins = origins_of(settings.cors_origins)
    values = {
        "user": f"user {user.name} {user.group};" if user else "",
        "processes": processes,
        "connections": int(connections),
        "servers": "\n".join(f"        server unix:{name} max_fails=0;" for name in names),
        "warm_checks": "\n".join(f"            if (-e {name}) {{ set $warm 1; }}" for name in markers),
        "address": f"{url_host(settings.host)}:{settings.port}",
        # As gunicorn: all addresses of version 6 are those of version 4, too.
        "listen_option": " ipv6only=off" if _is_any_address_6(settings.host) else "",
        "no_folder": NO_FOLDER,
        "max_body_bytes": settings.max_body_bytes,
        "body_buffer_bytes": body_buffer_bytes,
        # Half, so that one address leaves room for others. Far more than workers accept, because a load balancer is
        # one address, too.
        "max_requests_of_sender": max(1, connections * processes // 2),
        "max_medium_bodies": max(1, max_medium_bodies),
        "max_medium_bodies_of_sender": max(1, max_medium_bodies // 2),
        "max_large_bodies": max(1, max_large_bodies),
        "max_large_bodies_of_sender": max(1, max_large_bodies // 2),
        "keep_alive": settings.keep_alive_seconds,
        "root_path_map": _root_path_map(settings.root_path),
        "map_bucket_bytes": _map_bucket_bytes(origins),
        "cors_map": _cors_map(origins),
        "key_maps": _key_maps(settings.api_key) if settings.api_key else "",
        "key_check": _KEY_CHECK if settings.api_key else "",
        "timeout": settings.model_server_timeout,
        "error_codes": "|".join(sorted(error_codes(settings))),
        "error_locations": _error_locations(settings),
    }
    return _Template(TEMPLATE.read_text("utf-8")).substitute(values)


def _key_maps(key: str) -> str:
    """The maps that find requests without the key, before nginx reads their bodies.

    nginx before 1.23 sees only the first X-API-Key. The app sees all, so small bodies with a wrong key are passed on.
    """
    pattern = "".join(f"\\x{byte:02x}" for byte in key.encode("ascii"))
    return f"""
    map $http_x_api_key $key_of_header {{
        "" none;
        "~(^|,)[ \t]*{pattern}[ \t]*(,|$)" right;
        default wrong;
    }}
    map $http_authorization $key {{
        "~^[Bb][Ee][Aa][Rr][Ee][Rr] +{pattern}[ \t]*$" right;
        default $key_of_header;
    }}
    map "$request_method $api_uri" $needs_key {{
        "~^POST " 1;
        "~^(GET|HEAD) /metrics([?]|$)" 1;
        default 0;
    }}
    map "$key $body $needs_key" $is_unauthorized {{
        "~^(none|wrong) (medium|large) " 1;
        "none small 1" 1;
        default 0;
    }}
"""


def _root_path_map(root_path: str) -> str:
    pattern = re.escape(root_path)
    return f'        "~^{pattern}(?<without_root>/.*)$" $without_root;\n' if root_path else ""


def _cors_map(origins: Sequence[str]) -> str:
    """The map from the origin of a page to the one that may read nginx's own errors; "" adds no header."""
    if not origins:
        return ""
    lines = [f'        "{origin}" $http_origin;' for origin in origins]
    return "\n".join(["    map $http_origin $cors_origin {", *lines, '        default "";', "    }", ""])


def _map_bucket_bytes(origins: Sequence[str]) -> int:
    """The size of a bucket of nginx's maps, in which the longest origin fits."""
    return max(_MAP_BUCKET_BYTES, max(map(len, origins), default=0) + _MAP_ENTRY_BYTES)


def _is_any_address_6(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.version == 6 and address.is_unspecified


def error_codes(settings: Settings) -> frozenset[str]:
    """Return the codes of nginx's own errors."""
    return frozenset(code for _, code, *_ in _errors(settings))


def _errors(settings: Settings) -> tuple[tuple[int, str, str, *tuple[str, ...]], ...]:
    """Status, code, message and headers of nginx's own errors."""
    retry, timeout = "Retry-After 1", settings.model_server_timeout
    return (
        (404, "not_found", "There is no such path"),
        (400, "bad_request", "The request breaks a rule of HTTP"),
        (401, "unauthorized", "The API key is missing or wrong", "WWW-Authenticate Bearer"),
        (405, "method_not_allowed", "No path takes this method", "Allow $allowed_methods"),
        (413, "body_too_large", f"The body has more than {settings.max_body_bytes} bytes (MAX_BODY_BYTES)"),
        (414, "uri_too_long", "The path and query have more than 8 KiB"),
        (429, "too_many_requests", "Too many requests are in progress; try again", retry),
        (431, "headers_too_large", "A header has more than 8 KiB, or all have more than 32 KiB"),
        (500, "internal_error", "The server failed"),
        (503, "not_ready", "No worker is ready; try again", retry),
        (503, "worker_lost", "The worker ended during the request; send it again", retry),
        (503, "timed_out", f"No response within {timeout} s (MODEL_SERVER_TIMEOUT); send fewer texts at a time"),
    )


def _error_locations(settings: Settings) -> str:
    """The locations of nginx's own errors, whose bodies have the form of the API's errors."""
    lines = []
    common = ["X-Request-Id $passed_request_id"]
    if settings.cors_origins:
        values = {**dict(cors_headers("$cors_origin")), "Vary": "Origin"}
        common += [f'{name} "{value}"' for name, value in values.items()]
    for status, code, message, *headers in _errors(settings):
        lines += [f"        location = /.nginx/{code} {{", "            internal;"]
        for header in (*common, *headers):
            lines.append(f"            add_header {header} always;")
        # An `if` has the headers of its location.
        lines.append(f"            if ($is_of_protocol) {{ return {status} '{json.dumps({'error': message})}'; }}")
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
