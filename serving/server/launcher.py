"""`serve`: nginx in front of gunicorn, both from the settings in the environment, until SIGTERM.

Where there is no nginx, or NGINX is off, gunicorn listens itself. Nothing of the app is imported here: it is
loaded in the workers.
"""

import contextlib
import grp
import ipaddress
import math
import os
import pwd
import resource
import shutil
import signal
import socket
import string
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from serving.server.supervisor import Program, supervise
from serving.settings import Settings
from textclf.data.prediction_log.database_url import OFF, DatabaseUrl, absolute_url
from textclf.errors import ConfigError, TextClfError
from textclf.store.model_store import is_saved_model_folder, open_model

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = Path(__file__).with_name("nginx.conf.template")
APPLICATION = "serving.wsgi:make_application()"
DEFAULT_PREFIX = "/opt/ml"

# Threads of a worker beside those that may compute: for /ping, /metrics and the 429 of what is too much.
_SPARE_THREADS = 4
# A worker loads its model and warms it: it may be silent for longer than a request may take.
_BOOT_SECONDS = 60
# To finish what is being answered when the server is told to stop; orchestrators kill after 30 s.
_GRACE_SECONDS = 25
# Of a client's connection where gunicorn listens itself; nginx opens one for each request.
_IDLE_SECONDS = 75
# Of one nginx process, which passes on about ten times what a worker can answer.
_MAX_CONNECTIONS = 4096
_WORKERS_PER_NGINX = 8
# Whom nginx becomes when it is started as root: as Debian's does, or what every system has.
_UNPRIVILEGED = ("www-data", "nobody")
# Where Debian and others have nginx, which is on root's PATH only.
_SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"
# sockaddr_un has 108 bytes for a path, 104 on some systems.
_LONGEST_SOCKET_PATH = 100
_USAGE = """\
usage: serve

Serves the model at MODEL_PATH (by default PREFIX/model, where PREFIX is /opt/ml) on HOST:PORT until SIGTERM.
Sockets and temporary files go to a new folder in TMPDIR. NGINX names the nginx in front; NGINX=off goes without.
All settings are environment variables; the README lists them."""


def main() -> None:
    """Serve, and exit with 0 after SIGTERM or SIGINT, else with 1."""
    if len(sys.argv) > 1:
        sys.exit(_USAGE)
    try:
        status = serve(os.environ)
    except (TextClfError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    sys.exit(status)


def serve(environ: Mapping[str, str]) -> int:
    """Run the servers until they are told to stop; returns the exit status.

    Raises:
        ConfigError: a setting makes no sense, the address can't be listened on, or there is no model.
        ModelStoreError: the model store is damaged.
    """
    environ = {**environ, "MODEL_PATH": model_path(environ)}
    settings = Settings.from_environment(environ)
    check_address(settings.host, settings.port)
    if reason := why_not_writable(settings.new_data_dir):
        _say(f"POST /feedback will fail: NEW_DATA_DIR, {settings.new_data_dir}, {reason}")
    if reason := why_not_logged(settings.prediction_log_url):
        _say(f"predictions will not be logged: PREDICTION_LOG_URL, {reason}")
    check_model(settings.model_path)
    nginx = find_nginx(environ)
    with contextlib.ExitStack() as folders:
        # Named, as tempfile passes over a TMPDIR that it can't write in.
        runtime = folders.enter_context(fresh_folder("TMPDIR", environ.get("TMPDIR", ""), "textclf-serve-"))
        # Where the user wants them there may be other files, of another server that runs, too.
        gathered_in = settings.prometheus_multiproc_dir or str(runtime)
        metrics = folders.enter_context(
            fresh_folder("PROMETHEUS_MULTIPROC_DIR", gathered_in, "textclf-", make_parent=True)
        )
        programs = [gunicorn_program(settings, runtime, metrics, environ, behind_nginx=nginx is not None)]
        if nginx is not None:
            connections = raise_file_limit(_MAX_CONNECTIONS)
            user = unprivileged_user() if os.geteuid() == 0 else None
            if user is not None:
                open_to_group(runtime, user)
                _say(f"started as root: nginx becomes {user.name}, the workers stay root; serve as another user")
            (runtime / "nginx.conf").write_text(nginx_conf(settings, connections, user), "utf-8")
            programs.insert(0, nginx_program(nginx, runtime, environ))
        if nginx is None and not environ.get("NGINX", "").strip():
            _say(
                f"found no nginx on PATH or in {_SYSTEM_PROGRAMS}, so gunicorn listens itself: slow clients hold its "
                f"threads, no answer is given up after MODEL_SERVER_TIMEOUT, a worker may refuse while another idles; "
                f"install nginx (Debian: apt-get install nginx-light), or set NGINX=off if it is meant so"
            )
        workers = f"{settings.model_server_workers} gunicorn worker{'s' * (settings.model_server_workers != 1)}"
        how = f"{workers}{' behind nginx' if nginx else ''}"
        _say(f"http://{_url_host(settings.host)}:{settings.port} with {how}")
        return supervise(programs, _GRACE_SECONDS)


def model_path(environ: Mapping[str, str]) -> str:
    """MODEL_PATH, or model/ in PREFIX, which is /opt/ml where nobody says otherwise."""
    return environ.get("MODEL_PATH", "").strip() or f"{environ.get('PREFIX', '').strip() or DEFAULT_PREFIX}/model"


def find_nginx(environ: Mapping[str, str]) -> str | None:
    """The nginx that NGINX names, or else that of PATH or of the system; None if NGINX is off or there is none.

    Raises:
        ConfigError: NGINX names no program.
    """
    wanted = environ.get("NGINX", "").strip()
    if wanted.lower() == "off":
        return None
    nginx = shutil.which(wanted or "nginx", path=f"{environ.get('PATH', os.defpath)}:{_SYSTEM_PROGRAMS}")
    if wanted and nginx is None:
        raise ConfigError(
            f"NGINX: expected off, or the path of an nginx that user {os.geteuid()} may run, got {wanted!r}; mend or "
            f"unset the environment variable NGINX"
        )
    # Absolute, as nginx is started in another folder.
    return nginx and os.path.abspath(nginx)


@contextlib.contextmanager
def fresh_folder(variable: str, parent: str, prefix: str, *, make_parent: bool = False) -> Iterator[Path]:
    """A new folder for the time of the block, in the folder that a variable names; nothing else there is touched.

    Args:
        variable: to be named if that fails.
        parent: its value; if empty, the system's folder for temporary files.
        prefix: of the new folder's name.
        make_parent: if it is missing; it stays.

    Raises:
        ConfigError: no folder can be made there; says why.
    """
    try:
        if make_parent and not os.path.exists(parent):
            os.makedirs(parent)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent or None)).absolute()
    except OSError as error:
        raise ConfigError(
            f"{variable}: expected a folder that user {os.geteuid()} may write in, got {parent or 'none'} "
            f"({error.strerror}); make it, change its rights, or set {variable} to another"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_address(host: str, port: int) -> None:
    """See that the address is free before anything is started.

    Raises:
        ConfigError: it can't be listened on; says why.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            # As the servers do: connections of a server that has just ended do not count.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
    except OSError as error:
        raise ConfigError(
            f"HOST, PORT: expected an address that can be listened on, got {host}:{port} ({error.strerror}); "
            f"stop what listens there, or set another PORT or HOST"
        ) from error


def check_model(path: Path) -> None:
    """See that there is a model, and that this user may read of which kind it is; its parts are read in the workers.

    Raises:
        ConfigError: there is none, or it can't be read; says what to do.
        ModelStoreError: there is something, but it is damaged.
    """
    try:
        if not path.exists() or _is_empty(path):
            raise ConfigError(
                f"MODEL_PATH: expected a model, found none in {path}; train one (train_model.py --model-dir), or name "
                f"another folder: after `make demo` there is a model in demo/model"
            )
        if not is_saved_model_folder(path):
            open_model(path)
    except PermissionError as error:
        raise ConfigError(
            f"MODEL_PATH: expected a model that user {os.geteuid()} may read, got {error.filename} "
            f"({error.strerror}); change its rights (chmod -R a+rX {path}), or serve as the user who owns it"
        ) from error


def _is_empty(path: Path) -> bool:
    """Whether a folder, or that of a store's versions, has nothing in it that anyone put there."""
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")] if path.is_dir() else [path]
    return not entries or (entries == [path / "versions"] and _is_empty(entries[0]))


def why_not_writable(folder: Path) -> str:
    """Why files can't be made in a folder, which may be yet to be made; empty if they can."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.exists(path))
    if not there.is_dir():
        return f"is below {there}, which is no folder"
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        return f"can't be written: user {os.geteuid()} has no right to write in {there}"
    return ""


def why_not_logged(url: str) -> str:
    """Why a prediction log of SQLite can't be made where it should be; empty if it can, or the log is none."""
    file = None if url == OFF else DatabaseUrl.parse(url).file
    reason = "" if file is None else why_not_writable(file.parent)
    return f"{file}: its folder {reason}" if reason else ""


class User(NamedTuple):
    """A user of the system, with its main group."""

    name: str
    group: str
    group_id: int


def unprivileged_user() -> User:
    """Whom a program that is started as root becomes.

    Raises:
        ConfigError: the system has none of the users that are known for that.
    """
    for name in _UNPRIVILEGED:
        try:
            group_id = pwd.getpwnam(name).pw_gid
            return User(name, grp.getgrgid(group_id).gr_name, group_id)
        except KeyError:
            continue
    raise ConfigError(
        f"expected one of the users {', '.join(_UNPRIVILEGED)}, which nginx becomes when it is started as root, found "
        f"none; start serve as another user than root"
    )


def open_to_group(runtime: Path, user: User) -> None:
    """Let a user who is not the owner reach the sockets in the runtime folder."""
    os.chown(runtime, -1, user.group_id)
    runtime.chmod(0o750)


def raise_file_limit(max_connections: int) -> int:
    """Let this process and its children open as many files as they may; returns the connections that nginx can have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * max_connections
    files = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return min(max_connections, files)


def gunicorn_program(
    settings: Settings, runtime: Path, metrics: Path, environ: Mapping[str, str], *, behind_nginx: bool
) -> Program:
    """gunicorn with the app: on a unix socket for each worker in `runtime`, or itself on HOST:PORT.

    Args:
        settings: of the server.
        runtime: folder for sockets and temporary files.
        metrics: folder in which the workers gather their metrics, empty.
        environ: of gunicorn, but for what it depends on here.
        behind_nginx: whether nginx listens on HOST:PORT.

    Raises:
        ConfigError: `runtime` has too long a path for a socket.
    """
    addresses = [f"{_url_host(settings.host)}:{settings.port}"]
    if behind_nginx:
        addresses = [f"unix:{runtime / socket_name}" for socket_name in _names(settings, "sock")]
        if len(addresses[-1]) > _LONGEST_SOCKET_PATH:
            raise ConfigError(
                f"TMPDIR: expected a folder with a shorter path (a socket's has at most {_LONGEST_SOCKET_PATH} "
                f"characters), got {runtime.parent}; set TMPDIR to another folder, /tmp for example"
            )
    command = [sys.executable, "-m", "gunicorn", "--config", str(Path(__file__).with_name("gunicorn_conf.py"))]
    for address in addresses:
        command += ["--bind", address]
    options = {
        "worker-class": "serving.server.scgi_worker.ScgiWorker" if behind_nginx else "gthread",
        "workers": settings.model_server_workers,
        "threads": settings.max_concurrent + _SPARE_THREADS,
        "timeout": max(settings.model_server_timeout, _BOOT_SECONDS),
        "graceful-timeout": _GRACE_SECONDS,
        "keep-alive": _IDLE_SECONDS,
        "worker-tmp-dir": runtime,
    }
    for option, value in options.items():
        command += [f"--{option}", str(value)]
    # gunicorn imports the app from its working folder, so what the user's paths are relative to has to be said.
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
            # What numpy multiplies here is small, but with threads of its own OpenBLAS would keep a core busy for some
            # hundredths of a second after each product, waiting for the next.
            "OPENBLAS_NUM_THREADS": "1",
            **environ,
            **{name: str(path.absolute()) for name, path in paths.items()},
            "PREDICTION_LOG_URL": absolute_url(settings.prediction_log_url),
        },
    )


def nginx_program(nginx: str, runtime: Path, environ: Mapping[str, str]) -> Program:
    """nginx with the configuration that lies in `runtime`."""
    # -p .: all its files are named relative to the working folder, as the upstream's sockets are, so that its user
    # needs no rights in the folders above.
    # -e: before it has read its configuration, too, it writes errors to stderr and not into the system's log.
    command = [nginx, "-p", ".", "-c", "nginx.conf", "-e", "stderr"]
    return Program("nginx", command, runtime, {"PATH": environ.get("PATH", "")}, drain_signal=signal.SIGQUIT)


def nginx_conf(settings: Settings, connections: int, user: User | None = None) -> str:
    """The text of nginx.conf; nothing goes into it but whole numbers, an address that is one, and the user.

    Args:
        settings: of the server.
        connections: that an nginx process may have, those to the workers included.
        user: whom nginx becomes, where it is started as root.
    """
    names, markers = _names(settings, "ready"), _names(settings, "warm")
    values = {
        "user": f"user {user.name} {user.group};" if user else "",
        "processes": math.ceil(settings.model_server_workers / _WORKERS_PER_NGINX),
        "connections": int(connections),
        "servers": "\n".join(f"        server unix:{name} max_fails=0;" for name in names),
        "warm_checks": "\n".join(f"            if (-e {name}) {{ set $warm 1; }}" for name in markers),
        "address": f"{_url_host(settings.host)}:{settings.port}",
        "max_body_bytes": settings.max_body_bytes,
        "timeout": settings.model_server_timeout,
    }
    return _Template(TEMPLATE.read_text("utf-8")).substitute(values)


class _Template(string.Template):
    """%{name} is filled in: $ is nginx's own."""

    delimiter = "%"


def _names(settings: Settings, suffix: str) -> list[str]:
    """The workers' files in the runtime folder (see serving/server/gunicorn_conf.py)."""
    return [f"{number}.{suffix}" for number in range(settings.model_server_workers)]


def _say(message: str) -> None:
    print(f"serve: {message}", file=sys.stderr, flush=True)  # noqa: T201


def _url_host(host: str) -> str:
    """The host as it stands before a colon and a port."""
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
