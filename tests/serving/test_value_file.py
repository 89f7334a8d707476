"""Values in files that are mapped into memory, also on a disk without room."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from serving_stack import wait_for

from serving.observability.value_file import GAUGE_MODE, ValueFile, forget_gauges, value_key, value_path

ROOT = Path(__file__).parents[2]
# More than one step of the file's growth.
_MANY = 400


def found_in(path: Path) -> dict[str, float]:
    """Return the values as prometheus_client reads them."""
    return {key: value for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path))}


def a_key(number: int) -> str:
    return value_key("requests", "requests_total", {"route": f"/{'é' * (number % 9)}{number}", "a": "b"}, "Requests.")


def test_the_key_is_that_of_prometheus():
    assert a_key(7) == mmap_key("requests", "requests_total", ["route", "a"], [f"/{'é' * 7}7", "b"], "Requests.")


def test_prometheus_reads_the_values_and_a_successor_continues_them(tmp_path):
    path = tmp_path / "counter_0.db"
    first = ValueFile(path)
    for number in range(_MANY):
        first.write(a_key(number), number + 0.5)
    assert found_in(path) == {a_key(number): number + 0.5 for number in range(_MANY)}
    second = ValueFile(path)
    assert [second.read(a_key(number)) for number in range(_MANY)] == [number + 0.5 for number in range(_MANY)]
    second.write(a_key(0), 9)
    second.write(a_key(_MANY), 1)
    assert len(found_in(path)) == _MANY + 1
    assert found_in(path)[a_key(0)] == 9


def test_every_mapped_byte_has_its_place_on_the_disk(tmp_path):
    path = tmp_path / "counter_0.db"
    values = ValueFile(path)
    for number in range(_MANY):
        values.write(a_key(number), 1)
        found = path.stat()
        assert found.st_blocks * 512 >= found.st_size


def test_without_room_a_value_is_left_out_until_there_is_some(tmp_path, caplog):
    path, now = tmp_path / "counter_0.db", [0.0]
    values = ValueFile(path, lambda: now[0])
    values.write(a_key(0), 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
        for number in range(_MANY):
            values.write(a_key(number), 2)
        without = found_in(path)
        other = ValueFile(tmp_path / "histogram_0.db", lambda: now[0])
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        assert other.read(a_key(0)) == 0
        other.write(a_key(0), 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert 0 < len(without) < _MANY
    assert set(without.values()) == {2}
    assert [path.name for path in tmp_path.iterdir()] == ["counter_0.db"], "a file without space would break a scrape"
    assert caplog.text.count("no space for a metric") == 2
    for file, expected in ((values, 4.0), (other, 5.0)):
        file.write(a_key(_MANY), expected)
    assert a_key(_MANY) not in found_in(path), "not asked for again at once"
    now[0] += 60
    for file, expected in ((values, 4.0), (other, 5.0)):
        file.write(a_key(_MANY), expected)
    assert found_in(path)[a_key(_MANY)] == 4
    assert found_in(tmp_path / "histogram_0.db") == {a_key(_MANY): 5}


def test_each_time_without_space_is_logged(tmp_path, caplog):
    now = [0.0]
    folder = tmp_path / "missing"
    values = ValueFile(folder / "counter_0.db", lambda: now[0])
    values.write(a_key(0), 1)
    folder.mkdir()
    now[0] += 60
    values.write(a_key(0), 2)
    assert caplog.text.count("no space for a metric") == 1
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        for number in range(_MANY):
            values.write(a_key(number), 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caplog.text.count("no space for a metric") == 2


def test_on_a_full_disk_a_process_goes_on(tmp_path):
    """With a sparse file, the process would end with SIGBUS."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = """
import sys
from pathlib import Path
from serving.observability.value_file import ValueFile, value_key
early, late = (ValueFile(Path(sys.argv[1], name)) for name in ("counter_0.db", "counter_1.db"))
early.write("first", 1.0)
with open(Path(sys.argv[1], "filling"), "wb", buffering=0) as file:
    try:
        while file.write(bytes(4096)):
            pass
    except OSError:
        pass
for number in range(4000):
    for values in (early, late):
        values.write(f"key {number}", 2.0)
early.write("first", 3.0)
"""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk; the test with a limit on file sizes covers the failure")
    try:
        command = [sys.executable, "-c", script, str(disk)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr
        assert found_in(disk / "counter_0.db")["first"] == 3
        assert not (disk / "counter_1.db").exists()
        assert result.stderr.count("No space left on device") == 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_gauges_of_an_ended_worker_go_and_their_space_stays(tmp_path):
    path = value_path(tmp_path, "gauge", GAUGE_MODE, "3")
    assert path.name == "gauge_livesum_3.db"
    forget_gauges(tmp_path, "3")
    assert not path.exists()
    ValueFile(path).write(a_key(0), 1)
    size = path.stat().st_blocks
    forget_gauges(tmp_path, "3")
    assert found_in(path) == {}
    assert path.stat().st_blocks == size > 0
    assert ValueFile(path).read(a_key(0)) == 0


def test_a_killed_process_loses_no_count_and_leaves_no_half_entry(tmp_path):
    script = """
import itertools, sys
from pathlib import Path
from serving.observability.value_file import ValueFile
values = ValueFile(Path(sys.argv[1]))
for number in itertools.count():
    values.write(f"key {number}", number + 1.0)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""
    path = tmp_path / "counter_0.db"
    for _ in range(3):
        path.unlink(missing_ok=True)
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            wait_for(lambda: path.exists() and len(found_in(path)) > 500)
            process.kill()
            counted = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        found = found_in(path)
        assert all(found[f"key {number}"] == number + 1 for number in counted)
        assert all(key == f"key {value - 1:.0f}" or value == 0 for key, value in found.items())
        assert ValueFile(path).read("key 0") == 1
