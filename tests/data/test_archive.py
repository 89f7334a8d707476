"""Unpacking: every accepted kind, every unsafe member, damage of every sort; nothing half-written."""

import io
import json
import stat
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

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


def test_header_that_would_fill_the_memory(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("header")
        info.type, info.size = tarfile.XHDTYPE, 50_000_000
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    assert_refused(tmp_path / "a.tar.gz", tmp_path, "a header of 50,0")


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
