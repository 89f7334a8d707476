"""Values for prometheus_client's metrics that are in files shared by all workers of a server."""

import threading
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import values

from serving.observability.value_file import ValueFile, value_key, value_path


def share_values(folder: Path, worker: str) -> None:
    """Make all metrics that are created from now on write to the files of a worker in `folder`."""
    values.ValueClass = _value_class(folder, worker)


def _value_class(folder: Path, worker: str) -> type:
    files: dict[Path, ValueFile] = {}
    lock = threading.Lock()

    class SharedValue:
        """A number of a metric, with the interface of prometheus_client's values."""

        _multiprocess = True

        def __init__(
            self,
            kind: str,
            metric: str,
            sample: str,
            labels: Sequence[str],
            label_values: Sequence[str],
            meaning: str,
            multiprocess_mode: str = "",
            **_: object,
        ) -> None:
            path = value_path(folder, kind, multiprocess_mode, worker)
            self._key = value_key(metric, sample, dict(zip(labels, label_values, strict=True)), meaning)
            with lock:
                self._file = files.setdefault(path, ValueFile(path))
                self._value = self._file.read(self._key)

        def inc(self, amount: float) -> None:
            with lock:
                self._value += amount
                self._file.write(self._key, self._value)

        def set(self, value: float, timestamp: float | None = None) -> None:
            with lock:
                self._value = value
                self._file.write(self._key, value)

        def get(self) -> float:
            return self._value

        def set_exemplar(self, exemplar: object) -> None:
            """Ignore it, because the files have no room for one."""

        def get_exemplar(self) -> None:
            """Return none."""

    return SharedValue
