"""PostgreSQL of the Debian package, in a separate folder, on a free port of 127.0.0.1."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from serving_stack import free_port, skip_or_fail, wait_for

PASSWORD = "s3cret-pass"  # noqa: S105
_USERS = ("postgres", "nobody")
# For a quick start and end; what is lost with the machine's power does not matter here.
_OPTIONS = ("fsync=off", "shared_buffers=1MB", "max_connections=20", "log_min_messages=warning", "jit=off")


class PostgresqlServer:
    """Server with the user `textclf` and the database `postgres`; it can be stopped and started again."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.programs = programs
        self.port = free_port()
        self.url = f"postgresql://textclf:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None

    def initialise(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            user = _user()
            for path in (self.folder, self.folder / "password"):
                os.chown(path, user.pw_uid, user.pw_gid)
        options = "--no-sync --auth scram-sha-256 --username textclf --encoding UTF8 --locale C"
        subprocess.run(
            self._command("initdb", "--pgdata", "data", "--pwfile", "password", *options.split()),
            cwd=self.folder, capture_output=True, timeout=60, check=True,
        )  # fmt: skip

    def start(self) -> None:
        options = [f"-c{option}" for option in _OPTIONS]
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder)]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                self._command("postgres", "-D", "data", *address, *options),
                cwd=self.folder, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        wait_for(self._is_ready, 20)

    def stop(self) -> None:
        """Stop the server at once, without waiting for clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
            self._process = None

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        pid_file = self.folder / "data" / "postmaster.pid"
        with contextlib.suppress(OSError):
            return pid_file.read_text().rstrip().endswith("ready")
        return False

    def _command(self, program: str, *arguments: str) -> list[str]:
        """Return the command; root runs it as another user, because PostgreSQL refuses root."""
        command = [str(self.programs / program), *arguments]
        if os.geteuid() != 0:
            return command
        user = _user()
        return [
            "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig=INT", *command
        ]  # fmt: skip


@contextlib.contextmanager
def running_postgresql() -> Iterator[PostgresqlServer]:
    """Run a server in the block; skip or fail if it is not installed (skip_or_fail)."""
    programs = _programs()
    if programs is None:
        skip_or_fail("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    # Not below pytest's folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = PostgresqlServer(folder, programs)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    """Return the folder with initdb and postgres, which Debian does not put on the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = shutil.which("initdb", path=os.pathsep.join([*map(str, reversed(debian)), os.environ.get("PATH", "")]))
    return None if found is None else Path(found).resolve().parent


def _user() -> pwd.struct_passwd:
    for name in _USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    skip_or_fail("PostgreSQL refuses root, and there is no other user to run it as")
    raise AssertionError
