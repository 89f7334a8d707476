"""The short form of an encoder, `--encoder NAME_OR_HANDLE`, and what it stands for.

A handle is one of: a TF-Hub or Kaggle URL; a URL or path of a .tar.gz; a SavedModel folder; a Hugging Face
BERT folder; a folder that holds encoder/ and preprocessing/; the name of a TF-Hub BERT; `minilm-l6`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

EMBEDDED_ENCODER = "minilm-l6"
_TF_HUB_NAME = re.compile(r"(small_bert/)?bert_(en_uncased|en_cased|multi_cased)_L-\d+_H-\d+_A-\d+")


@dataclass(frozen=True)
class EncoderHandles:
    """A name for people, and the handles of the encoder and of its preprocessing."""

    model_name: str
    name_to_handle: str
    model_to_handle: str


def handles_of(name_or_handle: str, preprocessing: str = "") -> EncoderHandles:
    """The handles behind the short form.

    Names of TF-Hub (`small_bert/bert_en_uncased_L-4_H-512_A-8`) become their URLs, with the
    preprocessing of the same casing. `preprocessing`, where given, is used instead.
    """
    known = _TF_HUB_NAME.search(name_or_handle)
    casing = known.group(2) if known else "en_uncased"
    own_preprocessing = f"https://tfhub.dev/tensorflow/bert_{casing}_preprocess/3"
    handle = name = name_or_handle
    if known and known.group(0) == name_or_handle:
        handle = f"https://tfhub.dev/tensorflow/{name_or_handle}/{1 if known.group(1) else 3}"
    elif known:
        name = known.group(0)
    else:
        name = Path(urlsplit(name_or_handle).path).name.removesuffix(".gz").removesuffix(".tar") or name_or_handle
    return EncoderHandles(name, handle, preprocessing or own_preprocessing)
