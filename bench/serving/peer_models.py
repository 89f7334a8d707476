"""Models of the peers, converted once from a trained version to the format of each library."""

import subprocess
from collections.abc import Collection
from pathlib import Path

from bench.errors import BenchError
from bench.serving.servers import ROOT
from textclf.files import atomic_folder
from textclf.store.model_store import ModelVersion

FORMS = ("saved_model", "hugging_face", "onnx")


def make_peer_models(
    version: ModelVersion, work: Path, python: str, forms: Collection[str] = FORMS, original: Path | None = None
) -> None:
    """Convert a version to the missing formats in `work`.

    Args:
        version: version with its saved_model/, unless it was imported.
        work: folder for the models of this version.
        python: interpreter with bench/requirements.txt.
        forms: the formats that are needed, of FORMS; "onnx" is made from "hugging_face".
        original: the folder that the version was imported from; it is "hugging_face" itself.

    Raises:
        ModelStoreError: if a format needs the saved_model/ and the version has none.
        BenchError: if a conversion fails.
    """
    plain, hugging_face, onnx = (work / form for form in FORMS)
    if "saved_model" in forms and not plain.exists():
        with atomic_folder(plain) as staging:
            (staging / "saved_model").symlink_to(version.part("saved_model").absolute())
            (staging / "labels.txt").write_text("\n".join(version.manifest.class_names), encoding="utf-8")
    if set(forms) & {"hugging_face", "onnx"} and not hugging_face.exists():
        if original is None:
            to_hugging_face = ("--model-path", str(version.path.absolute()), "--out", str(hugging_face))
            _run(python, "bench.serving.to_hugging_face", *to_hugging_face)
        else:
            hugging_face.symlink_to(original.absolute())
    if "onnx" in forms and not onnx.exists():
        _run(python, "bench.serving.to_onnx", "--hugging-face", str(hugging_face), "--out", str(onnx))


def _run(python: str, module: str, *arguments: str) -> None:
    command = [python, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)  # noqa: S603 (the user's own interpreter)
    if done.returncode:
        reason = " ".join(done.stderr.split()[-60:])
        raise BenchError(f"{python} -m {module} failed; it needs bench/requirements.txt; its last output: …{reason}")
