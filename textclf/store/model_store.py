"""Model versions on disk, and the pointer to the one being served.

    <store>/current          one line: the id of the version being served
    <store>/versions/<id>/   manifest.json and the files whose hashes it contains
    <store>/.lock            lock (flock) for adding a version and for moving `current`

A version appears as a whole, by one rename, and is never edited afterwards; `current` is replaced atomically.
Readers take no lock and need no write permission.
"""

import contextlib
import dataclasses
import os
import secrets
import shlex
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from textclf.errors import ModelStoreError, OvertakenError
from textclf.files import atomic_file, atomic_folder, locked, remove_leftovers, sha256_of_file
from textclf.store.manifest import MANIFEST_FILE, Manifest, is_version_id

# Content of the pointer of a store whose versions were all withheld.
_NO_VERSION = "none"


@dataclass(frozen=True)
class ModelVersion:
    """One saved version: its folder and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """The version's id."""
        return self.manifest.id

    def has(self, part: str) -> bool:
        """True if the part (`saved_model`, `engine`, `reference.npz` …) exists; a clone may lack some."""
        return (self.path / part).exists()

    def part(self, name: str) -> Path:
        """The path of a part.

        Raises:
            ModelStoreError: if the part is missing.
        """
        if not self.has(name):
            present = sorted(path.name for path in self.path.iterdir())
            raise ModelStoreError(
                f"{self.path}: expected the part {name!r}, found only {', '.join(present)}; "
                f"get it from where the version was trained, or save a new version"
            )
        return self.path / name

    def verify(self, parts: Iterable[str] | None = None) -> None:
        """Compare every file with its hash; a part may be missing as a whole.

        Args:
            parts: names in the version's folder to check; None checks all.

        Raises:
            ModelStoreError: if a file is damaged, missing from an existing part, or not in the manifest.
        """
        wanted = None if parts is None else set(parts)

        def is_wanted(path: str) -> bool:
            return wanted is None or _part_of(path) in wanted

        present = {path for path in _files_below(self.path) if path != MANIFEST_FILE and is_wanted(path)}
        expected = {path for path in self.manifest.files if is_wanted(path) and self.has(_part_of(path))}
        if missing := sorted(expected - present):
            raise ModelStoreError.damaged(f"{self.path / missing[0]}: expected this file of version {self.id}")
        if extra := sorted(present - expected):
            raise ModelStoreError(
                f"{self.path / extra[0]}: not among the files of version {self.id}, which is never edited; remove it"
            )
        for path in sorted(present):
            found = sha256_of_file(self.path / path)
            if found != self.manifest.files[path]:
                raise ModelStoreError.damaged(
                    f"{self.path / path}: damaged: expected SHA-256 {self.manifest.files[path]}, got {found}"
                )


@dataclass
class Draft:
    """A version that is being written: fill `path`, then set `manifest`.

    Attributes:
        id: the future version id.
        path: the staging folder.
        manifest: the description without id, created and files; set before the block ends.
    """

    id: str
    path: Path
    manifest: Manifest | None = None


class ModelStore:
    """A folder of model versions. The constructor only stores its arguments.

    Args:
        path: the store's folder; the first save creates it.
        clock: seconds since the epoch.
    """

    def __init__(self, path: Path | str, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self.clock = clock

    @property
    def option(self) -> str:
        """The option that names the store to a command, for messages."""
        return f"--model-dir {shlex.quote(str(self.path))}"

    def check_writable(self) -> None:
        """Check that a version can be written, before the work for it; leaves no file.

        Raises:
            ModelStoreError: if no version can be written, or `current` is damaged.
        """
        try:
            folder = next(path for path in (self._versions, *self._versions.absolute().parents) if path.exists())
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ModelStoreError(
                f"{self.path}: expected a folder that a model can be saved in ({error.strerror or error}); "
                f"name another one"
            ) from error
        self.current_id()

    def check_exists(self) -> None:
        """Refuse a path that is no model store.

        Raises:
            ModelStoreError: if the folder has no versions/.
        """
        if not self._versions.is_dir():
            raise ModelStoreError(
                f"{self.path.absolute()}: expected a model store (a folder with versions/), found none; "
                f"train a model with textclf train, or name another folder"
            )

    def version_ids(self) -> list[str]:
        """The ids of the saved versions, newest last."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return sorted(name for name in os.listdir(self._versions) if is_version_id(name))
        return []

    def current_id(self) -> str | None:
        """The id of the current version; None without one.

        The only version of a store is current without a pointer: a killed save, or a copy by hand, leaves that. The
        pointer "none" withholds it.

        Raises:
            ModelStoreError: if `current` does not contain one id.
        """
        try:
            text = self._pointer.read_bytes()[:1000].decode("utf-8", errors="replace").strip()
        except FileNotFoundError:
            ids = self.version_ids()
            return ids[0] if len(ids) == 1 else None
        except OSError as error:
            raise ModelStoreError(
                f"{self._pointer}: expected a file with the id of a version ({error.strerror}); put one of these into "
                f"it: {self._listing()}"
            ) from error
        if text == _NO_VERSION:
            return None
        if not is_version_id(text):
            raise ModelStoreError(
                f"{self._pointer}: expected the id of a version, got {text[:100]!r}; write one of these into it: "
                f"{self._listing()}"
            )
        return text

    def open(self, version_id: str | None = None) -> ModelVersion:
        """A version by its id; None opens the current one. ModelVersion.verify checks its files.

        Raises:
            ModelStoreError: if the version is missing, the id is malformed, or the manifest is damaged.
        """
        wanted = self.current_id() if version_id is None else version_id
        if wanted is None:
            raise ModelStoreError(
                f"{self.path.absolute()}: expected a model store with a current version; versions here: "
                f"{self._listing()}; train one (textclf train), or make one of them current (textclf versions "
                f"promote ID {self.option})"
            )
        if not is_version_id(wanted) or not (self._versions / wanted).is_dir():
            asked = "current names" if version_id is None else "asked for"
            raise ModelStoreError(
                f"{self.path.absolute()}: no version {wanted!r} ({asked}); versions here: {self._listing()}"
            )
        version = _read_version(self._versions / wanted)
        if version.id != wanted:
            raise ModelStoreError(
                f"{version.path}: expected the manifest of version {wanted}, got that of {version.id}; "
                f"a version's folder keeps its name"
            )
        return version

    @contextlib.contextmanager
    def new_version(self, *, is_withheld: bool = False) -> Iterator[Draft]:
        """A staging folder that becomes a version at the end of the block, or is removed if the block raises.

        The block writes files into `draft.path` and sets `draft.manifest`. The store adds id, time and the hash of
        every file. The first version of a store becomes current, unless it is withheld. Afterwards `open(draft.id)`
        returns the version.

        Raises:
            ModelStoreError: if no manifest was set, or no file was written.
        """
        now = datetime.fromtimestamp(self.clock(), UTC)
        new_id = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z-{secrets.token_hex(3)}"
        self._versions.mkdir(parents=True, exist_ok=True)
        with self.locked():
            for folder in (self.path, self._versions):
                remove_leftovers(folder, now.timestamp())
        with contextlib.ExitStack() as until_pointer_is_set:
            with atomic_folder(self._versions / new_id) as folder:
                draft = Draft(id=new_id, path=folder)
                yield draft
                _seal(draft, now)
                until_pointer_is_set.enter_context(self.locked())
                pointed_to = self._pointer_to_write(_NO_VERSION if is_withheld else new_id)
                # Before a second version appears: without a pointer, neither of two would be current.
                if pointed_to not in (None, new_id):
                    self._point_to(pointed_to)
            if pointed_to == new_id:
                self._point_to(new_id)

    def promote(
        self, version_id: str, *, expected_current: str | None, record: Callable[[], object] | None = None
    ) -> None:
        """Make a version current, if `expected_current` still is.

        A challenger was compared with the version that was current then. If `current` moved since, the comparison is
        void. The same call rolls back to an older version.

        Args:
            version_id: id of the version.
            expected_current: id of the current version; None without one.
            record: called under the store's lock right before `current` moves; if it raises, `current` stays.

        Raises:
            OvertakenError: if `current` has moved.
            ModelStoreError: if the version is missing or damaged.
        """
        self.open(version_id).verify()
        with self.locked():
            found = self.current_id()
            if found != expected_current:
                raise OvertakenError(
                    f"{self.path}: expected {expected_current or 'no version'} to be current, found {found}: another "
                    f"was promoted meanwhile; compare {version_id} with that one, then promote again"
                )
            if record is not None:
                record()
            self._point_to(version_id)

    def locked(self) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Hold the store's lock: nobody else can add a version or move `current`."""
        return locked(self.path / ".lock")

    @property
    def _versions(self) -> Path:
        return self.path / "versions"

    @property
    def _pointer(self) -> Path:
        return self.path / "current"

    def _listing(self) -> str:
        return ", ".join(self.version_ids()) or "none"

    def _pointer_to_write(self, new_id: str) -> str | None:
        """The id for `current` once the version `new_id` appears; None leaves it unchanged."""
        if self._pointer.exists():
            return new_id if self._pointer.read_bytes().strip() == _NO_VERSION.encode() else None
        return self.current_id() if self.version_ids() else new_id

    def _point_to(self, version_id: str) -> None:
        with atomic_file(self._pointer) as file:
            file.write(f"{version_id}\n")


def open_model(path: Path | str) -> ModelVersion:
    """The version at `path`: a store's current one, or the one whose folder `path` is.

    Raises:
        ModelStoreError: if `path` is neither; a plain SavedModel is neither (is_saved_model_folder).
    """
    path = Path(path)
    if (path / MANIFEST_FILE).is_file():
        return _read_version(path)
    if is_model_store(path):
        return ModelStore(path).open()
    found = (
        "a plain SavedModel" if is_saved_model_folder(path) else "no such folder" if not path.exists() else "neither"
    )
    raise ModelStoreError(
        f"{path.absolute()}: expected a model store (with versions/ and current) or one version's folder (with "
        f"{MANIFEST_FILE}), found {found}; train a model with textclf train, or name another folder"
    )


def find_version(path: Path | str, name: str | None) -> ModelVersion:
    """The version that a person names: an id of the store at `path`, or a version's folder; None as in open_model.

    Raises:
        ModelStoreError: if there is no such version.
    """
    if name is None:
        return open_model(path)
    return open_model(name) if Path(name).is_dir() else ModelStore(path).open(name)


def path_or_version(name: str, store: Path | str) -> str:
    """`name` as a path; the id of a version becomes the path of its folder in the store.

    Raises:
        ModelStoreError: if the store lacks the version.
    """
    is_path = not is_version_id(name) or Path(name).exists()
    return name if is_path else str(ModelStore(store).open(name).path)


def is_model_store(path: Path) -> bool:
    """True if `path` is a model store, also one without versions; a version's folder is none."""
    return not (path / MANIFEST_FILE).is_file() and ((path / "versions").is_dir() or (path / "current").exists())


def is_saved_model_folder(path: Path | str) -> bool:
    """True if `path` is a TensorFlow SavedModel without a manifest."""
    path = Path(path)
    return (path / "saved_model.pb").is_file() and not (path / MANIFEST_FILE).exists()


def _read_version(folder: Path) -> ModelVersion:
    source = folder / MANIFEST_FILE
    try:
        text = source.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ModelStoreError(f"{source}: expected the manifest of a version, found no such file") from error
    except UnicodeDecodeError as error:
        raise ModelStoreError(f"{source}: expected UTF-8 text: the file is damaged") from error
    return ModelVersion(folder, Manifest.from_json(text, source))


def _seal(draft: Draft, now: datetime) -> None:
    """Write the manifest of a filled staging folder, which is its last file."""
    if draft.manifest is None:
        raise ModelStoreError(f"version {draft.id}: expected its manifest to be set before it is saved, got none")
    paths = sorted(_files_below(draft.path))
    if not paths or MANIFEST_FILE in paths:
        raise ModelStoreError(
            f"version {draft.id}: expected files, and no {MANIFEST_FILE} (the store writes it), got {paths or 'none'}"
        )
    manifest = dataclasses.replace(
        draft.manifest,
        id=draft.id,
        created=now.isoformat(timespec="seconds"),
        files={path: sha256_of_file(draft.path / path) for path in paths},
    )
    (draft.path / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")


def _files_below(folder: Path) -> Iterator[str]:
    """Paths of all files inside `folder`, with slashes; a link to a folder counts as a file."""
    for parent, folder_names, names in os.walk(folder):
        links = [name for name in folder_names if os.path.islink(os.path.join(parent, name))]
        for name in [*names, *links]:
            yield (Path(parent) / name).relative_to(folder).as_posix()


def _part_of(path: str) -> str:
    return path.split("/", 1)[0]
