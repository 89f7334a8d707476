"""Options of `textclf score --shards`."""

from dataclasses import dataclass

from textclf.config import Config
from textclf.data.tables.formats import CSV, JSONL, PARQUET
from textclf.fields import choice, switch, text, texts, whole

COLUMN, STOP = "column", "stop"
PROCESSES, RAY = "processes", "ray"
AS_INPUT = "input"
# More shards than this would not fit the names of their files.
MAX_SHARDS = 99_999


@dataclass(frozen=True)
class ShardOptions(Config):
    """How a data set is scored in shards: what is written, and where the shards run."""

    shards: int | None = whole(
        None, "Number of shards; --output is then a folder or URL.", min=1, max=MAX_SHARDS, shown="one file, no shards"
    )
    output_format: str = choice(
        AS_INPUT, "Format of the shards; input is that of the input.", (AS_INPUT, PARQUET, CSV, JSONL)
    )
    id_column: str = text("", "Column that identifies a row; it is the first column of the output.", shown="none")
    keep: tuple[str, ...] = texts("Column of the input to keep; may be repeated.")
    probabilities: bool = switch(False, "Write the probability of every class, as p:<class>.")
    on_error: str = choice(
        COLUMN, "Fill the column `error` of a row that can't be scored, or stop the run at it.", (COLUMN, STOP)
    )
    max_chars: int = whole(1_000_000, "Maximum characters of a text; a longer one is an error of its row.", min=1)
    drift: bool = switch(True, "Compare a sample of the texts with the training reference.", flag="--drift/--no-drift")
    engine: str = choice(PROCESSES, "Where shards are scored: local processes, or actors of Ray.", (PROCESSES, RAY))
    processes: int | None = whole(
        None, "Number of processes or actors that score.", min=1, shown="usable cores / threads; in Ray one CPU less"
    )
    ray_address: str = text("", "Address of a Ray cluster, such as ray-head:6379.", shown="RAY_ADDRESS, else local")
    shard_index: int | None = whole(
        None, "Score only this shard, counted from 0.", envvar="JOB_COMPLETION_INDEX", shown="all shards"
    )
    finish: bool = switch(False, "Only write _SUCCESS, after every shard was scored.")
    kubernetes_job: str = text(
        "", "Print an Indexed Job that runs this command on this image, one pod per shard.", metavar="IMAGE", shown="no"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range = self.shard_index is None or self.shards is None or self.shard_index < self.shards
        self._check("shard_index", in_range, "a number below --shards")
        names = [name for name in (self.id_column, *self.keep) if name]
        self._check("keep", len(set(names)) == len(names), "different columns, other than --id-column")
