"""The tree of sentences, clauses and words."""

import re

import pytest

from textclf.explain.hierarchy import word_tree


def spans_of(text):
    return [found.span() for found in re.finditer(r"\w+|[^\w\s]", text)]


def groups_of(text):
    """The texts of all groups with several words."""
    spans = spans_of(text)

    def walk(group):
        if group.halves:
            yield text[spans[group.start][0] : spans[group.end - 1][1]]
            for half in group.halves:
                yield from walk(half)

    return list(walk(word_tree(text, spans)))


def test_sentences_come_before_clauses_and_these_before_words():
    assert groups_of("It is good, but long. I left!") == [
        "It is good, but long. I left!",
        "It is good, but long.",
        "It is good,",
        "It is",
        "good,",
        "but long.",
        "but long",
        "I left!",
        "I left",
    ]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("a b... c d", ["a b...", "c d"]),
        ("a 3.5 b c", ["a 3.5 b c"]),
        ("a b\nc d", ["a b", "c d"]),
        ("好 看。不 好", ["好 看。", "不 好"]),
        ("a b?! c d", ["a b?!", "c d"]),
    ],
)
def test_ends_of_sentences(text, sentences):
    spans = spans_of(text)
    tree = word_tree(text, spans)
    halves = tree.halves if len(sentences) > 1 else (tree,)
    assert [text[spans[half.start][0] : spans[half.end - 1][1]] for half in halves] == sentences


def test_every_word_is_a_leaf_once_and_the_tree_is_balanced():
    text = "a " * 1000
    depth = 0
    level = [word_tree(text, spans_of(text))]
    while any(group.halves for group in level):
        level = [half for group in level for half in (group.halves or (group,))]
        depth += 1
    assert [(group.start, group.end) for group in level] == [(i, i + 1) for i in range(1000)]
    assert depth == 10
