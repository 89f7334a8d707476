"""Install locked packages into an environment: `python ops/install.py ENVIRONMENT/bin/python ARGUMENT...`.

The arguments are those of `pip install`. uv installs several times faster than pip, and in seconds from its cache. It
does not read pip's configuration, so this script translates it. pip installs if uv is missing, if uv fails, or if pip
has a setting that uv lacks.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

UV = Path(sys.executable).with_name("uv")
# Setting of pip -> environment variable of uv, and the separator of several values.
_TRANSLATED = {
    "index-url": ("UV_DEFAULT_INDEX", ""),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", ""),
    "proxy": ("ALL_PROXY", ""),
    "timeout": ("UV_HTTP_TIMEOUT", ""),
    "default-timeout": ("UV_HTTP_TIMEOUT", ""),
}
_SWITCHES = {"no-index": "UV_NO_INDEX", "no-cache-dir": "UV_NO_CACHE"}
# Settings that change what pip prints, asks or keeps, not what it installs.
_WITHOUT_EFFECT = frozenset(
    (
        "disable-pip-version-check",
        "root-user-action",
        "quiet",
        "verbose",
        "no-color",
        "progress-bar",
        "no-input",
        "require-virtualenv",
        "retries",
        "compile",
        "no-compile",
        "cache-dir",
        "no-warn-script-location",
        "log",
        "config-file",
        "require-hashes",
        "prefer-binary",
    )
)
# Sections of `pip config list`; a later one counts more.
_SECTIONS = ("global", "install", ":env:")


def uv_settings(listing: str) -> dict[str, str] | None:
    """Environment variables for uv from the output of `pip config list`; None if uv lacks a setting."""
    settings: dict[str, str] = {}
    for section in _SECTIONS:
        for line in listing.splitlines():
            key, _, value = line.partition("=")
            if key.rpartition(".")[0] == section:
                settings[key.rpartition(".")[2]] = str(ast.literal_eval(value))
    variables: dict[str, str] = {}
    for name, value in settings.items():
        if name in _TRANSLATED:
            variable, separator = _TRANSLATED[name]
            variables[variable] = separator.join(value.split()) if separator else value
        elif name in _SWITCHES:
            if value.lower() in ("1", "true", "yes", "on"):
                variables[_SWITCHES[name]] = "1"
        elif name not in _WITHOUT_EFFECT:
            return None
    return variables


def main(python: str, *arguments: str) -> None:
    """Install into the environment of the interpreter `python`."""
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    listing = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    settings = uv_settings(listing)
    if UV.exists() and settings is not None:
        # Like pip, take a package from any index; the hashes decide which files are good.
        uv = [str(UV), "pip", "install", "--quiet", "--python", python, "--index-strategy", "unsafe-best-match"]
        environment = {"UV_PYTHON_DOWNLOADS": "never", **settings, **os.environ}  # The user's own variables of uv win.
        if subprocess.run([*uv, *arguments], env=environment, check=False).returncode == 0:  # noqa: S603
            return
        sys.stderr.write("uv did not install the packages; pip tries again\n")
    sys.exit(subprocess.run([*pip, "install", "--quiet", *arguments], check=False).returncode)  # noqa: S603


if __name__ == "__main__":
    main(*sys.argv[1:])
