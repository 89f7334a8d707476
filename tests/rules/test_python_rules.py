"""Rules in Python: what they may return, and what becomes of their errors."""

import dataclasses

import pytest
from word_backend import WordBackend

from textclf.errors import ConfigError, RuleError
from textclf.rules.loading import load_rules, with_rules
from textclf.runtime.predictor import Predictor

CLASSES = ("neg", "pos")


def predictor(tmp_path, code, classes=CLASSES, golden=("neg neg", "a pos")):
    path = tmp_path / "rules.py"
    path.write_text(code, encoding="utf-8")
    return with_rules(Predictor(WordBackend(classes), classes, golden_texts=golden), path)


def test_before_changes_what_the_model_reads(tmp_path):
    found = predictor(tmp_path, "def before(text):\n    return text.lower()\n")
    batch = found.predict_batch(["POS", "pos"])
    changed, same = batch.predictions
    assert (changed.text, changed.read_text, changed.label, changed.rules) == ("POS", "pos", "pos", ("before",))
    assert (same.rewritten, same.rules, same.stage) == (None, (), None)
    assert batch.outputs.logits[0].tolist() == batch.outputs.logits[1].tolist()
    assert changed.of_model is changed


def test_a_label_of_a_rule_is_certain(tmp_path):
    found = predictor(tmp_path, "def after(text, prediction):\n    return prediction.with_label('neg', 'always')\n")
    batch = found.predict_batch(["pos pos", "neg"])
    for prediction in batch.predictions:
        assert (prediction.label, prediction.stage, prediction.rules) == ("neg", "rule", ("always",))
        assert (prediction.score, prediction.probabilities) == (0.0, {"neg": 1.0, "pos": 0.0})
    assert batch.predictions[0].of_model.label == "pos"
    assert batch.predicted.tolist() == [1, 0]


@pytest.mark.parametrize(("classes", "score"), [(CLASSES, 0.7310585786300049), (("a", "b", "c"), 0.0)])
def test_unsure_keeps_the_probabilities_of_the_model(tmp_path, classes, score):
    found = predictor(
        tmp_path, "def after(text, prediction):\n    return prediction.with_label('unsure')\n", classes, golden=("x",)
    )
    (prediction,) = found.predict([classes[1]])
    assert (prediction.label, prediction.rules, prediction.probability) == ("unsure", ("after",), 0.0)
    assert prediction.probabilities == prediction.of_model.probabilities
    assert prediction.score == pytest.approx(score)


def test_a_rule_may_change_probabilities(tmp_path):
    code = """
import dataclasses
def after(text, prediction):
    rounded = {name: round(value, 2) for name, value in prediction.probabilities.items()}
    return dataclasses.replace(prediction, probabilities=rounded)
"""
    (prediction,) = predictor(tmp_path, code).predict(["pos"])
    assert (prediction.score, prediction.probabilities, prediction.rules) == (
        0.73,
        {"neg": 0.27, "pos": 0.73},
        ("after",),
    )


def test_changes_in_place_count_as_changes(tmp_path):
    code = (
        "def after(text, prediction):\n    prediction.probabilities.update(neg=0.0, pos=1.0)\n    return prediction\n"
    )
    (prediction,) = predictor(tmp_path, code).predict(["pos"])
    assert (prediction.stage, prediction.score) == ("rule", 1.0)
    assert prediction.of_model.score < 1


def test_both_functions(tmp_path):
    code = """
def before(text):
    return text.replace("!", "")
def after(text, prediction):
    return prediction.with_label("pos", "shouted") if "!" in text else prediction
"""
    shouted, calm = predictor(tmp_path, code).predict(["neg!", "neg"])
    assert (shouted.rules, shouted.read_text, shouted.label) == (("before", "shouted"), "neg", "pos")
    assert (calm.rules, calm.label) == ((), "neg")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", r"expected the prediction, or prediction.with_label\(…\) from after\(\), got NoneType"),
        ("return prediction.with_label('good')", r"the label unsure or a class \(neg, pos\) .* got 'good'"),
        ("return prediction.with_label('neg', 'a b')", r"each a name .* got \('a b',\)"),
        ("return replace(prediction, score=0.5)", "differs in label, probabilities and rules only"),
        ("return replace(prediction, probabilities={'neg': 1.0})", "a probability for each class"),
        ("return replace(prediction, probabilities={'neg': 1.0, 'pos': float('nan')})", "probability of pos from"),
        ("return replace(prediction, probabilities={'neg': 1.5, 'pos': 0.0})", "got 1.5"),
        ("return replace(prediction, probabilities=np.array([0.5, 0.5]))", "a probability for each class"),
        ("return replace(prediction, probabilities={'neg': 0.9, 'pos': 0.9})", r"the sum 1 from after\(\), got .* 1.8"),
        ("prediction.probabilities.update(neg=0.9, pos=0.9); return prediction", r"the sum 1 from after.* 1.8"),
        ("return replace(prediction, probabilities=None)", "a probability for each class .* got NoneType"),
        ("return replace(prediction, probabilities={'neg': np.ones(2), 'pos': 0.0})", "probability of neg from"),
        ("return replace(prediction, rules=None)", r"a tuple of rules .* got None"),
        ("return replace(prediction, rules=7)", r"a tuple of rules .* got 7"),
        ("return replace(prediction, rules=np.array(['a']))", r"a tuple of rules .* got array"),
        ("return replace(prediction, rules=(['a'],))", r"a tuple of rules .* got \(\['a'\],\)"),
        ("return replace(prediction, label=None)", "the label unsure or a class .* got None"),
        ("return replace(prediction, label=np.array(['neg', 'pos']))", "the label unsure or a class .* got array"),
        ("return replace(prediction, score=np.array([0.5, 0.5]))", "only from after.* got another score"),
        ("return replace(prediction, text=np.array(['a', 'b']))", "only from after.* got another text"),
        ("raise SystemExit", r"rules.py, line 4: after\(\) raised SystemExit"),
    ],
)  # fmt: skip
def test_what_after_returns_is_checked(tmp_path, body, message):
    code = f"import numpy as np\nfrom dataclasses import replace\ndef after(text, prediction):\n    {body}\n"
    with pytest.raises(ConfigError, match=message):
        predictor(tmp_path, code)


def test_a_rule_without_a_name_gets_one(tmp_path):
    code = """
from dataclasses import replace
def after(text, prediction):
    return replace(prediction, label="pos", rules=())
"""
    (prediction,) = predictor(tmp_path, code).predict(["neg"])
    assert (prediction.label, prediction.rules, prediction.stage) == ("pos", ("after",), "rule")


def test_a_rewritten_text_is_not_much_longer(tmp_path):
    found = predictor(tmp_path, "def before(text):\n    return text * 11\n", golden=("x",))
    assert len(found.predict(["x" * 900])[0].read_text) == 9900
    with pytest.raises(RuleError, match=r"rules.py: expected a rewritten text of at most 20000 .* got 22000") as caught:
        found.predict(["x", "x" * 2000])
    assert caught.value.position == 1


@pytest.mark.parametrize("name", ["before", "after"])
def test_between_texts_a_caller_may_end_the_call(tmp_path, name):
    code = f"seen = []\ndef {name}(*given):\n    seen.append(given[0])\n    return given[-1]\n"
    found = predictor(tmp_path, code, golden=("x",))
    seen = found.rules._source.rewrite if name == "before" else found.rules._source.decide
    seen = seen.__globals__["seen"]
    seen.clear()
    texts = ["a", "b", "c"]
    calls = []

    def stop(count):
        calls.append(count)
        if seen:
            raise TimeoutError

    if name == "before":
        with pytest.raises(TimeoutError):
            found.read(texts, on_group=stop)
    else:
        read = found.read(texts)
        with pytest.raises(TimeoutError):
            found.score(read, on_batch=stop)
    assert seen == ["a"]
    assert calls[-2:] == [0, 0]


@pytest.mark.parametrize(("value", "found"), [("b'x'", "bytes"), ("'\\ud800'", "half of a surrogate pair")])
def test_what_before_returns_is_checked(tmp_path, value, found):
    with pytest.raises(ConfigError, match=f"got {found}"):
        predictor(tmp_path, f"def before(text):\n    return {value}\n")


def test_a_failing_rule_is_found_at_load_and_names_the_golden_text(tmp_path):
    code = "def before(text):\n    return {'neg neg': 'x'}[text]\n"
    with pytest.raises(
        ConfigError, match=r"rules.py, line 2: before\(\) raised KeyError: 'a pos'; the text is 'a pos'"
    ):
        predictor(tmp_path, code)


def test_an_error_has_the_position_of_the_text_but_does_not_quote_it(tmp_path):
    code = "def after(text, prediction):\n    int(text)\n    return prediction\n"
    found = predictor(tmp_path, code, golden=("1",))
    with pytest.raises(RuleError) as caught:
        found.predict(["1", "2", "secret", "4"])
    assert str(caught.value) == f"{tmp_path / 'rules.py'}, line 2: after() raised ValueError"
    assert caught.value.position == 2
    assert "secret" in caught.value.detail


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\n", r"expected a function before\(text\), or after\(text, prediction\), found neither"),
        ("before = 1\n", "expected a function before, got 1"),
        ("x = 1\ndef before(text) return\n", r"rules.py, line 2: expected Python code that runs, got SyntaxError"),
        ("\n\nraise ValueError('no data')\n", r"rules.py, line 3: expected .*, got ValueError: no data"),
        ("import nowhere_at_all\n", "line 1: expected .* ModuleNotFoundError: No module named"),
    ],
)
def test_files_that_are_refused(tmp_path, code, message):
    path = tmp_path / "rules.py"
    path.write_text(code, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_rules(path)


def test_classes_of_the_file_know_their_module(tmp_path):
    code = """
from __future__ import annotations
from dataclasses import dataclass
@dataclass
class Words:
    count: int = 0
def before(text):
    return text if Words(1).count else ""
"""
    assert predictor(tmp_path, code).predict(["pos"])[0].label == "pos"
    assert not list(tmp_path.glob("__pycache__"))


def test_a_prediction_without_rules_is_as_before(tmp_path):
    plain = Predictor(WordBackend(CLASSES), CLASSES).predict(["neg", "pos"])
    ruled = predictor(tmp_path, "def before(text):\n    return text\n").predict(["neg", "pos"])
    assert list(map(dataclasses.asdict, plain)) == list(map(dataclasses.asdict, ruled))
