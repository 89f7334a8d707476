"""The part of Kustomize that deploy/kubernetes uses: resources, components, JSON patches, namespace and images.

Anything else in a kustomization is an error. tests/deploy/test_kubernetes.py compares it with Kustomize itself.
"""

import copy
from pathlib import Path
from typing import Any

import yaml

_KEYS = {"apiVersion", "kind", "namespace", "resources", "components", "patches", "images"}
_KINDS = {
    ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
    ("kustomize.config.k8s.io/v1alpha1", "Component"),
}


def build(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of a kustomization, in order."""
    return _build(folder, [])


def _build(folder: Path, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the objects of a kustomization to `objects`, which a component changes, too."""
    content = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert (content["apiVersion"], content["kind"]) in _KINDS, folder
    assert content.keys() <= _KEYS, f"{folder}: unknown {content.keys() - _KEYS}"
    for name in content.get("resources", []):
        path = folder / name
        objects += _build(path, []) if path.is_dir() else yaml.safe_load_all(path.read_text(encoding="utf-8"))
    for name in content.get("components", []):
        _build(folder / name, objects)
    for patch in content.get("patches", []):
        assert patch.keys() == {"path", "target"}, patch
        operations = yaml.safe_load((folder / patch["path"]).read_text(encoding="utf-8"))
        for at, found in enumerate(objects):
            if _is_target(found, patch["target"]):
                objects[at] = json_patch(found, operations)
    for found in objects:
        if namespace := content.get("namespace"):
            found["metadata"]["namespace"] = namespace
        for image in content.get("images", []):
            _set_image(found, image)
    return objects


def json_patch(document: Any, operations: list[dict[str, Any]]) -> Any:
    """Return a document after the operations `add`, `remove`, `replace` and `test` of RFC 6902."""
    document = copy.deepcopy(document)
    for operation in operations:
        *path, last = operation["path"].removeprefix("/").split("/")
        place = document
        for part in path:
            place = place[int(part) if isinstance(place, list) else part]
        is_list = isinstance(place, list)
        key = int(last) if is_list and last != "-" else last
        kind = operation["op"]
        if kind == "test":
            assert place[key] == operation["value"], operation
        elif kind == "remove":
            del place[key]
        elif kind == "replace":
            assert place[key] is not None, operation
            place[key] = operation["value"]
        else:
            assert kind == "add", operation
            if is_list:
                place.insert(len(place) if key == "-" else key, operation["value"])
            else:
                place[key] = operation["value"]
    return document


def _is_target(found: dict[str, Any], target: dict[str, str]) -> bool:
    assert target.keys() <= {"kind", "name"}, target
    return found["kind"] == target["kind"] and found["metadata"]["name"] == target["name"]


def _set_image(found: Any, image: dict[str, str]) -> None:
    if isinstance(found, dict):
        if found.get("image") == image["name"]:
            found["image"] = f"{image['newName']}:{image['newTag']}"
        for value in found.values():
            _set_image(value, image)
    elif isinstance(found, list):
        for value in found:
            _set_image(value, image)
