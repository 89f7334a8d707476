"""deploy/monitoring: promtool accepts the alerts, and its unit tests of them pass."""

import subprocess
from pathlib import Path

import pytest
import yaml
from serving_stack import skip_or_fail

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"


def promtool(*arguments: object) -> str:
    """Run promtool; return what it prints, or skip or fail without it (skip_or_fail)."""
    try:
        result = subprocess.run(
            ["promtool", *map(str, arguments)], cwd=MONITORING, capture_output=True, text=True, timeout=60
        )
    except FileNotFoundError:
        skip_or_fail("promtool is not installed (Debian: apt-get install --no-install-recommends prometheus)")
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    return output


@pytest.mark.parametrize("command", ["check rules alerts.yml", "test rules alerts_test.yml"])
def test_promtool_accepts(command):
    assert "SUCCESS" in promtool(*command.split())


def test_every_alert_has_a_unit_test():
    alerts = {
        rule["alert"]
        for group in yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    }
    fired = {
        case["alertname"]
        for test in yaml.safe_load((MONITORING / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert fired == alerts
