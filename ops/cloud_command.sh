#!/usr/bin/env bash
# Run a command of ops/ from any folder: ops/cloud_command.sh COMMAND [ARGUMENT…] is python -m ops.COMMAND ARGUMENT….
#
#   PYTHON=…  a Python 3.11 with this project's extra aws (default: .venv/bin/python, else python3)
set -euo pipefail
root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[ -n "${PYTHON:-}" ] || [ -x "$python" ] || python=python3
command=${1:?expected a command, such as training}
shift
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m "ops.$command" "$@"
