"""Which side a text is on is a matter of what it says: for ever, whatever else there is and however it is spelt."""

import hashlib

import pytest

from textclf.data.content_hash import content_digest, is_held_out, normalised


@pytest.mark.parametrize(
    "variant",
    [
        "the café was great, 1 star!",
        "  The CAFÉ\twas \r\n great,\u00a01  STAR! ",
        "The cafe\u0301 was great, 1 star!",
        "\ufeffThe ca\u00adfé was\u200b great, １ star!",
        "The café was great, \u2460 star!",
    ],
)
def test_casing_white_space_and_invisible_characters_make_no_difference(variant):
    assert normalised(variant) == "the café was great, 1 star!"
    assert content_digest(variant) == content_digest("The café was great, 1 star!")


@pytest.mark.parametrize(
    "other", ["The cafe was great, 1 star!", "The café was great, 1 star", "Thecafé was great, 1 star!"]
)
def test_what_says_something_else_is_another_text(other):
    assert content_digest(other) != content_digest("The café was great, 1 star!")


@pytest.mark.parametrize("text", ["ŉ ǰ ΐ", "Straße STRASSE", "İ", "ᾳ\u0345", "\u1e9e ﬃ", "ﷺ"])
def test_normalising_twice_is_normalising_once(text):
    assert normalised(normalised(text)) == normalised(text)


def test_the_digest_is_that_of_the_normalised_text():
    assert content_digest(" Good  FILM ") == hashlib.sha256(b"good film").digest()


def test_the_share_is_held_out_and_a_larger_one_only_adds():
    digests = [content_digest(f"text {i}") for i in range(20_000)]
    held = {share: {d for d in digests if is_held_out(d, share)} for share in (0.1, 0.2, 0.5)}
    assert held[0.1] < held[0.2] < held[0.5]
    for share, some in held.items():
        # Four standard errors of a binomial share.
        assert abs(len(some) / len(digests) - share) < 4 * (share * (1 - share) / len(digests)) ** 0.5


def test_the_bounds_of_the_range():
    assert is_held_out(bytes(32), 1e-9)
    assert is_held_out(bytes.fromhex("3fff" + "ff" * 30), 0.25)
    assert not is_held_out(bytes.fromhex("4000" + "00" * 30), 0.25)
    assert not is_held_out(b"\xff" * 32, 0.999)
