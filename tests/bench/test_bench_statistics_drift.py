"""A short run of the simulation of drift decisions."""

import json

import pytest
from click.testing import CliRunner

from bench.hardening import statistics_drift


@pytest.mark.statistics
def test_the_new_rules_decide_better_than_the_old_ones(tmp_path):
    result = CliRunner().invoke(statistics_drift.main, ["--runs", "8", "--json", str(tmp_path / "found.json")])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found.json").read_text())
    unknown = found["40% of the audits are of an unknown class"]
    assert unknown["error_rate_before"] < 0.25 < 0.45 < unknown["error_rate_after"] == unknown["error_rate_true"]
    risen = found["12 windows of 50 audits at 16% errors after 0 at 8%"]
    assert risen["windows_before"] < 0.2 < risen["windows_after"]
    shares = [values["coverage"] for name, values in found.items() if name.startswith("shares")]
    assert len(shares) == 7
    assert min(shares) > 0.85
