"""Options are declared once: the fields' rules check values, parse strings and fill tables."""

from dataclasses import dataclass, make_dataclass
from pathlib import Path

import pytest

from serving.sagemaker.hyperparameters import Hyperparameters
from serving.settings import Settings
from textclf.config import (
    DataOptions,
    DriftOptions,
    EncoderOptions,
    ModelOptions,
    TrainingOptions,
)
from textclf.fields import (
    REQUIRED,
    choice,
    default_of,
    filled_text,
    mapping,
    markdown_table,
    number,
    path,
    rules,
    share,
    switch,
    text,
    texts,
    whole,
)
from textclf.monitoring.options import MonitoringSettings
from textclf.monitoring.retrain_policy import RetrainPolicy
from textclf.retraining_options import CombineOptions, GateOptions
from textclf.stats.cascade_rules import CascadeSettings

ALL = [
    CascadeSettings,
    CombineOptions,
    DataOptions,
    DriftOptions,
    EncoderOptions,
    GateOptions,
    Hyperparameters,
    ModelOptions,
    MonitoringSettings,
    RetrainPolicy,
    Settings,
    TrainingOptions,
]


@dataclass(frozen=True)
class Options:
    """One field of each kind."""

    size: int = whole(REQUIRED, "Size.", min=4)
    floor: float | None = number(REQUIRED, "Floor.", min=0, or_none=True)
    port: int = whole(8080, "Port.", min=1, max=65535)
    rate: float = number(3e-5, "Rate.", above=0, below=10)
    decay: float = number(1.0, "Decay.", above=0, max=1)
    kept: float = share(0.25, "Kept share.")
    threads: int | None = whole(None, "Threads.", min=1, shown="all cores")
    is_on: bool = switch(True, "Whether.")
    note: str = text("", "Note.")
    name: str = filled_text("a", "Name.")
    host: str = text("::1", "Host.", pattern="[0-9:]+", expected="an address")
    metric: str = choice("f1", "Metric.", ("f1", "auc"))
    folder: Path = path(Path("model"), "Folder.")
    renamed: dict = mapping("New names.")
    sources: tuple = texts("Sources.")


@pytest.mark.parametrize(
    ("name", "accepted", "refused", "expected"),
    [
        ("size", [4, 10**30], [3, 4.0, "4", True, None], "a whole number of at least 4"),
        ("port", [1, 65535], [0, 65536], "a whole number from 1 to 65535"),
        ("rate", [1e-9, 9.9, 1], [0, 10, -1, "1", True, float("nan"), float("inf")], "a number above 0 and below 10"),
        ("decay", [0.1, 1], [0, 1.1, float("nan")], "a number above 0 and at most 1"),
        ("kept", [0, 0.99], [1, -0.1, None], "a number of at least 0 and below 1"),
        ("threads", [None, 1], [0, 0.5], "a whole number of at least 1"),
        ("floor", [None, 0], [-1], "a number of at least 0, or null"),
        ("is_on", [True, False], [1, "true", None], "true or false"),
        ("note", ["", "a\nb"], [1, None], "a text"),
        ("name", ["a\nb"], ["", 1], "a non-empty text"),
        ("host", ["::1"], ["", "a", "::1 ", 1], "an address"),
        ("metric", ["f1"], ["f", ["f1"]], "one of f1, auc"),
        ("folder", [Path("a")], ["a", Path("a\0")], "a path"),
        ("renamed", [{}, {"a": "b"}], [[], {"a": 1}, {1: "a"}], "a JSON object of strings"),
        ("sources", [(), ["a"]], ["a", (1,)], "a list of texts"),
    ],
)
def test_accepted_and_refused_values(name, accepted, refused, expected):
    rule = rules(Options)[name]
    assert all(map(rule.holds, accepted))
    assert not any(map(rule.holds, refused))
    assert rule.expected == expected


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("port", " 80 ", 80),
        ("rate", "1e-4", 1e-4),
        ("is_on", " Off", False),
        ("note", " a ", " a "),
        ("folder", "a/b", Path("a/b")),
        ("renamed", '{"1": "pos"}', {"1": "pos"}),
        ("sources", '["a"]', ["a"]),
    ],
)
def test_values_of_strings(name, given, value):
    assert rules(Options)[name].parse(given) == value


@pytest.mark.parametrize(
    ("name", "given"), [("port", "1_0"), ("port", "٨"), ("rate", "nan"), ("is_on", "maybe"), ("renamed", "1=pos")]
)
def test_strings_that_are_no_value(name, given):
    with pytest.raises(ValueError, match=r"."):
        rules(Options)[name].parse(given)


def test_defaults():
    assert default_of(Options, "size") is REQUIRED
    assert default_of(Options, "renamed") == {}
    assert Options(size=4, floor=None).renamed is not Options(size=4, floor=None).renamed


def test_markdown_table():
    assert markdown_table(Options, "variable", str.upper).splitlines()[:9] == [
        "| variable | default | values | meaning |",
        "| --- | --- | --- | --- |",
        "| `SIZE` | required | at least 4 | Size. |",
        "| `FLOOR` | required | at least 0, or null | Floor. |",
        "| `PORT` | 8080 | 1 to 65535 | Port. |",
        "| `RATE` | 3e-05 | above 0 and below 10 | Rate. |",
        "| `DECAY` | 1 | above 0 and at most 1 | Decay. |",
        "| `KEPT` | 0.25 | at least 0 and below 1 | Kept share. |",
        "| `THREADS` | all cores | at least 1 | Threads. |",
    ]
    assert "| `is_on` | on | on or off (also 1, 0, true, false, yes, no) | Whether. |" in markdown_table(Options)


def test_markdown_table_with_command_line():
    lines = markdown_table(Options, flag_of=lambda name, rule: f"`--{name}`, {rule.values}").splitlines()
    assert lines[0] == "| option | command line | default | values | meaning |"
    assert lines[4] == "| `port` | `--port`, 1 to 65535 | 8080 | 1 to 65535 | Port. |"


def test_tables_drop_the_article_at_the_beginning_only():
    expected = "a mark other than letters, or one of two"
    assert rules(make_dataclass("Marks", [("mark", str, text("!", "Mark.", expected=expected))]))["mark"].values == (
        "mark other than letters, or one of two"
    )


@pytest.mark.parametrize("options", ALL)
def test_defaults_hold_and_help_is_a_sentence(options):
    for name, rule in rules(options).items():
        default = default_of(options, name)
        assert default is REQUIRED or rule.holds(default), name
        assert rule.help[0].isupper(), name
        assert rule.help.endswith("."), name
        assert max(len(sentence.split()) for sentence in rule.help.split(". ")) <= 25, name
    assert markdown_table(options).count("\n") == len(rules(options)) + 2
