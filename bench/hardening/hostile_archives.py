"""Archives of a few kilobytes to some megabytes that keep a reader busy, or fill its memory."""

import bz2
import io
import json
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bench.hardening.target import attack_options, report
from textclf.cli.commands import Command

_SECONDS = 20.0
_UNPACK = """
import json, resource, sys, time
from textclf.data.archive import extract_archive
start = time.monotonic()
try:
    extract_archive(sys.argv[1], sys.argv[2], max_bytes=1 << 30)
    result = "unpacked"
except BaseException as error:
    result = type(error).__name__
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"result": result, "seconds": round(time.monotonic() - start, 2), "peak_mb": peak}))
"""


def _tar(path: Path, kind: bytes, content: bytes, headers: int = 1) -> None:
    with tarfile.open(path, "w:xz") as tar:
        for _ in range(headers):
            info = tarfile.TarInfo("header")
            info.type, info.size = kind, len(content)
            tar.addfile(info, io.BytesIO(content))
        tar.addfile(tarfile.TarInfo("file"))


def pax_digits(path: Path) -> None:
    """CVE-2024-6232: a regular expression tries every start in a header of digits."""
    _tar(path, tarfile.XHDTYPE, b"1" * (1 << 20))


def global_pax_digits(path: Path) -> None:
    """The same in a header for all members."""
    _tar(path, tarfile.XGLTYPE, b"1" * (1 << 20))


def pax_records(path: Path) -> None:
    """Headers with millions of records."""
    _tar(path, tarfile.XHDTYPE, b"6 a=b\n" * 2_500_000, headers=5)


def zip_extra_fields(path: Path) -> None:
    """Entries of a zip whose extra fields have 16,000 parts; each part copies all after it."""
    with zipfile.ZipFile(path, "w") as zipped:
        for number in range(400):
            info = zipfile.ZipInfo(str(number))
            info.extra = struct.pack("<HH", 0x7777, 0) * 16_000
            zipped.writestr(info, b"")


def zip_of_bzip2(path: Path) -> None:
    """1.4 GB of zeros in a member of 1 kB, which zipfile unpacks at once."""
    packed = bz2.compress(bytes(900_000 * 1_500))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as zipped:
        zipped.writestr("zeros", packed)
    content = path.read_bytes()
    path.write_bytes(_with_method(content, zipfile.ZIP_BZIP2, 900_000 * 1_500))


def zip_members(path: Path) -> None:
    """A directory with 2,000,000 entries."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    count = 2_000_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(entry) * count, 4, 0)
    path.write_bytes(b"PK\3\4" + entry * count + end)


ATTACKS: tuple[Callable[[Path], None], ...] = (
    pax_digits, global_pax_digits, pax_records, zip_extra_fields, zip_of_bzip2, zip_members,
)  # fmt: skip


def _with_method(content: bytes, method: int, size: int) -> bytes:
    """Let the only, stored member of a zip be packed by `method`, with `size` bytes when unpacked."""
    changed = bytearray(content)
    entry = content.index(b"PK\1\2")
    for at in (8, entry + 10):
        struct.pack_into("<H", changed, at, method)
    for at in (22, entry + 24):
        struct.pack_into("<L", changed, at, size)
    return bytes(changed)


def unpack(archive: Path, checkout: Path, python: str = sys.executable, seconds: float = _SECONDS) -> dict[str, Any]:
    """Unpack an archive with the code of a checkout; return result, seconds and peak memory in MB."""
    with tempfile.TemporaryDirectory(prefix="textclf-hardening-") as folder:
        command = [python, "-c", _UNPACK, str(archive), f"{folder}/out"]
        start = time.monotonic()
        try:
            done = subprocess.run(  # noqa: S603 this project's own code
                command, cwd=checkout, capture_output=True, text=True, timeout=seconds, check=True
            )
        except subprocess.TimeoutExpired:
            return {"result": "hangs", "seconds": round(time.monotonic() - start, 2)}
        except subprocess.CalledProcessError as error:
            return {"result": f"status {error.returncode}", "stderr": error.stderr[-200:]}
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@click.command(cls=Command)
@attack_options
def main(checkout: Path, python: str, json_path: Path | None) -> None:
    """Unpack hostile archives, each for at most 20 seconds."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="textclf-hardening-") as folder:
        for attack in ATTACKS:
            archive = Path(folder) / attack.__name__
            attack(archive)
            results[attack.__name__] = {"bytes": archive.stat().st_size, **unpack(archive, checkout, python)}
            archive.unlink()
    report({"attack": "hostile_archives", "archives": results}, json_path)


if __name__ == "__main__":
    main()
