"""Rules of prose for docstrings and comments that a pattern can check; CONTRIBUTING.md has all twelve.

`python tests/project/test_style.py FILE...` prints what breaks a rule.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Rule 1: subject, verb, object.
OPENINGS = re.compile(r"(?:^|[.;:!?]\s+|\n\s*\n\s*)(Of|By which|As what|Who|Whoever|Whose|What|Nobody)\s+(?![^.?]*\?)")
# Rule 3: limits are "at most N", "up to N" or "at least N", and names say max_ and min_.
LIMITS = re.compile(r"\bso (?:many|few|much|long)\b", re.IGNORECASE)
LIMIT_NAMES = re.compile(r"(?:^|_)(?:most|least)(?:_|$)", re.IGNORECASE)
# Rule 6: "Raises: X: if <condition>".
RAISES = re.compile(r"^\s*[A-Z][\w.]*(?:, [A-Z][\w.]*)*: (?!if )", re.MULTILINE)
# Rule 8: the plain word for it.
PLAIN = {
    r"but for": "except",
    r"mend(?:s|ed|ing)?": "fix",
    r"anew": "again",
    r"beside": "next to",
    r"(?:lies|lie) (?:in|on|at|beside|between|above|below|under)": "is in",
    r"(?:stands|stand) (?:in|on|at|beside|between|above|below|under)": "is in",
    r"it is none": "say what it is",
}
MAX_WORDS = 25
WORDS = {re.compile(rf"\b{word}\b", re.IGNORECASE): better for word, better in PLAIN.items()}
# Fields whose names are in files on disk (docs/architecture.md).
PERSISTED = {"least_length", "mmd_most", "most_words", "least_word_texts", "contradiction_least"}


# Prose for users; the generated pages contain the help texts of the code, which its own test checks.
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    ROOT / "bench" / "README.md",
    ROOT / "model" / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "reference"),
]


def sources() -> list[Path]:
    """The modules whose prose is checked; this one contains the words that break the rules."""
    folders = ("textclf/**", "serving/**", "ops/**", "bench/**", "tests/helpers", "tests/project")
    places = ("*.py", *(f"{folder}/*.py" for folder in folders))
    return sorted({path for place in places for path in ROOT.glob(place)} - {Path(__file__).resolve()})


def problems(path: Path) -> Iterator[str]:
    """A line for each place that breaks a rule."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            line = node.body[0].lineno
            yield from (f"{path}:{line}: {problem}" for problem in prose_problems(text))
            _, _, raises = text.partition("Raises:\n")
            for found in RAISES.finditer(raises):
                yield f"{path}:{line}: rule 6: write 'X: if <condition>', not {found[0].strip()!r}"
        names = {
            ast.arg: lambda node: [node.arg],
            ast.FunctionDef: lambda node: [node.name],
            ast.Name: lambda node: [node.id] if isinstance(node.ctx, ast.Store) else [],
        }
        for name in names.get(type(node), lambda _node: [])(node):
            if LIMIT_NAMES.search(name) and name not in PERSISTED:
                yield f"{path}:{node.lineno}: rule 3: name it max_… or min_…, not {name}"
    # Strings of tests are inputs and may say anything.
    is_test = "tests" in path.parts
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            not is_test
            and isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            yield from (f"{path}:{node.lineno}: {problem}" for problem in prose_problems(node.value))
    for start, text in comments(source):
        yield from (f"{path}:{start}: {problem}" for problem in prose_problems(text))


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Each block of comment lines: its first line's number and its text."""
    start, lines, last = 0, [], -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if token.start[0] != last + 1 and lines:
            yield start, " ".join(lines)
            lines = []
        if not lines:
            start = token.start[0]
        last = token.start[0]
        lines.append(token.string.lstrip("# "))
    if lines:
        yield start, " ".join(lines)


def prose_problems(text: str) -> Iterator[str]:
    """Find breaches of the rules 1, 3 and 8 in a docstring or a comment."""
    for found in OPENINGS.finditer(text):
        yield f"rule 1: a sentence starts with {found[1]!r}: {_near(text, found)}"
    for found in LIMITS.finditer(text):
        yield f"rule 3: write 'at most N', 'up to N' or 'at least N': {_near(text, found)}"
    for pattern, better in WORDS.items():
        for found in pattern.finditer(text):
            yield f"rule 8: {found[0]!r}: write {better!r}: {_near(text, found)}"


def markdown_paragraphs(text: str) -> Iterator[str]:
    """The paragraphs, titles and list items of a Markdown page, without code, tables and generated text."""
    text = re.sub(r"^```.*?^```$|<!--.*?-->", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"(?<=\n\n)(?:    \S.*\n)+|^\|.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`\n]*`", "X", text))
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*#]|\d+\.) )", text):
        if words := " ".join(paragraph.split()):
            yield re.sub(r"^(?:[-*]|#+|\d+\.) ", "", words)


def document_problems(path: Path) -> Iterator[str]:
    """A line for each place of a Markdown page that breaks rule 1, 2, 3 or 8."""
    for text in markdown_paragraphs(path.read_text(encoding="utf-8")):
        yield from (f"{path}: {problem}" for problem in (*prose_problems(text), *long_sentences(text)))


def long_sentences(paragraph: str) -> Iterator[str]:
    """Sentences with more than MAX_WORDS words, for rule 2; a colon or a semicolon ends a claim."""
    for sentence in re.split(r"(?<=[.!?:;])[*)\"]* (?=[\w*\"(])", paragraph):
        if len(re.findall(r"[^\W\d_][\w'-]*", re.sub(r"\([^)]*\)", "", sentence))) > MAX_WORDS:
            yield f"rule 2: more than {MAX_WORDS} words: {sentence[:90]!r}"


def _near(text: str, found: re.Match[str]) -> str:
    return repr(" ".join(text[max(0, found.start() - 30) : found.end() + 40].split()))


# Each rule is one test: hundreds of tests would take longer than their checks.
def test_prose_follows_the_rules():
    assert [problem for path in sources() for problem in problems(path)] == []


def test_documents_follow_the_rules():
    assert [problem for path in DOCUMENTS for problem in document_problems(path)] == []


def test_markdown_paragraphs_leave_out_code_and_tables():
    page = "# Title\n\nA `so many` [link](x.md).\n\n    make\n\n| a |\n| - |\n\n```sh\nbeside\n```\n- one\n- two\n"
    assert list(markdown_paragraphs(page)) == ["Title", "A X link.", "one", "two"]


def test_long_sentences_are_found():
    assert list(long_sentences("One two three. " + "word " * 25 + "end."))
    assert not list(long_sentences("word " * 20 + "end. " + "Word " * 20))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Of many rows a few.", "rule 1"),
        ("The rows. What is left is dropped.", "rule 1"),
        ("Seconds after which so many are dropped.", "rule 3"),
        ("All files but for one.", "rule 8"),
    ],
)
def test_the_rules_find_what_breaks_them(text, rule):
    assert [problem[:6] for problem in prose_problems(text)] == [rule]


def test_plain_sentences_pass():
    assert list(prose_problems("Return up to N rows, except damaged ones. What happens if the file is missing?")) == []


if __name__ == "__main__":
    for name in sys.argv[1:]:
        check = document_problems if name.endswith(".md") else problems
        print("\n".join(check(Path(name))))
