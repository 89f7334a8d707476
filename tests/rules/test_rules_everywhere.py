"""One file of rules gives the same answers in Python, in files, in a folder, at the prompt and over HTTP."""

import contextlib
import csv
import hashlib
import io
import json
import re
import sqlite3
import time

import jsonschema
import pytest
from click.testing import CliRunner
from monitored import log_texts, store_reviews
from serving_models import settings
from serving_stack import ROOT, running_stack, serving_python, wait_for
from tiny_engine import write_version

import inference
import textclf
from inference import Inference
from monitoring import Monitoring
from serving.app import create_app, inference_of
from textclf.data.prediction_log.log import PredictionLog, logged_predictions
from textclf.drift.features import Stage
from textclf.errors import ConfigError
from textclf.runtime.cascade import ENCODER, LINEAR
from textclf.runtime.feature_extraction import text_features

EXAMPLES = ROOT / "docs" / "examples"
RULES = EXAMPLES / "rules.toml"
EXIT, OTHER = "the film was dull and boring", "a film"
TEXTS = [
    EXIT,
    OTHER,
    "I want my money back: a great film",
    "Dull &amp; boring, ask me@example.com",
    "I have not seen it, but the music is lovely",
    "a great &amp; lovely film, no REFUND",
]
NAMES = [[], [], ["money-back"], ["ampersands", "mail-addresses"], ["not-seen"], ["ampersands", "money-back"]]
# The engine rounds by the texts of a batch.
ROUNDING = 2e-3


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ruled")
    write_version(folder / "model", cascade=True, unusual=True)
    return folder / "model"


@pytest.fixture(scope="module")
def expected(model):
    """Label, score and rules of each text, in Python."""
    found = textclf.load(model, rules=RULES).predict(TEXTS)
    assert [list(item.rules) for item in found] == NAMES
    assert [found[number].label for number in (2, 4, 5)] == ["neg", "unsure", "neg"]
    return [(item.label, item.score, list(item.rules)) for item in found]


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ruled-server")
    with running_stack(
        folder, model, python=serving_python(), NGINX="off", RULES=str(RULES), PREDICTION_LOG_TEXT="1"
    ) as stack:
        yield stack


def same(found, expected):
    assert [(label, rules) for label, _, rules in found] == [(label, rules) for label, _, rules in expected]
    assert [score for _, score, _ in found] == pytest.approx([score for _, score, _ in expected], abs=ROUNDING)


def run(model, *arguments, **more):
    result = CliRunner().invoke(inference.main, ["--model-path", str(model), "--rules", str(RULES), *arguments], **more)
    assert result.exit_code == 0, result.output
    return result.output


def test_files(model, expected, tmp_path):
    table = tmp_path / "texts.csv"
    with open(table, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *([text, "neg"] for text in TEXTS)])
    for name in ("out.csv", "out.jsonl"):
        output = run(model, "score", "--input", str(table), "--output", str(tmp_path / name))
        assert "rows that rules changed: ampersands (2), money-back (2), mail-addresses (1), not-seen (1)" in output
        assert re.search(r"predicted by the linear stage: \d, by the encoder: \d, by a rule: 3\n", output)
        assert "texts that a rule left unsure: 1; rows with a label count as wrong" in output
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    same([(row["label"], float(row["score"]), row["rules"].split()) for row in rows], expected)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    same([(row["label"], row["score"], row.get("rules", [])) for row in lines], expected)


def test_a_folder(model, expected, tmp_path, capsys):
    for number, text in enumerate(TEXTS):
        path = tmp_path / "test" / ("neg", "pos")[number % 2] / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = {item.text: item.prediction for item in Inference(model, rules=RULES).run_batch_inference(tmp_path, 9)}
    same([(found[text].label, found[text].score, list(found[text].rules)) for text in TEXTS], expected)
    assert "by the rule money-back; the model predicted" in capsys.readouterr().out


def test_the_prompt(model, expected):
    lines = re.findall(
        r"(\w+)  \(score ([0-9.]+)(.*)\)", run(model, "live", input="".join(f"{text}\n\n" for text in TEXTS))
    )
    decided = [re.findall(r"by the rule ([\w-]+)", rest) for _, _, rest in lines]
    assert [label for label, _, _ in lines] == [label for label, _, _ in expected]
    assert [float(score) for _, score, _ in lines] == pytest.approx([score for _, score, _ in expected], abs=ROUNDING)
    assert decided == [[], [], ["money-back"], [], ["not-seen"], ["money-back"]]


def test_http(server, expected):
    def post(path, body, **headers):
        response = server.request("POST", path, body, **headers)
        assert response.status == 200, response.body
        return response

    single = [post("/predict", {"text": text}).json for text in TEXTS]
    same([(item["label"], item["score"], item.get("rules", [])) for item in single], expected)
    assert [item["stage"] == "rule" for item in single] == [False, False, True, False, True, True]
    assert [item["text"] for item in single] == TEXTS
    many = post("/predict", {"X": TEXTS}).json
    assert (many["predictions"], many["rules"]) == ([label for label, _, _ in expected], NAMES)
    assert many["prediction_probs"][2:] == [1.0, many["prediction_probs"][3], 0.0, 1.0]
    assert many["stage"] == [item["stage"] for item in single]
    ranked = post("/invocations", {"data": TEXTS}).json
    assert [item["prediction"][0]["label"] for item in ranked] == [label for label, _, _ in expected]
    assert [item.get("rules", []) for item in ranked] == NAMES
    assert len(ranked[4]["prediction"]) == 3
    lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()
    answers = post("/invocations", lines, Content_Type="application/jsonlines").body.splitlines()
    same([(item["label"], item["score"], item.get("rules", [])) for item in map(json.loads, answers)], expected)
    table = io.StringIO()
    csv.writer(table).writerows([text] for text in TEXTS)
    rows = csv.reader(
        io.StringIO(post("/invocations", table.getvalue().encode(), Content_Type="text/csv").body.decode())
    )
    same([(label, float(score), names) for (label, score), names in zip(rows, NAMES, strict=True)], expected)
    score = post("/invocations/predict", {"text": TEXTS[5]}).json
    assert (score["text"], score["score"], score["rules"]) == (TEXTS[5], 0.0, NAMES[5])


def test_explanations(server, model, expected):
    answer = server.request("POST", "/explain", {"X": TEXTS}).json["explanations"]
    assert [(item["label"], item.get("rules", [])) for item in answer] == [
        (label, names) for label, _, names in expected
    ]
    explained = Inference(model, rules=RULES).explain(TEXTS)
    for item, local in zip(answer, explained, strict=True):
        assert (item["label"], item["stage"], item["text"]) == (local.label, local.stage, local.text)
        assert (item["stage"] == "rule") == ("model_probabilities" in item)
        of_model = item.get("model_probabilities", item["probabilities"])
        for name, values in item["values"].items():
            assert item["base_values"][name] + sum(values) == pytest.approx(of_model[name], abs=ROUNDING)
        assert [item["text"][start:end] for start, end in item["spans"]] == item["words"]
    # The words are those that the model read.
    assert answer[3]["text"] == "Dull & boring, ask someone"
    ranked = server.request("POST", "/invocations", {"data": TEXTS[5], "explain": True}).json
    assert (ranked["explanation_stage"], ranked["rules"]) == ("rule", NAMES[5])
    assert "".join(piece for piece, _ in ranked["explanation"]) == "a great & lovely film, no REFUND"
    assert set(ranked["model_probabilities"]) == {"neg", "pos"}


def test_explanations_for_people(model):
    output = run(model, "explain", "--text", TEXTS[2])
    assert "by the rule money-back, but the values explain the model" in output
    assert re.search(r"^unsure +\(probability 0.0000; by the rule not-seen", run(model, "explain", "--text", TEXTS[4]))


def test_info_metrics_and_the_document(server):
    digest = hashlib.sha256(RULES.read_bytes()).hexdigest()
    assert server.request("GET", "/info").json["rules"] == {"sha256": digest}
    assert server.request("POST", "/predict", {"text": TEXTS[5]}).status == 200

    def counted():
        text = server.request("GET", "/metrics").body.decode()
        return 'textclf_rule_texts_total{rule="money-back"}' in text

    wait_for(counted)
    document = server.request("GET", "/openapi.json").json
    for body, name in (({"text": TEXTS[4]}, "Prediction"), ({"X": TEXTS}, "Predictions")):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.validate(server.request("POST", "/predict", body).json, schema)
    schema = {"$ref": "#/components/schemas/Explanation", "components": document["components"]}
    jsonschema.validate(server.request("POST", "/explain", {"text": TEXTS[4]}).json, schema)
    schema = {"$ref": "#/components/schemas/Info", "components": document["components"]}
    jsonschema.validate(server.request("GET", "/info").json, schema)


def test_the_prediction_log_has_what_the_model_read_and_what_the_rules_did(server, model):
    for text in TEXTS:
        server.request("POST", "/predict", {"text": text})
    file = server.folder / "prediction_log" / "predictions.sqlite"

    def rows():
        if not file.exists():
            return {}
        with contextlib.closing(sqlite3.connect(file)) as connection:
            return {row[0]: row[1:] for row in connection.execute("SELECT text, label, rules FROM textclf_predictions")}

    found = wait_for(lambda: found if len(found := rows()) >= len(TEXTS) else None)
    plain = Inference(model)
    for text, names in zip(TEXTS, NAMES, strict=True):
        label, rules = found[text]
        assert label in ("neg", "pos")
        done = {} if rules is None else json.loads(rules)
        assert done.get("names", []) == names
        assert done.get("label") == {"money-back": "neg", "not-seen": "unsure"}.get(names[-1] if names else "")
    assert found[TEXTS[2]][0] == plain.predict(TEXTS[2]).label
    version = plain.predictor.version_id
    with contextlib.closing(PredictionLog(f"sqlite:///{file}")) as log:
        window = log.read(version)
    # Nothing is ever predicted by a third stage: drift is measured on what the model did.
    assert set(window.features.stages.tolist()) <= {Stage.LINEAR, Stage.ENCODER}
    ruled = text_features(Inference(model, rules=RULES).predictor, TEXTS, None)
    read = text_features(plain.predictor, ["Dull & boring, ask someone"], None)
    assert ruled.take([3]).non_letter_rates.tolist() == read.non_letter_rates.tolist()
    assert ruled.take([3]).lengths.tolist() == read.lengths.tolist()


def test_a_log_of_earlier_software_gets_the_column_when_it_is_needed(model, tmp_path):
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    features = text_features(Inference(model).predictor, [EXIT], None)
    plain, ruled = (
        logged_predictions([1.0], "v", ["neg"], features, rules=[rules]) for rules in (None, '{"names": ["a"]}')
    )
    with contextlib.closing(PredictionLog(url)) as log:
        log.append(plain)
    with contextlib.closing(sqlite3.connect(tmp_path / "log.sqlite")) as connection:
        connection.execute("ALTER TABLE textclf_predictions DROP COLUMN rules")

    def columns():
        with contextlib.closing(sqlite3.connect(tmp_path / "log.sqlite")) as connection:
            return [row[1] for row in connection.execute("PRAGMA table_info(textclf_predictions)")]

    with contextlib.closing(PredictionLog(url)) as log:
        log.append(plain)
        assert "rules" not in columns()
        log.append(ruled)
        log.append(plain)
        assert "rules" in columns()
        assert log.read("v").total_rows == 4


# --- failures

FAILING = """
def before(text):
    if "crash" in text:
        raise ValueError("a secret of " + text)
    return text
def after(text, prediction):
    if "late" in text:
        raise KeyError(text)
    return prediction
"""


@pytest.fixture
def failing(tmp_path):
    path = tmp_path / "failing.py"
    path.write_text(FAILING, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", ["crash", "late"])
def test_a_failing_rule_is_one_500_without_a_traceback(model, tmp_path, failing, text, caplog, capsys):
    chosen = settings(tmp_path, model_path=model, model_poll_seconds=0, rules=str(failing))
    client = create_app(chosen, inference_of(chosen, model)).test_client()
    for body in ({"text": f"a {text}"}, {"X": ["fine", f"a {text}"]}):
        response = client.post("/predict", json=body)
        assert response.status_code == 500
        assert response.get_json() == {
            "error": {
                "code": "rule_failed",
                "message": "A rule of the operator failed; the server's log has the reason under the request's id",
            }
        }
    assert client.post("/predict", json={"text": "fine"}).status_code == 200
    assert "failing.py" in caplog.text
    assert f"a {text}" not in caplog.text + capsys.readouterr().out
    assert 'textclf_errors_total{code="rule_failed"} 2.0' in client.get("/metrics").get_data(as_text=True)


def test_a_failing_rule_is_a_bad_row_of_a_file(model, tmp_path, failing):
    table, output = tmp_path / "texts.csv", tmp_path / "out.jsonl"
    table.write_text("text\nfine\na crash\nmore\ntoo late\nend\n", encoding="utf-8")
    arguments = [
        "--model-path",
        str(model),
        "--rules",
        str(failing),
        "score",
        "--input",
        str(table),
        "--output",
        str(output),
    ]
    result = CliRunner().invoke(inference.main, arguments)
    assert result.exit_code == 1
    assert "found 2 bad rows: a rule that fails (2)" in result.output
    assert "row 2" in result.output
    assert "failing.py, line 4: before() raised ValueError: a secret of a crash" in result.output
    assert len(result.output.splitlines()) == 1
    assert not output.exists()
    result = CliRunner().invoke(inference.main, [*arguments, "--skip-bad"])
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["text"] for line in output.read_text().splitlines()] == ["fine", "more", "end"]


def test_rules_that_do_not_fit_stop_the_load_in_one_line(model, tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text("[[rules]]\nname = 'a'\npattern = 'x'\nlabel = 'good'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="a class of the model"):
        textclf.load(model, rules=path)
    result = CliRunner().invoke(inference.main, ["--model-path", str(model), "--rules", str(path), "live"])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    chosen = settings(tmp_path, model_path=model, rules=str(path))
    with pytest.raises(ConfigError, match="a class of the model"):
        create_app(chosen, inference_of(chosen, model))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", None, r"a.toml: expected a file of rules, got an error \(No such file or directory\)"),
        ("a.toml", "", r"a.toml: expected tables \[\[rules\]\]"),
        ("a.toml", "[[rules]]\nname = 'a'\npattern = '('\nlabel = 'neg'\n", "a.toml: rule 'a': expected a pattern"),
        ("a.toml", "[[rules]]\nname = 'a'\npattern = 'x'\nlabel = 'good'\n", "a.toml: rule 'a': expected the label"),
        ("a.py", "before = after = None\n", r"a.py: expected a function before\(text\)"),
    ],
)
def test_a_server_with_wrong_rules_does_not_start(model, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with running_stack(tmp_path, model, wait=False, python=serving_python(), NGINX="off", RULES=name) as stack:
        assert stack.process.wait(timeout=30) == 2
    assert re.fullmatch(f"error: RULES: {message}.*\n", stack.log)


def test_a_new_version_that_the_rules_do_not_fit_is_not_served(tmp_path):
    write_version(tmp_path / "model", reference_texts=[])
    chosen = settings(tmp_path, model_path=tmp_path / "model", model_poll_seconds=0, rules=str(RULES))
    app = create_app(chosen, inference_of(chosen, tmp_path / "model"))
    holder = app.extensions["textclf"].holder
    first = holder.predictor
    write_version(tmp_path / "model", ("bad", "good"), reference_texts=[])
    holder.poll()
    assert holder.predictor is first
    write_version(tmp_path / "model", seed=2, reference_texts=[])
    holder.poll()
    assert holder.predictor is not first
    assert holder.predictor.rules.sha256 == first.rules.sha256
    assert app.test_client().post("/predict", json={"text": TEXTS[2]}).get_json()["stage"] == "rule"


def test_the_example_in_python(model):
    found = Inference(model, rules=EXAMPLES / "rules.py").predict(["Fish &amp; chips", "Money back!", "a film"])
    assert found[0].read_text == "Fish & chips"
    assert found[0].rules[0] == "before"
    assert (found[1].label, found[1].rules) == ("neg", ("money-back",))
    assert found[2].of_model.stage in (LINEAR, ENCODER)


def test_a_rule_costs_microseconds(model):
    """A loose bound for busy machines; docs/rules.md has the measured share of a request."""
    plain, ruled = Inference(model), Inference(model, rules=RULES)

    def fastest(scored):
        scored.predict(OTHER)
        times = []
        for _ in range(30):
            start = time.perf_counter()
            scored.predict(OTHER)
            times.append(time.perf_counter() - start)
        return min(times)

    assert fastest(ruled) - fastest(plain) < 0.0005


def test_a_failing_rule_does_not_end_a_check(model, tmp_path, failing):
    texts = ["a crash", "too late", "fine"]
    reviews = store_reviews(tmp_path / "reviews", texts, lambda _: "pos")
    url = log_texts(model, tmp_path, ["fine"], [time.time()])
    check = Monitoring(model, new_data_dir=reviews, prediction_log_url=url, rules=failing)
    report = check.check(texts, ["pos", "neg", "neg"], baseline=["one crash", "fine"])
    assert "Texts on which a rule failed, used without their rewrites: 2." in report.notes
    assert "Texts on which a rule failed, used without their rewrites: 1." in check.check_log().notes
    assert not [note for note in check.check(["too late"]).notes if "rule" in note], "no rule decides"
