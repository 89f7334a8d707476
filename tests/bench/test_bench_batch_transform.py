"""The client of batch transform jobs: records, requests, and the check of the answers."""

import json

import pytest

from bench.errors import BenchError
from bench.serving.batch_transform import job_server
from bench.serving.transform_client import CSV, JSON_LINES, Transform, batches, check_answers, encoded

TEXTS = ['a "fine"\nfilm, really', "dull", "bad"]


def test_records():
    assert encoded(TEXTS, CSV, bad_every=2) == [
        b'"a ""fine"" film, really"\n',
        b"one field,another\n",
        b'"bad"\n',
    ]
    first, second, third = encoded(TEXTS, JSON_LINES, bad_every=2)
    assert (json.loads(first), second, json.loads(third)["id"]) == (
        {"id": 0, "text": 'a "fine" film, really'},
        b"dull\n",
        2,
    )


def test_requests_have_whole_records():
    assert list(batches([b"aa\n", b"bb\n", b"c\n", b"x" * 20], 6)) == [b"aa\nbb\n", b"c\n", b"x" * 20]
    assert list(batches([], 6)) == []


GOOD_CSV = [b"pos,0.9,\n", b',,wrong_shape: "x"\n', b"neg,0.1,\n"]
GOOD_LINES = [b'{"id":0,"label":"pos"}\n', b'{"error":{}}\n{"id":2,"label":"neg"}\n']


@pytest.mark.parametrize(("content_type", "bodies"), [(CSV, GOOD_CSV), (JSON_LINES, GOOD_LINES)])
def test_right_answers(content_type, bodies):
    assert check_answers(bodies, TEXTS, content_type, bad_every=2) == 1


@pytest.mark.parametrize(
    ("content_type", "bodies", "says"),
    [
        (CSV, GOOD_CSV[:2], "expected 3 answers, got 2"),
        (CSV, [GOOD_CSV[0], GOOD_CSV[0], GOOD_CSV[2]], "record 1: expected an error"),
        (CSV, [GOOD_CSV[1], GOOD_CSV[1], GOOD_CSV[2]], "record 0: expected its prediction"),
        (JSON_LINES, [GOOD_LINES[1], GOOD_LINES[0]], "record 0"),
        (JSON_LINES, [b'{"id":1,"label":"pos"}\n'], "record 0"),
    ],
)
def test_wrong_answers(content_type, bodies, says):
    with pytest.raises(BenchError, match=says):
        check_answers(bodies, TEXTS, content_type, bad_every=2)


def test_the_server_has_the_environment_of_the_job(tmp_path):
    environment = job_server(tmp_path, tmp_path, "python", Transform(CSV, payload=1_500_000, concurrent=3)).environment
    assert environment["SAGEMAKER_BATCH"] == "true"
    assert environment["SAGEMAKER_MAX_PAYLOAD_IN_MB"] == "2"
    assert environment["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] == "3"
