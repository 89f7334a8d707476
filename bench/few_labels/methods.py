"""The methods of the comparison; each learns from a sample and returns probabilities of the tested texts."""

import csv
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from bench.errors import BenchError
from bench.few_labels.encoder import Classifier, Encoder, FineTuning
from bench.few_labels.samples import LabelledTexts, Task
from bench.retraining.runs import run
from textclf.environment import usable_cores
from textclf.runtime.loading import load_predictor
from textclf.stats.calibration import softmax
from textclf.store.model_store import ModelStore
from textclf.training.encoders.preprocessing import TokenizedTexts
from textclf.training.fitting.probe import fit_probe

FloatArray = npt.NDArray[np.float64]

_SETFIT_WORKER = Path(__file__).with_name("setfit_worker.py")


@dataclass(frozen=True, eq=False)
class Problem:
    """A sample of a task, and the seed of its random choices."""

    task: Task
    sample: LabelledTexts
    seed: int

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        return len(self.task.class_names)


@dataclass(frozen=True, eq=False)
class Answer:
    """Probabilities of the tested texts, float64 [texts, K], and the seconds of learning, without those of testing."""

    probabilities: FloatArray
    seconds: float


@dataclass(frozen=True, eq=False)
class Bench:
    """Settings that all methods share.

    Attributes:
        handle: the encoder, as for --encoder.
        checkpoint: folder of the same encoder for sentence-transformers.
        max_length: wordpieces at which all methods but TF-IDF cut a text.
        recipe: options of train_model.py for the recipe.
        setfit_python: interpreter that has SetFit.
        tested_vectors: means of the frozen encoder's outputs for the tested texts, by task; probe() fills it.
    """

    handle: str
    checkpoint: Path | None
    max_length: int
    recipe: tuple[str, ...]
    setfit_python: Path | None
    tested_vectors: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, loaded at the first use."""
        return Encoder(self.handle, self.max_length)


def tf_idf(_bench: Bench, problem: Problem) -> Answer:
    """Logistic regression on TF-IDF of words and pairs of words."""
    began = time.perf_counter()
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
    model.fit(problem.sample.texts, problem.sample.labels)
    seconds = time.perf_counter() - began
    return Answer(model.predict_proba(problem.task.tested.texts), seconds)


def probe(bench: Bench, problem: Problem) -> Answer:
    """Logistic regression on the means of the frozen encoder's outputs."""
    classifier = bench.encoder.classifier(problem.classes, "mean")
    began = time.perf_counter()
    vectors = classifier.vectors(bench.encoder.tokenized(problem.sample.texts))
    kernel, bias = fit_probe(vectors, problem.sample.labels, problem.classes)
    seconds = time.perf_counter() - began
    if problem.task.name not in bench.tested_vectors:
        bench.tested_vectors[problem.task.name] = classifier.vectors(bench.encoder.tokenized(problem.task.tested.texts))
    return Answer(softmax(bench.tested_vectors[problem.task.name] @ kernel + bias), seconds)


def plain(bench: Bench, problem: Problem) -> Answer:
    """Fine-tuning with the output for [CLS] and a random classification layer, on all texts, last epoch."""

    def learn(classifier: Classifier, texts: TokenizedTexts, problem: Problem) -> None:
        classifier.start_at_random(problem.seed)
        classifier.fit(texts, problem.sample.labels, FineTuning(), problem.seed)

    return _fitted(bench, problem, "cls", learn)


def lp_ft(bench: Bench, problem: Problem) -> Answer:
    """Fine-tuning on means from the probe (Kumar et al. 2022), on all texts, last epoch."""

    def learn(classifier: Classifier, texts: TokenizedTexts, problem: Problem) -> None:
        _start_from_probe(classifier, texts, problem)
        classifier.fit(texts, problem.sample.labels, FineTuning(), problem.seed)

    return _fitted(bench, problem, "mean", learn)


def recipe(bench: Bench, problem: Problem) -> Answer:
    """The command of a user: train_model.py with the recipe; the saved version is measured with its engine."""
    with tempfile.TemporaryDirectory() as folder:
        data, store = Path(folder, "data"), Path(folder, "model")
        _write_part(data / "train.csv", problem.sample, problem.task.class_names)
        # The command measures its version on these texts too; nothing is chosen by them.
        _write_part(data / "test.csv", problem.task.tested, problem.task.class_names)
        paths = ("--dataset-path", data, "--model-dir", store, "--runs-dir", Path(folder, "runs"))
        options = ("--encoder", bench.handle, "--max-length", bench.max_length, "--seed", problem.seed, *bench.recipe)
        began = time.perf_counter()
        run("train_model.py", *paths, *options, log=Path(folder, "log"))
        seconds = time.perf_counter() - began
        # A version that is no better than the largest class does not become current.
        saved = ModelStore(store)
        version = saved.open(saved.version_ids()[-1])
        if version.manifest.class_names != problem.task.class_names:
            raise BenchError(f"expected the classes {problem.task.class_names}, got {version.manifest.class_names}")
        predictor = load_predictor(version.path, threads=usable_cores(), cascade=False)
        found = predictor.predict_batch(problem.task.tested.texts).predictions
        return Answer(np.array([list(one.probabilities.values()) for one in found]), seconds)


def setfit(bench: Bench, problem: Problem) -> Answer:
    """SetFit (Tunstall et al. 2022) on the same checkpoint, in its own environment."""
    if bench.setfit_python is None or bench.checkpoint is None:
        raise BenchError("setfit: expected --setfit-python and --checkpoint, got none; give both, or choose --methods")
    with tempfile.TemporaryDirectory() as folder:
        job, result = Path(folder, "job.json"), Path(folder, "result.json")
        content = {
            "checkpoint": str(bench.checkpoint.resolve()),
            "texts": problem.sample.texts,
            "labels": problem.sample.labels.tolist(),
            "tested": problem.task.tested.texts,
            "max_length": bench.max_length,
            "threads": usable_cores(),
            "seed": problem.seed,
            "folder": folder,
        }
        job.write_text(json.dumps(content), encoding="utf-8")
        # The worker reads a folder; nothing may be looked up.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        command = [str(bench.setfit_python), str(_SETFIT_WORKER), str(job), str(result)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise BenchError(f"setfit: ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
        found = json.loads(result.read_bytes())
        return Answer(np.array(found["probabilities"]), found["seconds"])


# Methods by name; the titles are those of tables.
METHODS: Mapping[str, tuple[str, Callable[[Bench, Problem], Answer]]] = {
    "tf-idf": ("TF-IDF + logistic regression", tf_idf),
    "probe": ("probe", probe),
    "plain": ("plain fine-tuning", plain),
    "lp-ft": ("LP-FT", lp_ft),
    "setfit": ("SetFit", setfit),
    "recipe": ("this project, `--recipe auto`", recipe),
}


def _fitted(
    bench: Bench, problem: Problem, pooling: str, learn: Callable[[Classifier, TokenizedTexts, Problem], None]
) -> Answer:
    """Learn with a classifier that has the encoder's first weights; the seconds include tokenizing."""
    classifier = bench.encoder.classifier(problem.classes, pooling)
    began = time.perf_counter()
    learn(classifier, bench.encoder.tokenized(problem.sample.texts), problem)
    seconds = time.perf_counter() - began
    return Answer(softmax(classifier.logits(bench.encoder.tokenized(problem.task.tested.texts))), seconds)


def _start_from_probe(classifier: Classifier, texts: TokenizedTexts, problem: Problem) -> None:
    classifier.start_from(*fit_probe(classifier.vectors(texts), problem.sample.labels, problem.classes))


def _write_part(path: Path, part: LabelledTexts, names: tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([text, names[label]] for text, label in zip(part.texts, part.labels, strict=True))
