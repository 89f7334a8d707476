"""Numbers of texts whose ids differ between a preprocessing SavedModel and the tokenizer that serves; all must be 0.

    python -m bench.serving.tokenizer_parity --data datasets/aclImdb --data datasets/trec

It compares the texts of the data sets, generated texts, and every code point alone, between letters and after a space,
with both truncations, lower-cased and cased. It takes about half an hour on two cores.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from bench.serving.unicode_texts import continuing, every_character, generated_texts, probe_vocabulary
from textclf.cli.commands import Command
from textclf.config import TRUNCATIONS, DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.readers import read_part
from textclf.encoder_handles import EMBEDDED_ENCODER, handles_of

_MAX_LENGTH = 128


@click.command(cls=Command)
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="Folder or table of a data set; may be repeated.",
)
@click.option(
    "--encoder",
    default=EMBEDDED_ENCODER,
    show_default=True,
    help="Encoder whose preprocessing is compared on the data sets.",
)
@click.option(
    "--generated", type=click.IntRange(0), default=30_000, show_default=True, help="Number of generated texts."
)
@click.option("--code-points/--no-code-points", default=True, help="Compare every code point.")
def main(data: Sequence[Path], encoder: str, generated: int, code_points: bool) -> int:
    """Print the table; exit with 1 if a text differs."""
    from textclf.training.encoders import resolve as encoders

    handles = handles_of(encoder)
    folder = encoders.resolve(handles.model_name, handles.name_to_handle, handles.model_to_handle).preprocessing
    differing = sum(_compared(source.name, encoder, folder, _texts_of(source)) for source in data)
    if generated:
        texts = generated_texts(generated)
        differing += _compared("generated", encoder, folder, texts)
        differing += _compared_with_probe("their pieces", probe_vocabulary(texts), {"generated": texts})
    if code_points:
        vocabulary = continuing(char for char in every_character() if char not in " \r\n")
        # Code points are never truncated: one truncation is enough.
        differing += _compared_with_probe("every character", vocabulary, _code_point_texts(), TRUNCATIONS[:1])
    return 1 if differing else 0


def _compared(
    name: str, vocabulary: str, folder: Path, texts: Sequence[str], truncations: Sequence[str] = TRUNCATIONS
) -> int:
    """Print and return the number of texts that differ."""
    from textclf.training.encoders.preprocessing import TextPreprocessing
    from textclf.training.export.tokenizer_parity import differing_texts, tokenizer_of_preprocessing

    total = 0
    for truncation in truncations:
        preprocessing = TextPreprocessing(folder, _MAX_LENGTH, truncation)
        tokenizer = tokenizer_of_preprocessing(preprocessing)
        differing = differing_texts(preprocessing, tokenizer, texts)
        case = "lower-cased" if tokenizer.settings.lower_case else "cased"
        click.echo(
            f"{name:24} {vocabulary:16} {case:12} {truncation:10} {len(texts):9,} texts {len(differing):6,} differ"
        )
        for text in differing[:3]:
            click.echo(f"    {ascii(text)[:300]}")
        total += len(differing)
    return total


def _compared_with_probe(
    name: str, vocabulary: Sequence[str], sets: Mapping[str, Sequence[str]], truncations: Sequence[str] = TRUNCATIONS
) -> int:
    """Compare sets of texts with a vocabulary made for them, lower-cased and cased."""
    total = 0
    for lower_case in (True, False):
        with tempfile.TemporaryDirectory() as scratch:
            folder = exported_preprocessing(vocabulary, lower_case, Path(scratch))
            total += sum(_compared(set_name, name, folder, texts, truncations) for set_name, texts in sets.items())
    return total


def _texts_of(source: Path) -> list[str]:
    """Read all texts of both parts, with repeats."""
    return read_part(find_parts(source).paths, DataOptions(skip_undecodable=True)).texts


def _code_point_texts() -> dict[str, list[str]]:
    characters = every_character()
    return {
        "code points alone": characters,
        "between letters": [f"a{char}b" for char in characters],
        "after a space": [f"a {char}" for char in characters],
        "before marks": [f"a{char}\u302e\u0345\U0001d165b" for char in characters],
    }


def exported_preprocessing(vocabulary: Sequence[str], lower_case: bool, folder: Path) -> Path:
    """Export a preprocessing SavedModel with this vocabulary; return its folder."""
    from textclf.training.tf_setup import tf  # noqa: F401, I001 (before the exporter imports TensorFlow)
    from official.nlp.tools import export_tfhub_lib

    source = folder / "vocab.txt"
    source.write_bytes("\n".join(vocabulary).encode() + b"\n")
    target = folder / "preprocessing"
    export_tfhub_lib.export_preprocessing(
        str(target),
        vocab_file=str(source),
        do_lower_case=lower_case,
        tokenize_with_offsets=False,
        default_seq_length=128,
    )
    return target


if __name__ == "__main__":
    main()
