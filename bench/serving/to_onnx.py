"""Conversion of a Hugging Face classifier to a dynamic int8 model for ONNX Runtime.

It follows the documentation of ONNX Runtime for BERT: export, fuse (onnxruntime.transformers), quantise the weights to
int8 per channel. It needs bench/requirements.txt.
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
    """Write model.onnx, tokenizer.json and config.json into `folder`.

    The model maps input_ids, attention_mask and token_type_ids, int64 [batch, seq_len], to logits, float32 [batch,
    classes].
    """
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
            # ONNX's shape inference does not know the fused nodes.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        for name in ("tokenizer.json", "config.json"):
            shutil.copy(hugging_face / name, staging / name)


def _export(hugging_face: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    # The fusion recognises only attention that was exported as separate steps.
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
    """Fuse attention, layer norms and GELU to nodes that have int8 kernels."""
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
    "--hugging-face",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Folder that bench.serving.to_hugging_face wrote.",
)
@click.option("--out", "folder", required=True, type=click.Path(path_type=Path), help="Folder to write.")
def main(hugging_face: Path, folder: Path) -> None:
    """Convert a Hugging Face classifier to an int8 model for ONNX Runtime."""
    convert(hugging_face, folder)
    click.echo(f"{folder}: {(folder / 'model.onnx').stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
