"""Inputs and outputs at URLs: S3 with moto's server, and another file system through fsspec."""

import io

import fsspec
import pyarrow.parquet as pq
import pytest
from moto_server import running_moto
from sharded_data import ROWS, hashes, score, write_inputs
from tiny_engine import write_version

from textclf.errors import ConfigError
from textclf.sharding.locations import open_location

BUCKET = "texts-of-tests"
OPTIONS = ("--shards", "3", "--id-column", "id", "--processes", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("storage")
    write_inputs(folder)
    write_version(folder / "store")
    return folder


@pytest.fixture(scope="module")
def bucket(folder):
    with running_moto(folder) as server:
        client = server.client("s3")
        client.create_bucket(Bucket=BUCKET)
        for path in (folder / "pq").iterdir():
            client.upload_file(str(path), BUCKET, f"in/{path.name}")
        yield server, client


def test_s3_to_s3(folder, bucket):
    server, client = bucket
    source, target = f"s3://{BUCKET}/in/*.parquet", f"s3://{BUCKET}/out"
    result = score(folder / "store", source, target, *OPTIONS, **server.environment)
    assert result.exit_code == 0, result.output
    assert f"rows: {ROWS}, scored: {ROWS - 2}" in result.output
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=BUCKET, Prefix="out/")["Contents"]]
    parts = sorted(key for key in keys if key.startswith("out/part-"))
    assert len(parts) == 3
    assert "out/_SUCCESS" in keys
    bodies = [client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in parts]
    ids = [value for body in bodies for value in pq.read_table(io.BytesIO(body))["id"].to_pylist()]
    assert ids == list(range(ROWS))
    client.delete_object(Bucket=BUCKET, Key=parts[1])
    again = score(folder / "store", source, target, *OPTIONS, **server.environment)
    assert "2 of 3 shards are done; 1 are left" in again.output
    assert client.get_object(Bucket=BUCKET, Key=parts[1])["Body"].read() == bodies[1]


def test_a_bucket_that_is_missing_is_one_line(folder, bucket):
    result = score(
        folder / "store", "s3://no-such-bucket/in", "s3://no-such-bucket/out", *OPTIONS, **bucket[0].environment
    )
    assert result.exit_code == 1
    assert len(result.output.strip().splitlines()) == 1


def test_fsspec(folder):
    memory = fsspec.filesystem("memory")
    memory.put(str(folder / "in.jsonl"), "/in/reviews.jsonl")
    memory.pipe("/out/_shards/.part-00000.0123456789abcdef.tmp", b"of a writer that was killed")
    options = (*OPTIONS[:-1], "1", "--no-drift")
    result = score(folder / "store", "memory://in/reviews.jsonl", "memory://out", *options)
    assert result.exit_code == 0, result.output
    assert not [path for path in memory.find("/out") if path.endswith(".tmp")]
    local = score(folder / "store", folder / "in.jsonl", folder / "local", *options)
    assert local.exit_code == 0
    written = [memory.cat(path) for path in sorted(memory.ls("/out", detail=False)) if "/part-" in path]
    assert written == [
        (folder / "local" / name).read_bytes() for name in sorted(hashes(folder / "local")) if name[0] == "p"
    ]


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("s3://user:secret@bucket/x", "without user and password"),
        ("https://bucket.example/x.csv?Signature=secret", r"bucket\.example/x\.csv.*without a query"),
        ("nothing://x", "expected a local path or a URL that fsspec opens"),
    ],
)
def test_urls_that_are_refused(place, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        open_location(place)
    assert "secret" not in str(caught.value)
