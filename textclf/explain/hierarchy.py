"""The groups of words that get values before single words do: a binary tree of sentences, clauses and words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

# They end a sentence if white space follows, or the text ends; the next marks of the same kind belong to it.
_SENTENCE_ENDS = set(".!?\u2026")
# They need no white space after them: full stops of Chinese and Japanese, and of Hindi; half-width full stop.
_UNSPACED_ENDS = set("\u3002\uff01\uff1f\uff61\u0964")
_CLAUSE_ENDS = set(",;:)]\u2013\u2014\u3001\uff0c\uff1b\uff1a")
_CLAUSE_BEGINNINGS = set("([")


@dataclass(frozen=True, slots=True)
class Group:
    """Consecutive words.

    Attributes:
        start, end: the words [start, end), at least one.
        halves: the two groups that it consists of; () for a word.
    """

    start: int
    end: int
    halves: tuple["Group", ...] = ()

    def __len__(self) -> int:
        return self.end - self.start


def word_tree(text: str, spans: Sequence[tuple[int, int]]) -> Group:
    """The group of all words: a binary tree of sentences, in these of clauses, in these of words.

    Within each level the tree is balanced: the first half has as many sentences, clauses or words as the second, or
    one more.

    Args:
        text: the text.
        spans: characters [start, end) of the words, ascending; at least one word.
    """
    sentences = _beginnings(text, spans, _starts_sentence)
    clauses = sorted({*sentences, *_beginnings(text, spans, _starts_clause)})
    of_sentences: list[list[Group]] = []
    sentence_beginnings = set(sentences)
    for start, end in pairwise([*clauses, len(spans)]):
        if start in sentence_beginnings:
            of_sentences.append([])
        of_sentences[-1].append(_balanced([Group(word, word + 1) for word in range(start, end)]))
    return _balanced([*map(_balanced, of_sentences)])


def _balanced(groups: Sequence[Group]) -> Group:
    if len(groups) == 1:
        return groups[0]
    middle = (len(groups) + 1) // 2
    halves = _balanced(groups[:middle]), _balanced(groups[middle:])
    return Group(halves[0].start, halves[1].end, halves)


def _beginnings(text: str, spans: Sequence[tuple[int, int]], starts: Callable[[str, str, str], bool]) -> list[int]:
    """The first word, and those words for which starts(word before, characters between, word) is true."""
    found = [0]
    for position, ((start, end), (next_start, next_end)) in enumerate(pairwise(spans), start=1):
        if starts(text[start:end], text[end:next_start], text[next_start:next_end]):
            found.append(position)
    return found


def _starts_sentence(before: str, between: str, word: str) -> bool:
    if "\n" in between or "\r" in between or "\u2029" in between:
        return True
    if word[0] in _SENTENCE_ENDS or word[0] in _UNSPACED_ENDS:
        return False
    return before[-1] in _UNSPACED_ENDS or (before[-1] in _SENTENCE_ENDS and between != "")


def _starts_clause(before: str, between: str, word: str) -> bool:
    if word[0] in _CLAUSE_BEGINNINGS:
        return before[-1] not in _CLAUSE_BEGINNINGS
    return before[-1] in _CLAUSE_ENDS and word[0] not in _CLAUSE_ENDS and word[0] not in _SENTENCE_ENDS
