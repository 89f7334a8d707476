"""The tokenizer of a version in the files of the Hugging Face libraries."""

import json
from pathlib import Path
from typing import Any

from textclf.files import atomic_file
from textclf.tokenization.library_tokenizer import LibraryTokenizer
from textclf.tokenization.text_tokenizer import TextTokenizer
from textclf.tokenization.tokenizer import (
    BERT_TOKENS,
    HUGGING_FACE,
    MAX_WORD_BYTES,
    VOCABULARY_FILE,
    TokenizerSettings,
)

TOKENIZER_FILE = "tokenizer.json"

# Characters that case folding removes and that occur in texts.
_IGNORED = "[\u00ad\u034f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
_UNKNOWN = {"unk_token": "[UNK]"}


def write_tokenizer(folder: Path, tokenizer: TextTokenizer, max_length: int) -> None:
    """Write tokenizer.json, which pads a batch and truncates each text to its first `max_length` wordpieces.

    The library must be installed (extra hub).
    """
    written = _library_of(tokenizer)
    written.enable_truncation(max_length)
    written.enable_padding(pad_id=tokenizer.padding_id, pad_token=tokenizer.vocabulary[tokenizer.padding_id])
    (folder / TOKENIZER_FILE).write_text(written.to_str(pretty=True), encoding="utf-8")


def _library_of(tokenizer: TextTokenizer) -> Any:
    from tokenizers import Tokenizer as Library
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing

    if isinstance(tokenizer, LibraryTokenizer):
        return Library.from_str(tokenizer.content)
    vocabulary = {piece: position for position, piece in enumerate(tokenizer.vocabulary)}
    written: Any = Library(WordPiece(vocabulary, max_input_chars_per_word=MAX_WORD_BYTES, **_UNKNOWN))
    written.normalizer = _normalizer(tokenizer.settings)
    written.pre_tokenizer = BertPreTokenizer()
    written.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", tokenizer.start_id), ("[SEP]", tokenizer.end_id)],
    )
    if tokenizer.settings.normalisation == HUGGING_FACE:
        written.add_special_tokens(list(BERT_TOKENS))  # A text may contain them.
    return written


def _normalizer(settings: TokenizerSettings) -> Any:
    """The normalisation of the tokenizer; that of TensorFlow Text except for case folding of rare letters.

    The library's own for BERT removes control characters, which are read as spaces here, and keeps compatibility forms.
    """
    from tokenizers import Regex
    from tokenizers.normalizers import NFKC, BertNormalizer, Replace, Sequence

    if settings.normalisation == HUGGING_FACE:
        return BertNormalizer(lowercase=settings.lower_case)
    spaces = Replace(Regex(r"[\p{Cc}\p{Cf}]"), " ")
    if not settings.lower_case:
        return Sequence([spaces, BertNormalizer(lowercase=False, strip_accents=False)])
    ignored = Replace(Regex(_IGNORED), "")
    sharp_s = Replace(Regex("[ßẞ]"), "ss")
    return Sequence([ignored, NFKC(), spaces, sharp_s, BertNormalizer(lowercase=True)])


def write_configuration(folder: Path, tokenizer: TextTokenizer, max_length: int, has_token_types: bool) -> None:
    """Write tokenizer_config.json, special_tokens_map.json and, for WordPiece, vocab.txt, which transformers reads.

    `has_token_types` tells whether the encoder takes the type of each token.
    """
    is_own = not isinstance(tokenizer, LibraryTokenizer)
    if is_own:
        with atomic_file(folder / VOCABULARY_FILE) as file:
            file.writelines(f"{piece}\n" for piece in tokenizer.vocabulary)
    special = _special_tokens(tokenizer)
    write_json(folder / "special_tokens_map.json", special)
    types = ["token_type_ids"] if is_own and has_token_types else []
    settings = {
        # BertTokenizer would replace the normalisation of tokenizer.json by its own.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "do_lower_case": tokenizer.settings.lower_case,
        "model_input_names": ["input_ids", *types, "attention_mask"],
        "model_max_length": max_length,
    }
    write_json(folder / "tokenizer_config.json", {**settings, **special})


def _special_tokens(tokenizer: TextTokenizer) -> dict[str, str]:
    ids = {
        "pad_token": tokenizer.padding_id,
        "unk_token": tokenizer.unknown_id,
        "cls_token": tokenizer.start_id,
        "sep_token": tokenizer.end_id,
    }
    if tokenizer.mask_id != tokenizer.unknown_id:
        ids["mask_token"] = tokenizer.mask_id
    return {name: tokenizer.vocabulary[token] for name, token in ids.items()}


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
