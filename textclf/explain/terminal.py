"""Explanations for a terminal: words on a coloured ground, and the strongest words with their values."""

from collections.abc import Mapping

from textclf.explain.explanation import Explanation
from textclf.explain.html import shades_of, strongest
from textclf.explain.printable import printable

# Colours of the 256-colour palette behind black letters, from the palest: blue for a class, orange against it.
_FOR = (189, 153, 111, 75)
_AGAINST = (223, 216, 209, 202)
_MAX_WORDS = 8


def has_colours(is_terminal: bool, environment: Mapping[str, str]) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR is set and not empty (no-color.org) or TERM is dumb."""
    return is_terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def described(explanation: Explanation, with_colours: bool) -> str:
    """Lines for a terminal: the prediction, the text, and the strongest words for and against the predicted class.

    The class is the first one if the predicted one has no values.
    """
    names = explanation.class_names
    column = names.index(explanation.label) if explanation.label in names else 0
    name = names[column]
    stage = f";{explanation.stage_in_words}" if explanation.stage_in_words else ""
    lines = [
        f"{explanation.label}  (probability {explanation.probabilities.get(explanation.label, 0.0):.4f}{stage}; "
        f"evaluations: {explanation.evaluations}; absent words: {explanation.baseline})",
        _text(explanation, column, with_colours),
        f"{explanation.unit} of {name} without words: {explanation.base_values[column]:.4f}",
    ]
    values = explanation.values[:, column]
    for title, words in zip(("for", "against"), strongest(values, _MAX_WORDS), strict=True):
        if words:
            found = ", ".join(f"{printable(explanation.words[word])} {values[word]:+.3f}" for word in words)
            lines.append(f"{title} {name}: {found}")
    if explanation.unseen:
        unread = sum(end - start for start, end in explanation.unseen)
        lines.append(f"characters that the model did not read: {unread} of {len(explanation.text)}")
    if not explanation.complete:
        lines.append("the evaluations ended early: some neighbouring words share the value of their group")
    return "\n".join(lines)


def _text(explanation: Explanation, column: int, with_colours: bool) -> str:
    if not with_colours:
        return printable(explanation.text)
    parts: list[str] = []
    position = 0
    shades = shades_of(explanation.values[:, column])
    for (start, end), shade in zip(explanation.spans, shades.tolist(), strict=True):
        parts.append(printable(explanation.text[position:start]))
        word = printable(explanation.text[start:end])
        if shade:
            colour = (_FOR if shade > 0 else _AGAINST)[abs(shade) - 1]
            word = f"\x1b[38;5;16;48;5;{colour}m{word}\x1b[0m"
        parts.append(word)
        position = end
    parts.append(printable(explanation.text[position:]))
    return "".join(parts)
