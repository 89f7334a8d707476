"""The wordpiece tokenizer of a version in the files of the Hugging Face libraries."""

import json
from pathlib import Path
from typing import Any

from textclf.files import atomic_file
from textclf.tokenization.tokenizer import MAX_WORD_BYTES, VOCABULARY_FILE, Tokenizer

TOKENIZER_FILE = "tokenizer.json"
_SPECIAL = {
    "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
}  # fmt: skip

# Characters that case folding removes and that occur in texts.
_IGNORED = "[\u00ad\u034f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
_UNKNOWN = {"unk_token": "[UNK]"}


def write_tokenizer(folder: Path, tokenizer: Tokenizer, max_length: int) -> None:
    """Write tokenizer.json, which pads a batch and truncates each text to its first `max_length` wordpieces.

    The library must be installed (extra hub).
    """
    from tokenizers import Tokenizer as LibraryTokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing

    vocabulary = {piece: position for position, piece in enumerate(tokenizer.vocabulary)}
    written: Any = LibraryTokenizer(WordPiece(vocabulary, max_input_chars_per_word=MAX_WORD_BYTES, **_UNKNOWN))
    written.normalizer = _normalizer(tokenizer.settings.lower_case)
    written.pre_tokenizer = BertPreTokenizer()
    written.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", tokenizer.start_id), ("[SEP]", tokenizer.end_id)],
    )
    written.enable_truncation(max_length)
    written.enable_padding(pad_id=tokenizer.padding_id)
    (folder / TOKENIZER_FILE).write_text(written.to_str(pretty=True), encoding="utf-8")


def _normalizer(lower_case: bool) -> Any:
    """The normalisation of textclf.tokenization.basic_tokenizer, except for case folding of rare letters.

    The library's own for BERT removes control characters, which are read as spaces here, and keeps compatibility forms.
    """
    from tokenizers import Regex
    from tokenizers.normalizers import NFKC, BertNormalizer, Replace, Sequence

    spaces = Replace(Regex(r"[\p{Cc}\p{Cf}]"), " ")
    if not lower_case:
        return Sequence([spaces, BertNormalizer(lowercase=False, strip_accents=False)])
    ignored = Replace(Regex(_IGNORED), "")
    sharp_s = Replace(Regex("[ßẞ]"), "ss")
    return Sequence([ignored, NFKC(), spaces, sharp_s, BertNormalizer(lowercase=True)])


def write_configuration(folder: Path, tokenizer: Tokenizer, max_length: int) -> None:
    """Write vocab.txt, tokenizer_config.json and special_tokens_map.json, which transformers reads."""
    with atomic_file(folder / VOCABULARY_FILE) as file:
        file.writelines(f"{piece}\n" for piece in tokenizer.vocabulary)
    special = {name: piece for name, piece in _SPECIAL.items() if piece in tokenizer.vocabulary}
    write_json(folder / "special_tokens_map.json", special)
    settings = {
        # BertTokenizer would replace the normalisation of tokenizer.json by its own.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "do_lower_case": tokenizer.settings.lower_case,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        "model_max_length": max_length,
    }
    write_json(folder / "tokenizer_config.json", {**settings, **special})


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
