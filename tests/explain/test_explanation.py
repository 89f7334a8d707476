"""The forms of an explanation: pieces, HTML, terminal, and the summary of many."""

import dataclasses
from html.parser import HTMLParser

import numpy as np
import pytest

from textclf.explain.explanation import Explanation
from textclf.explain.html import page
from textclf.explain.terminal import described, has_colours
from textclf.explain.word_summary import WordSummary

EXPLANATION = Explanation(
    text="  A <b>dull</b>\nfilm & more ",
    class_names=("neg", "a<b"),
    label="neg",
    probabilities={"neg": 0.75, "a<b": 0.25},
    words=("A", "<b>dull</b>", "film", "&", "more"),
    spans=((2, 3), (4, 15), (16, 20), (21, 22), (23, 27)),
    values=np.array([[0.0, 0.0], [0.4, -0.4], [-0.1, 0.1], [0.0, 0.0], [0.0, 0.0]]),
    base_values=np.array([0.45, 0.55]),
    unit="probability",
    stage="encoder",
    baseline="deletion",
    evaluations=20,
    complete=False,
    unseen=((21, 27),),
    truncated=True,
)


class Page(HTMLParser):
    """Text, and the start tags with their attributes."""

    def __init__(self, source):
        super().__init__()
        self.text, self.tags = "", []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_pieces_join_to_the_text():
    pieces = EXPLANATION.pieces()
    assert "".join(piece for piece, _ in pieces) == EXPLANATION.text
    assert pieces[0] == ("  ", {"neg": 0.0, "a<b": 0.0})
    assert pieces[2] == ("<b>dull</b>\n", {"neg": 0.4, "a<b": -0.4})
    assert pieces[-1] == ("", {"neg": 0.0, "a<b": 0.0})


def test_pieces_of_a_text_without_words():
    empty = dataclasses.replace(EXPLANATION, text=" ", words=(), spans=(), values=np.zeros((0, 2)), unseen=())
    assert [piece for piece, _ in empty.pieces()] == [" ", ""]


@pytest.mark.parametrize("source", [EXPLANATION.to_html(), EXPLANATION._repr_html_()], ids=["page", "notebook"])
def test_html_escapes_the_text_and_needs_nothing_else(source):
    parsed = Page(source)
    assert EXPLANATION.text in parsed.text
    names = {tag for tag, _ in parsed.tags}
    assert not names & {"b", "script", "link", "img", "iframe"}
    assert not any({"style", "src", "href", "onclick"} & attributes.keys() for _, attributes in parsed.tags)
    shades = [attributes for tag, attributes in parsed.tags if tag == "span" and attributes.get("class") == "f4"]
    assert shades == [{"class": "f4", "title": "+0.400"}]
    assert sum(attributes.get("class") == "unread" for _, attributes in parsed.tags) == 2 * 2
    assert "did not read" in parsed.text
    assert "ended early" in parsed.text


def test_a_page_is_accessible():
    parsed = Page("".join(page([EXPLANATION, EXPLANATION])))
    assert ("html", {"lang": "en"}) in parsed.tags
    levels = [tag for tag, _ in parsed.tags if tag in {"h1", "h2", "h3"}]
    assert levels == ["h1", "h2", "h2"]
    assert all(attributes.get("scope") == "col" for tag, attributes in parsed.tags if tag == "th")
    assert "(without words)0.4500" in parsed.text.replace("\n", "")


def test_many_classes_are_not_all_shown():
    names = tuple(f"class {number}" for number in range(20))
    many = dataclasses.replace(
        EXPLANATION,
        class_names=names,
        label="class 3",
        probabilities={name: number / 190 for number, name in enumerate(names)},
        values=np.ones((5, 20)),
        base_values=np.zeros(20),
    )
    text = Page(many.to_html()).text
    assert "Words for and against class 3 " in text
    assert "Words for and against class 19 " in text
    assert "14 classes with lower probabilities are not shown." in text


def test_lines_for_a_terminal():
    lines = described(EXPLANATION, with_colours=False).splitlines()
    assert lines[0].startswith("neg  (probability 0.7500; by the encoder stage; evaluations: 20; ")
    assert "for neg: <b>dull</b> +0.400" in lines
    assert "against neg: film -0.100" in lines
    assert "characters that the model did not read: 6 of 28" in lines
    coloured = described(EXPLANATION, with_colours=True)
    assert "\x1b[38;5;16;48;5;75m<b>dull</b>\x1b[0m" in coloured


def test_a_text_can_not_change_the_terminal():
    evil = dataclasses.replace(EXPLANATION, text="  \x1b[2J>dull</b>\nfilm & more ")
    assert "\x1b" not in described(evil, with_colours=False)
    assert "\x1b[2J" not in described(evil, with_colours=True)


@pytest.mark.parametrize(
    ("is_terminal", "environment", "expected"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": ""}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colours(is_terminal, environment, expected):
    assert has_colours(is_terminal, environment) == expected


def test_a_summary_adds_up_words_of_texts():
    summary = WordSummary(("neg", "a<b"))
    other = dataclasses.replace(EXPLANATION, words=("Film", "film", "FILM", "&", "x"), values=-EXPLANATION.values)
    for explanation in (EXPLANATION, other):
        summary.add(explanation)
    above, below = summary.strongest("neg")
    # -0.1 in one text, -0.4 + 0.1 in the other; the other words are in one text only.
    assert [(one.word, one.texts) for one in below] == [("film", 2)]
    assert below[0].mean == pytest.approx(-0.2)
    assert above == []
    assert "against neg: film -0.200 (2)" in summary.described()
