"""A run in shards from its options: the plan, the shards that are left, and the end."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from textclf.data.tables.formats import CSV, TSV
from textclf.data.tables.header import Wanted
from textclf.drift.reference import REFERENCE_FILE
from textclf.environment import usable_cores
from textclf.errors import ConfigError, DatasetError
from textclf.files import sha256_of_file
from textclf.progress_bar import progress_bar
from textclf.sharding.csv_cuts import row_starts
from textclf.sharding.finishing import RunSummary, finish
from textclf.sharding.inputs import format_of, is_part, list_inputs
from textclf.sharding.ledger import Ledger
from textclf.sharding.locations import absolute_place
from textclf.sharding.messages import Outcome
from textclf.sharding.options import AS_INPUT, PROCESSES, RAY, ShardOptions
from textclf.sharding.output_folder import OutputFolder
from textclf.sharding.plan import Part, Plan, needs_cuts
from textclf.sharding.reading import columns_of
from textclf.sharding.shard_scoring import ShardJob, manifest_hash
from textclf.sharding.text_input import lines_of, open_bytes, open_part
from textclf.store.model_store import ModelVersion, open_model
from textclf.urls import public_text

Say = Callable[[str], None]
_HEAD_BYTES = 1 << 16


class Model(Protocol):
    """The settings of a model that a run needs; textclf's Inference has them."""

    model_path: Path | str
    tokens_per_batch: int
    threads: int | None
    cascade: bool
    rules: Path | str | None


@dataclass
class ShardedRun:
    """Scores a data set in shards.

    Args:
        model: settings of the model.
        input_place: path, pattern or URL of the input.
        output_place: path or URL of the output folder.
        text_column: column of the texts.
        options: how shards are made and where they run.
        say: receives lines about the run.
    """

    model: Model
    input_place: str
    output_place: str
    text_column: str
    options: ShardOptions
    say: Say

    def run(self) -> RunSummary | None:
        """Score the shards that are left, and finish; with a shard's index only that one, and None.

        Raises:
            TextClfError: if the input, the model or the folder does not fit, or a shard can't be scored.
            OSError: if the storage fails.
        """
        version = open_model(Path(self.model.model_path))
        plan = self.plan(version)
        ledger = Ledger(OutputFolder(self.output_place), plan)
        ledger.open()
        options = self.options
        if options.finish:
            return finish(ledger, version.path, say=self.say)
        done = ledger.done()
        wanted = range(plan.shards) if options.shard_index is None else [options.shard_index]
        shards = [shard for shard in wanted if shard not in done]
        if done and options.shard_index is None:
            self.say(f"{ledger.folder}: {len(done):,} of {plan.shards:,} shards are done; {len(shards):,} are left")
        if shards:
            self._score(ShardJob(
                str(version.path.absolute()),
                ledger.folder.place,
                plan.to_json(),
                "" if self.model.rules is None else str(Path(self.model.rules).absolute()),
                self.model.threads or 1,
            ), plan, shards, len(done))  # fmt: skip
        if options.shard_index is not None:
            return None
        return finish(ledger, version.path, say=self.say)

    def plan(self, version: ModelVersion) -> Plan:
        """The plan of the run; it reads the listing of the input, and CSV files that several shards read.

        Raises:
            DatasetError: if there is no input, or it has no such column.
            ConfigError: if an option does not fit.
        """
        files = list_inputs(self.input_place)
        input_format, options, where = format_of(files), self.options, public_text(files[0].place)
        columns = columns_of(files[0], input_format, self.text_column)
        kept = ((options.id_column,) if options.id_column else ()) + tuple(options.keep)
        columns.check_kept(kept, where, options.id_column)
        as_input = CSV if input_format == TSV else input_format
        plan = Plan(
            files=files,
            input_format=input_format,
            shards=options.shards or 1,
            version=version.id,
            manifest_sha256=manifest_hash(version),
            text_column=columns.text,
            id_column=options.id_column,
            keep=tuple(options.keep),
            output_format=as_input if options.output_format == AS_INPUT else options.output_format,
            probabilities=options.probabilities,
            on_error=options.on_error,
            max_chars=options.max_chars,
            cascade=self.model.cascade,
            tokens_per_batch=self.model.tokens_per_batch,
            rules_sha256="" if self.model.rules is None else sha256_of_file(self.model.rules),
            drift=options.drift and version.has(REFERENCE_FILE) and version.has("engine"),
        )
        self._check_apart(plan)
        numbers = [number for number in range(len(files)) if needs_cuts(plan, number)]
        known = Ledger(OutputFolder(self.output_place), plan).known() if numbers else None
        if known is not None and replace(known, cuts={}) == plan:
            return known  # So that a pod for each shard does not read all CSV files.
        return replace(plan, cuts={number: _cuts(plan, number) for number in numbers})

    def _check_apart(self, plan: Plan) -> None:
        output = absolute_place(self.output_place)
        if is_part(self.input_place, f"{output}/{plan.name(0)}"):
            raise ConfigError(
                f"{public_text(output)}: expected an output outside of the input, found one that the next run would "
                f"read; name another one"
            )

    def _score(self, job: ShardJob, plan: Plan, shards: list[int], done: int) -> None:
        options = self.options
        counted = sum(_bytes(plan, shard) for shard in shards)
        left = itertools.count(done + 1)
        with progress_bar(counted, "scoring", "B", unit_scale=True, stays=True) as bar:
            # A local process tells what it has read; a shard elsewhere counts when it is done.
            is_local = options.engine == PROCESSES

            def on_outcome(shard: int, outcome: Outcome) -> None:
                if outcome.result is None:
                    return
                if not is_local:
                    bar.update(_bytes(plan, shard))
                errors = sum(outcome.result.errors.values())
                bar.clear()
                self.say(
                    f"shard {shard} scored ({next(left):,} of {plan.shards:,}): rows {outcome.result.rows:,}, errors "
                    f"{errors:,}, {outcome.seconds:.1f} s"
                )

            if options.engine == RAY:
                from textclf.sharding.ray_engine import score_on_ray

                score_on_ray(job, shards, options.processes, options.ray_address, on_outcome, self.say)
                return
            from textclf.sharding.local_engine import score_here, score_in_processes

            processes = options.processes or max(1, usable_cores() // job.threads)
            if processes == 1 or len(shards) == 1:
                score_here(job, shards, on_outcome, bar.update, self.say)
            else:
                score_in_processes(job, shards, processes, on_outcome, bar.update, self.say)


def _bytes(plan: Plan, shard: int) -> int:
    return sum(part.end - part.start for part in plan.parts(shard))


def _cuts(plan: Plan, number: int) -> tuple[int, ...]:
    """The starts of the first rows from each boundary of shards in a CSV file on."""
    file = plan.files[number]
    wanted = Wanted(plan.text_column, None)
    with open_part(Part(file, 0, file.size), plan.input_format, wanted, lambda _: None) as table:
        delimiter, skips_blanks = table.delimiter, table.skips_blanks  # type: ignore[union-attr]
        lines = table.lines_before_rows  # type: ignore[union-attr]
    with open_bytes(file) as raw:
        head = bytes(raw.read(_HEAD_BYTES))
        if b"\n" not in head and b"\r" in head:
            raise DatasetError(
                f"{public_text(file.place)}: expected lines that end in LF, found CR alone, at which a file can't be "
                f"cut; convert it (tr '\\r' '\\n' < FILE)"
            )
        header = sum(map(len, itertools.islice(lines_of(raw), lines)))
        found = row_starts(lines_of(raw), plan.boundaries(number), delimiter, skips_blanks)
        # A boundary inside the header: the first row starts after it.
        return tuple(max(at, header) if at else at for at in found)
