"""The header X-Amzn-SageMaker-Custom-Attributes."""

import pytest

from serving.api.custom_attributes import HEADER, MAX_CHARS, CustomAttributes, parse_custom_attributes
from serving.api.errors import ApiError, ErrorCode


def parsed(header):
    return parse_custom_attributes({"HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES": header})


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", CustomAttributes()),
        ("explain=true", CustomAttributes(True)),
        ("explain=false", CustomAttributes(False)),
        ("explain=clarify", CustomAttributes(True, True)),
        ("trace=a-1", CustomAttributes(trace="trace=a-1")),
        (
            "trace=Root=1-5e;Parent=53;Sampled=1, explain=true",
            CustomAttributes(True, trace="trace=Root=1-5e;Parent=53;Sampled=1"),
        ),
        ("trace=,x", CustomAttributes(trace="trace=")),
        ("c000b4f9-df62-4c85-a0bf-7c525f9104a4", CustomAttributes()),
        ("explainer=x,,=,a=b=c,a=d", CustomAttributes()),
        ("Explain=true,TRACE=aB", CustomAttributes(True, trace="trace=aB")),
        ("  explain =  clarify , trace = a b ", CustomAttributes(True, True, trace="trace=a b")),
        ("x" * MAX_CHARS, CustomAttributes()),
    ],
)
def test_attributes(header, expected):
    assert parsed(header) == expected


def test_no_header():
    assert parse_custom_attributes({}) == CustomAttributes()


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("x" * (MAX_CHARS + 1), "expected at most 1024 characters, got 1025; shorten it"),
        ("trace=\xe9", "expected visible ASCII, got '\xe9' as character 7; encode or remove it"),
        ("a,trace=\xe9".encode().decode("latin-1"), "got '\xe9' as character 9;"),
        ("trace=a\tb", r"got '\t' as character 8"),
        ("trace=a\r\nX-Other: b", r"got '\r' as character 8"),
        ("explain=true,explain=false", "expected explain once, got it twice"),
        ("explain=true, Explain = true", "expected explain once"),
        ("trace=a,explain=true,trace=b", "expected trace once"),
        ("explain=", "expected true or false or clarify, got ''"),
        ("explain", "got ''"),
        ("explain=True", "got 'True'"),
        ("explain=1", "got '1'"),
    ],
)
def test_refused(header, says):
    with pytest.raises(ApiError, match=HEADER) as caught:
        parsed(header)
    assert caught.value.code is ErrorCode.WRONG_SHAPE
    assert says in caught.value.message
    assert HEADER not in caught.value.headers


@pytest.mark.parametrize("header", ["trace=t1,explain=maybe", "explain=true,explain=true,trace=t1"])
def test_a_refusal_carries_the_trace(header):
    with pytest.raises(ApiError) as caught:
        parsed(header)
    assert caught.value.headers == {HEADER: "trace=t1"}
