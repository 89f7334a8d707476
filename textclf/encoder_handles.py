"""Resolves the short form of an encoder, `--encoder NAME_OR_HANDLE`, to its handles.

A handle is one of: a TF-Hub or Kaggle URL; a URL or path of a .tar.gz; a SavedModel folder; a Hugging Face folder; a
model of the Hugging Face Hub; a folder with encoder/ and preprocessing/; the name of a TF-Hub BERT; `minilm-l6`.
"""

import re
from dataclasses import dataclass

EMBEDDED_ENCODER = "minilm-l6"
_TF_HUB_NAME = r"(small_bert/)?bert_(en_uncased|en_cased|multi_cased)_L-\d+_H-\d+_A-\d+"
# A name of the Hub with a revision, as versions record it.
_HUB_REVISION = re.compile(r"[\w-][\w.-]*/[\w.-]+@[\w./-]+")
# TF-Hub writes bert_en_cased_L-12…, Kaggle bert-en-cased-l-12….
_CASING = r"(?<![A-Za-z])(en|multi)[-_](?:wwm[-_])?(uncased|cased)"


@dataclass(frozen=True)
class EncoderHandles:
    """Display name, encoder handle and preprocessing handle."""

    model_name: str
    name_to_handle: str
    model_to_handle: str


def handles_of(name_or_handle: str, preprocessing: str = "") -> EncoderHandles:
    """The handles for the short form.

    TF-Hub names (`small_bert/bert_en_uncased_L-4_H-512_A-8`) become URLs, with the preprocessing of the same casing
    unless `preprocessing` is given.
    """
    found = re.search(_CASING, name_or_handle)
    casing = "_".join(found.groups()) if found else "en_uncased"
    own_preprocessing = f"https://tfhub.dev/tensorflow/bert_{casing}_preprocess/3"
    known = re.search(_TF_HUB_NAME, name_or_handle)
    handle = name_or_handle
    if known and known.group(0) == name_or_handle:
        handle = f"https://tfhub.dev/tensorflow/{name_or_handle}/{1 if known.group(1) else 3}"
    name = known.group(0) if known else _name_in(name_or_handle)
    return EncoderHandles(name, handle, preprocessing or own_preprocessing)


def _name_in(handle: str) -> str:
    """The name of the encoder in a path, a URL or a name of the Hub, without its version and without credentials."""
    path = handle
    if handle.startswith("hf://") or _HUB_REVISION.fullmatch(handle):
        path = handle.removeprefix("hf://").partition("@")[0]
    elif "://" in handle:
        path = re.split("[?#]", handle.partition("://")[2])[0].rpartition("@")[2]
    words = [word for word in path.split("/") if word not in ("", ".", "..", "~", "versions") and not word.isdigit()]
    return re.sub(r"\.(tar\.gz|tgz|tar|zip)$", "", words[-1]) if words else "encoder"
