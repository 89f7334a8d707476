"""Which shards of a run are done, and what the folder may not be mixed with."""

from dataclasses import dataclass

from textclf.errors import InputError
from textclf.listing import shortened
from textclf.sharding.output_folder import PLAN, SHARDS, OutputFolder
from textclf.sharding.plan import Plan
from textclf.sharding.shard_scoring import ShardResult

_OTHER_FOLDER = "name another folder with --output, or empty this one"


@dataclass(frozen=True)
class Ledger:
    """The folder of a run, read as the list of its shards.

    Args:
        folder: the output.
        plan: the run.
    """

    folder: OutputFolder
    plan: Plan

    def known(self) -> Plan | None:
        """The plan that the folder has; None without one.

        Raises:
            InputError: if it is damaged.
        """
        content = self.folder.read(PLAN)
        return None if content is None else Plan.from_json(content, f"{self.folder}/{PLAN}")

    def open(self) -> None:
        """Create the folder with the plan, or check that the folder has this plan.

        Processes that do so at the same time write equal bytes.

        Raises:
            InputError: if the folder has the shards of another run.
            OSError: if it can't be written.
        """
        content = self.folder.read(PLAN)
        if content is not None and content != self.plan.to_json().encode():
            known = Plan.from_json(content, f"{self.folder}/{PLAN}")
            differences = "; ".join(self.plan.differences(known)) or "another order of the same options"
            raise InputError(f"{self.folder}: has the shards of a run with {differences}; {_OTHER_FOLDER}")
        names = self.folder.names()
        own = {self.plan.name(shard) for shard in range(self.plan.shards)}
        if others := sorted(name for name in names - own if name.startswith("part-")):
            raise InputError(f"{self.folder}: has files of another run ({shortened(others)}); {_OTHER_FOLDER}")
        self.folder.create()
        if content is None:
            self.folder.write(PLAN, self.plan.to_json().encode())

    def done(self) -> set[int]:
        """The numbers of the shards whose file and record are there."""
        names, records = self.folder.names(), self.folder.names(SHARDS)
        suffixes = (".json", ".npz") if self.plan.drift else (".json",)
        return {
            shard
            for shard in range(self.plan.shards)
            if self.plan.name(shard) in names and all(self.plan.stem(shard) + suffix in records for suffix in suffixes)
        }

    def result(self, shard: int) -> ShardResult:
        """The record of a shard that is done.

        Raises:
            InputError: if it is missing or damaged.
        """
        name = f"{SHARDS}/{self.plan.stem(shard)}.json"
        return ShardResult.from_json(self.folder.read(name) or b"", f"{self.folder}/{name}")
