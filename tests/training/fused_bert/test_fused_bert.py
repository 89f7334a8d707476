"""The written-out classifier: the encoder's own function and gradients, its dropout, and when it is taken."""

import functools
import logging

import numpy as np
import pytest
from tiny_bert import write_checkpoint

from textclf.config import TrainingOptions
from textclf.graph.bert_weights import EncoderSizes
from textclf.graph.engine_graph import GraphForm
from textclf.training.classifier import ENCODER_INPUTS, build_classifier, ids_classifier, load_encoder, pooling_of
from textclf.training.encoders import resolve as encoders
from textclf.training.encoders.preprocessing import TextPreprocessing, TokenizedTexts
from textclf.training.fitting.checkpoints import RunDirectory
from textclf.training.fitting.training_loop import LabelledIds, fit
from textclf.training.fused_bert import kernels as bert_kernels
from textclf.training.fused_bert import trainable_classifier as bert_classifier
from textclf.training.fused_bert.trainable_classifier import BertClassifier, trainable_classifier, training_operations
from textclf.training.tf_setup import tf

LABELS = np.array([0, 2, 1, 1])
HEAD = 1.0  # Of the classification layer's weights: large enough that every layer has a gradient to speak of.


def string_classifier(folder, pooling="cls"):
    """Strings -> 3 logits, on the encoder of a checkpoint folder."""
    folders = encoders.resolve("tiny", str(folder), "")
    preprocessing = TextPreprocessing(folders.preprocessing, max_length=16, name="preprocessing")
    classifier = build_classifier(preprocessing, load_encoder(folders.encoder, 16), 3, 0.0, pooling)
    random = np.random.default_rng(1)
    classifier.get_layer("classifier").set_weights([random.normal(0, HEAD, (32, 3)), random.normal(0, HEAD, 3)])
    return classifier


def written_out(classifier, activation="gelu_tanh", dropout=0.0, dtype=tf.float32, seed=0):
    layers = (classifier.get_layer(name) for name in ("bert_encoder", "classifier"))
    return BertClassifier(*layers, GraphForm(activation, pooling=pooling_of(classifier)), dropout, dtype, seed)


def batch(length=13, paddings=(0, 5, 1, 0), seed=0):
    """{ENCODER_INPUTS} int32 [4, length]; so many places at the end of each text are padding."""
    ids = np.random.default_rng(seed).integers(5, 200, (4, length)).astype(np.int32)
    mask = np.ones_like(ids)
    for row, count in enumerate(paddings):
        mask[row, length - count :] = 0
    ids[mask == 0] = 0
    return dict(zip(ENCODER_INPUTS, map(tf.constant, (ids, mask, np.zeros_like(ids))), strict=True))


def loss_and_gradients(model, inputs, variables, training):
    with tf.GradientTape() as tape:
        logits = model(inputs, training=training)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, logits))
    return loss.numpy(), [tf.convert_to_tensor(item).numpy() for item in tape.gradient(loss, variables)]


@pytest.fixture(scope="module")
def classifier(tiny_checkpoint):
    return string_classifier(tiny_checkpoint)


@pytest.fixture(scope="module")
def relu_classifier(tmp_path_factory):
    return string_classifier(write_checkpoint(tmp_path_factory.mktemp("relu") / "checkpoint", hidden_act="relu"))


@pytest.fixture(scope="module")
def mean_classifier(tiny_checkpoint):
    return string_classifier(tiny_checkpoint, "mean")


@pytest.fixture(
    params=[("classifier", "gelu_tanh"), ("relu_classifier", "relu"), ("mean_classifier", "gelu_tanh")],
    ids=["gelu", "relu", "mean"],
)
def each_classifier(request):
    """One after the other, with the name of its activation function."""
    name, activation = request.param
    return request.getfixturevalue(name), activation


@pytest.fixture
def no_dropout(monkeypatch):
    monkeypatch.setattr(bert_classifier, "ENCODER_DROPOUT", 0.0)


# --- the same function


@pytest.mark.parametrize(
    "length", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(13, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("pooling", ["classifier", "mean_classifier"])
def test_logits_are_those_of_the_encoders_own_graph(pooling, length, request):
    classifier = request.getfixturevalue(pooling)
    inputs = batch(length, paddings=(0, length // 2, 0, 0))
    np.testing.assert_allclose(
        written_out(classifier)(inputs), ids_classifier(classifier)(inputs), rtol=1e-5, atol=1e-5
    )


def test_variables_are_the_encoders_and_nothing_else(classifier):
    model = written_out(classifier)
    model(batch())
    assert [id(item) for item in model.trainable_variables] == [
        id(item) for item in ids_classifier(classifier).trainable_variables
    ]


def test_gradients_are_those_of_the_encoders_own_graph(no_dropout, each_classifier):
    classifier, activation = each_classifier
    model, hub_form, inputs = written_out(classifier, activation), ids_classifier(classifier), batch()
    unused = ("pooler",) if pooling_of(classifier) == "mean" else ()
    variables = [item for item in hub_form.trainable_variables if not any(name in item.name for name in unused)]
    loss, gradients = loss_and_gradients(model, inputs, variables, training=True)
    expected_loss, expected = loss_and_gradients(hub_form, inputs, variables, training=False)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for variable, one, other in zip(variables, gradients, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-6, err_msg=variable.name)


def test_bfloat16_products_change_gradients_by_percents(no_dropout, classifier):
    inputs, variables = batch(), ids_classifier(classifier).trainable_variables
    _, exact = loss_and_gradients(written_out(classifier), inputs, variables, training=True)
    _, rounded = loss_and_gradients(written_out(classifier, dtype=tf.bfloat16), inputs, variables, training=True)
    together = [np.concatenate([item.ravel() for item in items]) for items in (exact, rounded)]
    assert 0 < np.linalg.norm(together[1] - together[0]) < 0.03 * np.linalg.norm(together[0])


@pytest.mark.parametrize("factor", [30.0, 300.0])
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_huge_scores_overflow_nothing(no_dropout, classifier, factor, dtype, request):
    request.addfinalizer(functools.partial(classifier.set_weights, classifier.get_weights()))
    for variable in classifier.trainable_variables:
        if "query/kernel" in variable.name or "key/kernel" in variable.name:
            variable.assign(factor * variable)
    inputs, hub_form = batch(), ids_classifier(classifier)
    model = written_out(classifier, dtype=dtype)
    # Softmax is a choice here: only as exact as the scores, which are thousands.
    np.testing.assert_allclose(model(inputs), hub_form(inputs), atol=0.02)
    loss, gradients = loss_and_gradients(model, inputs, hub_form.trainable_variables, training=True)
    assert np.isfinite(loss)
    assert all(np.isfinite(item).all() for item in gradients)


@pytest.mark.parametrize("activation", ["gelu_tanh", "gelu_erf", "relu"])
def test_derivatives_of_activations(activation):
    x = tf.constant(np.linspace(-6, 6, 101), tf.float32)  # Not 0, where relu has none.
    x += 0.001
    bias = tf.zeros(101)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = {
            "relu": tf.nn.relu,
            "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
            "gelu_erf": lambda x: tf.nn.gelu(x, approximate=False),
        }[activation](x)
    derivative = bert_kernels.activation_gradient(x, bias, tf.ones(101), activation, tf.float32)
    np.testing.assert_allclose(bert_kernels.activated(x, bias, activation, tf.float32), value, atol=1e-6)
    np.testing.assert_allclose(derivative, tape.gradient(value, x), atol=1e-5)


# --- dropout


def factors(seed, rate, shape=(100, 1000)):
    return bert_kernels.keep_factors(tf.constant(shape), tf.constant(seed, tf.uint32), rate).numpy()


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_dropout_leaves_out_its_share_and_makes_up_for_it(rate):
    found = factors(7, rate)
    assert set(np.unique(found)) <= {np.float32(0.0), np.float32(1 / (1 - rate))}
    # Five standard deviations of 100,000 draws.
    assert (found == 0).mean() == pytest.approx(rate, abs=5 * np.sqrt(rate * (1 - rate) / found.size))
    for axis in (0, 1):  # No row and no column is left out more often than chance does.
        spread = (found == 0).mean(axis).std()
        assert spread == pytest.approx(np.sqrt(rate * (1 - rate) / found.shape[axis]), rel=0.25, abs=1e-9)


@pytest.mark.parametrize("other", [8, 7 + 1024, 7 + 100_000, 0xFFFFFFFF])
def test_seeds_draw_independently(other):
    one, two = factors(7, 0.5) > 0, factors(other, 0.5) > 0
    for shift in (0, 1, 2, other - 7, 1024):
        agreement = (one.ravel() == np.roll(two.ravel(), shift)).mean()
        assert agreement == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(one.size))
    np.testing.assert_array_equal(factors(7, 0.5) > 0, one)


def test_dropout_is_another_at_each_step_and_off_otherwise(classifier):
    model, inputs = written_out(classifier, dropout=0.5), batch()
    np.testing.assert_array_equal(model(inputs), model(inputs))
    first, second = model(inputs, training=True), model(inputs, training=True)
    assert np.abs(first - second).max() > 0
    np.testing.assert_array_equal(written_out(classifier, dropout=0.5)(inputs, training=True), first)
    assert np.abs(written_out(classifier, dropout=0.5, seed=1)(inputs, training=True) - first).max() > 0


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_a_text_that_is_twice_in_a_batch_has_other_dropout(no_dropout, classifier, dtype, monkeypatch):
    twice = {name: tf.concat([ids, ids], axis=0) for name, ids in batch().items()}
    one, other = np.split(written_out(classifier, dtype=dtype)(twice, training=True), 2)
    np.testing.assert_array_equal(one, other)
    monkeypatch.setattr(bert_classifier, "ENCODER_DROPOUT", 0.3)
    one, other = np.split(written_out(classifier, dtype=dtype)(twice, training=True), 2)
    assert (np.abs(one - other).max(axis=1) > 0.01).all()


def test_the_way_back_leaves_out_what_the_way_forward_did(classifier, monkeypatch):
    """A step along the gradient changes the loss by its squared norm, with the same dropout."""
    monkeypatch.setattr(bert_classifier, "ENCODER_DROPOUT", 0.3)
    inputs, variables = batch(), ids_classifier(classifier).trainable_variables
    loss, gradients = loss_and_gradients(written_out(classifier, dropout=0.3), inputs, variables, training=True)
    square = sum(float((item.astype(np.float64) ** 2).sum()) for item in gradients)
    before = [variable.numpy() for variable in variables]
    length = 1e-3 / square
    losses = []
    for sign in (1, -1):
        for variable, value, gradient in zip(variables, before, gradients, strict=True):
            variable.assign(value + sign * length * gradient)
        losses.append(loss_and_gradients(written_out(classifier, dropout=0.3), inputs, variables, training=True)[0])
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    assert losses[1] < loss < losses[0]
    assert (losses[0] - losses[1]) / (2 * length) == pytest.approx(square, rel=0.02)


# --- when it is taken


def test_it_is_taken_where_it_pays(classifier):
    sizes = EncoderSizes(layers=2, width=32, heads=4, inner=64, vocabulary=200, positions=64, classes=3)
    # 2 layers of 4 · 32 · 32 + 2 · 32 · 64 weights; 2 operations each, and twice that on the way back.
    assert training_operations(sizes, 10) == 2 * 8192 * 6 * 10
    enough = int(1e13 / (2 * 8192 * 6)) + 1
    assert isinstance(trainable_classifier(classifier, 0.1, "float32", 0, enough), BertClassifier)
    assert not isinstance(trainable_classifier(classifier, 0.1, "float32", 0, enough - 2), BertClassifier)


def test_the_activation_is_found_out(each_classifier):
    classifier, expected = each_classifier
    assert trainable_classifier(classifier, 0.1, "bfloat16", 0, 10**12).form.activation == expected


def test_another_encoder_keeps_its_own_graph_and_the_log_says_so(classifier, monkeypatch, caplog):
    monkeypatch.setattr(bert_classifier, "_LOGIT_TOLERANCE", -1.0)
    with caplog.at_level(logging.WARNING):
        model = trainable_classifier(classifier, 0.1, "float32", 0, 10**12)
    assert not isinstance(model, BertClassifier)
    assert "trained by its own graph" in caplog.text
    assert "its logits differ by" in caplog.text


def test_without_xla_the_encoder_keeps_its_own_graph(classifier, monkeypatch, caplog):
    def failing(*_):
        raise tf.errors.UnimplementedError(None, None, "no XLA here\nand much more")

    monkeypatch.setattr(bert_classifier, "_largest_difference", failing)
    with caplog.at_level(logging.WARNING):
        assert not isinstance(trainable_classifier(classifier, 0.1, "float32", 0, 10**12), BertClassifier)
    assert caplog.messages[-1].endswith("about twice as long: no XLA here")


class KilledError(Exception):
    pass


@pytest.mark.slow
def test_a_fit_with_it_learns_and_goes_on_after_a_kill_with_the_same_dropout(classifier, tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 64).astype(np.int32)
    ids = random.integers(10, 200, (64, 10)).astype(np.int32)
    ids[:, 5] = 5 + labels  # One word tells.
    texts = TokenizedTexts(ids.ravel(), np.arange(65, dtype=np.int64) * 10, np.full(64, 10))
    data = LabelledIds(texts, labels)
    options = TrainingOptions(epochs=6, init_lr=5e-3, batch_size=16, checkpoint_steps=5, r_drop=0.5)
    before = classifier.get_weights()

    def fitted(folder):
        classifier.set_weights(before)
        try:
            result = fit(written_out(classifier, dropout=0.1), data, data, tuple("abc"), options, "float32", 0, folder)
            return result.history, classifier.get_weights()
        finally:
            classifier.set_weights(before)

    history, weights = fitted(RunDirectory(tmp_path / "whole"))
    assert history["loss"][-1] < 0.5 < history["loss"][0]

    save, saved = RunDirectory.save, []

    def save_then_die(run, checkpoint, progress):
        save(run, checkpoint, progress)
        saved.append(progress.step)
        if len(saved) == 2:
            raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "save", save_then_die)
        with pytest.raises(KilledError):
            fitted(RunDirectory(tmp_path / "killed"))
    assert saved == [4, 5]  # The second one is inside an epoch.
    again, same = fitted(RunDirectory(tmp_path / "killed"))
    assert again == history
    for one, other in zip(same, weights, strict=True):
        np.testing.assert_array_equal(one, other)
