"""Compile requirements*.txt from pyproject.toml, with hashes: `make lock`, or `make lock UPGRADE=--upgrade`.

Versions that a lock already has are kept unless --upgrade is given. Each lock starts with the SHA-256 of the
dependency tables of pyproject.toml, so that a test can tell without a network whether the lock is stale.
"""

import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIGEST = "# dependency tables, SHA-256: "
LOCKS = {
    "requirements.txt": (
        "Everything for development: all extras, tests, lint, documentation and build.",
        ["--all-extras", "--group", "dev"],
    ),
    "requirements-serving.txt": (
        "Scoring, serving and drift monitoring, without TensorFlow: the extras serve and monitor.",
        ["--extra", "serve", "--extra", "monitor", "--constraint", "requirements.txt"],
    ),
    # For the training image: trainings, searches and retrainings, on any tables and with any encoder.
    "requirements-training.txt": (
        "Training, tuning and retraining: the extras train, monitor, tune, hub and xlsx.",
        [
            *("--extra", "train", "--extra", "monitor", "--extra", "tune", "--extra", "hub", "--extra", "xlsx"),
            *("--constraint", "requirements.txt"),
        ],
    ),
    # The serving image installs requirements-EXTRA.txt for each word of its build argument EXTRAS.
    "requirements-aws.txt": (
        "Models from S3: the base and the extra aws.",
        ["--extra", "aws", "--constraint", "requirements.txt"],
    ),
    "requirements-hub.txt": (
        "Classifiers from the Hugging Face Hub: the base and the extra hub.",
        ["--extra", "hub", "--constraint", "requirements.txt"],
    ),
    "requirements-otel.txt": (
        "Traces of requests: the base and the extra otel.",
        ["--extra", "otel", "--constraint", "requirements.txt"],
    ),
}


def dependency_digest() -> str:
    """SHA-256 of the tables of pyproject.toml that the locks are compiled from."""
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = whole["project"]
    tables = [
        project["requires-python"],
        project["dependencies"],
        project["optional-dependencies"],
        whole["dependency-groups"],
    ]
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()


def main(uv: str, *options: str) -> None:
    """Compile every lock with the program `uv`; `options` are passed on."""
    for name, (content, selection) in LOCKS.items():
        fixed = ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28", "--generate-hashes"]
        quiet = ["--no-header", "--no-annotate", "--no-emit-index-url", "--quiet", "--output-file", name]
        command = [uv, "pip", "compile", "pyproject.toml", *fixed, *quiet, *selection, *options]
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603
        lock = ROOT / name
        header = (
            f"# {content}\n# Compiled from pyproject.toml by `make lock`; do not edit.\n{DIGEST}{dependency_digest()}\n"
        )
        lock.write_text(header + lock.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
