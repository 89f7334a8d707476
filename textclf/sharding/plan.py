"""The plan of a run: its input, its shards, and everything else that the content of the output depends on.

Shard i of N gets the bytes from i/N to (i + 1)/N of all files in a row. So the boundaries depend on the listing of the
input and on N only. Within a file, a line belongs to the shard in whose bytes it starts, and a row of Parquet to the
one at its share of the row group.
"""

import bisect
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Self

from textclf.data.tables.formats import CSV, JSONL, TSV
from textclf.errors import InputError
from textclf.sharding.inputs import InputFile

FORMAT = 1
# Hex digits of the hash in names of files.
_HASH_DIGITS = 12


class Part(NamedTuple):
    """Bytes of an input file that a shard reads: those from `start` to `end` - 1, with the lines that start there."""

    file: InputFile
    start: int
    end: int


@dataclass(frozen=True)
class Plan:
    """Everything that the output depends on; equal plans give equal bytes.

    Attributes:
        files: input files in their order.
        input_format: format of the files (textclf.data.tables.formats).
        shards: number of shards.
        version: id of the model version.
        manifest_sha256: hash of its manifest, which has the hashes of its files.
        text_column: column of the texts.
        id_column: column that identifies rows; "" for none.
        keep: further columns that are kept.
        output_format: "parquet", "csv" or "jsonl".
        probabilities: whether the probability of each class is written.
        on_error: "column" or "stop".
        max_chars: maximum characters of a text.
        cascade: whether the linear stage predicts the texts it is sure of.
        tokens_per_batch: maximum tokens of a batch.
        rules_sha256: hash of the file of rules; "" for none.
        drift: whether each shard samples texts for the drift report.
        cuts: by number of a CSV file, the start of the first row from each boundary of shards in it on.
    """

    files: tuple[InputFile, ...]
    input_format: str
    shards: int
    version: str
    manifest_sha256: str
    text_column: str
    id_column: str
    keep: tuple[str, ...]
    output_format: str
    probabilities: bool
    on_error: str
    max_chars: int
    cascade: bool
    tokens_per_batch: int
    rules_sha256: str
    drift: bool
    cuts: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @cached_property
    def starts(self) -> list[int]:
        """Position of the first byte of each file among the bytes of all files, and at last the number of bytes."""
        starts = [0]
        for file in self.files:
            starts.append(starts[-1] + file.size)
        return starts

    @property
    def kept(self) -> tuple[str, ...]:
        """The columns of the input that are written, in their order."""
        return ((self.id_column,) if self.id_column else ()) + self.keep

    def bounds(self, shard: int) -> tuple[int, int]:
        """The bytes of a shard among the bytes of all files, from the first up to the second."""
        return self.starts[-1] * shard // self.shards, self.starts[-1] * (shard + 1) // self.shards

    def parts(self, shard: int) -> Iterator[Part]:
        """The parts of files that a shard reads; none for a shard of a compressed file that another shard reads."""
        low, high = self.bounds(shard)
        first, last = bisect.bisect_right(self.starts, low) - 1, bisect.bisect_left(self.starts, high)
        for number, file in enumerate(self.files[first:last], first):
            start, end = max(low - self.starts[number], 0), min(high - self.starts[number], file.size)
            if file.is_compressed:
                if low <= self.starts[number] < high:
                    yield Part(file, 0, file.size)
            elif start < end:
                part = Part(file, self._cut(number, start), self._cut(number, end))
                if part.start < part.end:
                    yield part

    def boundaries(self, number: int) -> list[int]:
        """Positions in a file at which one shard ends and the next one starts, without the ends of the file."""
        first, last = self.starts[number], self.starts[number + 1]
        total = self.starts[-1]
        # The first shard that starts after the beginning of the file.
        shard = first * self.shards // total
        found = []
        while shard <= self.shards and (at := total * shard // self.shards) < last:
            if at > first:
                found.append(at - first)
            shard += 1
        return sorted(set(found))

    def _cut(self, number: int, at: int) -> int:
        """The position where the row starts that is the first from `at` on; `at` itself except in CSV."""
        return self._row_starts[number].get(at, at) if number in self.cuts else at

    @cached_property
    def _row_starts(self) -> dict[int, dict[int, int]]:
        """By number of a CSV file: each boundary of shards in it, and the start of the first row from there on."""
        return {number: dict(zip(self.boundaries(number), cuts, strict=True)) for number, cuts in self.cuts.items()}

    def to_json(self) -> str:
        """The plan as JSON; equal plans give equal texts."""
        values = asdict(self)
        values["cuts"] = {str(number): cuts for number, cuts in sorted(self.cuts.items())}
        return json.dumps({"format": FORMAT, **values}, ensure_ascii=False, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, content: bytes, place: str) -> Self:
        """The plan of to_json().

        Raises:
            InputError: if the content is no plan, or one of other software.
        """
        try:
            values: dict[str, Any] = json.loads(content)
            if values.pop("format") != FORMAT:
                raise ValueError("another format")
            values["files"] = tuple(InputFile(**file) for file in values["files"])
            values["keep"] = tuple(values["keep"])
            values["cuts"] = {int(number): tuple(cuts) for number, cuts in values["cuts"].items()}
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{place}: expected the plan of a run in shards ({error}); write to another folder"
            ) from error

    @cached_property
    def hash(self) -> str:
        """The hash of the plan in the names of its files."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:_HASH_DIGITS]

    def name(self, shard: int) -> str:
        """The name of a shard's file."""
        return f"{self.stem(shard)}.{self.output_format}"

    def stem(self, shard: int) -> str:
        """The name of a shard's file without its ending."""
        return f"part-{shard:05d}-of-{self.shards:05d}-{self.version}-{self.hash}"

    def differences(self, other: "Plan") -> list[str]:
        """The differences from another plan, in words."""
        groups = {
            f"version {other.version}": ("version", "manifest_sha256"),
            "other inputs": ("files", "input_format", "cuts"),
            f"{other.shards} shards": ("shards",),
            "other rules": ("rules_sha256",),
        }
        named = {name for names in groups.values() for name in names}
        found = [
            group
            for group, names in groups.items()
            if any(getattr(self, name) != getattr(other, name) for name in names)
        ]
        options = [name for name in asdict(self) if name not in named and getattr(self, name) != getattr(other, name)]
        return found + [f"{name} {getattr(other, name)!r}" for name in options]


def needs_cuts(plan: Plan, number: int) -> bool:
    """Whether several shards read a file of CSV, in which a line need not start a row."""
    file = plan.files[number]
    return plan.input_format in (CSV, TSV) and not file.is_compressed and bool(plan.boundaries(number))


def is_lines(plan: Plan) -> bool:
    """Whether each line of the input is a row."""
    return plan.input_format == JSONL
