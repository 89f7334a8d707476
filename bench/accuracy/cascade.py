"""Accuracy of a version with its cascade and with its encoder alone: on its test texts, other texts, and stuffed texts.

Both stages score every text once; bench.accuracy.cascade_variants computes the predictions of each variant from their
logits. A repeated run skips finished sets.

    python -m bench.accuracy.cascade --model-path model --dataset-path datasets/aclImdb \
        --others products=DATA/amazon_multidomain --rename-label 0=neg --rename-label 1=pos

See bench/README.md.
"""

import hashlib
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np

from bench.accuracy.cascade_tables import calibration_table, exits_table, sets_table, stuffing_table
from bench.accuracy.cascade_variants import attack_results, labelled_results, read_by_both
from bench.accuracy.stuffing import ATTACKS, COUNTS, PRAISE_FILE, attacked_texts, read_words, stuffed
from bench.drift.texts import LabelledTexts
from bench.errors import BenchError
from bench.machine import describe_machine
from bench.reports import write_json
from bench.steps import Result, Steps
from textclf.cli.commands import Command
from textclf.cli.options import field_option
from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.readers import read_part
from textclf.environment import usable_cores
from textclf.label_column import match_labels
from textclf.runtime.loading import predictor_of_version
from textclf.runtime.predictor import Predictor
from textclf.stats.cascade_rules import CascadeSettings
from textclf.store.model_store import open_model

OWN = "its own"
# Default of the attacked class and the praised class, if the model has both.
_ATTACKED = ("neg", "pos")


def own_texts(path: Path, class_names: Sequence[str], renamed: Mapping[str, str]) -> LabelledTexts:
    """Read the test part of the version's own data set.

    Raises:
        DatasetError: if there is no data set.
        BenchError: if it has no test part, or a class that the model does not have.
    """
    part = find_parts(path).test
    if not part:
        raise BenchError(f"{path}: expected a data set with a test part, found none; accuracy is measured on it")
    return _read(part, class_names, renamed)


def all_texts(path: Path, class_names: Sequence[str], renamed: Mapping[str, str]) -> LabelledTexts:
    """Read all texts of a data set that the version was not trained on.

    Raises:
        DatasetError: if there is no data set.
        BenchError: if it has a class that the model does not have.
    """
    return _read(find_parts(path).paths, class_names, renamed)


def _read(paths: Sequence[Path], class_names: Sequence[str], renamed: Mapping[str, str]) -> LabelledTexts:
    parts = [read_part(path, DataOptions()) for path in paths]
    counts = sum((part.label_counts for part in parts), Counter[str]())
    names = match_labels(counts, class_names, renamed, has_positions=False).names
    if unknown := set(counts) - set(names):
        raise BenchError(
            f"{paths[0]}: expected the model's classes, {', '.join(class_names)}, got {', '.join(sorted(unknown))}; "
            f"map them with --rename-label OLD=NEW"
        )
    return LabelledTexts(
        [text for part in parts for text in part.texts], [names[label] for part in parts for label in part.labels]
    )


def sample(found: LabelledTexts, max_texts: int | None, seed: int) -> LabelledTexts:
    """Draw up to `max_texts` texts, the same for the same seed; None: all."""
    if max_texts is None or max_texts >= len(found):
        return found
    rows = sorted(random.Random(seed).sample(range(len(found)), max_texts))  # noqa: S311
    return LabelledTexts([found.texts[row] for row in rows], [found.labels[row] for row in rows])


def measured_set(
    predictor: Predictor, settings: CascadeSettings, found: LabelledTexts, say: Callable[[str], None]
) -> Result:
    """Return the results on a labelled set."""
    ids = {name: label_id for label_id, name in enumerate(predictor.class_names)}
    labels = np.array([ids[label] for label in found.labels], np.int64)
    return labelled_results(settings, read_by_both(predictor, found.texts, say), labels)


def measured_attack(
    predictor: Predictor, settings: CascadeSettings, texts: Sequence[str], wanted: str, say: Callable[[str], None]
) -> Result:
    """Return the results on stuffed texts."""
    return attack_results(settings, read_by_both(predictor, texts, say), predictor.class_names.index(wanted))


def attacks(counts: Sequence[int]) -> list[tuple[str, int]]:
    """Return all pairs of an attack and a number of words; zero words come once, with the first attack."""
    return [(attack, count) for attack in ATTACKS for count in counts if count or attack == next(iter(ATTACKS))]


def attacked_classes(class_names: Sequence[str], label: str | None, praised: str | None) -> tuple[str, str] | None:
    """Return the attacked class and the praised class; None if no option and no default names them.

    Raises:
        BenchError: if only one is given, both are the same, or one is not a class of the model.
    """
    if label is None and praised is None:
        return _ATTACKED if set(_ATTACKED) <= set(class_names) else None
    if label is None or praised is None or label == praised or not {label, praised} <= set(class_names):
        raise BenchError(
            f"--stuff-label, --praise-for: expected two of the model's classes, {', '.join(class_names)}, got "
            f"{label} and {praised}"
        )
    return label, praised


def digest(*of: object) -> str:
    """Return 12 hex digits that change with the values."""
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()[:12]


def _named_paths(_context: click.Context, _parameter: click.Parameter, text: str) -> dict[str, Path]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    found = {name.strip(): Path(path.strip()) for name, _, path in pairs}
    if not all(name and path for name, _, path in pairs) or len(found) < len(pairs) or OWN in found:
        raise click.BadParameter(f"expected different names with paths, NAME=PATH,NAME=PATH, got {text!r}")
    return found


@click.command(cls=Command)
@click.option("--model-path", default="model", help="Model store, or folder of a version with its engine/.")
@click.option(
    "--dataset-path",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Data set that the version was trained on; its test part is measured.",
)
@click.option(
    "--others",
    default="",
    callback=_named_paths,
    metavar="NAME=PATH,…",
    help="Other labelled sets with the same classes; all their texts are measured.",
)
@field_option(DataOptions, "rename_labels", help="Read the label OLD of these sets as NEW; may be repeated.")
@click.option(
    "--most", "max_texts", type=click.IntRange(1), help="Maximum number of texts of each set.", show_default="all"
)
@click.option("--stuff-label", help="Class whose texts are stuffed.", show_default="neg, if the model has neg and pos")
@click.option(
    "--praise-for", help="Class that the words of praise suggest.", show_default="pos, if the model has neg and pos"
)
@click.option(
    "--praise-words",
    default=PRAISE_FILE,
    show_default="bench/accuracy/praise_words.txt",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of words, one per line, most useful first.",
)
@click.option("--stuffed", "stuffed_texts", default=1000, type=click.IntRange(1), help="Number of test texts to stuff.")
@click.option("--seed", default=0, help="Random seed.")
@click.option(
    "--work-dir", default="runs/bench", type=click.Path(path_type=Path), help="Working folder for the results so far."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all results to this JSON file.")
def main(
    model_path: str,
    dataset_path: Path,
    others: dict[str, Path],
    rename_labels: dict[str, str],
    max_texts: int | None,
    stuff_label: str | None,
    praise_for: str | None,
    praise_words: Path,
    stuffed_texts: int,
    seed: int,
    work_dir: Path,
    json_path: Path | None,
) -> None:
    """Measure a version's cascade against its encoder alone, also on stuffed texts."""
    version = open_model(model_path)
    names = version.manifest.class_names
    classes, words = attacked_classes(names, stuff_label, praise_for), read_words(praise_words)
    predictor = predictor_of_version(version, threads=usable_cores())
    if predictor.cascade is None:
        why = version.manifest.cascade.get("why_off", "it was saved without one")
        raise BenchError(f"{version.path}: expected a version with a cascade, but {why}")
    settings = predictor.cascade.settings
    machine = describe_machine()
    click.echo(f"{machine}\nmodel {version.id}, {settings}")
    steps = Steps(work_dir.absolute() / version.id / "cascade.json", partial(click.echo, err=True))
    say = partial(click.echo, err=True)

    own = own_texts(dataset_path, names, rename_labels)
    sets = {OWN: own, **{name: all_texts(path, names, rename_labels) for name, path in others.items()}}
    results: dict[str, Result] = {}
    for name, everything in sets.items():
        found = sample(everything, max_texts, seed)
        step = f"{name}, {digest(found.texts, found.labels)}"
        results[name] = steps.run(step, partial(measured_set, predictor, settings, found, say))
    click.echo(f"\n{sets_table(results)}\n\n{exits_table(results)}\n\n{calibration_table(results)}")

    fooled: dict[str, Result] = {}
    if classes is not None:
        label, praised = classes
        texts = attacked_texts(own.texts, own.labels, label, stuffed_texts, seed)
        for attack, count in attacks(COUNTS):
            changed = stuffed(texts, attack, words[:count], seed)
            work = partial(measured_attack, predictor, settings, changed, praised, say)
            title = f"{count} words {attack}" if count else "as they are"
            fooled[title] = steps.run(f"{title}, {digest(changed, praised)}", work)
        click.echo(f"\n{len(texts):,} texts of the class {label}, called {praised}:\n\n{stuffing_table(fooled)}")
    if json_path is not None:
        content = {"machine": machine, "model": version.id, "options": click.get_current_context().params}
        write_json(json_path, {**content, "settings": settings.to_dict(), "sets": results, "stuffing": fooled})


if __name__ == "__main__":
    main()
