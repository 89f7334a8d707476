"""bfloat16: which CPUs have it, the switch, and that figures are measured in float32 all the same."""

import numpy as np
import pytest
from tiny_fit import labelled_words, word_classifier

from textclf.training.fitting.training_loop import ids_to_logits, predict_logits
from textclf.training.precision import chosen_precision, cpu_multiplies_bfloat16, graph_precision
from textclf.training.tf_setup import tf

OPTION = "auto_mixed_precision_onednn_bfloat16"


def is_on():
    return tf.config.optimizer.get_experimental_options().get(OPTION, False)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse avx512f avx512_bf16 avx512_vnni\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("flags\t\t: fpu avx2 avx_ne_convert\n", False),  # Converts, but does not multiply.
        ("flags\t\t: fpu sse avx512f avx512_vnni\n", False),
        ("flags\t\t: fpu not_avx512_bf16 avx512_bf16x\n", False),
        ("model name\t: avx512_bf16\nflags\t\t: fpu\n", False),
        ("Features\t: fp asimd\n", False),
        ("flags\t\t: \N{DEGREE SIGN} avx512_bf16\n", True),
        ("", False),
    ],
)
def test_which_cpus_multiply_bfloat16(tmp_path, content, expected):
    path = tmp_path / "cpuinfo"
    path.write_text(content, encoding="latin-1")
    assert cpu_multiplies_bfloat16(path) is expected


def test_a_system_that_does_not_tell_has_none(tmp_path):
    assert cpu_multiplies_bfloat16(tmp_path / "missing") is False


def test_auto_follows_the_cpu_and_a_wish_is_kept():
    assert chosen_precision("auto") == ("bfloat16" if cpu_multiplies_bfloat16() else "float32")
    assert chosen_precision("float32") == "float32"
    assert chosen_precision("bfloat16") == "bfloat16"


def test_the_switch_holds_inside_the_block_and_is_put_back():
    assert not is_on()
    with graph_precision("bfloat16"):
        assert is_on()
        with graph_precision("float32"):
            assert not is_on()
        assert is_on()
    assert not is_on()
    with pytest.raises(KeyError), graph_precision("bfloat16"):
        raise KeyError
    assert not is_on()


def test_figures_are_float32_even_inside_a_training_in_bfloat16():
    model = word_classifier(width=64)
    texts = labelled_words([0, 1] * 8)
    logits = ids_to_logits(model)
    expected = predict_logits(logits, texts.texts, 0, "test")
    with graph_precision("bfloat16"):
        np.testing.assert_array_equal(predict_logits(ids_to_logits(model), texts.texts, 0, "test"), expected)
        np.testing.assert_array_equal(predict_logits(logits, texts.texts, 0, "test"), expected)


@pytest.mark.skipif(not cpu_multiplies_bfloat16(), reason="this CPU has no bfloat16: TensorFlow leaves the graph alone")
def test_the_switch_makes_products_coarser():
    values = tf.constant(np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32))

    @tf.function
    def product(a):
        return tf.nn.relu(a @ a) @ a

    exact = product(values).numpy()
    with graph_precision("bfloat16"):
        coarse = tf.function(product.python_function)(values).numpy()
    # bfloat16 has 8 bits of mantissa: relative errors of about 2 ** -9.
    error = np.abs(coarse - exact).max() / np.abs(exact).max()
    assert 1e-4 < error < 2e-2
