"""Which part of a data set the name of a file or folder stands for, and which shard of the part."""

import re
from pathlib import PurePath
from typing import NamedTuple

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# `eval` is the test part, unless there is another one: then it is the validation part.
EVALUATION = "evaluation"
_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing", "tst"), TEST),
    **dict.fromkeys(("eval", "evaluation"), EVALUATION),
}
# As the Hugging Face Hub names shards; older files end with a hash.
_SHARD = re.compile(r"(?P<stem>.*?)[-_.](?P<number>\d+)[-_]of[-_](?P<total>\d+)(?:-[0-9a-f]{8,64})?")
# A number that counts files: 0, 12, 0007; 2024 is rather a year.
_COUNT = re.compile(r"\d{1,3}|0\d+")
_SEPARATORS = re.compile(r"[-_. ]+")


class PartName(NamedTuple):
    """The meaning of a name.

    Attributes:
        part: TRAIN, VALIDATION, TEST or EVALUATION; "" if the name has no word for a part, or several.
        affixes: the other words of the name, with `*` for the part: "*" for train.csv, "imdb *" for imdb-train.csv.
            Parts of one data set have the same ones.
        number, total: number of the shard, and how many there are; None if the name does not contain it.
    """

    part: str
    affixes: str
    number: int | None = None
    total: int | None = None


def part_name(name: str) -> PartName:
    """The part and the shard that a file or folder name stands for, in any case; `name` may have suffixes."""
    first = _meaning(name.partition(".")[0])
    # The rest of train.v2.csv is not part of its name, but the rest of imdb.train.csv is.
    return first if first.part else _meaning(_without_suffixes(name))


def _meaning(stem: str) -> PartName:
    number = total = None
    if match := _SHARD.fullmatch(stem):
        stem, number, total = match["stem"], int(match["number"]), int(match["total"])
    words = [word for word in _SEPARATORS.split(stem.lower()) if word]
    if total is None and words and _COUNT.fullmatch(words[-1]) and _part_of(words[:-1]):
        number = int(words.pop())
    part = _part_of(words)
    affixes = ["*" if part and word in _WORDS else word for word in words]
    return PartName(part, " ".join(affixes), number, total)


def _part_of(words: list[str]) -> str:
    """The part that the first or the last word names, if no other word names one."""
    found = [i for i, word in enumerate(words) if word in _WORDS]
    return _WORDS[words[found[0]]] if len(found) == 1 and found[0] in (0, len(words) - 1) else ""


def _without_suffixes(name: str) -> str:
    path = PurePath(name)
    return PurePath(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
