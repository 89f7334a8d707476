"""Signatures of draws: one key for all processes, and what a signature covers."""

import contextlib
import errno
import os
import subprocess
import sys

import pytest

from textclf.data.labelling.draw_signatures import KEY_FILE, VALID_SECONDS, DrawSignatures
from textclf.errors import InvalidDrawError, StorageUnavailableError


def test_processes_that_start_together_share_one_key(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from textclf.data.labelling.draw_signatures import DrawSignatures\n"
        "print(DrawSignatures(Path(sys.argv[1]) / 'new').sign('a text', 'v1'))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    draws = [process.communicate(timeout=120)[0].strip() for process in processes]
    signatures = DrawSignatures(tmp_path / "new")
    assert len({signatures.check(draw, "a text", "v1").id for draw in draws}) == 4
    assert [path.name for path in (tmp_path / "new").iterdir()] == [KEY_FILE]
    assert (tmp_path / "new" / KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_white_space_does_not_count_and_everything_else_does(tmp_path):
    """Spreadsheets change line ends."""
    signatures = DrawSignatures(tmp_path)
    draw = signatures.sign("two\r\nlines ", "v1")
    assert signatures.check(draw, "two lines", "v1").version == "v1"
    for text in ("two line", "Two lines", "two lines.", "", "\udc80"):
        with pytest.raises(InvalidDrawError):
            signatures.check(draw, text, "v1")


def test_a_draw_has_one_id_for_its_label(tmp_path):
    signatures = DrawSignatures(tmp_path)
    one, other = (signatures.sign("a text", "v1") for _ in range(2))
    assert signatures.check(one, "a text", "v1") == signatures.check(one, "a  text", "v1")
    assert signatures.check(one, "a text", "v1").review_id != signatures.check(other, "a text", "v1").review_id


@pytest.mark.parametrize("part", [0, 1])
def test_another_spelling_of_the_same_bytes_gives_no_second_label(tmp_path, part):
    """Base64 ignores the last bits of the last character, and may end with equals signs."""
    signatures = DrawSignatures(tmp_path)
    # Versions of several lengths give each number of unused bits.
    for version in ("v1", "v12", "v123"):
        draw = signatures.sign("a text", version)
        found = {signatures.check(draw, "a text", version).review_id}
        accepted = 0
        for ending in (*map(chr, range(33, 127)), "=", "=="):
            parts = draw.split(".")
            parts[part] = parts[part] + ending if ending.startswith("=") else parts[part][:-1] + ending
            with contextlib.suppress(InvalidDrawError):
                found.add(signatures.check(".".join(parts), "a text", version).review_id)
                accepted += 1
        assert accepted >= 1, "the draw itself"
        assert len(found) == 1


def test_a_draw_expires(tmp_path):
    now = [1000.0]
    signatures = DrawSignatures(tmp_path, lambda: now[0])
    draw = signatures.sign("a text", "v1")
    now[0] += VALID_SECONDS
    signatures.check(draw, "a text", "v1")
    now[0] += 1
    with pytest.raises(InvalidDrawError, match="of the last 14 days"):
        signatures.check(draw, "a text", "v1")


@pytest.mark.parametrize("draw", ["", ".", "x", "e30.e30", "ä.ö", "{}." + "A" * 43, "A" * 5000])
def test_no_draw_at_all(tmp_path, draw):
    with pytest.raises(InvalidDrawError):
        DrawSignatures(tmp_path).check(draw, "a text", "v1")


def test_a_damaged_key_and_one_of_another_user_are_named(tmp_path):
    signatures = DrawSignatures(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with pytest.raises(StorageUnavailableError, match="expected a key of 32 bytes, found 5"):
        signatures.sign("a text", "v1")
    if os.geteuid():
        (tmp_path / KEY_FILE).chmod(0)
        with pytest.raises(StorageUnavailableError, match="run as the user of the server"):
            signatures.sign("a text", "v1")


def test_a_check_makes_no_key(tmp_path):
    signatures = DrawSignatures(tmp_path / "new")
    content = "eyJpZCI6IngiLCJkcmF3IjoieCIsInZlcnNpb24iOiJ2MSIsImV4cGlyZXMiOjk5OTk5OTk5OTl9"
    # Signed with an empty key, as a draw and as a permission to undo.
    draw, undo = "QfYf-3OfVUqJPZQxa618zYcBEGtIaO3AgYuCJCyBjnE", "NEXCLVwUtJzS_gMfWpD-SbVYEq1O-5MnCZ6keO42M4E"
    for signed in ("x.y", f"{content}.{draw}"):
        with pytest.raises(InvalidDrawError, match="expected this server's signature"):
            signatures.check(signed, "a text", "v1")
    with pytest.raises(InvalidDrawError, match="expected this server's signature"):
        signatures.check_undo(f"{content}.{undo}")
    assert not (tmp_path / "new").exists()


def test_without_links_the_key_of_the_first_process_stays(tmp_path, monkeypatch):
    def no_links(_, path):
        if is_late:
            path.write_bytes(b"k" * 32)
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    for is_late in (False, True):
        folder = tmp_path / str(is_late)
        signatures = DrawSignatures(folder)
        draw = signatures.sign("a text", "v1")
        assert DrawSignatures(folder).check(draw, "a text", "v1").version == "v1"
        assert [path.name for path in folder.iterdir()] == [KEY_FILE]
        assert ((folder / KEY_FILE).read_bytes() == b"k" * 32) is is_late
    assert (tmp_path / "False" / KEY_FILE).stat().st_mode & 0o777 == 0o600
