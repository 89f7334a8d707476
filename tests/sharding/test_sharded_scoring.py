"""`score --shards`: every row once, in every format; resuming; what a folder refuses; bad rows."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sharded_data import BAD, ROWS, hashes, part_files, rows_of, score, texts, write_inputs
from tiny_engine import write_version

import inference
from textclf.sharding import running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    write_inputs(folder)
    write_version(folder / "store", cascade=True, unusual=True)
    return folder


@pytest.fixture(scope="module")
def store(folder):
    return folder / "store"


@pytest.fixture(scope="module")
def whole(folder, store):
    """The output of five shards of Parquet, scored by this process."""
    options = ("--shards", "5", "--id-column", "id", "--keep", "stamp", "--processes", "1")
    result = score(store, folder / "pq", folder / "whole", *options)
    assert result.exit_code == 0, result.output
    return folder / "whole"


@pytest.mark.parametrize("source", ["pq", "in.csv", "in.jsonl"])
@pytest.mark.parametrize("target", ["parquet", "csv", "jsonl"])
def test_every_row_is_scored_once_and_in_order(folder, store, tmp_path, source, target):
    options = ("--shards", "7", "--id-column", "id", "--keep", "text", "--probabilities", "--processes", "1")
    result = score(store, folder / source, tmp_path / "out", *options, "--output-format", target, "--no-drift")
    assert result.exit_code == 0, result.output
    assert f"rows: {ROWS}, scored: {ROWS - 2}" in result.output
    paths = part_files(tmp_path / "out")
    assert len(paths) == 7
    assert {path.suffix for path in paths} == {f".{target}"}
    assert all(100 > len(rows_of([path])) > 60 for path in paths), "shards of similar size"
    rows = rows_of(paths)
    assert [int(row["id"]) for row in rows] == list(range(ROWS))
    assert [row.get("error") or None for row in rows] == ["no text" if at in BAD else None for at in range(ROWS)]
    good = [at for at in range(ROWS) if at not in BAD]
    wanted = [str(text) for text in texts() if text]
    assert [rows[at]["text"] for at in good] == wanted
    predictions = inference.Inference(store, threads=1).predict(wanted)
    assert [rows[at]["label"] for at in good] == [prediction.label for prediction in predictions]
    scores = np.array([float(rows[at]["score"]) for at in good])
    assert np.abs(scores - [prediction.score for prediction in predictions]).max() < 1e-4
    assert np.abs(scores - [float(rows[at]["p:pos"]) for at in good]).max() < 1e-6


def test_parquet_keeps_the_types_of_columns(folder, whole):
    schema = pq.read_schema(part_files(whole)[0])
    assert {name: str(schema.field(name).type) for name in schema.names} == {
        "id": "int64",
        "stamp": "timestamp[ns]",
        "label": "string",
        "score": "float",
        "truncated": "bool",
        "unusual": "string",
        "error": "string",
    }
    stamps = [stamp for path in part_files(whole) for stamp in pq.read_table(path)["stamp"]]
    assert [stamp.value for stamp in stamps] == [1_600_000_000_000_000_001 + at for at in range(ROWS)]


def test_success_has_the_sums(whole, store):
    found = json.loads((whole / "_SUCCESS").read_text())
    assert (found["rows"], found["scored"], found["errors"]) == (ROWS, ROWS - 2, {"no_text": 2})
    assert sum(found["labels"].values()) == sum(found["stages"].values()) == ROWS - 2
    assert sum(found["label_shares"].values()) == pytest.approx(1, abs=1e-5)
    assert {**found["files"], "_SUCCESS": hashes(whole)["_SUCCESS"]} == hashes(whole)
    assert found["drift"]["texts"] == ROWS - 2, "all rows fit into the sample"
    assert (whole / "_drift.html").exists()
    assert json.loads((whole / "_drift.json").read_text())["verdict"] == found["drift"]["verdict"]


def test_processes_write_the_same_bytes(folder, store, whole, tmp_path):
    options = ("--shards", "5", "--id-column", "id", "--keep", "stamp", "--processes", "2")
    result = score(store, folder / "pq", tmp_path, *options)
    assert result.exit_code == 0, result.output
    assert hashes(tmp_path) == hashes(whole)


def test_a_pod_for_each_index_writes_the_same_bytes(folder, store, whole, tmp_path):
    options = ("--shards", "5", "--id-column", "id", "--keep", "stamp")
    for shard in (3, 0, 4, 1):
        assert score(store, folder / "pq", tmp_path, *options, JOB_COMPLETION_INDEX=str(shard)).exit_code == 0
    early = score(store, folder / "pq", tmp_path, *options, "--finish")
    assert early.exit_code == 1
    assert "found 4; missing: 2" in early.output
    assert score(store, folder / "pq", tmp_path, *options, "--shard-index", "2").exit_code == 0
    assert not (tmp_path / "_SUCCESS").exists()
    assert score(store, folder / "pq", tmp_path, *options, "--finish").exit_code == 0
    assert hashes(tmp_path) == hashes(whole)


def test_only_the_first_pod_looks_for_the_rows_of_a_csv_file(folder, store, tmp_path, monkeypatch):
    options = ("--shards", "5", "--id-column", "id", "--no-drift")
    assert score(store, folder / "in.csv", tmp_path, *options, "--shard-index", "0").exit_code == 0
    searched = []
    monkeypatch.setattr(running, "row_starts", lambda *_: searched.append(1))
    result = score(store, folder / "in.csv", tmp_path, *options, "--shard-index", "1")
    assert result.exit_code == 0, result.output
    assert not searched
    assert len(part_files(tmp_path)) == 2


def test_a_run_continues_with_the_shards_that_are_left(folder, store, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    (tmp_path / "out" / "_SUCCESS").unlink()
    part_files(tmp_path / "out")[3].unlink()
    next((tmp_path / "out" / "_shards").glob("part-00001*.json")).unlink()
    options = ("--shards", "5", "--id-column", "id", "--keep", "stamp", "--processes", "1")
    result = score(store, folder / "pq", tmp_path / "out", *options)
    assert "3 of 5 shards are done; 2 are left" in result.output
    assert hashes(tmp_path / "out") == hashes(whole)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (("--shards", "6", "--id-column", "id", "--keep", "stamp"), "a run with 5 shards"),
        (("--shards", "5", "--id-column", "id"), "keep ('stamp',)"),
        (("--shards", "5", "--id-column", "id", "--keep", "stamp", "--max-chars", "9"), "max_chars 1000000"),
    ],
)
def test_a_folder_refuses_other_options(folder, store, whole, changes, difference):
    before = hashes(whole)
    result = score(store, folder / "pq", whole, *changes)
    assert result.exit_code == 1
    assert difference in result.output
    assert "name another folder" in result.output
    assert hashes(whole) == before


def test_a_folder_refuses_other_inputs_and_versions(folder, store, whole, tmp_path):
    options = ("--shards", "5", "--id-column", "id", "--keep", "stamp")
    shutil.copytree(folder / "pq", tmp_path / "pq")
    result = score(store, tmp_path / "pq", whole, *options)
    assert "a run with other inputs" in result.output
    known = next((store / "versions").iterdir()).name
    write_version(tmp_path / "store", seed=1)
    result = score(tmp_path / "store", folder / "pq", whole, *options)
    assert f"a run with version {known}" in result.output


def test_a_bad_row_stops_the_run_on_demand(folder, store, tmp_path):
    options = ("--shards", "5", "--on-error", "stop", "--processes", "1", "--no-drift")
    result = score(store, folder / "in.jsonl", tmp_path, *options)
    assert result.exit_code == 1
    assert f"{folder / 'in.jsonl'}, row 8: no text; correct the row" in result.output
    assert part_files(tmp_path) == []


def test_bad_rows_have_their_reasons(store, tmp_path):
    lines = [b'{"id": 1, "text": "good"}', b'{"id": 2, "text": "b\xe9"}', b"{", b"[1]", b'{"id": 5, "text": 7}']
    lines += [b'{"id": 6}', b'{"id": 7, "text": "' + b"very " * 30 + b'"}']
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    options = ("--shards", "1", "--id-column", "id", "--max-chars", "100")
    result = score(store, tmp_path / "in.jsonl", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    found = [(row["id"], row.get("error")) for row in rows_of(part_files(tmp_path / "out"))]
    assert found == [
        (1, None),
        (None, "not UTF-8"),
        (None, "invalid JSON"),
        (None, "not a JSON object"),
        (5, "a text that is not a string"),
        (6, "no text"),
        (7, "more than 100 characters"),
    ]
    assert json.loads((tmp_path / "out" / "_SUCCESS").read_text())["errors"] == dict.fromkeys(
        ["invalid_json", "no_text", "not_an_object", "text_type", "too_long", "undecodable"], 1
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--keep", "id"), "--keep needs --shards"),
        (("--shards", "2", "--skip-bad"), "--skip-bad is for one file"),
        (("--shards", "2", "--shard-index", "2"), "expected a number below --shards"),
        (("--shards", "2", "--ray-address", "x"), "--ray-address needs --engine ray"),
        (("--shards", "2", "--shard-index", "1", "--processes", "2"), "exclude each other"),
        (("--shards", "2", "--keep", "nothing"), "expected a column 'nothing', found 'id', 'text'"),
        (("--shards", "2", "--text-column", "body"), "expected a column 'body'"),
        (("--shards", "2", "--id-column", "nothing"), "expected a column 'nothing', found 'id', 'text'"),
    ],
)
def test_options_that_do_not_fit_are_one_line(folder, store, tmp_path, options, problem):
    result = score(store, folder / "in.csv", tmp_path / "out", *options)
    assert result.exit_code in (1, 2)
    assert problem in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("nothing", "found no such folder"),
        ("none*.csv", "found none that is not empty"),
        ("in.*", "expected files of one format, found several"),
        ("store/**/*", "narrow --input to these"),
    ],
)
def test_inputs_that_do_not_fit_are_one_line(folder, store, tmp_path, source, problem):
    result = score(store, folder / source, tmp_path / "out", "--shards", "2")
    assert result.exit_code == 1
    assert problem in result.output
    assert "Traceback" not in result.output


def test_rows_of_json_have_their_id(folder, store, tmp_path):
    result = score(store, folder / "in.jsonl", tmp_path / "out", "--shards", "2", "--id-column", "nothing")
    assert result.exit_code == 1
    assert "expected a column 'nothing', found 'id', 'text'" in result.output


@pytest.mark.parametrize("source", ["pq", "**/*.parquet", "pq/*.parquet"])
def test_an_output_inside_of_the_input_is_refused(folder, store, source):
    target = folder / "pq" if source == "pq/*.parquet" else folder / "pq" / "out"
    result = score(store, folder / source, target, "--shards", "2")
    assert "expected an output outside of the input" in result.output
    assert not (target / "_plan.json").exists()


def test_nested_columns_are_kept(store, tmp_path):
    kinds = [("lists", pa.list_(pa.list_(pa.int64()))), ("maps", pa.map_(pa.string(), pa.int64()))]
    kinds += [("structs", pa.struct([("at", pa.timestamp("ns"))]))]
    values = [[[[1], None], None], [[("a", 1)], None], [{"at": 1_600_000_000_000_000_001}, None]]
    columns = {name: pa.array(found, kind) for (name, kind), found in zip(kinds, values, strict=True)}
    source = pa.table({"text": ["good", None], **columns})
    pq.write_table(source, tmp_path / "in.parquet")
    options = [option for name in columns for option in ("--keep", name)]
    result = score(store, tmp_path / "in.parquet", tmp_path / "out", "--shards", "1", *options)
    assert result.exit_code == 0, result.output
    assert pq.read_table(part_files(tmp_path / "out")[0]).select(list(columns)).equals(source.select(list(columns)))


@pytest.mark.parametrize("changes", [{"rows": "many"}, {"labels": []}, {"errors": {"no_text": None}}])
def test_a_damaged_record_is_one_line(folder, store, whole, tmp_path, changes):
    shutil.copytree(whole, tmp_path / "out")
    record = sorted((tmp_path / "out" / "_shards").glob("*.json"))[0]
    record.write_text(json.dumps(json.loads(record.read_text()) | changes))
    options = ("--shards", "5", "--id-column", "id", "--keep", "stamp", "--finish")
    result = score(store, folder / "pq", tmp_path / "out", *options)
    assert result.exit_code == 1
    assert f"{record}: damaged (" in result.output
    assert isinstance(result.exception, SystemExit)
