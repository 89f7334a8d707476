"""The process that imports a model of the Hub: a request as JSON in the argument, a result as JSON on stdout."""

import contextlib
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from serving.source.hub_cache import HubCache
from serving.source.hub_leftovers import folder_of_chunks
from serving.source.hub_start import failure_of
from serving.source.location import HubModel
from textclf.cli.termination import ends_on_sigterm
from textclf.errors import SourceError, TextClfError
from textclf.hub.download import Downloaded
from textclf.hub.errors import UnusableHubModelError
from textclf.hub.names import HubName
from textclf.store.model_store import ModelStore


def main() -> None:
    """Serve the request of the first argument."""
    # Libraries that print must not print into the result.
    result_file = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with ends_on_sigterm():
        result = result_of(json.loads(sys.argv[1]))
    with result_file:
        json.dump(result, result_file)


def result_of(request: dict[str, Any]) -> dict[str, Any]:
    """Import a model, and return its folder and its origin, or why it failed."""
    folder = Path(request["folder"])
    tokenizer = HubName.parse(request["tokenizer"], "TOKENIZER") if request["tokenizer"] else None
    wanted = HubModel(HubName.parse(request["name"], "HUB_MODEL_NAME"), tokenizer)
    cache = HubCache(folder, _import_model, request["max_bytes"], _say, keeps_downloads=request["keeps_downloads"])
    try:
        with contextlib.nullcontext() if request["keeps_downloads"] else folder_of_chunks(folder) as chunks:
            if chunks is not None:
                os.environ["HF_XET_CACHE"] = str(chunks)
            model = cache.fetch(wanted)
    except (TextClfError, OSError) as error:
        return failure_of(error, str(folder))
    return {"path": str(model.path), "origin": vars(model.origin)}


def _import_model(model: Downloaded, tokenizer: Downloaded | None, store: Path) -> str:
    from textclf.importing.importer import ImportOptions, import_classifier

    options, folder = ImportOptions(handle=model.name.name, revision=model.commit), None
    if tokenizer is not None:
        options = dataclasses.replace(options, tokenizer=tokenizer.name.name, tokenizer_revision=tokenizer.commit)
        folder = tokenizer.folder
    try:
        version = import_classifier(model.folder, ModelStore(store), options, tokenizer=folder, say=_say)
    except SourceError as error:
        message = str(error)
        for found in filter(None, (model, tokenizer)):  # The model says more than the folder of the download.
            message = message.replace(f"{found.folder}/", f"{found.name}: ").replace(str(found.folder), str(found.name))
        raise UnusableHubModelError(message) from error
    return str(version.manifest.source["sha256"])


def _say(message: str) -> None:
    print(f"serve: HUB_MODEL_NAME: {message}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
