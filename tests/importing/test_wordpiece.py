"""BERT's tokenizer.json without the library: the same tokens, or the reason why the library stays."""

import json
import shutil
import subprocess
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from serving_stack import ROOT, serving_python

from bench.serving.unicode_texts import every_character, generated_texts, probe_vocabulary
from textclf.importing.importer import ImportOptions, import_classifier
from textclf.importing.wordpiece import OtherTokenizerError, own_or_library, own_tokenizer
from textclf.runtime.loading import predictor_of_version
from textclf.store.model_store import ModelStore
from textclf.tokenization.library_tokenizer import LibraryTokenizer
from textclf.tokenization.text_key import TextKeys
from textclf.tokenization.tokenizer import BERT_TOKENS, Tokenizer

FOLDER = Path(__file__).parent / "checkpoints"
SPECIAL = [
    "[SEP]", "a [SEP] b", "[SEP][CLS]", "[[SEP]]", "[sep] [Sep]", "[ SEP ]", "[S\0EP]", "no[MASK]space", "[UNK] [PAD]x",
]  # fmt: skip
LIMITS = ["a" * 100, "a" * 101, "é" * 100, "é" * 101, "[SEP]" * 3000, "e\u0301" * 5000, "word " * 3000]


def content_of(vocabulary, lower_case, **normalizer):
    """A tokenizer.json as transformers writes it for BERT."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": vocabulary.index(name), "content": name, **flags} for name in BERT_TOKENS]
    content = json.loads((FOLDER / "bert" / "tokenizer.json").read_bytes())
    content["added_tokens"] = added
    content["model"]["vocab"] = {piece: i for i, piece in enumerate(vocabulary)}
    content["normalizer"] |= {"lowercase": lower_case, **normalizer}
    for name, token in content["post_processor"]["special_tokens"].items():
        token["ids"] = [vocabulary.index(name)]
    return content


def pair(content, max_length=512):
    """The library's tokenizer and the own one."""
    library = LibraryTokenizer(json.dumps(content), max_length)
    return library, own_tokenizer(content, library)


def differences(texts, lower_case):
    library, own = pair(content_of(probe_vocabulary(texts), lower_case))
    found = []
    for text, expected, given in zip(texts, library(texts), own(texts), strict=True):
        pieces = [piece for *_, word in own.words(text) for piece in word]
        if expected != given or not expected.wordpieces == given.wordpieces == pieces:
            found.append(ascii(text))
    return found


@pytest.mark.parametrize("lower_case", [True, False])
def test_tokens_are_those_of_the_library(lower_case):
    answers = json.loads((FOLDER / "answers.json").read_text(encoding="utf-8"))
    texts = [*generated_texts(1500), *answers["texts"][:500], *SPECIAL, *LIMITS]
    assert differences(texts, lower_case) == []


@pytest.mark.statistics  # More than a million texts.
@pytest.mark.parametrize("lower_case", [True, False])
def test_tokens_of_every_character_and_of_many_texts(lower_case):
    texts = [*generated_texts(20_000, seed=1), *SPECIAL, *LIMITS]
    texts += [f"a{char}b{char}" for char in every_character()]
    marks = [char for char in every_character() if unicodedata.category(char).startswith("M")]
    texts += ["".join(marks[i] for i in row) for row in np.random.default_rng(0).integers(len(marks), size=(50_000, 6))]
    assert differences(texts, lower_case) == []


def change(**values):
    return lambda content: content.update(values)


def change_model(**values):
    return lambda content: content["model"].update(values)


def change_token(**values):
    return lambda content: content["added_tokens"][4].update(values)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (change_model(max_input_chars_per_word=50), "model: max_input_chars_per_word is 50"),
        (change(normalizer={"type": "Lowercase"}), "normalizer: type is 'Lowercase'"),
        (change(normalizer=None), "no normalizer"),
        (lambda content: content["normalizer"].update(strip_accents=False), "strip_accents differs from lowercase"),
        (lambda content: content["normalizer"].update(handle_chinese_chars=False), "handle_chinese_chars is False"),
        (change(pre_tokenizer={"type": "Whitespace"}), "pre_tokenizer: type is 'Whitespace'"),
        (change_token(lstrip=True), r"added token \[MASK\]: lstrip is True"),
        (change_token(content="[NEW]", id=400), r"added token '\[NEW\]'"),
        (lambda content: content["added_tokens"].pop(), r"\[MASK\] is no added token"),
        (lambda content: content["model"]["vocab"].update({"a\nb": 400}), "without line breaks"),
        (lambda content: content["model"]["vocab"].update(zz=401), "have gaps"),
    ],
)
def test_other_settings_keep_the_library(changed, reason):
    content = json.loads((FOLDER / "bert" / "tokenizer.json").read_bytes())
    changed(content)
    library = LibraryTokenizer(json.dumps(content), 48)
    with pytest.raises(OtherTokenizerError, match=reason):
        own_tokenizer(content, library)
    assert own_or_library(content, library, ["a"])[0] is library


def test_other_tokens_for_a_text_keep_the_library():
    content = json.loads((FOLDER / "bert" / "tokenizer.json").read_bytes())
    cased = {**content, "normalizer": {**content["normalizer"], "lowercase": False}}
    library = LibraryTokenizer(json.dumps(content), 48)
    assert own_or_library(cased, library, ["The Film"]) == (library, "the library gives a text other tokens")


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_version_has_the_own_tokenizer_and_answers_without_the_extra(tmp_path, family):
    said = []
    version = import_classifier(FOLDER / family, ModelStore(tmp_path), ImportOptions("x"), say=said.append)
    assert not any("extra hub" in line for line in said)
    assert isinstance(predictor_of_version(version).backend.tokenizer, Tokenizer)
    assert not version.has("engine/library_tokenizer.json")
    code = (
        "import sys; from inference import Inference; print(Inference(sys.argv[1]).predict('A [SEP] b').label); "
        "assert not {'tokenizers', 'safetensors', 'tensorflow'} & set(sys.modules)"
    )
    done = subprocess.run(
        [serving_python(), "-c", code, version.path], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() in version.manifest.class_names


def test_the_output_names_why_a_server_needs_the_extra(tmp_path):
    folder = Path(shutil.copytree(FOLDER / "bert", tmp_path / "copy"))
    content = json.loads((folder / "tokenizer.json").read_bytes())
    content["normalizer"]["strip_accents"] = False
    (folder / "tokenizer.json").write_text(json.dumps(content))
    said = []
    version = import_classifier(folder, ModelStore(tmp_path / "s"), ImportOptions("x"), say=said.append)
    assert version.has("engine/library_tokenizer.json")
    assert any("strip_accents" in line and "a server needs the extra hub" in line for line in said)


def test_texts_are_equal_if_their_tokens_are():
    content = json.loads((FOLDER / "bert" / "tokenizer.json").read_bytes())
    _, own = pair(content)
    keys = TextKeys(own)
    texts = [
        "the film",
        "The\0 FILM",
        "[SEP]",
        "[ SEP ]",
        "[sep]",
        "the\u200bfilm",
        "unknownäword [UNK]",
        "[UNK] [UNK]",
    ]
    by_key = {}
    for text in texts:
        by_key.setdefault(keys.of(text), set()).add(tuple(own([text])[0].ids))
    assert all(len(ids) == 1 for ids in by_key.values())
    assert len(by_key) == len({tuple(found.ids) for found in own(texts)})
