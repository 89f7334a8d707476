"""OpenVINO, imported in one place so that it reports to nobody."""

import sys
from typing import Any


def import_openvino() -> Any:
    """The package openvino. Call it before anything else imports openvino or nncf.

    Both send a message to their makers as soon as they are imported, where the package openvino_telemetry is
    installed and the user has not declined; where it can't be imported, they do without.

    Raises:
        ImportError: OpenVINO is not installed, or does not run here.
    """
    # None makes the import statement raise ImportError (https://docs.python.org/3/reference/import.html#the-module-cache).
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino
