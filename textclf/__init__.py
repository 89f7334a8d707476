"""Train, serve and monitor small text classifiers; `textclf.load(path).predict(texts)` scores texts.

This module imports no other module of the project, so that `import textclf` is fast. The stage files share the
packages next to it; docs/architecture.md says which may import which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inference import Inference


def load(model_path: Path | str = "model", class_names: Sequence[str] | None = None, **options: Any) -> Inference:
    """Load a model store's current version, one version's folder or a SavedModel folder, as an Inference.

    Args:
        model_path: folder of the model.
        class_names: class names of a plain SavedModel, in the order of its outputs.
        options: further arguments of Inference, such as `threads`.

    Raises:
        TypeError: if `model_path` is neither a str nor a path.
        ModelStoreError: if there is no model, or it is damaged or can't be loaded.
        ConfigError: if `class_names` differ from the model's classes.
    """
    from inference import Inference

    inference = Inference(model_path, class_names, **options)
    _ = inference.predictor  # Loads the model now, so that a wrong path fails here.
    return inference


def __getattr__(name: str) -> str:
    """`__version__`: version of the installed package; "0+unknown" if it is not installed."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib.metadata

    try:
        return importlib.metadata.version("textclf")
    except importlib.metadata.PackageNotFoundError:
        return "0+unknown"
