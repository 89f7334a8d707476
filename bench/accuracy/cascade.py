"""What a version's cascade brings: beside its encoder alone, on its own test texts, on others, and under attack.

Both stages read every text once; what each way to use them would have answered is arithmetic
(bench.accuracy.cascade_variants).
A set that was read is not read again.

    python -m bench.accuracy.cascade --model-path model --dataset-path datasets/aclImdb \
        --others products=DATA/amazon_multidomain --rename-label 0=neg --rename-label 1=pos

See bench/README.md.
"""

import hashlib
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

if not __package__:  # Run as a file: the packages lie beside its folder, not in it.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np

from bench.accuracy.cascade_tables import calibration_table, exits_table, sets_table, stuffing_table
from bench.accuracy.cascade_variants import attack_figures, labelled_figures, read_by_both
from bench.accuracy.stuffing import ATTACKS, COUNTS, PRAISE_FILE, attacked_texts, read_words, stuffed
from bench.drift.texts import LabelledTexts
from bench.errors import BenchError
from bench.machine import describe_machine
from bench.reports import write_json
from bench.steps import Figures, Steps
from textclf.cli.commands import Command
from textclf.cli.options import renames
from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.readers import read_part
from textclf.environment import usable_cores
from textclf.runtime.loading import predictor_of_version
from textclf.runtime.predictor import Predictor
from textclf.stats.cascade_rules import CascadeSettings
from textclf.store.model_store import open_model

OWN = "its own"
# The class that is attacked, and the one that praise speaks for, where the model has both and nothing is said.
_ATTACKED = ("neg", "pos")


def own_texts(path: Path, class_names: Sequence[str], renamed: Mapping[str, str]) -> LabelledTexts:
    """The test part of the version's own data set.

    Raises:
        DatasetError: there is no data set.
        BenchError: it has no test part, or other classes than the model.
    """
    part = find_parts(path).test
    if part is None:
        raise BenchError(f"{path}: expected a data set with a test part; accuracy is measured on nothing else")
    return _read([part], class_names, renamed)


def all_texts(path: Path, class_names: Sequence[str], renamed: Mapping[str, str]) -> LabelledTexts:
    """All texts of a data set that nothing of the version was trained on.

    Raises:
        DatasetError: there is no data set.
        BenchError: it has other classes than the model.
    """
    return _read([part for part in find_parts(path) if part is not None], class_names, renamed)


def _read(paths: Sequence[Path], class_names: Sequence[str], renamed: Mapping[str, str]) -> LabelledTexts:
    parts = [read_part(path, DataOptions(rename_labels=dict(renamed))) for path in paths]
    unknown = set().union(*(part.classes for part in parts)) - set(class_names)
    if unknown:
        raise BenchError(
            f"{paths[0]}: expected the model's classes, {', '.join(class_names)}, got {', '.join(sorted(unknown))}; "
            f"map them with --rename-label OLD=NEW"
        )
    return LabelledTexts([t for part in parts for t in part.texts], [label for part in parts for label in part.labels])


def sample(found: LabelledTexts, most: int | None, seed: int) -> LabelledTexts:
    """So many of the texts, the same for the same seed; all, if there are no more."""
    if most is None or most >= len(found):
        return found
    rows = sorted(random.Random(seed).sample(range(len(found)), most))  # noqa: S311
    return LabelledTexts([found.texts[row] for row in rows], [found.labels[row] for row in rows])


def measured_set(
    predictor: Predictor, settings: CascadeSettings, found: LabelledTexts, say: Callable[[str], None]
) -> Figures:
    """The figures of a labelled set."""
    ids = {name: label_id for label_id, name in enumerate(predictor.class_names)}
    labels = np.array([ids[label] for label in found.labels], np.int64)
    return labelled_figures(settings, read_by_both(predictor, found.texts, say), labels)


def measured_attack(
    predictor: Predictor, settings: CascadeSettings, texts: Sequence[str], wanted: str, say: Callable[[str], None]
) -> Figures:
    """The figures of stuffed texts."""
    return attack_figures(settings, read_by_both(predictor, texts, say), predictor.class_names.index(wanted))


def attacks(counts: Sequence[int]) -> list[tuple[str, int]]:
    """Every attack with every number of words; texts as they are come once, under the first."""
    return [(attack, count) for attack in ATTACKS for count in counts if count or attack == next(iter(ATTACKS))]


def attacked_classes(class_names: Sequence[str], label: str | None, praised: str | None) -> tuple[str, str] | None:
    """The class that is attacked and the one that praise speaks for; None where nothing says which.

    Raises:
        BenchError: only one is given, or one is no class.
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
    """12 hex digits that change with the values."""
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()[:12]


def _named_paths(_context: click.Context, _parameter: click.Parameter, text: str) -> dict[str, Path]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    found = {name.strip(): Path(path.strip()) for name, _, path in pairs}
    if not all(name and path for name, _, path in pairs) or len(found) < len(pairs) or OWN in found:
        raise click.BadParameter(f"expected different names with paths, NAME=PATH,NAME=PATH, got {text!r}")
    return found


@click.command(cls=Command)
@click.option("--model-path", default="model", help="A model store, or a version's folder, with its engine/.")
@click.option(
    "--dataset-path",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="What the version was trained on: its test part is measured.",
)
@click.option(
    "--others",
    default="",
    callback=_named_paths,
    metavar="NAME=PATH,…",
    help="Other labelled sets of the same classes; all of their texts are measured.",
)
@click.option(
    "--rename-label",
    "renamed",
    multiple=True,
    metavar="OLD=NEW",
    callback=renames,
    help="What a label of these sets is called in the model; may be repeated.",
)
@click.option("--most", type=click.IntRange(1), help="Texts of each set, drawn by chance.", show_default="all")
@click.option("--stuff-label", help="Class whose texts are stuffed.", show_default="neg, where there are neg and pos")
@click.option("--praise-for", help="Class that the words speak for.", show_default="pos, where there are neg and pos")
@click.option(
    "--praise-words",
    default=PRAISE_FILE,
    show_default="bench/accuracy/praise_words.txt",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="One a line; the first so many are used.",
)
@click.option("--stuffed", "stuffed_texts", default=1000, type=click.IntRange(1), help="Test texts that are stuffed.")
@click.option("--seed", default=0, help="Of all chance.")
@click.option("--work-dir", default="runs/bench", type=click.Path(path_type=Path), help="For the figures so far.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write every figure here.")
def main(
    model_path: str,
    dataset_path: Path,
    others: dict[str, Path],
    renamed: tuple[tuple[str, str], ...],
    most: int | None,
    stuff_label: str | None,
    praise_for: str | None,
    praise_words: Path,
    stuffed_texts: int,
    seed: int,
    work_dir: Path,
    json_path: Path | None,
) -> None:
    """Measure what a version's cascade brings, and what stuffed texts do to it."""
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

    own = own_texts(dataset_path, names, dict(renamed))
    sets = {OWN: own, **{name: all_texts(path, names, dict(renamed)) for name, path in others.items()}}
    figures: dict[str, Figures] = {}
    for name, everything in sets.items():
        found = sample(everything, most, seed)
        step = f"{name}, {digest(found.texts, found.labels)}"
        figures[name] = steps.run(step, partial(measured_set, predictor, settings, found, say))
    click.echo(f"\n{sets_table(figures)}\n\n{exits_table(figures)}\n\n{calibration_table(figures)}")

    fooled: dict[str, Figures] = {}
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
        write_json(json_path, {**content, "settings": settings.to_dict(), "sets": figures, "stuffing": fooled})


if __name__ == "__main__":
    main()
