"""Encoders of the Hugging Face families as Keras layers: the outputs of transformers, gradients, handles, refusals."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from loopback_hub import running_hub
from multilingual import opinions
from safetensors.numpy import load_file, save_file

from textclf.config import TrainingOptions
from textclf.encoder_handles import handles_of
from textclf.errors import EncoderError
from textclf.hub.client import HubClient
from textclf.importing.checkpoint import FAMILIES, read_classifier, read_encoder
from textclf.runtime.backend import Timings
from textclf.training.classifier import ENCODER_INPUTS, build_classifier, ids_classifier, load_encoder
from textclf.training.encoders import resolve as encoders
from textclf.training.encoders.family_encoder import head_note, load_family_encoder
from textclf.training.encoders.preprocessing import LibraryPreprocessing, preprocessing_in, tokenize_texts
from textclf.training.encoders.resolve import resolve
from textclf.training.export.embedder import load_embedder
from textclf.training.fitting.checkpoints import RunDirectory
from textclf.training.fitting.masked_lm import Wordpieces, pretrain_mlm
from textclf.training.fitting.training_loop import LabelledIds, fit
from textclf.training.fused_bert.trainable_classifier import FUSED, trainable_classifier
from textclf.training.tf_setup import tf

CHECKPOINTS = Path(__file__).parents[2] / "importing" / "checkpoints"
ANSWERS = json.loads((CHECKPOINTS / "answers.json").read_text(encoding="utf-8"))
TEXTS = ANSWERS["texts"]
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def classifiers():
    """Of each family: strings -> logits, with the whole head of the checkpoint."""
    return {family: with_own_head(CHECKPOINTS / family) for family in FAMILIES}


def with_own_head(folder):
    preprocessing = preprocessing_in(folder, 48, name="preprocessing")
    original = read_classifier(folder, preprocessing.padding_id)
    classifier = build_classifier(preprocessing, load_encoder(folder, 48), len(original.class_names), 0.1)
    classifier.get_layer("classifier").set_weights(
        [original.weights[f"classifier/{part}"] for part in ("kernel", "bias")]
    )
    return classifier


def expected_logits(family):
    found = np.array(ANSWERS[family]["logits"])
    return np.concatenate([np.zeros_like(found), found], axis=1) if found.shape[1] == 1 else found


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(classifiers, family):
    found = classifiers[family](tf.constant(TEXTS)).numpy()
    np.testing.assert_allclose(found, expected_logits(family), atol=TOLERANCE)
    ids = tokenize_texts(classifiers[family].get_layer("preprocessing"), TEXTS)
    assert np.split(ids.ids, ids.offsets[1:-1])[7].tolist() == ANSWERS[family]["ids"][7]


@pytest.mark.parametrize("family", ["distilbert", "xlm-roberta"])
def test_the_fused_graph_computes_the_same(classifiers, family):
    fused = trainable_classifier(classifiers[family], 0.0, "float32", 0, 1e12)
    assert fused.name == FUSED
    ids = np.array([row[:9] for row in ANSWERS[family]["ids"] if len(row) == 9][:2] or [ANSWERS[family]["ids"][0]])
    inputs = dict(zip(ENCODER_INPUTS, map(tf.constant, (ids, np.ones_like(ids), np.zeros_like(ids))), strict=True))
    own = ids_classifier(classifiers[family])
    variables = own.trainable_variables
    gradients = []
    for model in (own, fused):
        with tf.GradientTape() as tape:
            logits = model(inputs, training=False)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits([1] * len(ids), logits))
        gradients.append([tf.convert_to_tensor(item).numpy() for item in tape.gradient(loss, variables)])
    for one, other, variable in zip(*gradients, variables, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4, err_msg=variable.name)
        # The softmax does not see the bias of a key.
        assert np.abs(one).max() > 0 or "key/bias" in variable.name
    types = [item for item in variables if "type_embeddings" in item.name]
    assert len(types) == FAMILIES[family].has_token_types


def test_the_loss_falls_with_masked_texts_first(classifiers, tmp_path):
    preprocessing = preprocessing_in(CHECKPOINTS / "distilbert", 24, name="preprocessing")
    classifier = build_classifier(preprocessing, load_encoder(CHECKPOINTS / "distilbert", 24), 2, 0.1)
    fused = trainable_classifier(classifier, 0.1, "float32", 0, 1e12)
    texts, labels = zip(*opinions(80), strict=True)
    ids = tokenize_texts(preprocessing, texts)
    options = TrainingOptions(epochs=4, init_lr=1e-2, batch_size=16, mlm_epochs=1, select="last", train_on="all")
    never = preprocessing.start_id, preprocessing.end_id
    words = Wordpieces(preprocessing.vocabulary_size, preprocessing.padding_id, preprocessing.mask_id, never)
    pretrain_mlm(fused, ids, words, options, RunDirectory(tmp_path / "mlm"))
    train = LabelledIds(ids, np.array([label == "pos" for label in labels], np.int32))
    result = fit(fused, train, None, ("neg", "pos"), options, "float32", 0, RunDirectory(tmp_path / "run"))
    assert result.history["loss"][-1] < result.history["loss"][0]


def rewritten(folder, target, prefix, architecture, without=()):
    """A copy of a checkpoint with other names of tensors and another architecture."""
    shutil.copytree(folder, target)
    tensors = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.startswith(without)}
    save_file({name.removeprefix(prefix): value for name, value in kept.items()}, target / "model.safetensors")
    config = json.loads((target / "config.json").read_bytes())
    (target / "config.json").write_text(json.dumps({**config, "architectures": [architecture]}))
    return target


@pytest.mark.parametrize(
    ("family", "prefix", "architecture", "head"),
    [
        ("distilbert", "distilbert.", "DistilBertModel", ("pre_classifier", "classifier")),
        ("xlm-roberta", "roberta.", "XLMRobertaModel", ("classifier",)),
        ("roberta", "", "RobertaForMaskedLM", ("classifier",)),
        ("bert", "bert.", "BertModel", ("classifier",)),
    ],
)
def test_other_heads_and_none(tmp_path, family, prefix, architecture, head):
    folder = rewritten(CHECKPOINTS / family, tmp_path / "base", prefix, architecture, head)
    base, whole = read_encoder(folder), read_encoder(CHECKPOINTS / family)
    assert set(whole.weights) - set(base.weights) == (
        set() if family == "bert" else {"pooler_transform/kernel", "pooler_transform/bias"}
    )
    for name, value in base.weights.items():
        np.testing.assert_array_equal(value, whole.weights[name])
    assert head_note(folder) == ("" if prefix else f"{architecture}: its head is left out")
    assert head_note(CHECKPOINTS / family).endswith("a new one is trained; the layer before it is kept")
    if family != "bert":
        poolers = [load_family_encoder(folder, seed)._named["pooler_transform/kernel"].numpy() for seed in (1, 1, 2)]
        np.testing.assert_array_equal(poolers[0], poolers[1])
        assert np.abs(poolers[0] - poolers[2]).max() > 0


def test_dropout_is_of_the_seed_and_the_step():
    ids = tf.constant([[0, 7, 8, 2]])
    inputs = dict(zip(ENCODER_INPUTS, (ids, tf.ones_like(ids), tf.zeros_like(ids)), strict=True))

    def outputs(seed):
        encoder = load_family_encoder(CHECKPOINTS / "roberta", seed)
        return [encoder(inputs, training=True)["pooled_output"].numpy() for _ in range(2)]

    first, again, other = outputs(0), outputs(0), outputs(1)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[0] - first[1]).max() > 0
    assert np.abs(first[0] - other[0]).max() > 0


def test_windows_and_both_ends_are_those_that_serve():
    for reading in ((12, "head", 0.25, 4), (12, "head+tail", 0.3, 1)):
        preprocessing = preprocessing_in(CHECKPOINTS / "xlm-roberta", *reading)
        assert isinstance(preprocessing, LibraryPreprocessing)
        tokenizer = preprocessing.text_tokenizer
        inputs = preprocessing(tf.constant(TEXTS[:20]))
        rows = [ids[: int(mask.sum())].tolist() for ids, mask in zip(
            inputs["input_word_ids"].numpy(), inputs["input_mask"].numpy(), strict=True)]  # fmt: skip
        assert rows == [window for text in tokenizer(TEXTS[:20]) for window in tokenizer.windows(text.ids)]
    assert not preprocessing.folds_case()


def test_embeddings_of_an_audit():
    engine = load_embedder(str(CHECKPOINTS / "xlm-roberta"), 32)
    assert engine.tokenizer.settings.max_length == 32
    encoder = load_family_encoder(CHECKPOINTS / "xlm-roberta")
    ids = engine.tokenizer([TEXTS[0]])[0].ids
    words = tf.constant([ids])
    inputs = dict(zip(ENCODER_INPUTS, (words, tf.ones_like(words), tf.zeros_like(words)), strict=True))
    expected = encoder(inputs)["sequence_output"].numpy().mean(axis=1)
    np.testing.assert_allclose(engine.run([ids], Timings()).logits, expected, atol=TOLERANCE)


@pytest.fixture(scope="module")
def hub():
    with running_hub() as hub:
        hub.add_folder("tests/multilingual", CHECKPOINTS / "xlm-roberta")
        yield hub


@pytest.mark.parametrize("prefix", ["", "hf://"])
def test_a_name_of_the_hub_records_its_commit(hub, tmp_path, monkeypatch, prefix):
    monkeypatch.setattr(encoders, "HubClient", lambda: HubClient(tmp_path, hub.endpoint))
    (commit,) = hub.models["tests/multilingual"]
    handles = handles_of(f"{prefix}tests/multilingual")
    folders = resolve(handles.model_name, handles.name_to_handle, handles.model_to_handle, tmp_path / "cache")
    assert handles.model_name == "multilingual"
    assert folders.encoder == folders.preprocessing
    assert folders.name_to_handle == f"{prefix}tests/multilingual@{commit}"
    assert (folders.encoder / "model.safetensors").is_file()
    # As a version records it, and again without the Hub.
    monkeypatch.setattr(encoders, "HubClient", lambda: HubClient(tmp_path, "http://127.0.0.1:9"))
    again = resolve("multilingual", folders.name_to_handle, folders.model_to_handle, tmp_path / "cache")
    assert again == folders
    assert handles_of(folders.name_to_handle).model_name == "multilingual"


def test_a_model_that_the_hub_lacks_is_one_line(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "HubClient", lambda: HubClient(tmp_path, hub.endpoint))
    with pytest.raises(EncoderError, match=r"no encoder at 'tests/absent'.*Hugging Face Hub: .*no such model"):
        resolve("x", "tests/absent", "", tmp_path / "cache")


@pytest.mark.parametrize(
    ("changes", "missing", "says"),
    [
        ({"model_type": "gpt2"}, "", "expected model_type bert, distilbert, roberta, xlm-roberta, found 'gpt2'"),
        ({"num_hidden_layers": 9}, "", "expected the tensor roberta.encoder.layer.8"),
        ({}, "tokenizer.json", "other families need tokenizer.json instead of vocab.txt"),
        ({}, "model.safetensors", "pickles can run code and are not read"),
    ],
)
def test_what_can_not_be_trained_is_one_line(tmp_path, changes, missing, says):
    folder = shutil.copytree(CHECKPOINTS / "xlm-roberta", tmp_path / "copy")
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(config | changes))
    (folder / missing).unlink() if missing else None

    def build():
        folders = resolve("x", str(folder), "", tmp_path / "cache")
        return load_encoder(folders.encoder, 40, 0, preprocessing_in(folders.preprocessing, 40).vocabulary_size)

    with pytest.raises(EncoderError) as caught:
        build()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_that_do_not_fit(tmp_path):
    with pytest.raises(EncoderError, match="max_length: expected at most 48"):
        load_encoder(CHECKPOINTS / "roberta", 49)
    with pytest.raises(EncoderError, match="--preprocess: expected none"):
        resolve("x", str(CHECKPOINTS / "roberta"), "other", tmp_path)
