"""Unpacking: every accepted kind, every unsafe member, damage of every sort; nothing half-written."""

import gzip
import io
import json
import lzma
import stat
import struct
import subprocess
import tarfile
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from textclf.data import zip_reader
from textclf.data.archive import archive_stem, extract_archive, is_archive
from textclf.errors import DatasetError

FILES = {"set/train/pos/1.txt": b"good", "set/train/neg/1.txt": b"bad", "set/empty.txt": b""}
# Random bytes do not compress: a cut archive is really cut inside a member.
BULK = np.random.default_rng(3).bytes(200_000)


def write_tar(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return path


def add_special(path, name, kind, linkname=""):
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, linkname
        tar.addfile(info)
    return path


def content_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".archive.json"
    }


def assert_refused(archive, tmp_path, match, **limits):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match=match) as caught:
        extract_archive(archive, tmp_path / "out" / "data", **limits)
    assert str(archive) in str(caught.value)
    left = [path for path in sorted(tmp_path.rglob("*")) if path not in before]
    assert left in ([], [tmp_path / "out"])


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar.bz2", "w:bz2"), ("a.tar.xz", "w:xz")],
)
def test_tar(tmp_path, name, mode):
    archive = write_tar(tmp_path / name, FILES, mode)
    assert is_archive(archive)
    assert extract_archive(archive, tmp_path / "out") == tmp_path / "out"
    assert content_of(tmp_path / "out") == FILES


def test_zip(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {**FILES, "set/folder/": b""})
    assert content_of(extract_archive(archive, tmp_path / "out")) == FILES
    assert (tmp_path / "out" / "set" / "folder").is_dir()


def test_kind_shows_in_the_content_not_in_the_name(tmp_path):
    archive = write_zip(tmp_path / "a.tar.gz", FILES)
    assert content_of(extract_archive(archive, tmp_path / "out")) == FILES


def test_tar_of_the_current_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "in", arcname=".")
    assert content_of(extract_archive(tmp_path / "a.tar", tmp_path / "out")) == {"a.txt": b"a"}


def test_names(tmp_path):
    assert [is_archive(name) for name in ("a.zip", "A.TAR.GZ", "a.tgz", "a.gz", "a.csv.gz", "tar")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert [archive_stem(name) for name in ("x/a.b.tar.gz", "A.TGZ", "a.tar", "plain")] == ["a.b", "A", "a", "plain"]


def test_second_call_does_nothing(tmp_path):
    archive = write_tar(tmp_path / "a.tar.gz", FILES)
    out = extract_archive(archive, tmp_path / "out")
    (out / "mark").write_text("")
    assert extract_archive(archive, tmp_path / "out") == out
    assert (out / "mark").exists()


def test_changed_archive_goes_to_another_folder(tmp_path):
    archive = write_tar(tmp_path / "a.tar.gz", FILES)
    out = extract_archive(archive, tmp_path / "out")
    write_tar(archive, {"new.txt": b"new"})
    other = extract_archive(archive, tmp_path / "out")
    assert other.name.startswith("out-")
    assert content_of(other) == {"new.txt": b"new"}
    assert content_of(out) == FILES
    assert extract_archive(archive, tmp_path / "out") == other


def test_several_at_once(tmp_path):
    archive = write_tar(tmp_path / "a.tar.gz", {f"{i}.txt": b"x" for i in range(300)})
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: extract_archive(archive, tmp_path / "out"), range(8)))
    assert set(results) == {tmp_path / "out"}
    assert len(content_of(tmp_path / "out")) == 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "out"]


@pytest.mark.parametrize("record", [None, "", "[]", "{}"])
def test_folder_of_someone_else_is_left_alone(tmp_path, record):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    if record is not None:
        (tmp_path / "out" / ".archive.json").write_text(record)
    out = extract_archive(write_tar(tmp_path / "a.tar.gz", FILES), tmp_path / "out")
    assert out != tmp_path / "out"
    assert content_of(tmp_path / "out") == {"mine.txt": b"mine"}


def test_modes_are_not_taken_over(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("run")
        info.mode = 0o4777
        tar.addfile(info, io.BytesIO())
    out = extract_archive(tmp_path / "a.tar", tmp_path / "out")
    assert stat.S_IMODE((out / "run").stat().st_mode) & 0o7111 == 0


@pytest.mark.parametrize("name", ["../up.txt", "a/../../up.txt", "/abs.txt", "a\\..\\b.txt", "a/.."])
@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_names_that_lead_out(tmp_path, name, write):
    assert_refused(write(tmp_path / "a", {"ok.txt": b"ok", name: b"x"}), tmp_path, "points out of the archive")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices(tmp_path, kind):
    archive = add_special(tmp_path / "a.tar", "odd", kind, "target")
    assert_refused(archive, tmp_path, "the member 'odd' is a link or a device")


def test_zip_link(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        info = zipfile.ZipInfo("odd")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(info, "/etc/passwd")
    assert_refused(tmp_path / "a.zip", tmp_path, "the member 'odd' is a link or a device")


def test_encrypted_zip(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"a.txt": b"a"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # general purpose bit 0 in the central directory
    archive.write_bytes(content)
    assert_refused(archive, tmp_path, "encrypted")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("pairs", [("a", "a"), ("a/b", "a"), ("a", "a/b"), ("a", "./a")])
def test_names_that_clash(tmp_path, pairs):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in pairs:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    assert_refused(tmp_path / "a.tar", tmp_path, "occurs twice")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        for name in pairs:
            zipped.writestr(name, "x")
    assert_refused(tmp_path / "a.zip", tmp_path, "occurs twice")


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_limits(tmp_path, write):
    archive = write(tmp_path / "a", {"zeros": bytes(5_000_000), "more": b"m"})
    assert_refused(archive, tmp_path, "more than 5,000,000 bytes", max_bytes=5_000_000)
    assert_refused(archive, tmp_path, "more than 1 members", max_members=1)
    extract_archive(archive, tmp_path / "out", max_bytes=5_000_001, max_members=2)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_header_that_would_fill_the_memory(tmp_path, kind):
    archive = write_headers(tmp_path / "a.tar.gz", kind, [bytes(50_000_000)])
    assert_refused(archive, tmp_path, "a header of 50,0")


def write_headers(path, kind, contents):
    with tarfile.open(path, "w:gz") as tar:
        for content in contents:
            info = tarfile.TarInfo("header")
            info.type, info.size = kind, len(content)
            tar.addfile(info, io.BytesIO(content))
        tar.addfile(tarfile.TarInfo("file"))
    return path


@pytest.mark.parametrize(
    ("kind", "contents", "match"),
    [
        # Python before 3.11.10 needs hours for these digits (CVE-2024-6232).
        (tarfile.XHDTYPE, [b"1" * 2**20], "damaged record"),
        (tarfile.XGLTYPE, [b"1" * 2**20], "damaged record"),
        (tarfile.XHDTYPE, [b"6 a=b\n7 path=\n"], "damaged record"),
        (tarfile.XHDTYPE, [b"60 a=b\n"], "damaged record"),
        (tarfile.XHDTYPE, [b"3 \n"], "damaged record"),
        (tarfile.XHDTYPE, [b"0 a=b\n"], "damaged record"),
        (tarfile.XHDTYPE, [b"".join(b"8 %03d=b\n" % number for number in range(101))], "more than 100"),
        (tarfile.XGLTYPE, [b"".join(b"8 %03d=b\n" % (60 * part + number) for number in range(60)) for part in (0, 1)],
         "more than 100 global"),
        (tarfile.XHDTYPE, [b"11 size=x1\n"], "damaged number"),
        (tarfile.XHDTYPE, [b"6 a=b\n"] * 9, "more than 8 headers"),
        (tarfile.GNUTYPE_LONGNAME, [b"a/" * 2000 + b"b"], "a path of 2,001 parts"),
        (tarfile.GNUTYPE_LONGNAME, [b"a" * 5000], "5,000 characters"),
        (tarfile.XHDTYPE, [b"21 GNU.sparse.major=1\n".replace(b"21", b"22")], "sparse"),
        (tarfile.GNUTYPE_SPARSE, [b""], "sparse"),
    ],
)  # fmt: skip
def test_hostile_headers(tmp_path, kind, contents, match):
    start = time.monotonic()
    assert_refused(write_headers(tmp_path / "a.tar.gz", kind, contents), tmp_path, match)
    assert time.monotonic() - start < 5


def test_headers_and_padding_are_bounded_in_total(tmp_path):
    """Megabytes of zeros in a header are some kilobytes in the archive."""
    header = b"%d comment=" % 2**20
    header += bytes(2**20 - len(header) - 1) + b"\n"
    with tarfile.open(tmp_path / "a", "w:gz", compresslevel=1) as tar:
        for number in range(66):
            info = tarfile.TarInfo("header")
            info.type, info.size = tarfile.XHDTYPE, len(header)
            tar.addfile(info, io.BytesIO(header))
            tar.addfile(tarfile.TarInfo(f"{number}"))
    assert_refused(tmp_path / "a", tmp_path, "larger than those of any")
    write_tar(tmp_path / "b.tar", FILES, "w")
    with gzip.open(tmp_path / "b", "wb", compresslevel=1) as file:
        file.write((tmp_path / "b.tar").read_bytes())
        for _ in range(65):
            file.write(bytes(2**20))
    assert_refused(tmp_path / "b", tmp_path, "larger than those of any")


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_tar(tmp_path, tar_format):
    names = ["plain", "ö/ü.txt", "d" * 60 + "/" + "e" * 80, " blank ", "a/b/../c".replace("..", "...")]
    if tar_format != tarfile.USTAR_FORMAT:
        names += ["ö" * 120, "/".join(["f" * 100] * 8)]
    files = {name: f"content of {name}".encode() * 100 for name in names}
    with tarfile.open(tmp_path / "a.tar", "w", format=tar_format, pax_headers={"comment": "for all"}) as tar:
        folder = tarfile.TarInfo("empty")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1.5 if tar_format == tarfile.PAX_FORMAT else 1
            tar.addfile(info, io.BytesIO(content))
    out = extract_archive(tmp_path / "a.tar", tmp_path / "out")
    assert content_of(out) == files
    assert (out / "empty").is_dir()


def test_archives_of_other_programs(tmp_path):
    """The tar command, old headers without a magic number, sums of signed bytes, and numbers in GNU's binary form."""
    (tmp_path / "in" / "d").mkdir(parents=True)
    (tmp_path / "in" / "d" / ("long" * 40)).write_text("1")
    for form in ("gnu", "oldgnu", "pax", "posix"):
        archive = tmp_path / f"{form}.tar"
        subprocess.run(["tar", f"--format={form}", "-cf", archive, "-C", tmp_path / "in", "."], check=True)
        assert content_of(extract_archive(archive, tmp_path / form)) == {f"d/{'long' * 40}": b"1"}
    header = bytearray(512)
    header[:5] = b"v7/\xc3\xb6"
    header[124:136] = b"\x80" + (3).to_bytes(11, "big")
    unsigned = sum(header) + 8 * ord(" ")
    for total in (unsigned, unsigned - 256 * sum(byte > 127 for byte in header)):
        header[148:156] = b"%06o\0 " % total
        (tmp_path / f"v7-{total}").write_bytes(bytes(header) + b"abc" + bytes(509 + 1024))
        assert content_of(extract_archive(tmp_path / f"v7-{total}", tmp_path / f"out-{total}")) == {"v7/ö": b"abc"}


def test_xz_of_several_streams_with_padding(tmp_path):
    write_tar(tmp_path / "a.tar", {"bulk": BULK}, "w")
    content = (tmp_path / "a.tar").read_bytes()
    parts = [lzma.compress(content[:70_000]), bytes(4), lzma.compress(content[70_000:]), bytes(8)]
    (tmp_path / "a.tar.xz").write_bytes(b"".join(parts))
    assert content_of(extract_archive(tmp_path / "a.tar.xz", tmp_path / "out")) == {"bulk": BULK}
    (tmp_path / "b.tar.xz").write_bytes(b"".join(parts) + b"rubbish")
    assert_refused(tmp_path / "b.tar.xz", tmp_path, "damaged")


def test_xz_that_asks_for_too_much_memory(tmp_path):
    write_tar(tmp_path / "a.tar.xz", FILES, "w:xz")
    content = bytearray((tmp_path / "a.tar.xz").read_bytes())
    # The first block's header is at 12: its size, flags, the filter LZMA2, one byte, and the size of the dictionary.
    size = 4 * (content[12] + 1)
    assert content[14:16] == b"\x21\x01"
    content[16] = 40
    content[12 + size - 4 : 12 + size] = zlib.crc32(content[12 : 12 + size - 4]).to_bytes(4, "little")
    (tmp_path / "a.tar.xz").write_bytes(content)
    assert_refused(tmp_path / "a.tar.xz", tmp_path, "[Mm]emory usage limit")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_that_is_unpacked_at_once_in_memory(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as zipped:
        zipped.writestr("zeros", bytes(10_000))
    assert_refused(tmp_path / "a.zip", tmp_path, f"method {method}; expected stored or deflated")


def test_zip_directory_is_bounded(tmp_path, monkeypatch):
    archive = write_zip(tmp_path / "a.zip", {f"{number}": b"" for number in range(50)})
    assert_refused(archive, tmp_path, "more than 49 members", max_members=49)
    monkeypatch.setattr(zip_reader, "MAX_DIRECTORY_BYTES", 1000)
    assert_refused(archive, tmp_path, "directory has .* more than 1,000")


def test_zip_entries_with_long_extra_fields(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        info = zipfile.ZipInfo("a")
        info.extra = struct.pack("<HH", 0x7777, 0) * 300
        zipped.writestr(info, b"")
    assert_refused(tmp_path / "a.zip", tmp_path, "an extra field of 1200 bytes")


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.gz", "w:gz"), ("a.bz2", "w:bz2"), ("a.xz", "w:xz")])
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.9])
def test_cut_tar(tmp_path, name, mode, keep):
    archive = write_tar(tmp_path / name, {f"{i}.bin": BULK[i * 10_000 : (i + 1) * 10_000] for i in range(20)}, mode)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * keep)])
    assert_refused(archive, tmp_path, "damaged, cut short")


def test_tar_cut_between_members(tmp_path):
    archive = write_tar(tmp_path / "a.tar", {"a": b"a", "b": b"b"}, "w")
    archive.write_bytes(archive.read_bytes()[:1024])
    assert_refused(archive, tmp_path, "the mark at the end of the archive is missing")


def test_damaged_header_is_not_taken_for_the_end(tmp_path):
    archive = write_tar(tmp_path / "a.tar", {"a": b"a", "b": b"b", "c": b"c"}, "w")
    content = bytearray(archive.read_bytes())
    content[1024:1034] = b"x" * 10  # the name in the second header: its checksum no longer holds
    archive.write_bytes(content)
    assert_refused(archive, tmp_path, "the mark at the end of the archive is missing")


def test_gzip_checksum(tmp_path):
    archive = write_tar(tmp_path / "a.tar.gz", FILES)
    content = bytearray(archive.read_bytes())
    content[-5] ^= 1
    archive.write_bytes(content)
    assert_refused(archive, tmp_path, "damaged")


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_cut_zip(tmp_path, keep):
    archive = write_zip(tmp_path / "a.zip", {"a": BULK})
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * keep)])
    assert_refused(archive, tmp_path, "damaged")


def test_zip_checksum(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"a": BULK})
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    assert_refused(archive, tmp_path, "damaged")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK", b"\x1f\x8b", bytes(3), bytes(5000) + b"x"])
def test_no_archive(tmp_path, content):
    (tmp_path / "a.tar.gz").write_bytes(content)
    assert_refused(tmp_path / "a.tar.gz", tmp_path, "damaged, cut short or of an unknown kind")


def test_missing_archive(tmp_path):
    assert_refused(tmp_path / "none.zip", tmp_path, "no such file")


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(DatasetError, match="can't be unpacked to"):
        extract_archive(write_tar(tmp_path / "a.tar", FILES, "w"), tmp_path / "out" / "data")


def test_name_too_long_for_the_system(tmp_path):
    assert_refused(write_tar(tmp_path / "a.tar", {"n" * 300: b""}, "w"), tmp_path, "can't be unpacked")


def test_record_says_what_it_came_from(tmp_path):
    out = extract_archive(write_tar(tmp_path / "a.tar.gz", FILES), tmp_path / "out")
    assert json.loads((out / ".archive.json").read_text())["archive"] == "a.tar.gz"
