"""Texts whose ids differ between a preprocessing SavedModel and the tokenizer that serves: a table, all zeros.

    python -m bench.tokenizer_parity --data datasets/aclImdb --data datasets/trec

Compares every text of the data sets, generated texts, and every code point alone, between letters and after a space;
with both truncations, lower-cased and cased. Takes about half an hour on two cores, most of it TensorFlow's.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from bench.unicode_texts import continuing, every_character, generated_texts, probe_vocabulary
from textclf import cli
from textclf.config import TRUNCATIONS, DataOptions
from textclf.data.layout import find_parts
from textclf.data.readers import read_part
from textclf.encoder_handles import EMBEDDED_ENCODER, handles_of

_MAX_LENGTH = 128


@click.command(cls=cli.Command)
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="A data set's folder or table; may be repeated.",
)
@click.option(
    "--encoder", default=EMBEDDED_ENCODER, show_default=True, help="Whose preprocessing is compared on the data sets."
)
@click.option(
    "--generated", type=click.IntRange(0), default=30_000, show_default=True, help="Number of generated texts."
)
@click.option("--code-points/--no-code-points", default=True, help="Compare every code point.")
def main(data: Sequence[Path], encoder: str, generated: int, code_points: bool) -> None:
    """Compare and print the table; exit with 1 if anything differs."""
    from textclf.training import encoders

    handles = handles_of(encoder)
    folder = encoders.resolve(handles.model_name, handles.name_to_handle, handles.model_to_handle).preprocessing
    texts = generated_texts(generated)
    differing = sum(_compared(source.name, encoder, folder, _texts_of(source)) for source in data)
    differing += _compared("generated", encoder, folder, texts)
    for lower_case in (True, False):
        with tempfile.TemporaryDirectory() as scratch:
            probe = exported_preprocessing(probe_vocabulary(texts), lower_case, Path(scratch))
            differing += _compared("generated", "their pieces", probe, texts)
        if code_points:
            with tempfile.TemporaryDirectory() as scratch:
                probe = exported_preprocessing(_vocabulary_of_characters(), lower_case, Path(scratch))
                for name, part in _code_point_texts():
                    differing += _compared(name, "every character", probe, part, TRUNCATIONS[:1])
    raise SystemExit(1 if differing else 0)


def _compared(
    name: str, vocabulary: str, folder: Path, texts: Sequence[str], truncations: Sequence[str] = TRUNCATIONS
) -> int:
    """The number of texts that differ, printed."""
    from textclf.training.preprocessing import TextPreprocessing
    from textclf.training.tokenizer_check import differing_texts, tokenizer_of_preprocessing

    total = 0
    for truncation in truncations:
        tokenizer = tokenizer_of_preprocessing(folder, _MAX_LENGTH, truncation)
        differing = differing_texts(TextPreprocessing(folder, _MAX_LENGTH, truncation), tokenizer, texts)
        case = "lower-cased" if tokenizer.settings.lower_case else "cased"
        click.echo(
            f"{name:24} {vocabulary:16} {case:12} {truncation:10} {len(texts):9,} texts {len(differing):6,} differ"
        )
        for text in differing[:3]:
            click.echo(f"    {ascii(text)[:300]}")
        total += len(differing)
    return total


def _texts_of(source: Path) -> list[str]:
    """All texts, repeats included, of both parts."""
    layout = find_parts(source)
    options = DataOptions(skip_undecodable=True)
    return [text for part in layout if part is not None for text in read_part(part, options).texts]


def _code_point_texts() -> Iterator[tuple[str, list[str]]]:
    characters = every_character()
    yield "code points alone", characters
    yield "between letters", [f"a{char}b" for char in characters]
    yield "after a space", [f"a {char}" for char in characters]
    yield "before marks", [f"a{char}\u302e\u0345\U0001d165b" for char in characters]


def _vocabulary_of_characters() -> list[str]:
    return continuing(char for char in every_character() if char not in " \r\n")


def exported_preprocessing(vocabulary: Sequence[str], lower_case: bool, folder: Path) -> Path:
    """A preprocessing SavedModel with this vocabulary."""
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
