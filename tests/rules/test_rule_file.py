"""Rules in TOML: what they do, what is refused, and how long a hostile text takes."""

import os
import time

import pytest

from textclf.errors import ConfigError, RuleError
from textclf.rules import rule_file
from textclf.rules.loading import load_rules
from textclf.rules.rule_file import parse_rules
from textclf.runtime.prediction import Prediction

PREDICTION = Prediction("a text", "neg", 0.25, {"neg": 0.75, "pos": 0.25}, False)


def rules(*tables):
    content = "\n".join(
        "[[rules]]\n" + "\n".join(f"{key} = '''{value}'''" for key, value in each.items()) for each in tables
    )
    return parse_rules(content, "rules.toml", "0" * 64)


def one(**keys):
    return rules({"name": "first", "pattern": "x", **keys})


def test_rewrites_apply_in_the_order_of_the_file():
    found = rules(
        {"name": "entities", "pattern": "&amp;", "rewrite": "&"},
        {"name": "unused", "pattern": "nowhere", "rewrite": "-"},
        {"name": "signs", "pattern": "&", "rewrite": "and"},
    )
    assert found.before("R&amp;D") == ("RandD", ("entities", "signs"))
    assert found.before("plain") == ("plain", ())


@pytest.mark.parametrize(
    ("pattern", "rewrite", "text", "expected"),
    [
        (r"(\w+)@(\w+)", r"\2 of \1", "a@b c@d", "b of a d of c"),
        (r"ü(x)?", r"[\0\1]", "süß ü", "s[ü]ß [ü]"),
        (r"/", r"\\", "a/b", r"a\b"),
        (r"\s+$", "", "end \n", "end"),
        (r"😀", "smile", "a 😀 b", "a smile b"),
        (r"\b", "|", "ab", "|ab|"),
    ],
)
def test_replacements(pattern, rewrite, text, expected):
    assert one(pattern=pattern, rewrite=rewrite).before(text)[0] == expected


def test_the_first_label_that_matches_decides():
    found = rules(
        {"name": "one", "pattern": "(?i)refund", "label": "neg"},
        {"name": "two", "pattern": "fund", "label": "unsure"},
    )
    found.check(("neg", "pos"))
    assert found.after("A REFUND", PREDICTION).rules == ("one",)
    decided = found.after("the fund", PREDICTION)
    assert (decided.label, decided.rules) == ("unsure", ("two",))
    assert found.after("nothing", PREDICTION) is PREDICTION


@pytest.mark.parametrize("others", [(), ({"name": "second", "pattern": "refund", "label": "neg"},)])
def test_a_label_may_be_for_blank_texts(others):
    found = rules({"name": "blank", "pattern": r"^\s*$", "label": "unsure"}, *others)
    assert [found.after(text, PREDICTION).label for text in ("", " \n", "a text")] == ["unsure", "unsure", "neg"]


def test_rewrites_can_not_fill_the_memory():
    """The joined text would have 100 GB; the limit is for all rewrites together."""
    with pytest.raises(RuleError, match="the rule 'first' made a text longer than 1000000 characters"):
        one(pattern="a", rewrite="b" * 1_000_000).before("a" * 100_000)
    growing = [{"name": f"r{number}", "pattern": "x", "rewrite": "xxxx"} for number in range(9)]
    with pytest.raises(RuleError, match="the rule 'r4' made a text longer than 10000 characters"):
        rules(*growing).before("x" * 11)


def test_a_label_is_a_class_of_the_model():
    with pytest.raises(
        ConfigError, match=r"rules.toml: rule 'first': expected the label unsure or .*neg, pos.*'negative'"
    ):
        one(label="negative").check(("neg", "pos"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"expected tables \[\[rules\]\] and nothing else, found nothing"),
        ("rules = []", "found 'rules'"),
        ("[[rules]]\nname = 'a'\n[other]\n", "found 'rules', 'other'"),
        ("[[rules", "expected TOML"),
        ("[[rules]]\npattern = 'x'\nlabel = 'neg'", "rule 1: expected a name"),
        ("[[rules]]\nname = 'a b'\npattern = 'x'\nlabel = 'neg'", "got 'a b'"),
        ("[[rules]]\nname = 'a'\npattern = 'x'\nlabels = 'neg'", "the keys name, .*, found labels"),
        ("[[rules]]\nname = 'a'\npattern = 'x'", "expected either label or rewrite, found neither"),
        ("[[rules]]\nname = 'a'\npattern = 'x'\nlabel = 'neg'\nrewrite = ''", "found both"),
        ("[[rules]]\nname = 'a'\npattern = 1\nlabel = 'neg'", "pattern: expected a text in quotes, got 1"),
        ("[[rules]]\nname = 'a'\nlabel = 'neg'", "matches only some texts, got '', which matches the empty text and"),
        ("[[rules]]\nname = 'a'\npattern = 'x*'\nlabel = 'neg'", "matches only some texts"),
        ("[[rules]]\nname = 'a'\npattern = '(?s)^.*$'\nlabel = 'neg'", "matches only some texts"),
        ("[[rules]]\nname = 'a'\npattern = '^$'\nrewrite = 'x'", "the pattern of a rewrite to match no empty text"),
        ("[[rules]]\nname = 'a'\npattern = '(x'\nlabel = 'neg'", r"pattern of RE2 .*missing \): \(x"),
        ("[[rules]]\nname = 'a'\npattern = '(?<=y)x'\nlabel = 'neg'", "without lookaround"),
        ("[[rules]]\nname = 'a'\npattern = '(.)\\1'\nlabel = 'neg'", "invalid escape"),
        ("[[rules]]\nname = 'a'\npattern = 'x'\nrewrite = '\\1'", r"up to \\0 for its groups, or \\\\, got '\\\\1'"),
        ("[[rules]]\nname = 'a'\npattern = 'x'\nrewrite = '\\n'", r"got '\\\\n'"),
    ],
)  # fmt: skip
def test_refusals(content, message):
    with pytest.raises(ConfigError, match=message):
        parse_rules(content, "rules.toml", "0" * 64)


def test_names_are_different_and_rules_are_few():
    same = {"name": "a", "pattern": "x", "label": "neg"}
    with pytest.raises(ConfigError, match="found it twice"):
        rules(same, same)
    with pytest.raises(ConfigError, match="expected at most 200 rules, found 201"):
        rules(*({**same, "name": f"r{number}"} for number in range(201)))


def test_many_rules_find_the_same_as_each_alone():
    """One search for all patterns comes first; groups with the same name can't be joined."""
    for group in ("(x)", "(?P<n>x)"):
        many = [{"name": f"r{i}", "pattern": f"(?i)^ü{i}{group}|end{i}$", "label": "neg"} for i in range(50)]
        rewrites = [{"name": f"w{i}", "pattern": f"ä{i}{group}", "rewrite": rf"ä{i + 1}\1"} for i in range(9)]
        found = rules(*many, *rewrites)
        assert found.after("Ü7X and more", PREDICTION).rules == ("r7",)
        assert found.after("the END49", PREDICTION).rules == ("r49",)
        assert found.after("and ü7x", PREDICTION) is PREDICTION
        assert found.before("ä5x") == ("ä9x", ("w5", "w6", "w7", "w8"))
        assert found.before("ä5") == ("ä5", ())


@pytest.mark.parametrize("pattern", ["(a+)+$x", "(a|aa)+!", "a*a*a*a*a*b", r"\w+%", "(.*)*b"])
def test_a_hostile_text_takes_milliseconds(pattern):
    """Python's own expressions take hours for the first two."""
    found = one(pattern=pattern, label="neg") if pattern != "(.*)*b" else one(pattern=pattern, rewrite="")
    start = time.perf_counter()
    assert found.after("a" * 100_000, PREDICTION) is PREDICTION
    found.before("a" * 100_000)
    assert time.perf_counter() - start < 2


def test_a_rewrite_that_searches_too_long_ends(monkeypatch):
    """Each match of this pattern looks at the whole rest of the text."""
    monkeypatch.setattr(rule_file, "_REWRITE_SECONDS", 0.0)
    with pytest.raises(RuleError, match="the rule 'first' searched a text for more than 0 seconds"):
        one(pattern="a(.*b)?", rewrite="").before("a" * 100_000)


def test_files_that_can_not_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"rules.txt: expected rules in a file that ends in .py or .toml"):
        load_rules(tmp_path / "rules.txt")
    with pytest.raises(ConfigError, match=r"rules.toml: expected a file of rules, got an error \(No such file"):
        load_rules(tmp_path / "rules.toml")
    for make in (os.mkdir, os.mkfifo):
        path = tmp_path / f"{make.__name__}.toml"
        make(path)
        with pytest.raises(ConfigError, match="expected a file of rules, got something else"):
            load_rules(path)
    path = tmp_path / "rules.toml"
    path.write_bytes(b"# \xff")
    with pytest.raises(ConfigError, match="expected UTF-8, found another byte at 2"):
        load_rules(path)
    path.write_bytes(b"#" * (1024**2 + 1))
    with pytest.raises(ConfigError, match="at most 1,048,576 bytes"):
        load_rules(path)
