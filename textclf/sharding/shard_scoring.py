"""Scores one shard: a part of the input becomes one file of the output, which is complete or absent."""

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from textclf.drift.reference import REFERENCE_FILE, Projection, load_projection
from textclf.errors import InputError, ModelStoreError, RuleError
from textclf.files import sha256_of_file
from textclf.rules.loading import with_rules
from textclf.runtime.apart import chunks, predict_apart
from textclf.runtime.feature_extraction import text_features
from textclf.runtime.loading import predictor_of_version
from textclf.runtime.prediction import Prediction
from textclf.runtime.predictor import Predictor
from textclf.sharding.drift_sample import ShardSample, sample_bytes, sample_size
from textclf.sharding.options import STOP
from textclf.sharding.output_folder import PLAN, SHARDS, HashingFile, OutputFolder
from textclf.sharding.plan import Plan
from textclf.sharding.reading import InputRow, Problem, ShardReader
from textclf.sharding.writers import OutputColumns, output_columns, row_writer
from textclf.store.manifest import MANIFEST_FILE
from textclf.store.model_store import ModelVersion, open_model

# Fields of a record that count by name.
COUNTED = ("labels", "errors", "stages", "unusual")
_RULE = Problem("rule", "a rule that fails")


@dataclass(frozen=True)
class ShardResult:
    """The sums of a shard, as its record in the folder contains it; equal shards have equal records.

    Attributes:
        shard: number of the shard, from 0.
        file: name of its file.
        sha256: hash of the file.
        rows: rows of the input.
        scored: rows with a prediction.
        labels: predictions by label.
        errors: rows without a prediction, by reason.
        stages: predictions by stage of the cascade; empty without one.
        unusual: unusual texts by reason.
    """

    shard: int
    file: str
    sha256: str
    rows: int
    scored: int
    labels: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    stages: dict[str, int] = field(default_factory=dict)
    unusual: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        """The record as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, content: bytes, place: str) -> Self:
        """The record of to_json().

        Raises:
            InputError: if the content is damaged.
        """
        try:
            found = cls(**json.loads(content))
            counts = [count for name in COUNTED for count in getattr(found, name).values()]
            if not all(type(number) is int for number in (found.shard, found.rows, found.scored, *counts)):
                raise TypeError("a number of another type")
            return found
        except (TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{place}: damaged ({error}); remove the shard's files, and run the command again"
            ) from error


@dataclass(frozen=True)
class ShardJob:
    """Everything that a process needs to score shards of a run.

    Attributes:
        model_path: folder of the version; on every machine.
        output: place of the output; the same on every machine.
        plan: JSON of the plan.
        rules: path of the rules; "" for none.
        threads: threads of the engine.
    """

    model_path: str
    output: str
    plan: str
    rules: str = ""
    threads: int = 1


@dataclass
class ShardScorer:
    """Scores shards of a run with one loaded model; load() comes first.

    Args:
        job: the run.
        on_bytes: called with the number of bytes of the input that were read since the last call.
    """

    job: ShardJob
    on_bytes: Callable[[int], None] = field(default=lambda _: None)

    def load(self) -> None:
        """Check that the model, the rules and the folder are those of the run, and load the model.

        Raises:
            ModelStoreError: if the version is another one, or damaged.
            InputError: if the rules or the folder are others.
            ConfigError: if a rule is invalid.
        """
        plan = self.plan = Plan.from_json(self.job.plan.encode(), self.job.output)
        self.folder = OutputFolder(self.job.output)
        check_same_run(plan, self.job, self.folder)
        version = open_model(Path(self.job.model_path))
        self.predictor = with_rules(
            predictor_of_version(version, plan.tokens_per_batch, self.job.threads, plan.cascade), self.job.rules or None
        )
        self.columns: OutputColumns = output_columns(plan, self.predictor)
        self.projection: Projection | None = load_projection(version.part(REFERENCE_FILE)) if plan.drift else None

    def score(self, shard: int) -> ShardResult:
        """Score a shard, and write its record and its file; a shard that is done is scored again.

        Raises:
            InputError: if a row is bad and the plan stops at one, or a row can't be written.
            DatasetError: if the input can't be read.
            OSError: if the storage fails.
        """
        plan, counts = self.plan, _Counts()
        sample = ShardSample(sample_size(plan.shards), (int(plan.hash, 16), shard)) if plan.drift else None
        with self.folder.new_file(plan.name(shard)) as file:
            hashed = HashingFile(file)
            writer = row_writer(plan, self.columns, hashed)  # type: ignore[arg-type]
            try:
                rows = ShardReader(plan, self.on_bytes).rows(shard)
                for row, prediction, problem in scored_rows(rows, self.predictor, plan.on_error == STOP):
                    writer.write(row.kept, prediction, None if problem is None else problem.words)
                    counts.add(prediction, problem)
                    if sample is not None and prediction is not None:
                        sample.add(row.text)
                writer.close()
            except BaseException:
                writer.abandon()
                raise
            result = counts.result(shard, plan.name(shard), hashed.sha256)
            # The file comes last: where it is, its record is, too.
            if sample is not None:
                texts = sample.texts
                features = text_features(self.predictor, texts, self.projection) if texts else None
                self.folder.write(f"{SHARDS}/{plan.stem(shard)}.npz", sample_bytes(sample, features))
            self.folder.write(f"{SHARDS}/{plan.stem(shard)}.json", result.to_json().encode())
        return result


def check_same_run(plan: Plan, job: ShardJob, folder: OutputFolder) -> None:
    """Check on a machine that the model, the rules and the folder are those of the plan.

    Raises:
        ModelStoreError: if the version is another one.
        InputError: if the rules are others, or the folder does not have this plan.
    """
    where = socket.gethostname()
    version = open_model(Path(job.model_path))
    if (version.id, manifest_hash(version)) != (plan.version, plan.manifest_sha256):
        raise ModelStoreError(
            f"{where}: expected version {plan.version} with the manifest {plan.manifest_sha256[:12]}…, found "
            f"{version.id} with {manifest_hash(version)[:12]}… in {job.model_path}; copy one version to every machine"
        )
    if job.rules and sha256_of_file(job.rules) != plan.rules_sha256:
        raise InputError(f"{where}: {job.rules}: expected the rules of the run, found others; copy one file everywhere")
    if folder.read(PLAN) != job.plan.encode():
        raise InputError(
            f"{where}: expected {folder} to be shared by all machines, found another folder or none; use a shared file "
            f"system or a URL"
        )


def manifest_hash(version: ModelVersion) -> str:
    """The hash of a version's manifest, which has the hashes of its files."""
    return sha256_of_file(version.path / MANIFEST_FILE)


def scored_rows(
    rows: Iterable[InputRow], predictor: Predictor, stops: bool
) -> Iterator[tuple[InputRow, Prediction | None, Problem | None]]:
    """Each row with its prediction or its problem, in order.

    Rows are predicted in chunks that depend on the rows only, so equal rows give equal predictions.

    Raises:
        InputError: if a row has a problem, and `stops`.
    """
    for chunk in chunks(rows, lambda row: row.text):
        good = [row.text for row in chunk if row.problem is None]
        found = iter(list(predict_apart(good, predictor.predict)))
        for row in chunk:
            problem = row.problem
            prediction = None
            if problem is None:
                outcome = next(found)
                if isinstance(outcome, Prediction):
                    prediction = outcome
                elif isinstance(outcome, RuleError):
                    problem = _RULE
                else:
                    raise outcome
            if problem is not None and stops:
                raise InputError(
                    f"{row.place}: {problem.words}; correct the row, or write such rows with --on-error column"
                )
            yield row, prediction, problem


class _Counts:
    def __init__(self) -> None:
        self.rows = self.scored = 0
        self.counters: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}

    def add(self, prediction: Prediction | None, problem: Problem | None) -> None:
        self.rows += 1
        if problem is not None:
            self.counters["errors"][problem.code] += 1
        if prediction is not None:
            self.scored += 1
            self.counters["labels"][prediction.label] += 1
            if prediction.stage is not None:
                self.counters["stages"][prediction.stage] += 1
            if prediction.unusual_reason is not None:
                self.counters["unusual"][prediction.unusual_reason] += 1

    def result(self, shard: int, name: str, sha256: str) -> ShardResult:
        counted: dict[str, Any] = {key: dict(sorted(counter.items())) for key, counter in self.counters.items()}
        return ShardResult(shard, name, sha256, self.rows, self.scored, **counted)
