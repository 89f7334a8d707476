"""deploy/compose and the files that it mounts; the keys are checked here, because nothing runs Compose."""

import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from serving_stack import skip_or_fail

import monitoring
from serving.settings import Settings, values_of
from serving.source.settings import SourceSettings

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"
MONITORING = FOLDER.parent / "monitoring"
# The keys of Compose's specification that are used here.
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "image", "ports", "read_only",
    "restart", "secrets", "security_opt", "stop_grace_period", "tmpfs", "volumes",
}  # fmt: skip
NESTED_KEYS = {
    "build": {"context"},
    "healthcheck": {"disable", "interval", "retries", "test", "timeout"},
    "secrets": {"mode", "source", "target"},
}
EXAMPLE = {"API_KEY": "key", "POSTGRES_PASSWORD": "secret1", "GRAFANA_PASSWORD": "secret2", "MODEL_DIR": "../../model"}


def compose() -> dict[str, Any]:
    """The file with the variables of EXAMPLE; a variable without a default is required."""

    def value(found: re.Match[str]) -> str:
        name, operator = found[1], found[2]
        assert name in EXAMPLE, name
        assert operator in (":?", ":-"), "required, or with a default"
        return EXAMPLE[name]

    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(re.sub(r"\$\{(\w+)(:[?-])[^}]*\}", value, text))


CONTENT = compose()
SERVICES: dict[str, Any] = CONTENT["services"]


def test_the_example_lists_every_variable():
    lines = (FOLDER / ".env.example").read_text(encoding="utf-8").splitlines()
    assert {line.partition("=")[0] for line in lines if "=" in line} == set(EXAMPLE)
    assert "/deploy/compose/.env" in (FOLDER.parents[1] / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_known_keys_and_what_it_refers_to(name):
    service = SERVICES[name]
    assert CONTENT.keys() == {"name", "services", "secrets", "volumes"}
    assert service.keys() <= SERVICE_KEYS
    for key, known in NESTED_KEYS.items():
        for value in service.get(key, []) if key == "secrets" else [service.get(key, {})]:
            assert value.keys() <= known
    image, _, tag = service["image"].rpartition(":")
    assert image
    assert re.search(r"\d+\.\d+", tag), "images are pinned by version"
    for other, condition in service.get("depends_on", {}).items():
        assert condition in ({"condition": "service_healthy"}, {"condition": "service_started"})
        # The image of the server has a health check.
        if condition["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other] or other == "server"
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port), "only this machine can connect"
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (FOLDER / source).exists(), source
        else:
            assert source in CONTENT["volumes"], source
    for secret in service.get("secrets", []):
        assert secret["source"] in CONTENT["secrets"]


def test_settings_and_options_exist():
    environment = SERVICES["server"]["environment"]
    for kind in (Settings, SourceSettings):
        values_of(kind, environment)
    assert environment.keys() <= {name.upper() for name in Settings.__dataclass_fields__}
    assert SERVICES["watch"]["environment"].keys() <= {option.envvar for option in monitoring.watch.params}
    program, stage, command, *arguments = SERVICES["watch"]["command"]
    assert (program, stage, command) == ("python", "monitoring.py", "watch")
    with click.Context(monitoring.watch) as context:
        monitoring.watch.parse_args(context, arguments)
    mounted = {volume.split(":")[1] for volume in SERVICES["watch"]["volumes"]}
    assert str(context.params["model_path"]) in mounted


def test_prometheus_scrapes_the_service_with_the_key():
    configuration = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = configuration["scrape_configs"]
    (lookup,) = job["dns_sd_configs"]
    assert lookup["names"] == ["server"]
    assert lookup["port"] == Settings(model_path=Path("x")).port
    (secret,) = SERVICES["prometheus"]["secrets"]
    assert job["authorization"] == {"credentials_file": f"/run/secrets/{secret['target']}"}
    assert CONTENT["secrets"][secret["source"]] == {"environment": "API_KEY"}


def test_promtool_accepts_the_configuration(tmp_path):
    """promtool looks for the files that the configuration names."""
    (tmp_path / "key").write_text("key")
    text = (MONITORING / "prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/api_key", str(tmp_path / "key")))
    (tmp_path / "alerts.yml").write_bytes((MONITORING / "alerts.yml").read_bytes())
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        skip_or_fail("promtool is not installed (Debian: apt-get install --no-install-recommends prometheus)")
    assert result.returncode == 0, result.stdout + result.stderr


def test_grafana_finds_data_source_and_dashboard():
    volumes = {volume.split(":")[1]: volume.split(":")[0] for volume in SERVICES["grafana"]["volumes"]}
    provisioning = FOLDER / volumes["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in SERVICES
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "textclf.yml").read_text())["providers"]
    assert (FOLDER / volumes[provider["options"]["path"]] / "textclf.json").is_file()
