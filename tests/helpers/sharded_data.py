"""Data sets for scoring in shards, and a run of the command."""

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner, Result
from tiny_engine import tiny_reviews

import inference

ROWS = 600
# Rows of this number have no text.
BAD = (7, 333)


def texts(rows: int = ROWS) -> list[str | None]:
    """Return tiny reviews, some with line breaks and quotes; those at BAD are missing."""
    found: list[str | None] = []
    for at, (text, _) in enumerate(tiny_reviews(rows, seed=3)):
        found.append(None if at in BAD else text.replace(" was ", '\n"was",\n') if at % 5 == 0 else text)
    return found


def write_inputs(folder: Path, rows: int = ROWS) -> dict[str, Path]:
    """Write the rows as Parquet (two files in a folder), CSV and JSONL; return the paths by format."""
    values = list(enumerate(texts(rows)))
    paths = {"parquet": folder / "pq", "csv": folder / "in.csv", "jsonl": folder / "in.jsonl"}
    paths["parquet"].mkdir(parents=True)
    stamps = pa.array([1_600_000_000_000_000_001 + at for at, _ in values], pa.timestamp("ns"))
    table = pa.table({"id": [at for at, _ in values], "text": [text for _, text in values], "stamp": stamps})
    pq.write_table(table.slice(0, rows // 3), paths["parquet"] / "a.parquet", row_group_size=70)
    pq.write_table(table.slice(rows // 3), paths["parquet"] / "b.parquet")
    with open(paths["csv"], "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([("id", "text"), *((at, text or "") for at, text in values)])
    with open(paths["jsonl"], "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": at, "text": text}) + "\n" for at, text in values)
    return paths


def score(store: Path, source: Path | str, target: Path | str, *options: str, **environment: str) -> Result:
    """Run the command in this process."""
    arguments = ["--model-path", str(store), "--threads", "1", "score", "--input", str(source), "--output", str(target)]
    return CliRunner().invoke(inference.main, [*arguments, *options], env=environment)


def part_files(folder: Path) -> list[Path]:
    """Return the shards in their order."""
    return sorted(folder.glob("part-*"))


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of each shard and of _SUCCESS."""
    paths = [*part_files(folder), folder / "_SUCCESS"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def rows_of(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the rows of shards; those of CSV have only texts."""
    found: list[dict[str, Any]] = []
    for path in paths:
        if path.suffix == ".parquet":
            found += pq.read_table(path).drop_columns("stamp").to_pylist() if _has_stamp(path) else _parquet_rows(path)
        elif path.suffix == ".csv":
            with open(path, newline="", encoding="utf-8") as file:
                found += list(csv.DictReader(file))
        else:
            found += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return found


def _has_stamp(path: Path) -> bool:
    return "stamp" in pq.read_schema(path).names


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows
