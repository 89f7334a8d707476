"""Group commit: threads that arrive while a commit is running share the next one."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_T = TypeVar("_T")


@dataclass(eq=False)
class _Entry(Generic[_T]):
    item: _T
    is_done: bool = False
    error: BaseException | None = None


class GroupCommit(Generic[_T]):
    """Passes the items of several threads to one call of `commit` at a time.

    Args:
        commit: takes the items of a group; returns None or an error for each, or raises the error of all.
    """

    def __init__(self, commit: Callable[[Sequence[_T]], Sequence[BaseException | None]]) -> None:
        self._commit = commit
        self._changed = threading.Condition()
        self._waiting: list[_Entry[_T]] = []
        self._is_committing = False

    def submit(self, item: _T) -> None:
        """Return when the item is committed.

        Raises:
            BaseException: if `commit` raised or returned it for this item.
        """
        entry = _Entry(item)
        with self._changed:
            self._waiting.append(entry)
            while self._is_committing and not entry.is_done:
                self._changed.wait()
            group = [] if entry.is_done else self._waiting
            if group:
                self._waiting = []
                self._is_committing = True
        if group:
            self._commit_group(group)
        if entry.error is not None:
            raise entry.error

    def _commit_group(self, group: list[_Entry[_T]]) -> None:
        errors: Sequence[BaseException | None]
        try:
            errors = self._commit([entry.item for entry in group])
        except BaseException as error:  # noqa: BLE001 each thread of the group raises it
            errors = [error] * len(group)
        with self._changed:
            for entry, reason in zip(group, errors, strict=True):
                entry.is_done, entry.error = True, reason
            self._is_committing = False
            self._changed.notify_all()
