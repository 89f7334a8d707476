"""Which bytes and rows belong to a shard, and the sample of all shards."""

import csv
import gzip
import io
import itertools
import random
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textclf.errors import DatasetError
from textclf.sharding.csv_cuts import row_starts
from textclf.sharding.drift_sample import SampledRows, ShardSample, largest_number, read_sample, sample_bytes
from textclf.sharding.inputs import InputFile, list_inputs
from textclf.sharding.parquet_input import group_rows
from textclf.sharding.plan import Plan, needs_cuts
from textclf.sharding.reading import ShardReader
from textclf.sharding.writers import OutputColumns, row_writer


def plan_of(files, shards, input_format="jsonl", **changes):
    values = {
        "version": "v", "manifest_sha256": "m", "text_column": "text", "id_column": "id", "keep": (),
        "output_format": "jsonl", "probabilities": False, "on_error": "column", "max_chars": 100, "cascade": True,
        "tokens_per_batch": 4096, "rules_sha256": "", "drift": False,
    }  # fmt: skip
    return Plan(files=tuple(files), input_format=input_format, shards=shards, **(values | changes))


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 64])
def test_parts_cover_every_byte_once(shards):
    files = [InputFile(f"f{at}", size, 0) for at, size in enumerate((1, 100, 3, 57))]
    found = [part for shard in range(shards) for part in plan_of(files, shards).parts(shard)]
    for file in files:
        ranges = [(part.start, part.end) for part in found if part.file == file]
        assert ranges[0][0] == 0
        assert ranges[-1][1] == file.size
        assert [end for _, end in ranges[:-1]] == [start for start, _ in ranges[1:]]


def test_many_files_in_many_shards():
    """Each shard looks at its own files only; looking at all of them would take a minute here."""
    plan = plan_of([InputFile(f"f{at:05d}", 100, 0) for at in range(10_000)], 10_000)
    began = time.monotonic()
    assert all([part.start, part.end] == [0, 100] for shard in range(10_000) for part in plan.parts(shard))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("input_format", ["jsonl", "parquet"])
def test_row_groups_of_long_kept_texts_are_smaller(tmp_path, input_format):
    source, text = tmp_path / f"in.{input_format}", "x" * 1_000_000
    pq.write_table(pa.table({"id": [text]}), source)
    plan = plan_of(list_inputs(str(source)), 1, input_format, output_format="parquet")
    content = io.BytesIO()
    writer = row_writer(plan, OutputColumns(("id",), (), ()), content)
    for _ in range(100):
        writer.write((pa.scalar(text) if input_format == "parquet" else text,), None, "no text")
    writer.write((pa.scalar(None, pa.string()) if input_format == "parquet" else None,), None, "no text")
    writer.close()
    found = pq.ParquetFile(content).metadata
    assert [found.row_group(at).num_rows for at in range(found.num_row_groups)] == [68, 33]


def test_a_compressed_file_belongs_to_one_shard():
    files = [InputFile("a.jsonl.gz", 90, 0), InputFile("b.jsonl.gz", 10, 0)]
    found = [[part.file.place for part in plan_of(files, 4).parts(shard)] for shard in range(4)]
    assert found == [["a.jsonl.gz"], [], [], ["b.jsonl.gz"]]


def test_a_plan_survives_json():
    plan = plan_of([InputFile("a.csv", 90, 5)], 3, "csv", keep=("x",), cuts={0: (40, 70)})
    assert Plan.from_json(plan.to_json().encode(), "") == plan
    assert plan.hash != plan_of([InputFile("a.csv", 90, 6)], 3, "csv", keep=("x",), cuts={0: (40, 70)}).hash


@pytest.mark.parametrize("shards", [1, 2, 5, 40])
@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_lines_of_shards_are_the_lines_of_the_file(tmp_path, shards, ending):
    path = tmp_path / "in.jsonl"
    rows = [f'{{"id": {at}, "text": "{"é" * (at % 4)}a"}}' for at in range(30)]
    path.write_bytes(((ending or "\n").join(rows) + ending).encode())
    plan = plan_of(list_inputs(str(path)), shards)
    counted = []
    found = [row for shard in range(shards) for row in ShardReader(plan, counted.append).rows(shard)]
    assert [row.kept for row in found] == [(at,) for at in range(30)]
    assert sum(counted) == path.stat().st_size
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    plan = plan_of(list_inputs(str(packed)), shards)
    assert [row.kept for shard in range(shards) for row in ShardReader(plan).rows(shard)] == [row.kept for row in found]


def test_another_encoding_is_refused(tmp_path):
    (tmp_path / "in.jsonl").write_bytes('{"text": "a"}\n'.encode("utf-16"))
    plan = plan_of(list_inputs(str(tmp_path)), 1)
    with pytest.raises(DatasetError, match="expected UTF-8, found utf-16-le"):
        list(ShardReader(plan).rows(0))


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_cuts_of_csv_are_starts_of_rows(delimiter):
    choose = random.Random(0)  # noqa: S311
    alphabet = ["a", '"', "\n", delimiter, " ", '""', "é", "\r\n"]
    rows = [["".join(choose.choices(alphabet, k=choose.randrange(9))) for _ in range(3)] for _ in range(200)]
    content, starts = io.StringIO(), []
    for row in rows:
        starts.append(len(content.getvalue().encode()))
        csv.writer(content, delimiter=delimiter).writerow(row)
    encoded = content.getvalue().encode()
    boundaries = list(range(1, len(encoded), 13))
    found = list(row_starts(io.BytesIO(encoded), boundaries, delimiter))
    assert len(found) == len(boundaries)
    assert found == [min([start for start in starts if start >= at], default=len(encoded)) for at in boundaries]


def test_only_plain_csv_of_several_shards_is_searched_for_cuts():
    assert needs_cuts(plan_of([InputFile("a.csv", 90, 5)], 3, "csv"), 0)
    assert not needs_cuts(plan_of([InputFile("a.csv", 90, 5)], 1, "csv"), 0)
    assert not needs_cuts(plan_of([InputFile("a.csv.gz", 90, 5)], 3, "csv"), 0)
    assert not needs_cuts(plan_of([InputFile("a.jsonl", 90, 5)], 3), 0)


@pytest.mark.parametrize("bounds", [(0, 1000), (0, 1, 2, 500, 501, 1000), tuple(range(0, 1001, 8))])
def test_rows_of_parquet_belong_to_one_shard(bounds):
    groups = [(4, 10), (300, 1), (420, 0), (430, 700)]
    found = [
        (piece.first_row + row)
        for start, end in itertools.pairwise(bounds)
        for piece in group_rows(groups, start, end, 1000)
        for row in range(piece.start, piece.end)
    ]
    assert found == list(range(711))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a*.csv", ["a1.csv", "a2.csv"]),
        ("a[2-3].csv", ["a2.csv"]),
        ("a[!2].csv", ["a1.csv"]),
        ("**/*.csv", ["a1.csv", "a2.csv", "sub/b.csv"]),
        ("*/?.csv", ["sub/b.csv"]),
        ("", ["a1.csv", "a2.csv", "sub/b.csv"]),
        ("a1.csv", ["a1.csv"]),
    ],
)
def test_patterns_name_files(tmp_path, pattern, names):
    (tmp_path / "sub").mkdir()
    for name in ("a1.csv", "a2.csv", "sub/b.csv", "_c.csv", ".d.csv", "readme.md"):
        (tmp_path / name).write_text("x")
    (tmp_path / "empty.csv").touch()
    if pattern == "**/*.csv":
        (tmp_path / "empty.csv").unlink()
    found = list_inputs(str(tmp_path / pattern))
    assert [file.place.removeprefix(f"{tmp_path}/") for file in found] == names


def test_a_sample_of_shards_is_uniform():
    """Shards of unequal size: each row is as likely as any other, and every row below the limit is there."""
    counts = np.zeros(3)
    for seed in range(200):
        samples = []
        for shard, rows in enumerate((100, 400, 500)):
            sample = ShardSample(20, (seed, shard))
            for row in range(rows):
                sample.add(f"{shard} {row}")
            samples.append(read_sample(sample_bytes(sample, None), "", with_features=False))
        number = largest_number(samples, 30)
        counts += [int(np.sum(one.numbers <= number)) for one in samples]
    assert 200 * 15 < counts.sum() <= 200 * 30
    expected = counts.sum() * np.array([0.1, 0.4, 0.5])
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected)), "five standard errors"


def test_a_small_sample_is_everything():
    sample = ShardSample(20, (1,))
    for row in range(7):
        sample.add(str(row))
    assert (sample.texts, sample.limit) == ([str(row) for row in range(7)], 1.0)
    assert largest_number([SampledRows(1.0, sample.numbers)]) == 1.0
