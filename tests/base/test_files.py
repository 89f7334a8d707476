"""Files and folders appear whole or not at all, also when the process is killed."""

import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from textclf.files import (
    atomic_file,
    atomic_folder,
    locked,
    remove_leftovers,
    sha256_of_file,
    staged_file,
    sync_tree,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def umask():
    """A umask under which a private mode (0600) and a new file's mode (0640) differ."""
    before = os.umask(0o027)
    yield
    os.umask(before)


class TestAtomicFile:
    def test_the_content_appears_when_the_block_ends(self, tmp_path):
        target = tmp_path / "new" / "file.txt"
        with atomic_file(target) as file:
            file.write("größe\n")
            assert not target.exists()
        assert target.read_bytes() == "größe\n".encode()
        assert [path.name for path in target.parent.iterdir()] == ["file.txt"]

    def test_an_exception_leaves_the_old_content_and_nothing_else(self, tmp_path):
        target = tmp_path / "file.txt"
        target.write_text("old")

        def fail_half_way() -> None:
            with atomic_file(target) as file:
                file.write("new")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail_half_way()
        assert target.read_text() == "old"
        assert list(tmp_path.iterdir()) == [target]

    def test_bytes_and_line_ends(self, tmp_path):
        with atomic_file(tmp_path / "a", "wb") as file:
            file.write(b"\xff\x00")
        with atomic_file(str(tmp_path / "b"), newline="\r\n") as file:
            file.write("x\n")
        assert (tmp_path / "a").read_bytes() == b"\xff\x00"
        assert (tmp_path / "b").read_bytes() == b"x\r\n"

    @pytest.mark.usefixtures("umask")
    def test_others_may_read_it_as_any_new_file(self, tmp_path):
        with atomic_file(tmp_path / "file"):
            pass
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640

    def test_a_replaced_file_keeps_its_mode(self, tmp_path):
        (tmp_path / "private").touch()
        (tmp_path / "private").chmod(0o600)
        with atomic_file(tmp_path / "private") as file:
            file.write("new")
        assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600

    def test_the_umask_is_not_touched(self, tmp_path, monkeypatch):
        """It can be read only by setting it, for the whole process and all its threads."""

        def refuse(_mask: int) -> int:
            raise AssertionError("the umask was set")

        monkeypatch.setattr(os, "umask", refuse)
        with atomic_file(tmp_path / "a"), atomic_folder(tmp_path / "b"):
            pass

    @pytest.mark.parametrize("name", ["x" * 255, "負" * 85, "𝔁" * 63])
    def test_a_name_as_long_as_the_file_system_allows(self, tmp_path, name):
        with atomic_file(tmp_path / name) as file:
            file.write("x")
        with atomic_folder(tmp_path / "folder" / name):
            pass
        assert (tmp_path / name).read_text() == "x"
        assert (tmp_path / "folder" / name).is_dir()

    def test_writers_at_once_leave_one_whole_content(self, tmp_path):
        def write(letter: str) -> None:
            for _ in range(20):
                with atomic_file(tmp_path / "file") as file:
                    file.write(letter * 10_000)

        threads = [threading.Thread(target=write, args=(letter,)) for letter in "abc"]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            if (tmp_path / "file").exists():
                content = (tmp_path / "file").read_text()
                assert content == content[0] * 10_000
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_a_killed_writer_leaves_the_old_content(self, tmp_path):
        (tmp_path / "file").write_text("old")
        code = (
            "import os, signal, sys\nfrom textclf.files import atomic_file\n"
            "with atomic_file(sys.argv[1]) as file:\n"
            "    file.write('new'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        killed = subprocess.run([sys.executable, "-c", code, tmp_path / "file"], check=False, cwd=ROOT, timeout=60)
        assert killed.returncode == -signal.SIGKILL
        assert (tmp_path / "file").read_text() == "old"
        leftovers = [path.name for path in tmp_path.iterdir() if path.name != "file"]
        assert len(leftovers) == 1
        assert leftovers[0].startswith(".file.")
        assert leftovers[0].endswith(".tmp")


class TestAtomicFolder:
    @pytest.mark.parametrize("many_files", [False, True])
    def test_the_folder_appears_when_the_block_ends(self, tmp_path, many_files):
        target = tmp_path / "up" / "folder"
        with atomic_folder(target, many_files=many_files) as folder:
            (folder / "inner").mkdir()
            (folder / "inner" / "file").write_text("x")
            assert not target.exists()
        assert (target / "inner" / "file").read_text() == "x"
        assert list(target.parent.iterdir()) == [target]

    @pytest.mark.parametrize("many_files", [False, True])
    def test_a_replaced_folder_stays_until_the_new_one_is_whole(self, tmp_path, many_files):
        target = tmp_path / "folder"
        target.mkdir()
        (target / "old").write_text("x")
        with atomic_folder(target, many_files=many_files, replace=True) as folder:
            (folder / "new").write_text("x")
            assert [path.name for path in target.iterdir()] == ["old"]
        assert [path.name for path in target.iterdir()] == ["new"]
        assert list(tmp_path.iterdir()) == [target]

    def test_a_folder_that_cannot_be_replaced_comes_back(self, tmp_path, monkeypatch):
        target = tmp_path / "folder"
        target.mkdir()
        (target / "old").write_text("x")
        real = Path.rename

        def refuse_the_new_one(self: Path, new_name: Path) -> Path:
            if (self / "new").exists():
                raise OSError(errno.EIO, "Input/output error")
            return real(self, new_name)

        monkeypatch.setattr(Path, "rename", refuse_the_new_one)
        with (
            pytest.raises(OSError, match="Input/output error"),
            atomic_folder(target, replace=True) as folder,
        ):
            (folder / "new").write_text("x")
        assert [path.name for path in target.iterdir()] == ["old"]
        assert list(tmp_path.iterdir()) == [target]

    def test_an_exception_leaves_nothing(self, tmp_path):
        def interrupt_half_way() -> None:
            with atomic_folder(tmp_path / "folder") as folder:
                (folder / "file").write_text("x")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupt_half_way()
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_overwritten(self, tmp_path):
        (tmp_path / "folder").mkdir()
        with pytest.raises(FileExistsError, match="exists already"), atomic_folder(tmp_path / "folder"):
            pass

        def come_second() -> None:
            with atomic_folder(tmp_path / "late") as folder:
                (folder / "mine").touch()
                (tmp_path / "late").mkdir()
                (tmp_path / "late" / "theirs").touch()

        with pytest.raises(OSError, match="not empty"):
            come_second()
        assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
            "folder",
            "late",
            "late/theirs",
        ]

    @pytest.mark.usefixtures("umask")
    def test_others_may_enter_it_as_any_new_folder(self, tmp_path):
        with atomic_folder(tmp_path / "folder"):
            pass
        assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


def test_sync_tree_takes_nested_and_empty_folders(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("x")
    sync_tree(tmp_path)


@pytest.mark.parametrize("content", [b"", b"abc", bytes(range(256)) * 5000])
def test_sha256_of_file(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert sha256_of_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_leftovers_of_killed_writers_go_once_they_are_old(tmp_path):
    folder, file, young, foreign = (
        tmp_path / name
        for name in (".set.0123456789abcdef.tmp", ".a.fedcba9876543210.tmp", ".b.0123456789abcdef.tmp", ".theirs.tmp")
    )
    folder.mkdir()
    (folder / "part").touch()
    for path in (file, young, foreign):
        path.touch()
    for path in (folder, file, foreign):
        os.utime(path, (0, 0))
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([young, foreign])


def test_a_clock_ahead_removes_no_file_of_a_living_writer(tmp_path):
    ahead = time.time() + 40 * 24 * 3600
    with atomic_folder(tmp_path / "set") as folder, atomic_file(tmp_path / "file") as file:
        (folder / "part").write_text("1")
        file.write("2")
        file.flush()
        os.utime(folder, (0, 0))
        remove_leftovers(tmp_path, ahead)
    assert (tmp_path / "set" / "part").read_text() == "1"
    assert (tmp_path / "file").read_text() == "2"


def test_a_staged_file_is_removed_unless_it_was_renamed(tmp_path):
    with staged_file(tmp_path / "a" / "kept", b"1") as path:
        assert path.read_bytes() == b"1"
        path.rename(tmp_path / "a" / "kept")
    with pytest.raises(KeyError), staged_file(tmp_path / "a" / "lost", b"2"):
        raise KeyError
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["kept"]


def test_a_lock_is_held_by_one_and_given_back(tmp_path):
    path = tmp_path / "lock"
    with locked(path):
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
        waiting = threading.Thread(target=lambda: locked(path).__enter__())
        waiting.start()
        waiting.join(timeout=0.2)
        assert waiting.is_alive()
    waiting.join(timeout=10)
    assert not waiting.is_alive()
    with pytest.raises(KeyError), locked(path, wait=False):
        raise KeyError
    path.write_text("kept")
    with locked(path, wait=False):
        assert path.read_text() == "kept"
    with pytest.raises(FileNotFoundError), locked(tmp_path / "none" / "lock"):
        pass
