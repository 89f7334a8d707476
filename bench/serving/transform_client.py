"""A client like SageMaker's batch transform: records are sent in large requests, and answers are joined by position."""

import csv
import http.client
import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.errors import BenchError
from bench.serving.load_generator import Address

CSV, JSON_LINES = "text/csv", "application/jsonlines"
MIB = 1024**2
_TIMEOUT = 3600.0


@dataclass(frozen=True)
class Transform:
    """A transform job: content type, bytes of a request and requests at a time."""

    content_type: str
    payload: int = 6 * MIB
    concurrent: int = 4


def encoded(texts: Sequence[str], content_type: str, bad_every: int = 0) -> list[bytes]:
    """Return a record for each text, without line breaks inside; each `bad_every`-th one is bad, if it is not 0.

    JSON lines have the position as `id`.
    """
    records = []
    for index, text in enumerate(texts):
        line = " ".join(text.split())
        is_bad = bad_every and index % bad_every == bad_every - 1
        if content_type == JSON_LINES:
            records.append(f"{line}\n" if is_bad else json.dumps({"id": index, "text": line}) + "\n")
        elif is_bad:
            records.append("one field,another\n")
        else:
            field = line.replace('"', '""')
            records.append(f'"{field}"\n')
    return [record.encode() for record in records]


def batches(records: Sequence[bytes], payload: int) -> Iterator[bytes]:
    """Yield bodies of as many whole records as fit into `payload` bytes (MULTI_RECORD)."""
    body: list[bytes] = []
    size = 0
    for record in records:
        if body and size + len(record) > payload:
            yield b"".join(body)
            body, size = [], 0
        body.append(record)
        size += len(record)
    if body:
        yield b"".join(body)


def transform(address: Address, records: Sequence[bytes], job: Transform) -> list[bytes]:
    """Send the records and return the bodies of the responses, in the order of the records.

    Raises:
        BenchError: if a response has another status than 200.
    """

    def send(body: bytes) -> bytes:
        connection = http.client.HTTPConnection(*address, timeout=_TIMEOUT)
        try:
            connection.request("POST", "/invocations", body, {"Content-Type": job.content_type})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise BenchError(f"expected status 200, got {response.status}: {content[:300]!r}")
        return content

    with ThreadPoolExecutor(job.concurrent) as pool:
        return list(pool.map(send, batches(records, job.payload)))


def check_answers(bodies: Sequence[bytes], texts: Sequence[str], content_type: str, bad_every: int = 0) -> int:
    """Check that each record has its answer at its position; return the number of errors.

    Answers of CSV do not have the text, so only their number, and the positions of errors, are checked.

    Raises:
        BenchError: if an answer is missing, at another position, or an error without reason.
    """
    content = b"".join(bodies).decode()
    count = errors = 0
    rows = csv.reader(io.StringIO(content, newline="")) if content_type == CSV else content.splitlines()
    for index, row in enumerate(rows):
        is_bad = bool(bad_every) and index % bad_every == bad_every - 1
        if isinstance(row, str):
            answer = json.loads(row)
            is_right = "error" in answer if is_bad else answer.get("id") == index and "label" in answer
        else:
            is_right = bool(row[-1]) == is_bad and bool(row[0]) != is_bad
        if not is_right:
            raise BenchError(f"record {index}: expected {'an error' if is_bad else 'its prediction'}, got {row!r:.300}")
        errors += is_bad
        count += 1
    if count != len(texts):
        raise BenchError(f"expected {len(texts)} answers, got {count}")
    return errors
