"""Texts that a version marks as unusual: by kind, and of good texts of each set.

    python -m bench.accuracy.unusual --model-path my-models --data-dir DATA
    python -m bench.accuracy.unusual --model-path my-models --data-dir DATA --fit 200 --fit 2000 --fit 0

The kinds are those of unusual_texts.csv, written before the marks were made; good texts are the test parts of the sets
and the everyday sentences. With --fit, statistics fitted to training texts of the sets replace those of the version.

See bench/README.md.
"""

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np

from bench.accuracy.sentiment import EVERYDAY, SOURCES, everyday_sentences, read_source
from bench.arithmetic import markdown_table
from bench.errors import BenchError
from bench.reports import write_json
from bench.steps import Result
from textclf.cli.commands import Command
from textclf.runtime.unusual import UnusualTexts
from textclf.stats.intervals import wilson_interval
from textclf.store.model_store import open_model
from textclf.tokenization.tokenizer import Tokenizer
from textclf.training.unusual_training import fit_unusual
from textclf.unusual_reasons import REASONS

_FILE = Path(__file__).with_name("unusual_texts.csv")
# Every other kind in the file is the name of a language.
_OTHER_KINDS = ("numbers", "no words", "nonsense", "code")
LANGUAGES = "other languages"


def unusual_texts() -> dict[str, list[str]]:
    """The texts of unusual_texts.csv by kind, with all languages as one kind."""
    kinds: dict[str, list[str]] = {name: [] for name in (*_OTHER_KINDS, LANGUAGES)}
    with _FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kinds[row["kind"] if row["kind"] in _OTHER_KINDS else LANGUAGES].append(row["text"])
    return kinds


def marks(unusual: UnusualTexts, tokenizer: Tokenizer, texts: Sequence[str]) -> Result:
    """How many of the texts are marked, with the 95% interval of the share, by reason; and the texts by reason."""
    reasons = [
        unusual.reason(text, tokenized.wordpieces) for text, tokenized in zip(texts, tokenizer(texts), strict=True)
    ]
    counts = Counter(reasons)
    flagged = len(texts) - counts[None]
    return {
        "texts": len(texts),
        "flagged": flagged,
        "interval": wilson_interval(flagged, len(texts)),
        "reasons": {reason: counts[reason] for reason in REASONS},
        "of_each_text": reasons,
    }


def marks_table(results: dict[str, Result]) -> str:
    """A row per kind or set."""
    rows = []
    for name, row in results.items():
        low, high = row["interval"]
        share = f"{row['flagged'] / row['texts']:.1%} ({low:.1%} to {high:.1%})"
        rows.append((name, f"{row['texts']:,}", str(row["flagged"]), share, *map(str, row["reasons"].values())))
    return markdown_table(("texts of", "texts", "marked", "share (95%)", *REASONS), rows)


@click.command(cls=Command)
@click.option("--model-path", required=True, help="Model store, or folder of a version.")
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the sets.",
)
@click.option(
    "--unpacked-dir", default="datasets", type=click.Path(path_type=Path), help="Folder for unpacked archives."
)
@click.option("--fit", "sizes", multiple=True, type=int, help="Fit to this many training texts of the sets; 0: to all.")
@click.option("--max-texts", default=5000, help="Good texts of each set, chosen at random.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all results to this JSON file.")
def main(
    model_path: str,
    data_dir: Path,
    unpacked_dir: Path,
    sizes: tuple[int, ...],
    max_texts: int,
    json_path: Path | None,
) -> None:
    """Count the texts that a version marks as unusual."""
    version = open_model(model_path)
    tokenizer = Tokenizer.load(version.part("engine"))
    own = UnusualTexts.load(version.part("engine"))
    if own is None and not sizes:
        raise BenchError(
            f"{version.path}: expected statistics of usual texts, found none; export it again, or use --fit"
        )
    texts = unusual_texts()
    for name in SOURCES:
        texts[name] = _drawn(read_source(name, "test", data_dir, unpacked_dir).texts, max_texts)
    texts[EVERYDAY] = everyday_sentences()[0]
    fitted: dict[str, UnusualTexts] = {} if own is None or sizes else {f"version {version.id}": own}
    if sizes:
        train = [text for name in SOURCES for text in read_source(name, "train", data_dir, unpacked_dir).texts]
        for size in sizes:
            chosen = _drawn(train, size or len(train))
            fitted[f"{len(chosen):,} training texts"] = fit_unusual(chosen, tokenizer)
    results = {}
    for title, unusual in fitted.items():
        results[title] = {name: marks(unusual, tokenizer, some) for name, some in texts.items()}
        click.echo(f"\n{title}\n\n{marks_table(results[title])}")
    if json_path is not None:
        write_json(json_path, {"version": version.id, "results": results})


def _drawn(texts: Sequence[str], count: int) -> list[str]:
    return [texts[at] for at in np.random.default_rng(0).permutation(len(texts))[:count]]


if __name__ == "__main__":
    main()
