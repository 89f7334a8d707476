"""From tokenizer.json of a BERT model to textclf's own tokenizer, if it gives the same tokens."""

from collections.abc import Mapping, Sequence
from typing import Any

from textclf.errors import ConfigError
from textclf.tokenization.library_tokenizer import LibraryTokenizer
from textclf.tokenization.text_tokenizer import TextTokenizer
from textclf.tokenization.tokenizer import BERT_TOKENS, HUGGING_FACE, MAX_WORD_BYTES, Tokenizer

_MODEL = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": MAX_WORD_BYTES,
}
_NORMALIZER = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
_ADDED_TOKEN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


class OtherTokenizerError(Exception):
    """Why a tokenizer needs the library of Hugging Face."""


def own_or_library(
    content: Mapping[str, Any], library: LibraryTokenizer, texts: Sequence[str]
) -> tuple[TextTokenizer, str]:
    """The own tokenizer, or `library` and the reason why.

    Args:
        content: tokenizer.json.
        library: the tokenizer of the same content.
        texts: texts whose tokens must be equal.
    """
    try:
        own = own_tokenizer(content, library)
    except OtherTokenizerError as error:
        return library, str(error)
    if own(texts) != library(texts):
        return library, "the library gives a text other tokens"
    return own, ""


def own_tokenizer(content: Mapping[str, Any], library: LibraryTokenizer) -> Tokenizer:
    """The tokenizer that gives the tokens of `library` without it.

    Args:
        content: tokenizer.json.
        library: the tokenizer of the same content.

    Raises:
        OtherTokenizerError: if it has settings that textclf's tokenizer does not have.
    """
    model = _section(content, "model")
    _compare("model", model, _MODEL)
    normalizer = _section(content, "normalizer")
    _compare("normalizer", normalizer, _NORMALIZER)
    lower_case = normalizer.get("lowercase")
    if normalizer.get("strip_accents") not in (None, lower_case):
        raise OtherTokenizerError(f"strip_accents differs from lowercase = {lower_case!r}")
    _compare("pre_tokenizer", _section(content, "pre_tokenizer"), {"type": "BertPreTokenizer"})
    vocabulary = _vocabulary(model)
    _check_added_tokens(content.get("added_tokens"), vocabulary)
    if (vocabulary[library.start_id], vocabulary[library.end_id]) != ("[CLS]", "[SEP]"):
        raise OtherTokenizerError("the markers of a text are not [CLS] and [SEP]")
    try:
        return Tokenizer(vocabulary, bool(lower_case), library.settings.max_length, normalisation=HUGGING_FACE)
    except ConfigError as error:
        raise OtherTokenizerError(str(error)) from error


def _section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = content.get(name)
    if not isinstance(found, dict):
        raise OtherTokenizerError(f"no {name}")
    return found


def _compare(name: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for key, value in expected.items():
        if found.get(key) != value:
            raise OtherTokenizerError(f"{name}: {key} is {found.get(key)!r:.50}")


def _vocabulary(model: Mapping[str, Any]) -> list[str]:
    """The tokens by their ids, which have no gaps."""
    ids = model["vocab"]
    pieces = sorted(ids, key=ids.__getitem__)
    if [ids[piece] for piece in pieces] != [*range(len(pieces))]:
        raise OtherTokenizerError("the ids of the vocabulary have gaps")
    return pieces


def _check_added_tokens(added: Any, vocabulary: Sequence[str]) -> None:
    found = set()
    for token in added or ():
        name = str(token["content"])
        if name not in BERT_TOKENS:
            raise OtherTokenizerError(f"added token {name[:50]!r}")
        _compare(f"added token {name}", token, _ADDED_TOKEN)
        if vocabulary[token["id"] : token["id"] + 1] != [name]:
            raise OtherTokenizerError(f"added token {name} has another id")
        found.add(name)
    if missing := [name for name in BERT_TOKENS if name not in found]:
        raise OtherTokenizerError(f"{', '.join(missing)} is no added token")
