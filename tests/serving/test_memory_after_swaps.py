"""The memory of a worker after many changes of its model."""

import subprocess
import sys
from pathlib import Path

from tiny_engine import write_version

_ROOT = Path(__file__).parents[2]
_SWAPS = 20
_MAX_GROWTH = 1.2
# In a process of its own: as in a worker, nothing but the app uses memory or starts a garbage collection.
_SWAP = """
import sys
import weakref
from pathlib import Path

from serving_models import settings

from inference import Inference
from serving.app import create_app
from serving.model.lasting_objects import leave_out_lasting_objects, return_memory_of_replaced_model
from textclf.store.model_store import ModelStore

folder, swaps = Path(sys.argv[1]), int(sys.argv[2])
store = ModelStore(folder / "model")
versions = sys.argv[3:]


def anonymous_bytes():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


app = create_app(
    settings(folder, model_poll_seconds=0), Inference(store.path, threads=1), on_swap=return_memory_of_replaced_model
)
leave_out_lasting_objects()
service, client = app.extensions["textclf"], app.test_client()
before, replaced = 0, []
for number in range(swaps):
    engine = service.holder.predictor.backend.backend
    replaced += [weakref.ref(part) for part in (service.holder.predictor, engine, engine.tokenizer)]
    del engine
    current = versions[number % 2]
    store.promote(current, expected_current=versions[1 - number % 2])
    service.holder.poll()
    answer = client.post("/predict", json={"X": ["great film", "dull " * 20]}).get_json()
    assert answer["model"].endswith(current), answer
    # The first swap needs memory for two models.
    before = before or anonymous_bytes()
print(sum(part() is not None for part in replaced), anonymous_bytes() / before)
"""


def test_after_20_swaps_no_part_of_a_replaced_model_is_left_and_memory_is_about_the_same(tmp_path):
    versions = [write_version(tmp_path / "model", seed=seed).name for seed in (0, 1)]
    found = subprocess.run(
        [sys.executable, "-c", _SWAP, str(tmp_path), str(_SWAPS), *versions],
        env={"PYTHONPATH": f"{_ROOT}:{_ROOT / 'tests' / 'helpers'}", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    left, growth = found.stdout.split()[-2:]
    assert int(left) == 0
    assert float(growth) < _MAX_GROWTH
