"""`serve`: nginx in front of gunicorn, both configured from the environment, until SIGTERM.

Without nginx, or with NGINX=off, gunicorn listens itself. The app is not imported here: the workers load it.
"""

import contextlib
import dataclasses
import errno
import functools
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from serving.hosting import read_settings
from serving.observability.tracing import check_tracing
from serving.observability.unanswered import UnansweredRequests
from serving.server import preflight, programs
from serving.server.fresh_folders import fresh_folder, remove_abandoned
from serving.server.serverless import serverless_environment
from serving.server.supervisor import Drain, supervise
from serving.server.worker_files import announce_drain, prepare_drain
from serving.settings import Settings
from serving.source.errors import FetchError, UnusableArchiveError
from serving.source.location import Archive, HubModel, location_of
from serving.source.origin import VARIABLE as ORIGIN
from serving.source.settings import SourceSettings
from textclf.cli.termination import ends_on_sigterm
from textclf.errors import ConfigError, TextClfError
from textclf.urls import public_text

if TYPE_CHECKING:
    from serving.source.fetch import FetchedModel

_MODEL_PREFIX = "textclf-model-"

_USAGE = """\
usage: serve

Serves the model at MODEL_PATH (default: PREFIX/model, where PREFIX is /opt/ml) on HOST:PORT until SIGTERM.
MODEL_PATH is a folder, a model.tar.gz, s3://BUCKET/KEY or https://...; with BUCKET_NAME it is a key.
HUB_MODEL_NAME, a model of the Hugging Face Hub, is served instead of them.
Sockets and temporary files are in a new folder in TMPDIR. NGINX is the path of the nginx in front; NGINX=off uses none.
All settings are environment variables; docs/reference/settings.md lists them."""


# Statuses of a start that is refused; any other error is 1.
_STATUSES = {ConfigError: 2, FetchError: 3, UnusableArchiveError: 4}


def main() -> None:
    """Serve, and exit with 0 after --help, SIGTERM or SIGINT, else with the status of run()."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(_USAGE)  # noqa: T201
        return
    if len(sys.argv) > 1:
        sys.exit(_USAGE)
    sys.exit(run(os.environ))


def run(environ: Mapping[str, str]) -> int:
    """Serve; print one line if that fails.

    Returns:
        Exit status: 0 after a signal, 2 for a wrong setting, 3 if the model can't be fetched, 4 if what was fetched
        can't be served, 130 for Ctrl-C before the start, else 1.
    """
    try:
        return serve(environ)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        return 130
    except (TextClfError, OSError) as error:
        message = str(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            folder = environ.get("TMPDIR") or tempfile.gettempdir()
            message = f"TMPDIR: expected free space in {folder}, found none; free some, or set another folder"
        print(f"error: {' '.join(public_text(message).split())}", file=sys.stderr)  # noqa: T201
        return next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 1)


def serve(environ: Mapping[str, str]) -> int:
    """Run the servers until a signal stops them; return the exit status.

    Raises:
        ConfigError: if a setting is invalid, the address can't be used, or there is no model.
        FetchError, UnusableArchiveError: if the model can't be fetched or unpacked.
        ModelStoreError: if the model store is damaged.
    """
    source = SourceSettings.from_environment(environ)
    given = environ.get("MODEL_PATH", "").strip()
    location = location_of(source, given, preflight.default_model_path(environ))
    # Pass TMPDIR explicitly: tempfile silently falls back if it is not writable.
    temporary = environ.get("TMPDIR", "")
    environ = {**environ, "MODEL_PATH": preflight.model_path(environ), ORIGIN: ""}
    if source.serverless:
        environ, notes = serverless_environment(environ, Path(temporary or tempfile.gettempdir()))
        for note in notes:
            _say(f"SERVERLESS: {note}")
        sys.dont_write_bytecode = True
    settings = read_settings(environ)
    check_tracing(environ)
    preflight.check_address(settings.host, settings.port)
    nginx = preflight.find_nginx(environ)
    if not source.serverless:
        _say_what_can_not_be_stored(settings)
    with contextlib.ExitStack() as folders:
        if location is not None:
            if isinstance(location, HubModel):
                model = folders.enter_context(_imported(location, source, environ, temporary, given))
            else:
                remove_abandoned(temporary, _MODEL_PREFIX)
                unpacked = folders.enter_context(fresh_folder("TMPDIR", temporary, _MODEL_PREFIX))
                model = _fetched(location, source, unpacked)
            settings = dataclasses.replace(settings, model_path=model.path)
            environ = {**environ, ORIGIN: model.origin.to_text()}
        preflight.check_model(settings.model_path)
        preflight.check_rules(settings.rules, settings.model_path)
        return _run_servers(settings, environ, nginx, temporary)


def _run_servers(settings: Settings, environ: Mapping[str, str], nginx: str | None, temporary: str) -> int:
    """Run gunicorn, and nginx before it unless that is None, until a signal; return the exit status."""
    with contextlib.ExitStack() as folders:
        runtime = folders.enter_context(fresh_folder("TMPDIR", temporary, "textclf-serve-"))
        # The user's folder may have other files, such as those of another running server.
        parent = settings.prometheus_multiproc_dir or str(runtime)
        metrics = folders.enter_context(fresh_folder("PROMETHEUS_MULTIPROC_DIR", parent, "textclf-", make_parent=True))
        started = [programs.gunicorn_program(settings, runtime, metrics, environ, behind_nginx=nginx is not None)]
        on_started = None
        if nginx is not None:
            _configure_nginx(settings, runtime)
            started.insert(0, programs.nginx_program(nginx, runtime, environ))
            unanswered = UnansweredRequests(runtime, metrics, programs.error_codes(settings), sys.stdout, sys.stderr)
            on_started = folders.enter_context(unanswered.reading())
        elif not environ.get("NGINX", "").strip():
            _say(preflight.NO_NGINX)
        count = settings.model_server_workers
        workers = f"{count} gunicorn worker{'s' * (count != 1)}{' behind nginx' if nginx else ''}"
        _say(f"http://{programs.url_host(settings.host)}:{settings.port} with {workers}")
        prepare_drain(runtime)
        drain = Drain(settings.drain_seconds, functools.partial(announce_drain, runtime))
        return supervise(started, programs.grace_seconds(settings), drain, on_started)


def _configure_nginx(settings: Settings, runtime: Path) -> None:
    """Write the configuration of nginx into the folder of the running server."""
    connections = programs.raise_file_limit(programs.MAX_CONNECTIONS)
    user = programs.unprivileged_user() if os.geteuid() == 0 else None
    if user is not None:
        programs.open_to_group(runtime, user)
        _say(f"started as root: nginx becomes {user.name}, the workers stay root; serve as another user")
    (runtime / programs.NO_FOLDER).touch()
    configuration = runtime / "nginx.conf"
    configuration.touch(mode=0o600)  # It contains the API key.
    configuration.write_text(programs.nginx_conf(settings, connections, user), "utf-8")


@contextlib.contextmanager
def _imported(
    location: HubModel, source: SourceSettings, environ: Mapping[str, str], temporary: str, model_path: str
) -> Iterator["FetchedModel"]:
    """A model of the Hub, from the cache or imported into it; SIGTERM ends the import at once."""
    from serving.source.hub_start import model_in_use

    if model_path or source.bucket_name:
        _say("HUB_MODEL_NAME is set, so MODEL_PATH and BUCKET_NAME are not read")
    started = time.monotonic()
    with model_in_use(location, source, environ, temporary) as model:
        origin = model.origin
        _say(
            f"serves {location} (commit {origin.commit}, SHA-256 {origin.sha256}) of the Hub after "
            f"{time.monotonic() - started:.1f} s"
        )
        yield model


def _fetched(location: Archive, source: SourceSettings, folder: Path) -> "FetchedModel":
    """The model in an archive, unpacked below `folder`; SIGTERM ends this at once."""
    from serving.source.fetch import fetch_model  # It needs packages that a model in a folder does not.

    started = time.monotonic()
    with ends_on_sigterm():
        model = fetch_model(location, source, folder)
    etag = f", ETag {model.origin.etag}" if model.origin.etag else ""
    _say(f"unpacked {location} (SHA-256 {model.origin.sha256}{etag}) in {time.monotonic() - started:.1f} s")
    return model


def _say_what_can_not_be_stored(settings: Settings) -> None:
    if reason := preflight.why_not_writable(settings.new_data_dir):
        _say(f"POST /feedback will fail: NEW_DATA_DIR, {settings.new_data_dir}, {reason}")
    if reason := preflight.why_not_logged(settings.prediction_log_url):
        _say(f"predictions will not be logged: PREDICTION_LOG_URL, {reason}")


def _say(message: str) -> None:
    print(f"serve: {message}", file=sys.stderr, flush=True)  # noqa: T201
