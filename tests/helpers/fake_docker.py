"""A docker in place of the real one: it records its calls, and its containers are small HTTP servers.

The script answers `info` and `image inspect`. A container that publishes a port is a server in a process; others end at
once.
"""

import os
import sys
from pathlib import Path

# DOCKER_CALLS: file with a line for each call. HAS_IMAGE: status of `image inspect`. RUN_STATUS: that of a container.
# SERVES: "ready" answers 200, "slow" 503, and "nothing" ends at once. The server ends with 0 after SIGTERM.
_SCRIPT = """#!{python} -IS
import os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

calls = os.environ["DOCKER_CALLS"]
arguments = sys.argv[1:]
with open(calls, "a") as file:
    file.write(" ".join(arguments) + "\\n")
serves = os.environ.get("SERVES", "nothing")


def server_id():
    try:
        with open(calls + ".pid") as file:
            return int(file.read())
    except FileNotFoundError:
        return None


def is_running():
    try:
        with open(f"/proc/{{server_id()}}/stat") as file:
            return ") Z" not in file.read()
    except OSError:
        return False


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if serves == "ready" else 503)
        self.end_headers()

    def log_message(self, *_):
        pass


def serve(address):
    host, port, _ = address.split(":")
    with HTTPServer((host, int(port)), Handler) as server:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        server.serve_forever()


if arguments[:2] == ["image", "inspect"]:
    sys.exit(int(os.environ["HAS_IMAGE"]))
if arguments[:2] == ["container", "inspect"]:
    print(str(is_running()).lower())
if arguments[0] == "logs":
    print("the log of the container", file=sys.stderr)
if arguments[0] in ("stop", "rm") and is_running():
    os.kill(server_id(), signal.SIGTERM)
if arguments[0] == "run":
    if "--publish" in arguments and serves != "nothing":
        address = arguments[arguments.index("--publish") + 1]
        if "--detach" in arguments:
            if child := os.fork():
                with open(calls + ".pid", "w") as file:
                    file.write(str(child))
                sys.exit()
            os.setsid()
            for stream in (0, 1, 2):
                os.dup2(os.open(os.devnull, os.O_RDWR), stream)
        serve(address)
    elif "--detach" not in arguments:
        sys.exit(int(os.environ.get("RUN_STATUS", "7")))
"""


def fake_docker(folder: Path, has_image: bool = True) -> dict[str, str]:
    """Put the script into `folder`/bin; returns settings with it on PATH.

    The folder's calls are read by `docker_calls`.
    """
    program = folder / "bin/docker"
    program.parent.mkdir(exist_ok=True)
    program.write_text(_SCRIPT.format(python=sys.executable))
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    return {"PATH": path, "DOCKER_CALLS": str(folder / "calls"), "HAS_IMAGE": "0" if has_image else "1"}


def docker_calls(folder: Path) -> list[str]:
    """The calls of the script of `folder`, with their arguments, in order."""
    return (folder / "calls").read_text(encoding="utf-8").splitlines()
