"""The whole story on tiny real models: films, then products, drift, retraining, rollback."""

import contextlib
import json
import time
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from serving_stack import Stack, running_stack, wait_for
from tiny_training import tiny_training

import monitoring
import retraining
from textclf.data.labelled_reviews import read_labelled_reviews
from textclf.data.prediction_log.log import PredictionLog
from textclf.drift.state import read_state
from textclf.errors import PredictionLogError
from textclf.report.drift_report import DriftReport
from textclf.store.decision_log import DecisionLog
from textclf.store.model_store import ModelStore

NO_DRIFT, DRIFT = 0, 3
SERVED_FILMS, SERVED_PRODUCTS = 200, 600
# Questions of a story that are no reviews are logged, too.
ASKED = 2
# Nobody agreed on them, but no source lies.
SOURCES = ("shop", "app", "forum")
FILMS = {
    "words": "film movie story plot actor scene music",
    "neg": "bad awful dull boring",
    "pos": "good great lovely brilliant",
}
# Not a word of these was learnt from films.
PRODUCTS = {
    "words": "camera dialogue ending fast short slow long",
    "neg": "weak flat poor dreadful",
    "pos": "warm funny fresh superb",
}


def reviews(kind: dict[str, str], count: int, seed: int) -> list[tuple[str, str]]:
    """Texts with labels, the classes in turns."""
    random = np.random.default_rng(seed)
    common = ["the", "a", "was", "it", "and", "is", "this", "that", "very", "so", "with", "in", "of"]
    made = []
    for at in range(count):
        label = ("neg", "pos")[at % 2]
        words = [
            *random.choice(common, random.integers(3, 10)),
            *random.choice(kind["words"].split(), random.integers(2, 6)),
            *random.choice(kind[label].split(), 3),
        ]
        made.append((" ".join(random.permutation(words)), label))
    return made


def write_table(path: Path, labelled: list[tuple[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"text": text, "label": label}) for text, label in labelled)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


class Story:
    """What the person who runs it types, in a folder with the store, the log and the reviews."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ModelStore(folder / "model")
        self.log_url = f"sqlite:///{folder}/log/predictions.sqlite"

    def run(self, stage: click.Group, *arguments: object, status: int = 0) -> str:
        """A command that ends with that status: its output, but for that of a process it starts."""
        result = CliRunner().invoke(stage, list(map(str, arguments)))
        assert result.exit_code == status, result.output
        return result.stdout

    def wait_for_log(self, count: int) -> None:
        """Until the server has logged so many answers."""

        def is_there() -> bool:
            with contextlib.closing(PredictionLog(self.log_url)) as log, contextlib.suppress(PredictionLogError):
                return sum(log.read("").other_versions.values()) == count
            return False

        wait_for(is_there, 20)

    def check(self, *arguments: object, status: int) -> DriftReport:
        """`monitoring.py check`: the report."""
        places = ("--model-path", self.store.path, "--log-url", self.log_url, "--new-data-dir", self.folder / "new")
        self.run(monitoring.main, "check", *places, "--json", self.folder / "drift.json", *arguments, status=status)
        return DriftReport.from_dict(json.loads((self.folder / "drift.json").read_text(encoding="utf-8")))


def serve(stack: Stack, labelled: list[tuple[str, str]]) -> float:
    """Have texts answered: the share of answers that are right."""
    right = 0
    for start in range(0, len(labelled), 50):
        texts, labels = zip(*labelled[start : start + 50], strict=True)
        answer = stack.request("POST", "/predict", {"X": texts})
        assert answer.status == 200
        right += sum(map(str.__eq__, answer.json["predictions"], labels))
    return right / len(labelled)


@pytest.mark.bench  # bench/retraining/story.py with tiny models; a minute.
@pytest.mark.usefixtures("_coarse_quantising")
def test_the_whole_story(tiny_checkpoint, tmp_path):
    # So many that 500 and more set up the cascade.
    write_table(tmp_path / "films" / "train.jsonl", reviews(FILMS, 2700, seed=1))
    write_table(tmp_path / "films" / "test.jsonl", reviews(FILMS, 400, seed=2))
    training = tiny_training(tiny_checkpoint, tmp_path / "films", tmp_path, batch_size=16, epochs=3, val_split=0.4)
    training.save_model(tmp_path / "model", "films")
    story = Story(tmp_path)
    settings = {
        "PREDICTION_LOG_URL": story.log_url,
        "NEW_DATA_DIR": str(tmp_path / "new"),
        "MODEL_POLL_SECONDS": "0.2",
        "MODEL_SERVER_WORKERS": "1",
        "DRAIN_SECONDS": "0",
        "NGINX": "off",
    }
    with running_stack(tmp_path / "stack", story.store.path, **settings) as stack:
        tell(story, stack, story.store.current_id())
        assert stack.stop() == 0
        assert "Traceback" not in stack.log


def tell(story: Story, stack: Stack, champion: str) -> None:
    def served() -> str:
        return stack.request("POST", "/predict", {"text": "a film"}).json["model"].split()[-1]

    def stage(text: str) -> str:
        return stack.request("POST", "/predict", {"text": text}).json["stage"]

    # What is easy the linear stage answers, and what nobody has seen before the encoder.
    assert stage("the plot was dull, awful and boring") == "linear"
    assert stage("the camera was weak, flat and poor") == "encoder"

    # Films come, as ever.
    assert serve(stack, reviews(FILMS, SERVED_FILMS, seed=3)) > 0.95
    story.wait_for_log(ASKED + SERVED_FILMS)
    report = story.check("--since", "1h", status=NO_DRIFT)
    assert report.compared.texts == ASKED + SERVED_FILMS

    # Products come, and people label them.
    began = time.time()
    products = reviews(PRODUCTS, SERVED_PRODUCTS, seed=4)
    before = serve(stack, products)
    assert before < 0.8
    for at, (text, label) in enumerate(products):
        body = {"text": text, "label": label, "source": SOURCES[at % 3], "audit": at % 10 == 0}
        assert stack.request("POST", "/feedback", body).status == 201
    story.wait_for_log(ASKED + SERVED_FILMS + SERVED_PRODUCTS)
    assert len(read_labelled_reviews(story.folder / "new")) == SERVED_PRODUCTS

    # Drift is found and explained, a challenger trained and promoted; the running server answers with it.
    report = story.check(
        *(
            "--since",
            f"{time.time() - began:.3f}s",
            "--retrain",
            "--min-new-labels",
            200,
            "--old-dataset-path",
            story.folder / "films",
        ),
        *("--combined-dataset-path", story.folder / "combined"),
        *("--retrain-args", f"--runs-dir {story.folder / 'runs'} --data-dir {story.folder / 'datasets'}"),
        status=DRIFT,
    )
    assert report.compared.texts == SERVED_PRODUCTS
    new_words, old_words = (set(kind["words"].split()) for kind in (PRODUCTS, FILMS))
    assert len(set(report.words) & (new_words | old_words)) > 5
    assert "error" in report.summary().alarms
    challenger = story.store.current_id()
    assert challenger != champion
    wait_for(lambda: served() == challenger, 20)
    assert read_state(story.store.path).last_retrain.outcome == "promoted"
    (entry,) = DecisionLog(story.store.path).entries()
    holdout = entry["gate"]["figures"]["holdout"]
    assert holdout["difference"] >= 0.015
    assert entry["gate"]["figures"]["golden"]["lower_bound"] >= -0.01
    assert serve(stack, reviews(PRODUCTS, 100, seed=5)) > before + 0.1
    assert serve(stack, reviews(FILMS, 100, seed=6)) > 0.95

    # Somebody takes it back: the old one answers, and stays.
    story.run(retraining.main, "rollback", "--model-dir", story.store.path)
    assert story.store.current_id() == champion
    wait_for(lambda: served() == champion, 20)
    assert "hold" in story.run(retraining.main, "history", "--model-dir", story.store.path)
    assert [entry["action"] for entry in DecisionLog(story.store.path).entries()] == ["promote", "rollback"]
