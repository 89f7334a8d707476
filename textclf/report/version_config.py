"""The configuration that trains a version again: values for a configuration file, and comments for its beginning."""

from typing import Any

from textclf.config import DataOptions, TrainingOptions
from textclf.encoder_handles import handles_of
from textclf.store.manifest import Manifest
from textclf.store.recorded_options import model_options_of, target_options_of


def training_values(manifest: Manifest) -> dict[str, Any]:
    """The options of `textclf train` that a version records, by name; an option newer than the version has its default.

    Raises:
        ConfigError: if the version records an option that this software does not know.
    """
    model = model_options_of(manifest)
    del model["model_name"]  # It follows from the handle.
    return {
        "dataset_path": manifest.data.get("path") or manifest.data.get("source"),
        "encoder": model.pop("name_to_handle"),
        "preprocess": model.pop("model_to_handle"),
        **model,
        **TrainingOptions.from_dict({**manifest.training.get("options", {}), **target_options_of(manifest)}).to_dict(),
        "recipe": "none",
        **DataOptions.from_record(manifest.data.get("options", {})).to_dict(),
        "name": manifest.name,
    }


def config_comments(manifest: Manifest) -> list[str]:
    """The facts that a person needs to train a version again: id, data, software, and what no option can repeat."""
    fingerprint = manifest.data.get("fingerprint", {}).get("all", "not recorded")
    software = ", ".join(f"{name} {version}" for name, version in manifest.software.items()) or "not recorded"
    lines = [
        f"Trains version {manifest.id} again, with: textclf train --config FILE",
        f"Data: {manifest.data.get('source', 'not recorded')}, fingerprint {fingerprint}. Other data gives another "
        "model: compare the fingerprint that textclf data report prints.",
        f"Software: {software}.",
        "The version does not record --url, nor the folders of --model-dir, --data-dir and --runs-dir.",
    ]
    if not manifest.data:
        lines.append("The version does not record its data: set dataset_path.")
    elif "path" not in manifest.data:
        lines.append("The version records the name of its data, but not the path: check dataset_path.")
    if manifest.parent is not None:
        lines.append(
            f"It was made from version {manifest.parent}. The data of a retraining is the combined data set, which "
            "the next retraining replaces."
        )
    handles = handles_of(manifest.encoder["name_to_handle"], manifest.encoder["model_to_handle"])
    if handles.model_name != manifest.encoder["model_name"]:
        lines.append(
            f"The encoder was called {manifest.encoder['model_name']}; with these options it is called "
            f"{handles.model_name}."
        )
    return lines
