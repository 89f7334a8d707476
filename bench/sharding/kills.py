"""Kill runs in shards at random moments, and compare the bytes at the end with those of a run without kills.

python bench/sharding/kills.py --input reviews.jsonl --kills 50
"""

import hashlib
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click

from bench.errors import BenchError

_LIMIT_SECONDS = 3600


def content_of(folder: Path) -> dict[str, str]:
    """Return the hash of each shard and of _SUCCESS."""
    paths = [*folder.glob("part-*"), folder / "_SUCCESS"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@click.command(context_settings={"show_default": True})
@click.option("--input", "source", required=True, help="Data set to score.")
@click.option("--model", default="model", help="Model store.")
@click.option("--kills", default=50, help="Number of kills.")
@click.option("--shards", default=64, help="Number of shards.")
@click.option("--max-seconds", default=5.0, help="Longest time from the start of a run to its kill.")
@click.option("--out", type=click.Path(path_type=Path), default="runs/shard-kills", help="Folder of the outputs.")
def main(source: str, model: str, kills: int, shards: int, max_seconds: float, out: Path) -> None:
    """Run once without kills, then with kills until the end; both must have equal bytes."""
    shutil.rmtree(out, ignore_errors=True)

    def command(target: Path) -> list[str]:
        main = [sys.executable, "-m", "textclf", "score", "--model-path", model, "--input", source]
        return [*main, "--output", str(target), "--shards", str(shards)]

    def finish(target: Path) -> None:
        run = subprocess.run(  # noqa: S603
            command(target), capture_output=True, text=True, check=False, timeout=_LIMIT_SECONDS
        )
        if run.returncode:
            raise BenchError(f"{target}: expected a finished run, found status {run.returncode}: {run.stderr[-300:]}")

    finish(out / "whole")
    draw, done = random.Random(0), 0  # noqa: S311
    for _ in range(kills):
        if (out / "killed" / "_SUCCESS").exists():
            # The run was faster than its kills: its next one starts from nothing.
            if content_of(out / "killed") != content_of(out / "whole"):
                raise BenchError(f"{out}: expected equal bytes after {done} kills, found different ones")
            shutil.rmtree(out / "killed")
        process = subprocess.Popen(command(out / "killed"), stderr=subprocess.DEVNULL)  # noqa: S603
        time.sleep(draw.uniform(0, max_seconds))
        process.kill()
        process.wait()
        done += 1
    finish(out / "killed")
    if content_of(out / "killed") != content_of(out / "whole"):
        raise BenchError(f"{out}: expected equal bytes after {done} kills, found different ones")
    click.echo(f"{done} kills: the same bytes in {len(content_of(out / 'whole')) - 1} shards")


if __name__ == "__main__":
    main()
