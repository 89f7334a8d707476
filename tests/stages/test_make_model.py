"""MakeModel's verbs on a tiny encoder, and its command line."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_bert import vocabulary, write_checkpoint

from make_model import MakeModel, main
from textclf.errors import ConfigError, EncoderError, InputError
from textclf.training.encoders import resolve as encoders

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def make(tiny_checkpoint):
    """MakeModel of the tiny encoder, whose longest text is 64."""

    def make(**options) -> MakeModel:
        return MakeModel("tiny", str(tiny_checkpoint), **{"max_length": 64, **options})

    return make


@pytest.fixture(scope="module")
def maker(make) -> MakeModel:
    return make()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "make_model.py"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, check=False, timeout=300
    )


# The class


def test_constructor_only_stores(tmp_path):
    """Neither disk nor TensorFlow, and no complaint: work and checks are for the verbs."""
    program = (
        "import sys; from make_model import MakeModel\n"
        "for name in ('minilm-l6', 'small_bert/bert_en_uncased_L-2_H-128_A-2', 'no such'): MakeModel(name)\n"
        "MakeModel(); MakeModel(max_length=-1, class_names='x')\n"
        "heavy = {'tensorflow', 'tf_keras', 'matplotlib', 'official', 'scipy', 'sklearn', 'textclf.training'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TEXTCLF_CACHE_DIR": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment, timeout=300)
    assert list(tmp_path.iterdir()) == []


def test_defaults_are_the_small_bert_of_tf_hub():
    maker = MakeModel()
    assert maker.model_name == "small_bert/bert_en_uncased_L-4_H-512_A-8"
    assert maker.name_to_handle == "https://tfhub.dev/tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8/1"
    assert maker.model_to_handle == "https://tfhub.dev/tensorflow/bert_en_uncased_preprocess/3"
    assert maker.class_names == ("neg", "pos")


def test_select_model_says_which_handles_it_uses(maker, tiny_checkpoint, capsys):
    preprocessing = maker.select_model()
    encoder, own = capsys.readouterr().out.splitlines()
    assert encoder == f"encoder:       {tiny_checkpoint} ({maker.folders.encoder})"
    assert own == f"preprocessing: {tiny_checkpoint} ({maker.folders.preprocessing})"
    assert preprocessing(["the film"])["input_word_ids"].shape == (1, 4)
    assert maker.select_model() is preprocessing


def test_preview_prints_inputs_and_outputs(maker, capsys):
    maker.preview_untrained_model(maker.select_model(), ["the film was good", "bad"])
    printed = capsys.readouterr().out
    assert "preprocessing keys: input_mask, input_type_ids, input_word_ids" in printed
    ids = [vocabulary().index(word) for word in ("[CLS]", "the", "film", "was", "good", "[SEP]")]
    assert f"word ids:        shape (2, 6), first text {np.array(ids)}" in printed
    assert "mask:            shape (2, 6), first text [1 1 1 1 1 1]" in printed
    assert "type ids:        shape (2, 6), first text [0 0 0 0 0 0]" in printed
    assert "encoder keys: default, encoder_outputs, pooled_output, sequence_output" in printed
    assert "pooled output:   shape (2, 32), first values [" in printed
    assert "sequence output: shape (2, 6, 32), first values [" in printed


@pytest.mark.parametrize("class_names", [("neg", "pos"), ("news", "play", "poem", "tale")])
def test_build_and_test_model(make, capsys, class_names):
    maker = make(class_names=class_names)
    model = maker.build_model(dropout=0.1)
    logits = model.predict(np.array(["the film was good", "a bad plot", ""], object), verbose=0)
    assert logits.shape == (3, len(class_names))
    assert logits.dtype == np.float32
    assert model.get_layer("dropout").rate == 0.1
    probabilities = maker.test_model(model, ["the film was good", "x" * 100])
    printed = capsys.readouterr().out.splitlines()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert np.abs(probabilities - 1 / len(class_names)).max() < 0.2  # Near chance: nothing is trained.
    scores = ", ".join(f"{name} {p:.3f}" for name, p in zip(class_names, probabilities[0], strict=True))
    assert printed == [f"{scores}   the film was good", printed[1]]
    assert printed[1].endswith(" " + "x" * 80)


@pytest.mark.slow
def test_one_seed_one_model(make):
    texts = ["the film was good"]

    def training_logits(seed: int) -> np.ndarray:
        model = make(seed=seed).build_model(dropout=0.5)
        return np.array([model(np.array(texts, object), training=True) for _ in range(2)])

    first = training_logits(1)
    np.testing.assert_array_equal(first, training_logits(1))
    assert np.abs(first - training_logits(2)).max() > 1e-3


def test_each_model_starts_from_the_pre_trained_weights(maker):
    first = maker.build_model()
    for variable in first.trainable_variables:
        variable.assign(variable * 0)
    second = maker.build_model()
    assert all(np.abs(variable).max() > 0 for variable in second.get_layer("bert_encoder").trainable_variables)


def test_structure_is_a_picture(maker, tmp_path, capsys):
    target = tmp_path / "deep" / "structure.png"
    assert maker.see_model_structure(maker.build_model(), str(target)) == target
    assert capsys.readouterr().out == f"structure: {target}\n"
    with Image.open(target) as image:
        image.verify()
    with Image.open(target) as image:
        assert image.format == "PNG"
        assert min(image.size) > 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 3}, "max_length: expected a whole number of at least 4, got 3"),
        ({"truncation": "middle"}, "truncation: expected one of head, head.tail, got 'middle'"),
        ({"head_fraction": 1.0}, "head_fraction: expected"),
        ({"class_names": ["pos"]}, "class_names: expected at least two different names"),
        ({"class_names": ["pos", "pos"]}, "class_names: expected at least two different names"),
        ({"class_names": "pos"}, r"class_names: expected at least two different names, got \('pos',\)"),
    ],
)
def test_options_that_make_no_sense(make, options, message):
    for verb in (MakeModel.select_model, MakeModel.build_model):
        with pytest.raises(ConfigError, match=message):
            verb(make(**options))


def test_more_that_makes_no_sense(make, maker, tiny_checkpoint):
    with pytest.raises(ConfigError, match=r"dropout: expected a number of at least 0 and below 1, got 1.5"):
        maker.build_model(dropout=1.5)
    with pytest.raises(ConfigError, match="name_to_handle: expected a non-empty text, got ''"):
        MakeModel("tiny", "").select_model()
    with pytest.raises(EncoderError, match=r"max_length: expected at most 64, the longest text .* got 256"):
        MakeModel("tiny", str(tiny_checkpoint)).build_model()
    for texts in ("a single text", [], [b"bytes"], [1]):
        with pytest.raises(InputError, match="expected a list of texts"):
            maker.preview_untrained_model(maker.select_model(), texts)


def test_saved_models_in_each_others_place(maker):
    encoder, preprocessing = str(maker.folders.encoder), str(maker.folders.preprocessing)
    with pytest.raises(EncoderError, match="expected a TF-Hub BERT encoder"):
        MakeModel("x", preprocessing, preprocessing, max_length=64).build_model()
    with pytest.raises(EncoderError, match="expected a TF-Hub text preprocessing SavedModel"):
        MakeModel("x", encoder, encoder, max_length=64).select_model()


@pytest.mark.slow
def test_preprocessing_of_another_encoder(maker):
    """30,522 wordpieces for an encoder that knows 200: refused, not an index error in the midst of a training."""
    other = str(encoders.resolve("minilm-l6", "minilm-l6", "").preprocessing)
    mixed = MakeModel("x", str(maker.folders.encoder), other, max_length=64)
    with pytest.raises(EncoderError, match="knows 200 wordpieces, its preprocessing gives 30522"):
        mixed.build_model()
    with pytest.raises(EncoderError, match="knows 200 wordpieces, its preprocessing gives 30522"):
        mixed.preview_untrained_model(mixed.select_model(), ["a text"])


def test_embedded_encoder_by_its_name_alone(capsys):
    maker = MakeModel("minilm-l6")
    assert maker.select_model().max_length == 256
    assert capsys.readouterr().out.startswith("encoder:       minilm-l6 (")
    assert maker.build_model()(np.array(["A quiet, funny film."], object)).shape == (1, 2)


# The command line


def test_help_shows_examples_and_defaults_without_tensorflow():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "python make_model.py preview --encoder minilm-l6" in result.output
    for command in ("preview", "structure"):
        program = (
            "import sys; from make_model import main\n"
            f"try: main(['{command}', '--help'])\n"
            "except SystemExit: assert 'tensorflow' not in sys.modules; print('without TensorFlow')"
        )
        command_line = [sys.executable, "-c", program]
        result = subprocess.run(command_line, capture_output=True, text=True, cwd=ROOT, check=True, timeout=300)
        assert "without TensorFlow" in result.stdout
        assert "small_bert/bert_en_uncased_L-4_H-512_A-8]" in " ".join(result.stdout.split())
        assert "[default: 256; at least 4]" in result.stdout


@pytest.mark.slow
def test_preview_says_what_it_should_and_nothing_else_even_after_a_killed_export(tmp_path):
    """A process is killed in the midst of an export, and leaves nothing that counts; the next one makes it anew.

    Exporting, too, is quiet: TensorFlow's and Keras's notes are kept from a user who did not ask for them.
    """
    checkpoint, cache = write_checkpoint(tmp_path / "other", seed=1), tmp_path / "cache"
    preview = ["preview", "--encoder", str(checkpoint), "--max-length", "32", "--text", "good", "--text", "a b"]
    environment = os.environ | {"TEXTCLF_CACHE_DIR": str(cache)}
    process = subprocess.Popen([sys.executable, str(ROOT / "make_model.py"), *preview], env=environment)
    try:
        deadline = time.monotonic() + 120
        while not any(path.name.endswith(".tmp") for path in cache.rglob("*")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait(60)
    assert all(path.name.startswith(".") for path in (cache / "exported").iterdir())

    result = run(*preview, TEXTCLF_CACHE_DIR=str(cache))
    assert result.returncode == 0
    assert all(line.endswith(" …") for line in result.stderr.splitlines()), result.stderr
    lines = result.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:10]] == [
        "encoder",
        "preprocessing",
        "preprocessing keys",
        "word ids",
        "mask",
        "type ids",
        "encoder keys",
        "pooled output",
        "sequence output",
        "untrained scores",
    ]
    assert lines[10].endswith("good")
    assert lines[11].endswith("a b")
    assert len(lines) == 12
    (exported,) = (path for path in (cache / "exported").iterdir() if not path.name.startswith("."))
    assert all((exported / part / "saved_model.pb").is_file() for part in ("encoder", "preprocessing"))


def test_structure_command(tiny_checkpoint, tmp_path):
    target = tmp_path / "structure.png"
    arguments = ["structure", "--encoder", str(tiny_checkpoint), "--max-length", "64", "--to-file", str(target)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.endswith(f"structure: {target}\n")
    with Image.open(target) as image:
        assert image.format == "PNG"


def test_bad_handle_is_one_line_and_status_1(tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments in (
        ["--encoder", str(tmp_path / "none")],
        ["--encoder", str(tmp_path / "empty")],
        ["--encoder", "http://user:s3cret@127.0.0.1:99999/x?key=s3cret"],
        ["--encoder", ""],
    ):
        result = CliRunner().invoke(main, ["preview", *arguments])
        assert result.exit_code == 1
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert "s3cret" not in result.output


def test_verbose_shows_the_traceback(tmp_path):
    result = CliRunner().invoke(main, ["--verbose", "preview", "--encoder", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: no encoder at ")
