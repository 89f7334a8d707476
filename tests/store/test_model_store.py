"""Versions appear whole, are never taken for what they are not, and `current` moves one comparison at a time."""

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from textclf.errors import ModelStoreError
from textclf.report.versions import compare_versions, describe_version, describe_versions
from textclf.store.manifest import Manifest, is_version_id
from textclf.store.model_store import ModelStore, ModelVersion, is_saved_model_folder, open_model

DAY = 24 * 3600
GOOD_ID = "20250102T030405678Z-00ff00"


def manifest(**changes) -> Manifest:
    figures = {
        "n": 6,
        "accuracy": 0.9,
        "macro_f1": 0.88,
        "per_class": {"neg": {"precision": None, "recall": 0.5, "f1": 0.4, "support": 3}},
        "roc_auc": None,
        "log_loss": 0.25,
        "expected_calibration_error": 0.02,
        "confusion_matrix": [[2, 1], [0, 3]],
    }
    values = {
        "name": "reviews",
        "class_names": ("neg", "pos"),
        "encoder": {"model_name": "tiny", "name_to_handle": "/encoders/tiny", "model_to_handle": ""},
        "max_length": 32,
        "truncation": "head+tail",
        "head_fraction": 0.25,
        "lower_case": True,
        "metrics": {"test": figures},
        "data": {"source": "reviews", "fingerprint": {"test": "aa"}, "counts": {"train": 10, "test": 6}},
        "training": {"options": {"epochs": 1, "init_lr": 3e-5}, "seconds": 1.5},
        "software": {"python": "3.11"},
        "golden_texts": ("A fine “film”.",),
    }
    return Manifest(**(values | changes))


def save(store: ModelStore, content: str = "graph", *, is_withheld: bool = False, **changes) -> str:
    with store.new_version(is_withheld=is_withheld) as draft:
        (draft.path / "engine").mkdir()
        (draft.path / "engine" / "model.xml").write_text(content)
        (draft.path / "saved_model" / "variables").mkdir(parents=True)
        (draft.path / "saved_model" / "variables" / "data").write_text("weights")
        (draft.path / "reference.npz").write_text("reference")
        draft.manifest = manifest(**changes)
    return draft.id


@pytest.fixture
def store(tmp_path) -> ModelStore:
    """A store whose clock goes on by a second at each look, so that ids are in order."""
    ticks = iter(range(1_735_786_845, 1_735_790_000))
    return ModelStore(tmp_path / "model", clock=lambda: float(next(ticks)))


class TestSaving:
    def test_the_constructor_touches_nothing(self, tmp_path):
        store = ModelStore(tmp_path / "model")
        assert store.version_ids() == []
        assert store.current_id() is None
        assert list(tmp_path.iterdir()) == []

    def test_the_first_version_becomes_current_and_the_second_does_not(self, store):
        first, second = save(store), save(store)
        assert store.version_ids() == [first, second]
        assert store.current_id() == first
        assert (store.path / "current").read_text() == f"{first}\n"

    def test_a_withheld_version_is_current_only_after_a_promotion(self, store):
        withheld = save(store, is_withheld=True)
        assert store.current_id() is None
        with pytest.raises(ModelStoreError, match="expected a model store with a current version"):
            store.open()
        store.promote(withheld, expected_current=None)
        assert store.current_id() == withheld

    def test_the_first_version_that_is_not_withheld_becomes_current(self, store):
        save(store, is_withheld=True)
        save(store, is_withheld=True)
        assert store.current_id() is None
        good = save(store)
        assert store.current_id() == good
        save(store, is_withheld=True)
        assert store.current_id() == good

    def test_the_store_adds_id_time_and_hashes(self, store):
        version = store.open(save(store))
        assert is_version_id(version.id)
        assert version.manifest.created == "2025-01-02T03:00:45+00:00"
        assert version.id.startswith("20250102T030045000Z-")
        assert sorted(version.manifest.files) == ["engine/model.xml", "reference.npz", "saved_model/variables/data"]
        assert version.manifest.name == "reviews"
        version.verify()

    def test_ids_keep_the_order_of_saving_within_a_second(self, tmp_path):
        times = iter([100.001, 100.002, 100.999, 101.0])
        store = ModelStore(tmp_path, clock=lambda: next(times))
        assert [save(store) for _ in range(4)] == store.version_ids()

    def test_an_exception_leaves_no_version(self, store):
        def fail_half_way() -> None:
            with store.new_version() as draft:
                (draft.path / "file").write_text("x")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail_half_way()
        assert store.version_ids() == []
        assert list((store.path / "versions").iterdir()) == []
        assert not (store.path / "current").exists()

    @pytest.mark.parametrize(
        ("file", "description", "message"),
        [
            ("x", None, "expected its manifest to be set"),
            (None, manifest(), "got none"),
            ("manifest.json", manifest(), r"no manifest\.json"),
            ("x", manifest(parity={"worst": float("nan")}), "values that JSON can hold"),
        ],
    )
    def test_an_incomplete_draft_is_refused(self, store, file, description, message):
        def save_badly() -> None:
            with store.new_version() as draft:
                if file:
                    (draft.path / file).write_text("x")
                draft.manifest = description

        with pytest.raises(ModelStoreError, match=message):
            save_badly()
        assert list((store.path / "versions").iterdir()) == []

    def test_a_damaged_pointer_does_not_cost_a_training(self, store):
        first = save(store)
        (store.path / "current").write_text("rubbish")
        second = save(store)
        assert store.version_ids() == [first, second]
        assert (store.path / "current").read_text() == "rubbish"

    def test_leftovers_of_killed_writers_go_after_a_day(self, tmp_path):
        now = 1_735_786_845.0
        store = ModelStore(tmp_path, clock=lambda: now)
        save(store)
        old, young = (
            tmp_path / "versions" / ".a.0123456789abcdef.tmp",
            tmp_path / "versions" / ".b.0123456789abcdef.tmp",
        )
        pointer = tmp_path / ".current.0123456789abcdef.tmp"
        for folder in (old, young):
            folder.mkdir()
            (folder / "file").write_text("x")
        pointer.write_text("x")
        for path, age in ((old, DAY + 60), (pointer, DAY + 60), (young, DAY - 60)):
            os.utime(path, (now - age, now - age))
        assert len(store.version_ids()) == 1
        save(store)
        assert [path.exists() for path in (old, pointer, young)] == [False, False, True]

    def test_threads_that_save_at_once_all_get_a_version(self, tmp_path):
        store = ModelStore(tmp_path)
        threads = [threading.Thread(target=save, args=(store,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.version_ids()) == 6
        assert store.current_id() in store.version_ids()
        for version_id in store.version_ids():
            store.open(version_id).verify()


SAVE_AND_BE_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import textclf.files, textclf.store.model_store
from test_model_store import manifest, save
from textclf.store.model_store import ModelStore

def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "while filling":
    with ModelStore(sys.argv[1]).new_version() as draft:
        (draft.path / "file").write_text("x")
        die()
if sys.argv[2] == "before the rename":
    textclf.files.os.rename = die
if sys.argv[2] == "after the rename":
    textclf.files.sync_folder = lambda folder: die() if (Path(folder).name == "versions") else None
if sys.argv[2] == "before current is written":
    textclf.store.model_store.ModelStore._point_to = die
save(ModelStore(sys.argv[1]))
"""
MOMENTS = ["while filling", "before the rename", "before current is written"]


def save_and_be_killed(store: ModelStore, moment: str) -> None:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", SAVE_AND_BE_KILLED, str(store.path), moment, here]
    killed = subprocess.run(command, check=False, timeout=60, cwd=Path(__file__).parents[2])
    assert killed.returncode == -signal.SIGKILL


class TestKilled:
    @pytest.mark.parametrize("moment", MOMENTS[:2])
    def test_a_save_killed_half_way_leaves_the_store_as_it_was(self, tmp_path, moment):
        store = ModelStore(tmp_path)
        first = save(store)
        save_and_be_killed(store, moment)
        assert store.version_ids() == [first]
        store.open().verify()
        assert store.open().id == first
        # The killed process held the lock at the rename; the next save must get it.
        second = save(store)
        assert store.version_ids() == [first, second]

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_a_first_save_killed_half_way_leaves_an_empty_store_or_a_whole_one(self, tmp_path, moment):
        store = ModelStore(tmp_path)
        save_and_be_killed(store, moment)
        assert not (store.path / "current").exists()
        saved = store.version_ids()
        assert len(saved) == (moment == "before current is written")
        second = save(store)
        assert store.version_ids() == [*saved, second]
        # The first that was saved is current, whether or not its writer lived to say so.
        assert store.open().id == (saved[0] if saved else second)
        store.open().verify()

    def test_a_store_without_a_pointer_keeps_its_version_when_the_next_save_is_killed(self, store):
        first = save(store)
        (store.path / "current").unlink()  # As a first save leaves it that is killed at its last step.
        save_and_be_killed(store, "after the rename")
        assert len(store.version_ids()) == 2
        assert store.open().id == first


class TestOpening:
    def test_an_empty_store_says_what_to_do(self, store):
        with pytest.raises(ModelStoreError, match=r"versions here: none; train one \(textclf train\)"):
            store.open()

    def test_an_unknown_version_lists_what_exists(self, store):
        first = save(store)
        with pytest.raises(ModelStoreError, match=f"no version '{GOOD_ID}' .*versions here: {first}"):
            store.open(GOOD_ID)

    @pytest.mark.parametrize(
        "bad", ["", ".", "..", "../../etc", "/etc", f"../versions/{GOOD_ID}", f"{GOOD_ID}/..", f"{GOOD_ID}\n", "latest"]
    )
    def test_an_id_never_leads_out_of_the_store(self, store, bad):
        save(store)
        outside = store.path.parent / "manifest.json"
        outside.write_text(store.open().manifest.to_json())
        with pytest.raises(ModelStoreError, match="no version"):
            store.open(bad)
        with pytest.raises(ModelStoreError, match="no version"):
            store.promote(bad, expected_current=store.current_id())

    @pytest.mark.parametrize("bad", ["", "../../etc", "/etc/passwd", "\x00", "a\nb", "x" * 10_000])
    def test_a_pointer_never_leads_out_of_the_store(self, store, bad):
        first = save(store)
        (store.path / "current").write_text(bad)
        with pytest.raises(ModelStoreError, match=f"current: expected the id of a version, got .*{first}"):
            store.open()

    def test_a_pointer_to_a_version_that_is_gone(self, store):
        first = save(store)
        (store.path / "current").write_text(f"{GOOD_ID}\n")
        with pytest.raises(ModelStoreError, match=rf"no version '{GOOD_ID}' \(current names\); versions here: {first}"):
            store.open()

    def test_several_versions_without_a_pointer_are_nobodys_choice(self, store):
        save(store), save(store)
        (store.path / "current").unlink()
        with pytest.raises(ModelStoreError, match=r"make one of them current \(textclf versions promote ID"):
            store.open()
        save(store)
        assert store.current_id() is None

    def test_a_version_under_another_name_is_refused(self, store):
        first = save(store)
        (store.path / "versions" / first).rename(store.path / "versions" / GOOD_ID)
        with pytest.raises(ModelStoreError, match=f"expected the manifest of version {GOOD_ID}, got that of {first}"):
            store.open(GOOD_ID)

    def test_a_version_without_a_manifest(self, store):
        first = save(store)
        (store.path / "versions" / first / "manifest.json").unlink()
        with pytest.raises(ModelStoreError, match=r"manifest\.json: expected the manifest"):
            store.open(first)

    def test_a_store_that_can_only_be_read_is_enough(self, store):
        save(store)
        (store.path / ".lock").unlink()
        store.open().verify()
        assert not (store.path / ".lock").exists()


class TestOpenModel:
    def test_a_store_and_a_version(self, store):
        first = save(store)
        second = save(store)
        assert open_model(store.path).id == first
        assert open_model(str(store.path / "versions" / second)).id == second

    def test_a_version_copied_elsewhere_keeps_its_id(self, store, tmp_path):
        first = save(store)
        (store.path / "versions" / first).rename(tmp_path / "mine")
        assert open_model(tmp_path / "mine").id == first

    def test_neither_is_refused(self, tmp_path):
        with pytest.raises(ModelStoreError, match="found no such folder"):
            open_model(tmp_path / "nothing")
        with pytest.raises(ModelStoreError, match="found neither"):
            open_model(tmp_path)

    def test_a_plain_saved_model_is_recognised(self, store, tmp_path):
        (tmp_path / "plain").mkdir()
        assert not is_saved_model_folder(tmp_path / "plain")
        (tmp_path / "plain" / "saved_model.pb").write_bytes(b"\x08\x01")
        assert is_saved_model_folder(tmp_path / "plain")
        with pytest.raises(ModelStoreError, match="found a plain SavedModel"):
            open_model(tmp_path / "plain")
        assert not is_saved_model_folder(store.path)


class TestVerify:
    @pytest.fixture
    def version(self, store) -> ModelVersion:
        return store.open(save(store))

    @pytest.mark.parametrize("damage", [b"grapi", b"", b"graph\n"])
    def test_a_damaged_file_is_named(self, version, damage):
        (version.path / "engine" / "model.xml").write_bytes(damage)
        with pytest.raises(ModelStoreError, match=r"engine/model\.xml: damaged: expected SHA-256 "):
            version.verify()

    def test_only_the_parts_asked_for_are_read(self, version):
        (version.path / "engine" / "model.xml").write_text("damaged")
        version.verify(["saved_model", "reference.npz"])
        with pytest.raises(ModelStoreError, match="damaged"):
            version.verify(["engine"])

    def test_a_part_may_be_absent_as_in_a_clone(self, version):
        (version.path / "saved_model" / "variables" / "data").unlink()
        (version.path / "saved_model" / "variables").rmdir()
        (version.path / "saved_model").rmdir()
        version.verify()
        assert (version.has("saved_model"), version.has("engine")) == (False, True)
        with pytest.raises(
            ModelStoreError, match=r"part 'saved_model', found only engine, manifest\.json, reference\.npz"
        ):
            version.part("saved_model")
        assert version.part("engine") == version.path / "engine"

    def test_a_file_missing_from_a_part_that_is_here(self, version):
        (version.path / "engine" / "model.xml").unlink()
        with pytest.raises(ModelStoreError, match=r"engine/model\.xml: expected this file"):
            version.verify()

    @pytest.mark.parametrize("extra", ["extra.txt", "engine/extra.bin", "new/file"])
    def test_a_file_the_manifest_does_not_know(self, version, extra):
        (version.path / extra).parent.mkdir(exist_ok=True)
        (version.path / extra).write_text("x")
        with pytest.raises(ModelStoreError, match=f"{extra}: not among the files"):
            version.verify()

    def test_a_link_to_a_folder_is_a_file_the_manifest_does_not_know(self, version, tmp_path):
        (version.path / "plots").symlink_to(tmp_path)
        with pytest.raises(ModelStoreError, match="plots: not among the files"):
            version.verify()


def promote_when_told(path: Path, version_id: str, parent: str, start, results) -> None:
    store = ModelStore(path)
    start.wait()
    try:
        store.promote(version_id, expected_current=parent)
    except ModelStoreError as error:
        results.put((version_id, str(error)))
    else:
        results.put((version_id, None))


class TestPromotion:
    def test_promote_and_roll_back(self, store):
        first, second = save(store), save(store)
        store.promote(second, expected_current=first)
        assert store.open().id == second
        store.promote(first, expected_current=second)
        assert store.open().id == first

    def test_refused_if_current_has_moved_since_the_comparison(self, store):
        first, second, third = save(store), save(store), save(store)
        store.promote(second, expected_current=first)
        with pytest.raises(ModelStoreError, match=f"expected {first} to be current, found {second}"):
            store.promote(third, expected_current=first)
        assert store.current_id() == second

    def test_a_damaged_version_is_never_promoted(self, store):
        first, second = save(store), save(store)
        (store.path / "versions" / second / "engine" / "model.xml").write_text("damaged")
        with pytest.raises(ModelStoreError, match="damaged"):
            store.promote(second, expected_current=first)
        assert store.current_id() == first

    def test_a_pointer_to_a_version_that_is_gone_can_be_mended(self, store):
        first = save(store)
        (store.path / "current").write_text(f"{GOOD_ID}\n")
        store.promote(first, expected_current=GOOD_ID)
        assert store.open().id == first

    def test_of_two_processes_that_compared_with_one_parent_exactly_one_wins(self, store):
        parent, *challengers = (save(store) for _ in range(3))
        context = multiprocessing.get_context("spawn")
        start, results = context.Barrier(2), context.Queue()
        processes = [
            context.Process(target=promote_when_told, args=(store.path, challenger, parent, start, results))
            for challenger in challengers
        ]
        for process in processes:
            process.start()
        outcomes = dict(results.get(timeout=60) for _ in processes)
        for process in processes:
            process.join(timeout=60)
        winners = [version_id for version_id, error in outcomes.items() if error is None]
        assert winners == [store.current_id()]
        (loser,) = set(challengers) - set(winners)
        assert f"found {winners[0]}: another was promoted meanwhile" in outcomes[loser]

    def test_a_process_waits_for_the_lock(self, store):
        first, second = save(store), save(store)
        with store.locked():
            thread = threading.Thread(target=store.promote, args=(second,), kwargs={"expected_current": first})
            thread.start()
            thread.join(timeout=0.3)
            assert thread.is_alive()
            assert store.current_id() == first
        thread.join(timeout=10)
        assert store.current_id() == second


class TestManifest:
    SAVED = manifest(id=GOOD_ID, created="2025-01-02T03:04:05+00:00", files={"engine/a": "0" * 64}, parent=GOOD_ID)

    def test_json_gives_the_same_back(self):
        assert Manifest.from_json(self.SAVED.to_json()) == self.SAVED

    def test_the_file_is_made_for_reading(self):
        text = self.SAVED.to_json()
        assert text.startswith('{\n "format": 1,\n "id": "2025')
        assert "[ 2, 1 ]" in text
        assert "A fine “film”." in text

    def test_a_text_that_looks_like_a_list_of_numbers_is_kept(self):
        tricky = dataclasses.replace(self.SAVED, golden_texts=("[\n 1,\n  2\n]", "[", "]", '"[1]'))
        assert Manifest.from_json(tricky.to_json()) == tricky

    def changed(self, **changes) -> str:
        values = json.loads(self.SAVED.to_json()) | changes
        return json.dumps({key: value for key, value in values.items() if value is not ...})

    def test_what_an_older_software_did_not_write_has_its_default(self):
        values = json.loads(self.SAVED.to_json())
        del values["golden_texts"], values["parity"]
        older = Manifest.from_json(json.dumps(values), Path("manifest.json"))
        assert older == dataclasses.replace(self.SAVED, golden_texts=(), parity={})

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"format": 2}, "written in format 2 by a newer version of this software"),
            ({"format": 2, "novelty": 1}, "newer version"),
            ({"format": None}, "whole number as format"),
            ({"format": True}, "whole number as format"),
            ({"format": 0}, "whole number as format"),
            ({"format": ...}, "whole number as format"),
            ({"novelty": 1}, "unknown: novelty; missing: none"),
            ({"labels": [], "class_names": ...}, "unknown: labels; missing: class_names"),
            ({"id": ""}, "id and time of a saved version"),
            ({"id": "../up"}, "id: expected the id of a version"),
            ({"parent": "../up"}, "parent: expected"),
            ({"class_names": ["neg"]}, "class_names: expected two"),
            ({"class_names": ["neg", "neg"]}, "class_names: expected two"),
            ({"class_names": ["neg", "a\nb"]}, "class_names: expected two"),
            ({"class_names": "np"}, "class_names: expected two"),
            ({"encoder": {"model_name": "tiny"}}, "encoder: expected"),
            ({"max_length": "128"}, "max_length: expected"),
            ({"max_length": 10**400}, "max_length: expected"),
            ({"truncation": "tail"}, "truncation: expected"),
            ({"head_fraction": 1.5}, "head_fraction: expected"),
            ({"lower_case": "false"}, "lower_case: expected"),
            ({"temperature": 0}, "temperature: expected"),
            ({"threshold": 1}, "threshold: expected"),
            ({"metrics": []}, "metrics: expected"),
            ({"metrics": {"test": 0.9}}, "metrics: expected"),
            ({"golden_texts": "text"}, "golden_texts: expected"),
            ({"files": {"../up": "0" * 64}}, "files: expected paths inside"),
            ({"files": {"/etc/passwd": "0" * 64}}, "files: expected paths inside"),
            ({"files": {"a\\b": "0" * 64}}, "files: expected paths inside"),
            ({"files": {"manifest.json": "0" * 64}}, "files: expected paths inside"),
            ({"files": {"a": "0" * 63}}, "files: expected SHA-256"),
        ],
    )
    def test_what_makes_no_sense_is_refused_with_the_file_named(self, changes, message):
        with pytest.raises(ModelStoreError, match=message) as refused:
            Manifest.from_json(self.changed(**changes), "model/x/manifest.json")
        assert str(refused.value).startswith("model/x/manifest.json: ")

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": NaN}', "[" * 100_000])
    def test_what_is_not_a_json_object_is_refused(self, text):
        with pytest.raises(ModelStoreError, match=r"^manifest\.json: expected"):
            Manifest.from_json(text)

    def test_a_cut_manifest_is_refused(self, store):
        version = store.open(save(store))
        text = (version.path / "manifest.json").read_bytes()
        for damaged in (text[: len(text) // 2], b"\xff" + text):
            (version.path / "manifest.json").write_bytes(damaged)
            with pytest.raises(ModelStoreError, match=r"manifest\.json: expected"):
                open_model(version.path)

    def test_only_sound_values_can_be_made(self):
        with pytest.raises(ModelStoreError, match="temperature: expected a number above 0"):
            manifest(temperature=float("nan"))


def better(**changes) -> dict:
    return {"test": manifest().metrics["test"] | {"accuracy": 0.95, "log_loss": 0.3} | changes}


class TestReports:
    def test_the_list_shows_every_version_newest_first_and_marks_the_current_one(self, store):
        first = save(store)
        second = save(store, metrics={}, parent=first)
        lines = describe_versions(store).splitlines()
        titles = " ".join(lines[0].split())
        assert titles == "version created (UTC) encoder classes test accuracy macro F1 cascade parts parent"
        assert lines[1].split()[0] == second
        assert lines[1].split()[-1] == first
        assert lines[2].startswith(f"*  {first}  2025-01-02 03:00  tiny     2        0.9000         0.8800")

    def test_the_list_survives_a_damaged_version(self, store):
        save(store)
        second = save(store)
        (store.path / "versions" / second / "manifest.json").write_text("{")
        text = describe_versions(store)
        assert f"{second}  unreadable" in text
        assert "expected JSON" in text.splitlines()[-1]

    def test_the_list_of_an_empty_store_and_of_one_without_a_pointer(self, store):
        assert "no version yet" in describe_versions(store)
        save(store), save(store)
        (store.path / "current").unlink()
        assert describe_versions(store).splitlines()[-1].startswith("no version is current: make an existing")
        (store.path / "current").write_text(GOOD_ID)
        assert f"current names {GOOD_ID}, which is missing" in describe_versions(store)

    def test_one_version(self, store):
        version = store.open(save(store))
        (version.path / "reference.npz").unlink()
        text = describe_version(version)
        for expected in (
            "classes       neg, pos",
            "texts cut to  32 wordpieces, head+tail (25% head), lower case",
            "threshold     0.5 on P(pos)",
            "parts         engine saved_model  (missing: reference.npz)",
            "  test  6      0.9000    0.8800    -        0.2500    0.0200",
            "  neg  3      -          0.5000  0.4000",
            "  options.init_lr  3e-05",
        ):
            assert expected in text

    def test_a_reference_that_cannot_be_read_is_said(self, store):
        version = store.open(save(store))
        (version.path / "reference.npz").write_bytes(b"damaged")
        text = describe_version(version)
        assert f"unreadable: {version.path / 'reference.npz'}: expected the reference of a version (" in text
        assert "classes       neg, pos" in text

    def test_of_many_classes_the_weakest_are_shown(self, store):
        names = tuple(f"c{k:03d}" for k in range(151))
        figures = {name: {"precision": 1.0, "recall": 1.0, "f1": k / 200, "support": 1} for k, name in enumerate(names)}
        version = store.open(save(store, class_names=names, metrics=better(per_class=figures)))
        text = describe_version(version)
        assert "the 10 of 151 with the lowest F1" in text
        assert "c000" in text.split("lowest F1")[1]
        assert "c010" not in text.split("lowest F1")[1]
        assert "threshold" not in text

    def test_two_versions_tested_on_the_same_texts(self, store):
        a = store.open(save(store))
        b = store.open(save(store, parent=a.id, metrics=better(), max_length=64, training={"options": {"epochs": 3}}))
        text = compare_versions(a, b)
        for expected in (
            "a is the parent of b",
            "  accuracy           0.9000  0.9500  +0.0500  better",
            "  log loss           0.2500  0.3000  +0.0500  worse",
            "  macro F1           0.8800  0.8800  0.0000   same",
            "  ROC AUC            -       -       -",
            "  max_length        32     64",
            "  training.epochs   1      3",
            "  training.init_lr  3e-05  -",
        ):
            assert expected in text.splitlines()
        assert "NOT the same texts" not in text

    def test_figures_on_different_texts_get_no_verdict(self, store):
        a = store.open(save(store))
        b = store.open(save(store, metrics=better(), data={"fingerprint": {"test": "bb"}}))
        text = compare_versions(a, b)
        assert "metrics on test: NOT the same texts, so these numbers are not comparable" in text
        assert "better" not in text
        assert "worse" not in text

    @pytest.mark.parametrize(
        ("one", "two", "is_unknown"),
        [
            ({"test": "aa"}, None, True),
            ({"test": "aa"}, {"train": "aa"}, True),
            ({"test": "aa"}, "aa", True),
            ("aa", "bb", True),
            ("aa", "aa", False),
            ({"test": "aa", "train": "x"}, {"test": "aa", "train": "y"}, False),
        ],
    )
    def test_figures_on_texts_that_may_be_others_carry_a_warning(self, store, one, two, is_unknown):
        a, b = (store.open(save(store, data={"fingerprint": each} if each else {})) for each in (one, two))
        text = compare_versions(a, b)
        assert ("the manifests do not record whether the texts are the same" in text) is is_unknown
        assert "NOT the same" not in text

    def test_the_same_twice(self, store):
        a, b = store.open(save(store)), store.open(save(store))
        assert compare_versions(a, b).endswith("nothing else differs")


class TestCheckWritable:
    def test_leaves_nothing(self, tmp_path):
        ModelStore(tmp_path / "deep" / "model").check_writable()
        assert list(tmp_path.iterdir()) == []

    def test_a_file_in_the_place_of_the_store(self, tmp_path):
        (tmp_path / "model").write_text("x", encoding="utf-8")
        with pytest.raises(ModelStoreError, match="expected a folder that a model can be saved in"):
            ModelStore(tmp_path / "model").check_writable()

    def test_a_damaged_pointer_is_known_before_the_work(self, tmp_path):
        (tmp_path / "current").write_text("nonsense", encoding="utf-8")
        with pytest.raises(ModelStoreError, match="expected the id of a version"):
            ModelStore(tmp_path).check_writable()

    def test_a_folder_in_the_place_of_the_pointer(self, tmp_path):
        (tmp_path / "current").mkdir()
        with pytest.raises(ModelStoreError, match="expected a file with the id of a version"):
            ModelStore(tmp_path).check_writable()


@pytest.mark.parametrize(
    "use",
    [ModelStore.check_exists, ModelStore.open, lambda store: store.open("x"), lambda store: open_model(store.path)],
)
def test_the_error_of_a_missing_store_shows_where_it_was_looked_for(use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelStoreError, match=f"^{tmp_path}/model: "):
        use(ModelStore("model"))
