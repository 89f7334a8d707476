"""Rules of docs/architecture.md that the imports show: which package may import which, and what runs at import."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
STAGES = {"initializing", "make_model", "train_model", "inference", "monitoring", "retraining"}
TENSORFLOW = {"tensorflow", "tensorflow_text", "tensorflow_hub", "tf_keras", "official", "keras"}
STDLIB = set(sys.stdlib_module_names)

# Which stages a stage may import; a trailing "?" means: inside a function only.
STAGE_IMPORTS = {
    "train_model": {"make_model", "initializing"},
    "retraining": {"train_model?"},
    "monitoring": {"retraining?"},
    "serving.app": {"inference"},
    "serving.model.served_version": {"inference"},
    "serving.wsgi": {"inference?"},
    "serving.sagemaker.training_job": {"train_model?"},
    "textclf": {"inference?"},
    "textclf.tuning.fold_training": {"train_model?"},
}
# The console script imports stages and serving by name, when a command runs.
CONSOLE = "textclf.__main__"
# Modules that may import TensorFlow (or textclf.training, which does), and those that may inside a function only.
WITH_TENSORFLOW = {"make_model", "train_model"}
WITH_LAZY_TENSORFLOW = {
    "initializing",
    "textclf.runtime.saved_model",
    "textclf.audit.label_search",
    "textclf.audit.reading_model",
    "textclf.tuning.trial_training",
}
_RECORDS = {"stats", "store", "drift"}
# Imports base modules only; every package may import it.
TOKENIZATION = "tokenization"
PACKAGE_IMPORTS: dict[str, set[str]] = {
    TOKENIZATION: set(),
    "cli": set(),
    "store": set(),
    "drift": set(),
    "hub": set(),
    "stats": {"drift"},
    "data": {"drift"},
    "runtime": _RECORDS,
    "report": _RECORDS,
    "rules": {"runtime", *_RECORDS},
    "explain": {"cli", "data", "runtime", *_RECORDS},
    "graph": {"data", "runtime", *_RECORDS},
    "evaluation": {"cli", "data", "runtime", "report", *_RECORDS},
    "audit": {"data", "runtime", "report", "training", *_RECORDS},
    "training": {"data", "graph", "hub", "importing", "runtime", "report", "evaluation", *_RECORDS},
    "importing": {"cli", "data", "graph", "hub", "runtime", *_RECORDS},
    "monitoring": {"cli", "data", "runtime", "rules", "report", *_RECORDS},
    "exporting": {"cli", "data", "graph", "importing", "runtime", "report", *_RECORDS},
    "sharding": {"cli", "data", "monitoring", "report", "rules", "runtime", *_RECORDS},
    "retraining": {"data", "runtime", "report", *_RECORDS},
    "tuning": {"cli", "data", "report", "stats", "store", "training"},
}
# Packages that serving may import; of a package with a set, only these modules.
SERVING_IMPORTS: dict[str, set[str] | None] = {
    TOKENIZATION: None,
    "runtime": None,
    "explain": None,
    "store": None,
    "drift": None,
    "hub": None,
    "importing": {"textclf.importing.importer"},
    "report": {"textclf.report.drift_terms", "textclf.report.evaluation_html"},
    "cli": {"textclf.cli.termination"},
    "rules": {"textclf.rules.loading"},
    "data": {
        "textclf.data.archive",
        "textclf.data.download",
        "textclf.data.feedback_store",
        "textclf.data.labelling.draw_signatures",
        "textclf.data.labelling.informative",
        "textclf.data.labelling.labelled_texts",
        "textclf.data.labelling.queue",
        "textclf.data.prediction_log.database_url",
        "textclf.data.prediction_log.log",
    },
}
# Parts of serving, and the parts that each may import; api sees no model.
SERVING_PARTS: dict[str, set[str]] = {
    "api": set(),
    "model": {"api"},
    "observability": {"api"},
    "prediction_logging": {"api"},
    "source": set(),
    "server": {"api", "observability", "source"},
    "sagemaker": set(),
}
API_IMPORTS = {"textclf.errors", "textclf.unicode", "textclf.tokenization.text_key"}
TRAINS_IN_A_CONTAINER = {
    "serving.sagemaker.training_job",
    "serving.sagemaker.channels",
    "serving.sagemaker.hyperparameters",
}
TRAINING_JOB_IMPORTS = dict.fromkeys(("cli", "data", "store", TOKENIZATION))
STATS_LIBRARIES = {"numpy", "scipy", "sklearn"}


class Import(NamedTuple):
    module: str
    is_lazy: bool
    line: int


def sources() -> dict[str, Path]:
    paths = [*ROOT.glob("*.py"), *(ROOT / "textclf").rglob("*.py"), *(ROOT / "serving").rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


SOURCES = sources()


def imports_of(tree: ast.AST, is_lazy: bool = False) -> Iterator[Import]:
    """Every import statement; those under TYPE_CHECKING do not run and do not count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, is_lazy, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            # `from textclf import labels` and `from textclf.labels import x` both import textclf.labels.
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield Import(whole if whole in SOURCES else node.module, is_lazy, node.lineno)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        else:
            yield from imports_of(node, is_lazy or isinstance(node, ast.FunctionDef | ast.Lambda))


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(SOURCES[name].read_text(encoding="utf-8"))


@cache
def imports_by(name: str) -> list[Import]:
    return list(imports_of(tree_of(name)))


def each_module(names: Iterable[str]) -> Callable[[Callable[[str], None]], Callable[[], None]]:
    """Make one test of a check of each module: a test takes longer than a check."""
    chosen = sorted(names)

    def decorate(check: Callable[[str], None]) -> Callable[[], None]:
        def test() -> None:
            assert chosen
            for name in chosen:
                check(name)

        return test

    return decorate


every_module = each_module(SOURCES)


def package_of(module: str) -> str | None:
    """The package of a textclf module; "" for the base modules; None outside textclf."""
    parts = module.split(".")
    if parts[0] != "textclf":
        return None
    return parts[1] if len(parts) > 1 and (ROOT / "textclf" / parts[1]).is_dir() else ""


def serving_part_of(module: str) -> str | None:
    """The package of a serving module; None for modules directly in serving, or outside it."""
    parts = module.split(".")
    return parts[1] if parts[0] == "serving" and parts[1:2] and parts[1] in SERVING_PARTS else None


@every_module
def test_tensorflow_only_where_it_may_be(name):
    if package_of(name) == "training" or name in WITH_TENSORFLOW:
        return
    for found in imports_by(name):
        if found.module.split(".")[0] in TENSORFLOW or package_of(found.module) == "training":
            assert name in WITH_LAZY_TENSORFLOW, f"{name}:{found.line} imports {found.module}"
            assert found.is_lazy, f"{name}:{found.line} must import {found.module} inside a function"


@every_module
def test_stages_keep_apart(name):
    allowed = STAGE_IMPORTS.get(name, set())
    for found in imports_by(name):
        top = found.module.split(".")[0]
        if top in STAGES:
            is_allowed = top in allowed or (f"{top}?" in allowed and found.is_lazy)
            assert is_allowed, f"{name}:{found.line} imports the stage {top}"
        assert top not in {"bench", "tests"}, f"{name}:{found.line}"
        assert top != "serving" or name.startswith("serving"), f"{name}:{found.line}"


@every_module
def test_packages_import_what_they_may(name):
    package = package_of(name)
    if not package:
        return
    for found in imports_by(name):
        other = package_of(found.module)
        if other:
            allowed = {package, TOKENIZATION, *PACKAGE_IMPORTS[package]}
            assert other in allowed, f"{name}:{found.line} imports {found.module}"


@each_module(name for name in SOURCES if name.split(".")[0] == "serving")
def test_serving_imports_what_it_may(name):
    trains = name in TRAINS_IN_A_CONTAINER
    for found in imports_by(name):
        where = f"{name}:{found.line} imports {found.module}"
        package = package_of(found.module)
        if package:
            allowed = TRAINING_JOB_IMPORTS if trains else SERVING_IMPORTS
            assert package in allowed, where
            assert allowed[package] is None or found.module in allowed[package], where
        assert trains or found.module not in TRAINS_IN_A_CONTAINER, where


@each_module(name for name in SOURCES if name.startswith("serving."))
def test_parts_of_serving_import_what_they_may(name):
    part = serving_part_of(name)
    for found in imports_by(name):
        other = serving_part_of(found.module)
        if part and other:
            assert other == part or other in SERVING_PARTS[part], f"{name}:{found.line} imports {found.module}"
        if part == "api" and found.module.split(".")[0] in STAGES | {"textclf"}:
            assert found.module in API_IMPORTS, f"{name}:{found.line} imports {found.module}"


@every_module
def test_base_modules_import_no_package(name):
    if package_of(name) == "" and name != CONSOLE:
        for found in imports_by(name):
            assert not package_of(found.module), f"{name}:{found.line} imports {found.module}"


def test_the_console_script_imports_command_lines_only():
    found = {one.module for one in imports_by(CONSOLE) if one.module in SOURCES}
    assert found == {"textclf", "textclf.cli.commands", "textclf.stages"}
    assert not any(found.module == CONSOLE for name in SOURCES for found in imports_by(name))


def test_only_the_console_script_imports_by_name():
    calls = re.compile(r"\b(import_module|__import__|runpy)\b")
    assert [name for name, path in SOURCES.items() if calls.search(path.read_text(encoding="utf-8"))] == [CONSOLE]


@each_module(name for name in SOURCES if package_of(name) == "stats")
def test_stats_are_pure(name):
    for found in imports_by(name):
        top = found.module.split(".")[0]
        assert top in STATS_LIBRARIES | STDLIB | {"textclf"}, f"{name}:{found.line} imports {found.module}"
        assert top not in {"os", "pathlib", "time", "datetime", "random", "io"}, f"{name}:{found.line}"


@every_module
def test_nothing_runs_at_import(name):
    """Only definitions, constants and the __main__ guard; tf_setup is for running first."""
    if name == "textclf.training.tf_setup":
        return
    definitions = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    for node in tree_of(name).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_guard = isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "__name__ == '__main__'"}
        assert isinstance(node, definitions) or is_docstring or is_guard, f"{name}:{node.lineno} runs at import"


def test_keras_2_is_asked_for_in_one_place():
    sets = re.compile(r"environ(\[|\.setdefault\(|\.update\()\"TF_USE_LEGACY_KERAS")
    assert [name for name, path in SOURCES.items() if sets.search(path.read_text(encoding="utf-8"))] == [
        "textclf.environment"
    ]


def test_everything_but_training_imports_without_tensorflow():
    """In a process without TensorFlow and the other packages that only requirements.txt has."""
    names = [
        name
        for name in SOURCES
        if package_of(name) != "training" and name not in {*WITH_TENSORFLOW, "textclf.report.plots"}
    ]
    assert "inference" in names
    blocked = sorted(TENSORFLOW | {"matplotlib", "pyarrow", "safetensors", "datasketch"})
    code = (
        "import sys, importlib\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        f"for name in {sorted(names)!r}: importlib.import_module(name)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
