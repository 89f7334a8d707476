"""Optimisers: which class, which learning rate at which step, what is decayed and clipped."""

import numpy as np
import pytest

from textclf.errors import ConfigError
from textclf.training.fitting.adamw import AdamW
from textclf.training.fitting.optimisers import OPTIMISERS, check_optimiser, layer_factors, make_optimiser
from textclf.training.tf_setup import tf, tf_keras

STEPS, WARMUP, INIT_LR = 110, 10, 1e-3


def rates(name, warmup=WARMUP):
    optimiser = make_optimiser(name, INIT_LR, STEPS, warmup)
    return [float(optimiser.learning_rate(tf.constant(step, tf.int64))) for step in (0, 5, 10, 55, 110)]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_rate_rises_to_the_warmups_end_and_falls_to_zero(name):
    # The decay counts from step 0 (as in google-research/bert, optimization.py): where the warmup of 10 of 110 steps
    # ends, it stands at 100 / 110, at step 55 at one half.
    assert rates(name) == pytest.approx([0.0, INIT_LR / 2, INIT_LR * 100 / 110, INIT_LR / 2, 0.0], rel=1e-5, abs=1e-9)


def test_without_warmup_the_rate_begins_at_its_top():
    expected = pytest.approx([INIT_LR, INIT_LR * 105 / 110, INIT_LR * 100 / 110, INIT_LR / 2, 0.0], rel=1e-5, abs=1e-9)
    assert rates("adam", warmup=0) == expected
    assert rates("adamw", warmup=0) == expected


def test_adamw_steps_as_the_model_gardens():
    from official.nlp import optimization

    random = np.random.default_rng(0)
    words = random.normal(size=(7, 3)).astype(np.float32)
    kernel = random.normal(size=(3, 2)).astype(np.float32)
    others = []
    for make in (make_optimiser, lambda _, *settings: optimization.create_optimizer(*settings, optimizer_type="adamw")):
        variables = [tf.Variable(words, name="words"), tf.Variable(kernel, name="kernel")]
        optimiser = make("adamw", 0.1, 10, 2)
        for step in range(5):
            rows = tf.IndexedSlices(tf.ones([2, 3]) * (step - 2.0), tf.constant([0, step + 1]), tf.constant([7, 3]))
            optimiser.apply_gradients([(rows, variables[0]), (tf.constant(kernel) * 0.1, variables[1])])
        others.append(variables)
    for own, garden in zip(*others, strict=True):
        np.testing.assert_allclose(own.numpy(), garden.numpy(), rtol=1e-4, atol=1e-5)


def test_adamw_takes_shorter_steps_where_it_is_told_to():
    variables = [tf.Variable([1.0], name=name) for name in ("low/kernel", "high/kernel")]
    optimiser = AdamW(0.1, lambda name: 0.5 if name.startswith("low") else 1.0)
    optimiser.apply_gradients([(tf.constant([0.1]), variable) for variable in variables])
    low, high = (1.0 - float(variable[0]) for variable in variables)
    assert high > 0.05
    assert low == pytest.approx(high / 2, rel=1e-4)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_variable_that_the_loss_does_not_depend_on_stays_as_it_is(name):
    """An encoder's own graph may have some, a head that only its pretraining needed, say."""
    used, unused = (tf.Variable([1.0], name=f"{name}/kernel") for name in ("used", "unused"))
    make_optimiser(name, 0.1, STEPS, 0).apply_gradients([(tf.constant([0.1]), used), (None, unused)])
    assert float(used[0]) < 1.0
    assert float(unused[0]) == 1.0


def test_layers_lower_down_learn_more_slowly():
    names = [
        "bert_encoder/word_embeddings/embeddings:0",
        "embeddings/layer_norm/gamma:0",
        "transformer/layer_0/output/kernel:0",
        "bert_encoder/transformer/layer_2/self_attention/query/bias:0",
        "pooler_transform/kernel:0",
        "classifier/bias:0",
    ]
    factor_of = layer_factors(names, 0.5)
    assert [factor_of(name) for name in names] == [0.5**4, 0.5**4, 0.5**3, 0.5, 1.0, 1.0]
    assert {layer_factors(names, 1.0)(name) for name in names} == {1.0}
    assert layer_factors(["words/embeddings:0"], 1.0)("words/embeddings:0") == 1.0
    with pytest.raises(ConfigError, match="layer_decay: expected 1 for an encoder whose layers"):
        layer_factors(["words/embeddings:0"], 0.5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", "Adam"),
        ("adamax", "Adamax"),
        ("adagrad", "Adagrad"),
        ("rmsprop", "RMSprop"),
        ("SGD", "SGD"),
    ],
)
def test_others_are_keras_own(name, kind):
    assert type(make_optimiser(name, INIT_LR, STEPS, WARMUP)) is getattr(tf_keras.optimizers.legacy, kind)


def test_adamw_decays_kernels_but_neither_biases_nor_norms():
    names = ("transformer/layer_0/output/kernel", "transformer/layer_0/output/bias", "embeddings/layer_norm/gamma")
    variables = [tf.Variable([2.0, -2.0], name=name) for name in names]
    optimiser = make_optimiser("adamw", 0.1, STEPS, 0)
    optimiser.apply_gradients([(tf.zeros(2), variable) for variable in variables])
    # No gradient: all that moves is w <- w - rate · .01 · w.
    kernel, bias, gamma = (variable.numpy() for variable in variables)
    np.testing.assert_allclose(kernel, np.array([2.0, -2.0]) * (1 - 0.1 * 0.01), rtol=1e-6)
    np.testing.assert_array_equal(bias, [2.0, -2.0])
    np.testing.assert_array_equal(gamma, [2.0, -2.0])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_step_goes_against_the_gradient(name):
    variable = tf.Variable([1.0, 1.0], name="kernel")
    make_optimiser(name, 0.01, STEPS, 0).apply_gradients([(tf.constant([1.0, -1.0]), variable)])
    down, up = variable.numpy()
    assert down < 1 < up


def test_a_huge_gradient_is_clipped_to_norm_one():
    variable = tf.Variable([0.0, 0.0], name="kernel")
    make_optimiser("sgd", 0.5, STEPS, 0).apply_gradients([(tf.constant([300.0, 400.0]), variable)])
    np.testing.assert_allclose(variable.numpy(), [-0.3, -0.4], rtol=1e-5)


@pytest.mark.parametrize("name", ["", "adamx", "adam w", "AdamWeightDecay"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(ConfigError, match=r"expected one of adamw, lamb, adam, .*got"):
        check_optimiser(name)
    with pytest.raises(ConfigError):
        make_optimiser(name, INIT_LR, STEPS, WARMUP)


def test_capitals_do_not_matter():
    assert check_optimiser("AdamW") == "adamw"
