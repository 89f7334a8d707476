"""Nothing that this project imports reports to its makers: OpenVINO and NNCF come in by one door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import ROOT

DOOR = "textclf/environment.py"
SOURCES = sorted(
    path
    for pattern in ("*.py", "textclf/**/*.py", "serving/**/*", "bench/**/*.py", "ops/**/*.py", "tests/**/*.py")
    for path in ROOT.glob(pattern)
    if path.suffix == ".py" or (path.is_file() and path.suffix == "" and path.read_bytes()[:2] == b"#!")
)
REPORTING = {"openvino", "nncf"}

# A stand-in for the package of that name, which says so when it is imported.
TELEMETRY = "print('openvino_telemetry was imported')\n"


def imports_of(node, inside=()):
    """(module, the functions around it, the statement) of each import statement below `node`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, inside, child) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield child.module, inside, child
        elif isinstance(child, ast.FunctionDef):
            yield from imports_of(child, (*inside, child))
        else:
            yield from imports_of(child, inside)


def opens_the_door(function, before):
    """Whether the function calls import_openvino() in a line before."""
    return any(
        isinstance(node, ast.Call) and ast.unparse(node.func) == "import_openvino" and node.lineno < before
        for node in ast.walk(function)
    )


def test_openvino_and_nncf_are_imported_behind_the_door():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if path == ROOT / DOOR or not any(name in text for name in REPORTING):
            continue
        for module, inside, statement in imports_of(ast.parse(text)):
            if module.split(".")[0] in REPORTING:
                place = f"{path}:{statement.lineno}: {ast.unparse(statement)}"
                assert inside, f"{place}: runs at import; use textclf.environment.import_openvino"
                assert opens_the_door(inside[-1], statement.lineno), f"{place}: expected import_openvino() before it"


def test_the_rule_sees_what_it_looks_for():
    """Both ways to break it, and the one to keep it."""
    source = "import openvino as ov\ndef f():\n from openvino import opset13\n import_openvino()\n import nncf\n"
    found = list(imports_of(ast.parse(source)))
    assert [(module, bool(inside)) for module, inside, _ in found] == [
        ("openvino", False), ("openvino", True), ("nncf", True),
    ]  # fmt: skip
    verdicts = [inside and opens_the_door(inside[-1], statement.lineno) for _, inside, statement in found]
    assert verdicts == [(), False, True]


def run(code: str, folder: Path, *arguments: object) -> str:
    """Stdout of Python code, in a process that could import a package openvino_telemetry."""
    (folder / "openvino_telemetry").mkdir()
    (folder / "openvino_telemetry" / "__init__.py").write_text(TELEMETRY, encoding="utf-8")
    start = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}, {str(ROOT / 'tests' / 'helpers')!r}]\n"
    command = [sys.executable, "-c", start + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, timeout=300).stdout


def test_openvino_alone_would_report(tmp_path):
    """Or the other tests would show nothing."""
    assert "openvino_telemetry was imported" in run("import openvino; import openvino.tools.ovc", tmp_path)


def test_neither_the_engine_nor_the_export_reports(tmp_path):
    """A version is quantised, saved, loaded and asked."""
    code = """
from tiny_engine import write_version
from inference import Inference
path = write_version(sys.argv[1], precision="int8")
print(Inference(path).predict("a good film").label in ("neg", "pos"))
import nncf, openvino, openvino.tools.ovc
print(sys.modules["openvino_telemetry"])
print("nncf.telemetry" in sys.modules)
"""
    assert run(code, tmp_path, tmp_path / "model").splitlines()[-3:] == ["True", "None", "True"]


def test_scoring_does_not_report(tmp_path):
    """The first import is the engine's."""
    code = """
import subprocess
from pathlib import Path
write = "import sys; sys.path[:0] = sys.argv[2:]; from tiny_engine import write_version; write_version(sys.argv[1])"
subprocess.run([sys.executable, "-c", write, sys.argv[1], *sys.path[1:3]], check=True)
from inference import Inference
print(Inference(sys.argv[1]).predict("a good film").label in ("neg", "pos"))
print([name for name in ("openvino", "openvino_telemetry", "nncf", "tensorflow") if sys.modules.get(name)])
"""
    assert run(code, tmp_path, tmp_path / "model") == "True\n['openvino']\n"


@pytest.mark.slow
def test_every_module_may_be_the_first(tmp_path):
    """Whichever of ours a process imports first, none brings openvino_telemetry along."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in SOURCES
        if path.is_relative_to(ROOT / "textclf") and any(name in path.read_text("utf-8") for name in REPORTING)
    ]
    assert {
        "textclf.runtime.engine",
        "textclf.graph.engine_graph",
        "textclf.training.export.engine_export",
    } <= set(modules)
    code = """
import importlib, os
for name in sys.argv[1:]:
    if os.fork() == 0:
        try:
            importlib.import_module(name)
            print("imported", name, flush=True)
        finally:
            os._exit(0)
    os.wait()
"""
    assert run(code, tmp_path, *modules).splitlines() == [f"imported {name}" for name in modules]
