"""The folder of models that were imported from the Hub.

    <folder>/models/<key>/store         a model store with the imported version
    <folder>/models/<key>/origin.json   where it came from
    <folder>/models/<key>/pinned        present if it was asked for by its commit
    <folder>/refs/<key>                 commit that a branch or a tag had last
    <folder>/locks/<key>                lock (flock) of an import
    <folder>/downloads/<key>            downloaded files until they are imported

A model appears as a whole, by one rename. Readers need no write permission. At each start hub_leftovers removes what
no server needs.
"""

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from serving.source.fetch import FetchedModel
from serving.source.hub_leftovers import DOWNLOADS, LOCKS, MODELS, ORIGIN_FILE, PINNED_FILE, REFS, remove_old_files
from serving.source.location import HubModel
from serving.source.origin import Origin
from textclf.errors import ModelStoreError
from textclf.files import atomic_file, atomic_folder, locked
from textclf.hub.client import HubClient, Listing
from textclf.hub.download import Downloaded, download_model, find_commit
from textclf.hub.errors import HubUnreachableError
from textclf.hub.names import HubName
from textclf.store.model_store import open_model

# A number to count up when an import gives another version of the same files.
_FORMAT = 2
_RAISE = "raise MODEL_MAX_BYTES if you want this model"
_STORE = "store"
# Imports downloaded files into a new model store, and returns the hash of the weights.
Importer = Callable[[Downloaded, Downloaded | None, Path], str]


class HubCache:
    """Imports models of the Hub once.

    Args:
        folder: the folder of the cache; it is created.
        import_model: imports downloaded files into a store.
        max_bytes: largest size of the files of a model.
        say: takes sentences for the operator.
        client: makes the client of a folder for downloads; None is the cache of huggingface_hub.
        keeps_downloads: whether downloads go to the cache of huggingface_hub and stay there.
    """

    def __init__(
        self,
        folder: Path,
        import_model: Importer,
        max_bytes: int,
        say: Callable[[str], None],
        client: Callable[[Path | None], HubClient] = HubClient,
        *,
        keeps_downloads: bool = False,
    ) -> None:
        self.folder = folder
        self.import_model = import_model
        self.max_bytes = max_bytes
        self.say = say
        self.client = client
        self.keeps_downloads = keeps_downloads

    def fetch(self, wanted: HubModel) -> FetchedModel:
        """Return a model from the cache; it is imported unless it is there.

        A pinned commit that is in the cache needs no request. For a branch or a tag, the Hub is asked for the commit;
        if it can't be reached, the commit that was served last is served again.

        Raises:
            TextClfError: if the model can't be downloaded or imported.
            OSError: if a file can't be written.
        """
        names = [wanted.name, *([wanted.tokenizer] if wanted.tokenizer else [])]
        found = [self._commit(name) for name in names]
        commits = [(name.name, listing.commit) for name, listing in zip(names, found, strict=True)]
        key = _key(wanted.name.name, [_FORMAT, *commits])
        model = self._cached(key) or self._imported_once(wanted, key, found)
        self._remember(found)
        if all(name.is_pinned for name in names):
            with contextlib.suppress(OSError):  # The cache may be read-only.
                (self.folder / MODELS / key / PINNED_FILE).touch()
        for removed in remove_old_files(self.folder, key, model.origin):
            self.say(f"removed {removed} from the cache, a commit that {wanted} had before")
        return model

    def _imported_once(self, wanted: HubModel, key: str, found: list[Listing]) -> FetchedModel:
        """Import a model, or wait for the process that does."""
        locks = self.folder / LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked(locks / key, wait=False))
            except BlockingIOError:
                self.say(f"waits for another process that imports {wanted}")
                held.enter_context(locked(locks / key))
            return self._cached(key) or self._imported(wanted, key, found)

    def _commit(self, name: HubName) -> Listing:
        """The commit of a name; its files are listed only if the Hub was asked."""
        if name.is_pinned:
            return Listing(name, name.revision, ())
        ref = self._ref(name)
        try:
            return self.client(None).list_files(name)
        except HubUnreachableError as error:
            if not ref.is_file():
                raise
            commit = ref.read_text(encoding="utf-8").strip()
            self.say(f"warning: {error}; serves commit {commit}, which was served last")
            return Listing(name, commit, ())

    def _ref(self, name: HubName) -> Path:
        return self.folder / REFS / _key(name.name, [name.revision])

    def _remember(self, found: Sequence[Listing]) -> None:
        """Keep the commit of each branch and tag, now that its model is in the cache."""
        for listing in found:
            ref = self._ref(listing.name)
            if listing.name.is_pinned or (ref.is_file() and ref.read_text(encoding="utf-8") == listing.commit):
                continue
            with (
                contextlib.suppress(OSError),
                atomic_file(ref) as file,
            ):  # The cache may be read-only, or its disk full.
                file.write(listing.commit)

    def _cached(self, key: str) -> FetchedModel | None:
        """A model of the cache whose files have their hashes; None if there is none."""
        folder = self.folder / MODELS / key
        try:
            origin = Origin(**json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8")))
            open_model(folder / _STORE).verify()
        except FileNotFoundError:
            return None
        except (ModelStoreError, ValueError, TypeError) as error:
            self.say(f"warning: the cache is damaged, and the model is imported again: {error}")
            return None
        return FetchedModel(folder / _STORE, origin)

    def _imported(self, wanted: HubModel, key: str, found: list[Listing]) -> FetchedModel:
        downloads = self.folder / DOWNLOADS / key
        client = self.client(None if self.keeps_downloads else downloads)
        downloaded: list[Downloaded] = []
        for listing in found:
            if not listing.files:
                listing = find_commit(client, HubName(listing.name.name, listing.commit))
            self.say(f"downloads {listing.name} (commit {listing.commit})")
            downloaded.append(download_model(client, listing, self.max_bytes, _RAISE, tokenizer_only=bool(downloaded)))
        self.say(f"imports {wanted}")
        target = self.folder / MODELS / key
        with atomic_folder(target, replace=True) as staging:
            tokenizer = downloaded[1] if len(downloaded) > 1 else None
            sha256 = self.import_model(downloaded[0], tokenizer, staging / _STORE)
            origin = Origin(str(wanted), sha256, commit=downloaded[0].commit)
            if tokenizer is not None:
                origin = dataclasses.replace(origin, tokenizer=str(wanted.tokenizer), tokenizer_commit=tokenizer.commit)
            (staging / ORIGIN_FILE).write_text(json.dumps(dataclasses.asdict(origin)), encoding="utf-8")
        shutil.rmtree(downloads, ignore_errors=True)
        return FetchedModel(target / _STORE, origin)


def _key(name: str, parts: Sequence[object]) -> str:
    """A name of a file that a person recognises, for a repository and what else makes the difference."""
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return f"{name.replace('/', '--')}-{digest}"
