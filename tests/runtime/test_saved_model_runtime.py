"""SavedModels of this project and of others as backends: real ones, made here from string operations."""

import gc
import subprocess
import sys
import threading

import numpy as np
import pytest
from word_models import THREE, TWO, counts_of_words, save_word_model

from textclf.errors import ModelStoreError
from textclf.runtime.backend import Timings
from textclf.runtime.predictor import Predictor
from textclf.runtime.saved_model import load_saved_model, logits_of_outputs
from textclf.training.tf_setup import tf


def logits(backend, texts):
    return backend.run(backend.encode(texts).inputs, Timings()).logits


def token_counts(backend, texts):
    return backend.encode(texts).token_counts


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return save_word_model(tmp_path_factory.mktemp("ours") / "saved_model", words=THREE)


def test_our_own_signatures(ours):
    backend = load_saved_model(ours)
    answer = logits(backend, ["good good bad", "fair", ""])
    assert answer.dtype == np.float32
    assert answer.tolist() == [[1, 0, 2], [0, 1, 0], [0, 0, 0]]
    assert token_counts(backend, ["one two three", ""]).tolist() == [5, 2]


def test_a_text_costs_what_the_model_sees_of_it(ours):
    texts = ["one two three four five", "", "one two"]
    encoded = load_saved_model(ours, max_wordpieces=4).encode(texts)
    assert (list(encoded.inputs), encoded.lengths.tolist()) == (texts, [4, 2, 4])
    assert encoded.token_counts.tolist() == [7, 2, 4]
    assert load_saved_model(ours).encode(texts).lengths.tolist() == [7, 2, 4]


def test_counting_many_texts_is_counting_a_few(ours):
    """They are counted some hundreds at a time, to bound what the tokenizer holds."""
    texts = ["word " * (index % 7) for index in range(1500)]
    assert token_counts(load_saved_model(ours), texts).tolist() == [index % 7 + 2 for index in range(1500)]


def test_all_the_time_is_the_models(ours):
    timings = Timings()
    backend = load_saved_model(ours)
    backend.run(["good"] * 10, timings)
    assert timings.infer > 0
    assert (timings.tokenise, timings.queue) == (0, 0)
    backend.warm_up(4096)


def test_predictions_of_a_loaded_model(ours):
    predictor = Predictor(load_saved_model(ours), THREE, max_wordpieces=4)
    good, fair = predictor.predict(["good", "it is fair"])
    assert (good.label, good.truncated) == ("good", False)
    assert (fair.label, fair.truncated) == ("fair", True)
    assert good.score == pytest.approx(np.e / (2 + np.e), abs=1e-6)


def test_variables_outlive_the_loading(ours):
    backend = load_saved_model(str(ours))
    gc.collect()
    assert logits(backend, ["good"]).tolist() == [[0, 0, 1]]


def test_threads_may_share_a_backend(ours):
    backend = load_saved_model(ours)
    answers = {}

    def ask(index):
        answers[index] = logits(backend, ["good " * index] * 20)[:, 2].tolist()

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {index: [index] * 20 for index in range(8)}


def test_unicode_and_nul_reach_the_model(tmp_path):
    words = ("naïve", "日本")
    backend = load_saved_model(save_word_model(tmp_path / "m", words=words))
    assert logits(backend, ["naïve 日本 日本", "\x00 naïve"]).tolist() == [[1, 2], [1, 0]]


@pytest.mark.parametrize("input_shape", [(None,), (None, 1), (None, None), None])
@pytest.mark.parametrize("key", ["logits", "output_0", "classifier"])
def test_a_foreign_model_with_one_output_of_any_name(tmp_path, input_shape, key):
    folder = save_word_model(
        tmp_path / "m", outputs=lambda logits: {key: logits}, counts=False, input_shape=input_shape, name="inputs"
    )
    backend = load_saved_model(folder)
    assert logits(backend, ["good good", "bad"]).tolist() == [[0, 2], [1, 0]]
    encoded = backend.encode(["good", "good " * 100])
    assert encoded.token_counts is None
    # A guess, which has to tell long from short only.
    assert 2 <= encoded.lengths[0] < encoded.lengths[1]


def test_a_single_logit_is_that_of_the_second_class(tmp_path):
    folder = save_word_model(
        tmp_path / "m", outputs=lambda logits: {"dense": logits[:, 1:] - logits[:, :1]}, counts=False
    )
    predictor = Predictor(load_saved_model(folder), TWO)
    batch = predictor.predict_batch(["good good good", "bad"])
    good, bad = batch.predictions
    assert batch.outputs.logits[0].tolist() == [0, 3]
    assert good.score == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-6)
    assert (bad.label, bad.truncated) == ("bad", None)
    assert bad.score == pytest.approx(1 / (1 + np.exp(1)), abs=1e-6)


@pytest.mark.parametrize("single", [False, True])
def test_probabilities_without_logits_come_back_as_they_are(tmp_path, single):
    def outputs(logits):
        probabilities = tf.nn.softmax(logits)
        return {"probabilities": probabilities[:, 1:] if single else probabilities}

    predictor = Predictor(load_saved_model(save_word_model(tmp_path / "m", outputs=outputs)), TWO)
    (prediction,) = predictor.predict(["good good bad"])
    assert prediction.score == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-6)


def test_certain_probabilities_are_finite_logits():
    logits = logits_of_outputs({"probabilities": np.array([[0.0, 1.0]], np.float32)})
    assert np.isfinite(logits).all()
    assert logits[0, 1] == 0


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (lambda logits: {"a": logits, "b": logits}, "returns a, b"),
        (lambda logits: {"a": logits[:, 0]}, r"shape \[1\]"),
        (lambda logits: {"a": tf.argmax(logits, axis=1)[:, None]}, "of int64"),
    ],
)
def test_other_outputs_are_refused(tmp_path, outputs, message):
    folder = save_word_model(tmp_path / "m", outputs=outputs)
    with pytest.raises(ModelStoreError, match=message) as caught:
        load_saved_model(folder)
    assert str(folder) in str(caught.value)


def save_with_signature(folder, specs, name="serving_default"):
    module = tf.Module()
    function = tf.function(lambda *inputs: {"logits": tf.zeros([1, 2])}, input_signature=specs)
    tf.saved_model.save(module, str(folder), signatures={name: function})
    return folder


@pytest.mark.parametrize(
    ("specs", "found"),
    [
        ([tf.TensorSpec([None, 8], tf.int32, name="input_word_ids")], r"input_word_ids: int32 \(None, 8\)"),
        ([tf.TensorSpec([None], tf.string, name=name) for name in "ab"], "a: string .*b: string"),
        ([tf.TensorSpec([1], tf.string, name="a")], r"a: string \(1,\)"),
        ([tf.TensorSpec([], tf.string, name="a")], r"a: string \(\)"),
        ([], "got none"),
    ],
)
def test_other_inputs_are_refused(tmp_path, specs, found):
    with pytest.raises(ModelStoreError, match=found):
        load_saved_model(save_with_signature(tmp_path / "m", specs))


def test_a_model_without_serving_default_is_refused(tmp_path):
    folder = save_with_signature(tmp_path / "m", [tf.TensorSpec([None], tf.string)], name="other")
    with pytest.raises(ModelStoreError, match=r"expected a signature serving_default.*found other"):
        load_saved_model(folder)


def test_a_model_that_fails_on_text_is_refused(tmp_path):
    module = tf.Module()
    function = tf.function(
        lambda text: {"logits": tf.strings.to_number(text)[:, None]}, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": function})
    with pytest.raises(ModelStoreError, match="can't score a text"):
        load_saved_model(tmp_path / "m")


@pytest.mark.parametrize("content", [None, b"", b"not a protocol buffer"])
def test_a_folder_without_a_model_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(ModelStoreError, match="expected a TensorFlow SavedModel") as caught:
        load_saved_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_variables_are_refused(tmp_path):
    folder = save_word_model(tmp_path / "m")
    for file in (folder / "variables").iterdir():
        file.unlink()
    with pytest.raises(ModelStoreError, match="can't be loaded"):
        load_saved_model(folder)


def test_a_missing_tensorflow_is_one_clear_error(ours):
    script = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from textclf.errors import ModelStoreError\n"
        "from textclf.runtime.saved_model import load_saved_model\n"
        "try: load_saved_model(sys.argv[1])\n"
        "except ModelStoreError as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, str(ours)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert "pip install tensorflow tensorflow-text" in done.stdout


def test_training_can_follow_in_the_same_process(ours):
    script = (
        "import sys; from textclf.runtime.saved_model import load_saved_model\n"
        "assert 'tensorflow' not in sys.modules\n"
        "load_saved_model(sys.argv[1])\n"
        "from textclf.training.tf_setup import tf_keras\n"
    )
    subprocess.run([sys.executable, "-c", script, str(ours)], capture_output=True, check=True, timeout=300)


def test_word_counts_are_what_the_tests_think():
    assert counts_of_words(tf.constant(["Good good x", ""]), TWO).numpy().tolist() == [[0, 2], [0, 0]]
