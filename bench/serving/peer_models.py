"""The peers' models, made once from a trained version: each in the form its own library wants."""

import subprocess
from pathlib import Path

from bench.errors import BenchError
from bench.serving.servers import ROOT
from textclf.files import atomic_folder
from textclf.store.model_store import ModelVersion

FORMS = ("saved_model", "hugging_face", "onnx")


def make_peer_models(version: ModelVersion, work: Path, python: str) -> None:
    """Make what is missing of FORMS in `work`.

    Args:
        version: with its saved_model/.
        work: a folder of this version's own.
        python: an interpreter that has bench/requirements.txt.

    Raises:
        ModelStoreError: the version has no saved_model/ here.
        BenchError: a conversion fails.
    """
    plain, hugging_face, onnx = (work / form for form in FORMS)
    if not plain.exists():
        with atomic_folder(plain) as staging:
            (staging / "saved_model").symlink_to(version.part("saved_model").absolute())
            (staging / "labels.txt").write_text("\n".join(version.manifest.class_names), encoding="utf-8")
    if not hugging_face.exists():
        _run(
            python,
            "bench.serving.to_hugging_face",
            "--model-path",
            str(version.path.absolute()),
            "--out",
            str(hugging_face),
        )
    if not onnx.exists():
        _run(python, "bench.serving.to_onnx", "--hugging-face", str(hugging_face), "--out", str(onnx))


def _run(python: str, module: str, *arguments: str) -> None:
    command = [python, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)  # noqa: S603 (the user's own interpreter)
    if done.returncode:
        reason = " ".join(done.stderr.split()[-60:])
        raise BenchError(f"{python} -m {module} failed; has it bench/requirements.txt? It said: …{reason}")
