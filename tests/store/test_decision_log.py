"""The decision log, the hold, and what people do with `current`: nothing is lost, and exactly one of two wins."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_model_store import save

from textclf.errors import HeldError, ModelStoreError, OvertakenError
from textclf.store import decision_log as decisions
from textclf.store.decision_log import DecisionLog
from textclf.store.promotion import Promotions, version_before
from textclf.store.promotion_hold import PromotionHold

NOON = 1_767_268_800.25


@pytest.fixture
def log(tmp_path) -> DecisionLog:
    return DecisionLog(tmp_path, clock=lambda: NOON)


# --- the log


def test_what_is_written_is_read(log):
    assert (log.entries(), log.verify()) == ([], [])
    first = log.append("reject", champion="a", challenger="b", gate={"figures": {"p": 0.01}}, reasons=["naïve “é”"])
    second = log.append("hold_lifted")
    assert log.entries() == [first, second]
    assert first["time"] == "2026-01-01T12:00:00.250+00:00"
    assert (first["action"], first["previous"], first["reasons"]) == ("reject", None, ["naïve “é”"])
    assert len(second["previous"]) == 64
    assert log.verify() == []
    assert len(log.path.read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("action", "figures", "message"),
    [
        ("promoted", {}, "expected one of promote, reject"),
        ("reject", {"p": float("nan")}, "values that JSON can hold"),
        ("reject", {"p": {1, 2}}, "values that JSON can hold"),
    ],
)
def test_what_is_no_decision_is_refused(log, action, figures, message):
    log.append("promote")
    before = log.path.read_bytes()
    with pytest.raises(ModelStoreError, match=message):
        log.append(action, **figures)
    assert log.path.read_bytes() == before


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_line_whose_writer_was_killed_is_passed_over_said_and_kept(log, kept):
    whole = log.append("promote", challenger="a")
    log.append("reject", challenger="b")
    first, second, _ = log.path.read_bytes().split(b"\n")
    torn = first + b"\n" + second[:kept]
    log.path.write_bytes(torn)
    assert log.entries() == [whole]
    assert [line.partition(": ")[2] for line in log.verify()] == [
        "not a whole decision: its writer was killed, or it was damaged"
    ]
    after = log.append("inconclusive")
    assert log.entries() == [whole, after]
    assert log.path.read_bytes().startswith(torn + b"\n")
    assert len(log.verify()) == 1


def test_a_last_line_that_lacks_nothing_but_its_end_counts(log):
    entry = log.append("promote")
    log.path.write_bytes(log.path.read_bytes()[:-1])
    assert log.entries() == [entry]
    log.append("reject")
    assert (len(log.entries()), log.verify()) == (2, [])


def test_what_was_changed_or_taken_out_is_found(log):
    for challenger in "abcd":
        log.append("reject", challenger=challenger)
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines).replace(b'"challenger": "b"', b'"challenger": "x"'))
    (problem,) = log.verify()
    assert "line 3: expected the SHA-256 of the line before it" in problem
    log.path.write_bytes(b"".join([lines[0], *lines[2:]]))
    (problem,) = log.verify()
    assert "line 2" in problem
    log.path.write_bytes(b"".join(lines[1:]))
    assert len(log.verify()) == 1


def test_a_full_disk_leaves_the_log_as_it_was(log, monkeypatch):
    log.append("promote")
    before = log.path.read_bytes()

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(decisions.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        log.append("reject")
    assert log.path.read_bytes() == before


def append_many(path, name):
    for number in range(25):
        DecisionLog(path).append("reject", challenger=f"{name}-{number}")


def test_several_processes_write_one_chain(log):
    processes = [
        multiprocessing.get_context("spawn").Process(target=append_many, args=(log.path.parent, n)) for n in "ab"
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert (len(log.entries()), log.verify()) == (50, [])
    assert {entry["challenger"] for entry in log.entries()} == {f"{name}-{i}" for name in "ab" for i in range(25)}


# --- the hold


def test_a_hold_is_put_replaced_and_lifted(tmp_path):
    hold = PromotionHold(tmp_path, clock=lambda: NOON)
    assert (hold.reason, hold.clear()) == (None, False)
    hold.set("worse on short texts")
    assert hold.reason == "worse on short texts (since 2026-01-01T12:00:00+00:00)"
    hold.set("another")
    assert hold.reason.startswith("another")
    assert hold.clear()
    assert hold.reason is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"since": "x"}', b"\xff", b"[" * 100_000])
def test_a_hold_that_can_not_be_read_holds(tmp_path, content):
    hold = PromotionHold(tmp_path)
    hold.path.write_bytes(content)
    assert "can't be read" in hold.reason
    assert hold.clear()


# --- people


@pytest.fixture
def promotions(tmp_path) -> Promotions:
    return Promotions(tmp_path / "model")


def actions(promotions):
    return [(e["action"], e.get("champion"), e.get("challenger")) for e in promotions.log.entries()]


def test_a_promotion_by_hand_is_written_down_with_hashes(promotions):
    first, second = save(promotions.store), save(promotions.store)
    assert promotions.promote(second) == first
    assert promotions.store.current_id() == second
    (entry,) = promotions.log.entries()
    assert (entry["action"], entry["champion"], entry["challenger"]) == ("promote_by_hand", first, second)
    assert len(entry["champion_manifest"]) == len(entry["challenger_manifest"]) == 64


def test_what_can_not_be_promoted_moves_and_writes_nothing(promotions):
    first, second = save(promotions.store), save(promotions.store)
    with pytest.raises(ModelStoreError, match="expected a version that is not current"):
        promotions.promote(first)
    with pytest.raises(ModelStoreError, match="no version '20250102T030405678Z-00ff00'"):
        promotions.promote("20250102T030405678Z-00ff00")
    (promotions.store.path / "versions" / second / "engine" / "model.xml").write_text("damaged")
    with pytest.raises(ModelStoreError, match="damaged"):
        promotions.promote(second)
    assert (promotions.store.current_id(), promotions.log.entries()) == (first, [])


def test_a_decision_that_can_not_be_written_moves_nothing(promotions):
    first, second = save(promotions.store), save(promotions.store)
    promotions.log.path.mkdir()
    with pytest.raises(IsADirectoryError):
        promotions.promote(second)
    assert promotions.store.current_id() == first


def test_roll_back_to_the_one_before_and_hold(promotions):
    first, second, third = (save(promotions.store) for _ in range(3))
    promotions.promote(third)
    promotions.promote(second)
    assert promotions.roll_back() == (second, third)
    assert promotions.hold.reason.startswith(f"rolled back from {second} to {third}")
    # Once more: to the one before that, not back again.
    assert promotions.roll_back(reason="worse on short texts") == (third, first)
    assert promotions.hold.reason.startswith("worse on short texts")
    assert actions(promotions)[2:] == [("rollback", second, third), ("rollback", third, first)]
    assert promotions.log.entries()[-1]["reasons"] == ["worse on short texts"]
    with pytest.raises(ModelStoreError, match=f"no version is known to have been current before {first}; name one"):
        promotions.roll_back()


def test_roll_back_without_a_log_goes_to_the_parent(promotions):
    first = save(promotions.store)
    second = save(promotions.store, parent=first)
    promotions.store.promote(second, expected_current=first)  # As train_model.py --promote does.
    assert promotions.roll_back() == (second, first)


def test_a_parent_that_is_not_here_can_not_be_gone_back_to(promotions):
    """As of the shipped version."""
    only = save(promotions.store, parent="20250102T030405678Z-00ff00")
    with pytest.raises(
        ModelStoreError, match=f"no version is known to have been current before {only}; it is the only one here"
    ):
        promotions.roll_back()
    assert promotions.hold.reason is None


def test_roll_back_to_a_version_that_is_named(promotions):
    first, second, third = (save(promotions.store) for _ in range(3))
    promotions.promote(second)
    assert promotions.roll_back(to=third) == (second, third)
    with pytest.raises(ModelStoreError, match="which is current"):
        promotions.roll_back(to=third)
    with pytest.raises(ModelStoreError, match="no version 'nonsense'"):
        promotions.roll_back(to="nonsense")
    (promotions.store.path / "versions" / first / "engine" / "model.xml").write_text("damaged")
    assert promotions.lift_hold() is not None
    with pytest.raises(ModelStoreError, match="damaged"):
        promotions.roll_back(to=first)
    assert (promotions.store.current_id(), promotions.hold.reason) == (third, None)


def test_roll_back_from_a_version_that_is_gone(promotions):
    first, second = save(promotions.store), save(promotions.store)
    promotions.promote(second)
    (promotions.store.path / "versions" / second).rename(promotions.store.path / "elsewhere")
    assert promotions.roll_back() == (second, first)
    assert promotions.log.entries()[-1]["champion_manifest"] is None


def test_roll_back_of_an_empty_store(promotions):
    with pytest.raises(ModelStoreError, match="expected a model store with a current version"):
        promotions.roll_back()


def test_a_promotion_that_was_written_down_and_not_carried_out_is_not_gone_back_over(promotions):
    first, second = save(promotions.store), save(promotions.store)
    promotions.note("promote", first, second)  # Killed before `current` moved.
    with pytest.raises(ModelStoreError, match="no version is known"):
        promotions.roll_back()


def test_the_hold_is_lifted_once(promotions):
    first, second = save(promotions.store), save(promotions.store)
    promotions.promote(second)
    promotions.roll_back()
    assert "rolled back" in promotions.lift_hold()
    assert promotions.lift_hold() is None
    assert [entry["action"] for entry in promotions.log.entries()] == ["promote_by_hand", "rollback", "hold_lifted"]
    assert version_before(first, promotions.log.entries()) is None


def test_what_no_person_decided_gives_way_to_a_hold(promotions):
    first, second = save(promotions.store), save(promotions.store)
    promotions.hold.set("worse on short texts")
    with pytest.raises(HeldError, match=r"automatic promotion is on hold: worse on short texts \(since "):
        promotions.move("promote", first, second, unless_held=True)
    assert (promotions.store.current_id(), promotions.log.entries()) == (first, [])
    promotions.lift_hold()
    promotions.move("promote", first, second, unless_held=True)
    assert promotions.store.current_id() == second


def test_a_rollback_stops_a_promotion_that_has_not_moved_current(promotions):
    """The promotion is about to take the store's lock; the rollback has put its hold."""
    first, second, third = (save(promotions.store) for _ in range(3))
    promotions.promote(second)
    with promotions.store.locked():
        promoting = ThreadPoolExecutor(1).submit(promotions.move, "promote", second, third, unless_held=True)
        promotions.hold.set("rolled back")  # As roll_back does, under the same lock.
    with pytest.raises(HeldError):
        promoting.result(timeout=30)
    assert promotions.store.current_id() == second
    assert promotions.roll_back() == (second, first)


def test_a_hold_waits_for_a_promotion_that_moves_current(promotions):
    """Seen before the hold was there, and moved after it: that would undo a rollback unseen."""
    first, second, third = (save(promotions.store) for _ in range(3))
    promotions.promote(second)
    with promotions.store.locked():
        back = ThreadPoolExecutor(1).submit(promotions.roll_back)
        with pytest.raises(TimeoutError):
            back.result(timeout=0.3)
        assert promotions.hold.reason is None
        (promotions.store.path / "current").write_text(f"{third}\n")
    with pytest.raises(OvertakenError) as overtaken:
        back.result(timeout=30)
    message = str(overtaken.value)
    assert f"expected {second} to be current still, found {third}" in message
    assert "nothing was rolled back, but automatic promotion is on hold now" in message
    assert f"rollback --to {first}" in message
    assert "lift-hold" in message
    assert promotions.hold.reason.startswith(f"rolled back from {second} to {first}")
    assert promotions.store.current_id() == third


def promote_when_told(path: Path, challenger: str, champion: str, start, results) -> None:
    promotions = Promotions(path)
    start.wait()
    try:
        promotions.move("promote", champion, challenger)
    except OvertakenError as error:
        promotions.note("overtaken", champion, challenger, reasons=[str(error)])
        results.put((challenger, False))
    else:
        results.put((challenger, True))


def test_of_two_promotions_at_once_exactly_one_wins_and_the_log_says_so(promotions):
    champion, *challengers = (save(promotions.store) for _ in range(3))
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=promote_when_told, args=(promotions.store.path, challenger, champion, start, results))
        for challenger in challengers
    ]
    for process in processes:
        process.start()
    outcomes = dict(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    (winner,) = [challenger for challenger, has_won in outcomes.items() if has_won]
    (loser,) = set(challengers) - {winner}
    assert promotions.store.current_id() == winner
    assert actions(promotions) == [("promote", champion, winner), ("overtaken", champion, loser)]
    assert promotions.log.verify() == []


KILLED_WHILE_PROMOTING = """
import os, signal, sys
from textclf.store import decision_log as decisions
from textclf.store import model_store
from textclf.store.promotion import Promotions
path, challenger, moment = sys.argv[1:]
def die(*_args, **_kwargs): os.kill(os.getpid(), signal.SIGKILL)
if moment == "before the line": decisions.DecisionLog.append = die
if moment == "in the line": decisions.json.dumps = lambda *_a, **_k: os.write(3, b'{"tim') and die()
if moment == "before current moves": model_store.ModelStore._point_to = die
if moment == "in the move": model_store.atomic_file = die
os.dup2(os.open(path + "/decisions.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT), 3)
Promotions(path).promote(challenger)
"""


@pytest.mark.parametrize("moment", ["before the line", "in the line", "before current moves", "in the move"])
def test_a_promotion_that_is_killed_leaves_a_whole_current_and_a_log_to_go_on_with(promotions, moment):
    first, second = save(promotions.store), save(promotions.store)
    command = [sys.executable, "-c", KILLED_WHILE_PROMOTING, str(promotions.store.path), second, moment]
    killed = subprocess.run(command, check=False, timeout=60, cwd=Path(__file__).parents[2], capture_output=True)
    assert killed.returncode == -9, killed.stderr
    assert promotions.store.open().id == first
    promotions.store.open().verify()
    promotions.promote(second)
    assert promotions.store.current_id() == second
    assert promotions.log.entries()[-1]["challenger"] == second
    assert promotions.roll_back() == (second, first)
    assert json.loads(promotions.log.path.read_bytes().splitlines()[-1])["action"] == "rollback"
