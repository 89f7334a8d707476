"""A Hugging Face classifier folder -> the same folder with ONNX Runtime's dynamic int8 model: model.onnx.

The way ONNX Runtime's own documentation recommends for BERT: export, fuse (onnxruntime.transformers),
quantise the weights to int8 by channel. Runs where bench/requirements.txt is installed.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import click

from textclf.cli.commands import Command
from textclf.files import atomic_folder

OPSET = 17


def convert(hugging_face: Path, folder: Path) -> None:
    """Write `folder`: model.onnx (input_ids, attention_mask, token_type_ids int64 [batch, seq_len] -> logits
    float32 [batch, classes]), tokenizer.json and config.json."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with atomic_folder(folder) as staging, tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch, "plain.onnx")
        _export(hugging_face, plain)
        fused = _fused(hugging_face, plain)
        quantize_dynamic(
            fused,
            staging / "model.onnx",
            weight_type=QuantType.QInt8,
            per_channel=True,
            # ONNX's shape inference knows nothing of the fused nodes.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        for name in ("tokenizer.json", "config.json"):
            shutil.copy(hugging_face / name, staging / name)


def _export(hugging_face: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    # The fusion looks for attention as single steps; exported from PyTorch's own attention it finds none.
    model = AutoModelForSequenceClassification.from_pretrained(hugging_face, attn_implementation="eager").eval()
    ids = torch.ones([2, 16], dtype=torch.int64)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        model,
        (ids, ids, torch.zeros_like(ids)),
        str(target),
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "seq_len"} for name in names} | {"logits": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )


def _fused(hugging_face: Path, plain: Path) -> Path:
    """Attention, layer norms and GELU as one node each, which int8 kernels exist for."""
    from onnxruntime.transformers.optimizer import optimize_model
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(hugging_face)
    model: Any = optimize_model(
        str(plain), model_type="bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size
    )
    target = plain.with_name("fused.onnx")
    model.save_model_to_file(str(target))
    click.echo(f"fused: {model.get_fused_operator_statistics()}")
    return target


@click.command(cls=Command)
@click.option(
    "--hugging-face", required=True, type=click.Path(exists=True, path_type=Path), help="See to_hugging_face."
)
@click.option("--out", "folder", required=True, type=click.Path(path_type=Path), help="The folder to make.")
def main(hugging_face: Path, folder: Path) -> None:
    """Write a Hugging Face classifier as an int8 model for ONNX Runtime."""
    convert(hugging_face, folder)
    click.echo(f"{folder}: {(folder / 'model.onnx').stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
