"""pyproject.toml is the only source of dependencies, the locks follow it, and imports stay lazy."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from ops.lock import DIGEST, LOCKS, dependency_digest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
TRAINING_EXTRAS = ("train", "monitor", "tune", "hub", "xlsx")
every_lock = pytest.mark.parametrize("lock", sorted(LOCKS))


def pins(lock: str) -> dict[str, Version]:
    found = re.findall(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE)
    return {name: Version(version) for name, version in found}


def wanted(lock: str) -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"]]
    extra = lock.removeprefix("requirements-").removesuffix(".txt")
    lines += extras[extra] if extra in extras else [*extras["serve"], *extras["monitor"]]
    if lock == "requirements-training.txt":
        lines = [*PROJECT["dependencies"], *(line for extra in TRAINING_EXTRAS for line in extras[extra])]
    if lock == "requirements.txt":
        groups = PYPROJECT["dependency-groups"].values()
        lines += [*extras["train"], *(line for group in groups for line in group if isinstance(line, str))]
    return [Requirement(line) for line in lines]


@every_lock
def test_lock_is_compiled_from_todays_tables(lock):
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    assert DIGEST + dependency_digest() in lines, f"{lock} is stale: run make lock"


@every_lock
def test_lock_satisfies_every_requirement(lock):
    pinned = pins(lock)
    for requirement in wanted(lock):
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{lock}: {requirement}, pinned {version}"


@every_lock
def test_lock_has_hashes_and_names_no_index(lock):
    text = (ROOT / lock).read_text(encoding="utf-8")
    blocks = [block for block in re.split(r"\n(?=[a-z])", text) if not block.startswith("#")]
    assert len(blocks) == len(pins(lock)) > 10
    assert all("--hash=sha256:" in block for block in blocks)
    assert not re.search(r"://|/(?:home|root|tmp|work|opt)/|--(?:extra-)?index|--find-links", text)


@pytest.mark.parametrize(
    "lock", ["requirements-serving.txt", *(f"requirements-{extra}.txt" for extra in ("aws", "hub", "otel"))]
)
def test_locks_of_the_serving_image_are_parts_of_the_whole_without_tensorflow(lock):
    pinned = pins(lock)
    assert pinned.items() < pins("requirements.txt").items()
    assert not any("tensorflow" in name or "keras" in name for name in pinned)


def test_the_serving_image_has_boto3_only_with_its_extra():
    assert "boto3" not in pins("requirements-serving.txt")
    assert "boto3" in pins("requirements-aws.txt")
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    locks = "requirements-serving.txt requirements-aws.txt requirements-hub.txt requirements-otel.txt"
    assert 'ARG EXTRAS=""\n' in dockerfile
    assert f"COPY {locks} ./\n" in dockerfile
    assert "for name in serving $EXTRAS ${HUB_MODEL_NAME:+hub}; do" in dockerfile


def test_the_training_image_has_no_tools_of_development():
    pinned = pins("requirements-training.txt")
    assert pinned.items() < pins("requirements.txt").items()
    assert {"tensorflow", "optuna", "tokenizers"} <= set(pinned)
    assert not {"pytest", "playwright", "mypy", "mkdocs", "moto", "ray", "boto3", "flask"} & set(pinned)
    assert "--requirement requirements-training.txt" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_a_model_of_the_hub_is_built_into_the_image_only_on_request():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert 'ARG HUB_MODEL_NAME=""\n' in dockerfile
    assert 'if [ -n "$HUB_MODEL_NAME" ]; then' in dockerfile
    assert not {"huggingface-hub", "tokenizers", "safetensors"} & set(pins("requirements-serving.txt"))


def test_base_needs_neither_tensorflow_nor_flask():
    base = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert "openvino" in base
    assert not base & {"tensorflow", "tf-keras", "flask", "gunicorn", "sqlalchemy"}


def test_version_is_the_same_everywhere():
    version = PROJECT["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {version}" in (ROOT / "CHANGES.md").read_text(encoding="utf-8")


def test_licence_is_apache_2():
    assert PROJECT["license"] == "Apache-2.0"
    assert (ROOT / "LICENSE").read_bytes() == (ROOT / "model" / "LICENSE").read_bytes()


def modules_after(code: str) -> set[str]:
    """The names in sys.modules after `code` ran in a new process."""
    code = f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\nprint('\\n', *sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


def test_importing_textclf_imports_nothing_else():
    loaded = modules_after("import textclf") - modules_after("pass")
    assert {name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names} == {"textclf"}


def test_help_of_the_console_script_imports_no_stage():
    loaded = modules_after("sys.argv = ['textclf', '--help']; from textclf.__main__ import main; main()")
    assert "click" in loaded
    heavy = {"numpy", "openvino", "tensorflow", "sqlalchemy", "serving", "inference", "train_model", "monitoring"}
    assert not loaded & heavy


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_no_virtual_environment_is_in_the_repository():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    marks = re.compile(r"(^|/)(\.venv[^/]*|site-packages|pyvenv\.cfg)(/|$)")
    assert not [path for path in listed.stdout.split("\0") if marks.search(path)]
    environments = re.findall(r"^\w*VENV := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    names = [*environments, ".venv-new"]
    command = ["git", "check-ignore", "--no-index", *names]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ignored.stdout.split() == names
