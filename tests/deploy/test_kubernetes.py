"""deploy/kubernetes: every object is valid, its settings, paths and figures are those of the server."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kustomize import build, json_patch
from serving_models import inference, settings

import monitoring
from serving.app import create_app
from serving.server.programs import grace_seconds
from serving.settings import Settings, values_of
from serving.source.settings import SourceSettings

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
FOLDERS = ["base", *sorted(f"overlays/{path.name}" for path in (KUBERNETES / "overlays").iterdir())]
# `preStop.sleep` is on by default from 1.30 on.
VERSIONS = ("1.30", "1.37")
# What the objects of operators may contain here: their own schemas are not part of Kubernetes.
OPERATORS: dict[str, set[str]] = {
    "ServiceMonitor": {
        "selector.matchLabels.app.kubernetes.io/name",
        "selector.matchLabels.app.kubernetes.io/component",
        "endpoints.port",
        "endpoints.path",
        "endpoints.interval",
        "endpoints.scrapeTimeout",
        "endpoints.authorization.type",
        "endpoints.authorization.credentials.name",
        "endpoints.authorization.credentials.key",
    },
    "PrometheusRule": {
        "groups.name",
        "groups.rules.alert",
        "groups.rules.expr",
        "groups.rules.for",
        "groups.rules.labels.severity",
        "groups.rules.annotations.summary",
        "groups.rules.annotations.description",
    },
    "ScaledObject": {
        "scaleTargetRef.name",
        "minReplicaCount",
        "maxReplicaCount",
        "pollingInterval",
        "fallback.failureThreshold",
        "fallback.replicas",
        "advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.stabilizationWindowSeconds",
        "advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.policies.type",
        "advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.policies.value",
        "advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.policies.periodSeconds",
        "advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.stabilizationWindowSeconds",
        "triggers.type",
        "triggers.metricType",
        "triggers.metadata.serverAddress",
        "triggers.metadata.query",
        "triggers.metadata.threshold",
    },
}


def objects() -> list[Any]:
    """Every object once, without the namespace, which is a name in each of them."""
    different: dict[str, Any] = {}
    for folder in FOLDERS:
        for found in build(KUBERNETES / folder):
            found["metadata"].pop("namespace", None)
            name = f"{folder}-{found['kind']}-{found['metadata']['name']}"
            different.setdefault(json.dumps(found, sort_keys=True), pytest.param(found, id=name))
    return list(different.values())


def one(folder: str, kind: str) -> dict[str, Any]:
    (found,) = [found for found in build(KUBERNETES / folder) if found["kind"] == kind]
    return found


def paths_of(value: Any, path: str = "") -> set[str]:
    if isinstance(value, dict):
        return set().union(*(paths_of(item, f"{path}.{key}" if path else key) for key, item in value.items()))
    if isinstance(value, list):
        return set().union(*(paths_of(item, path) for item in value))
    return {path}


def pods(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The pod templates of an object."""
    spec = found.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    return [spec["template"]] if "template" in spec else []


@pytest.mark.parametrize("found", objects())
def test_an_object_is_valid(found):
    if found["kind"] in OPERATORS:
        assert paths_of(found["spec"]) <= OPERATORS[found["kind"]]
        return
    for version in VERSIONS:
        kubernetes_validate.validate(found, version, strict=True)


# No package of Debian or PyPI contains the program.
@pytest.mark.peers
@pytest.mark.parametrize("folder", FOLDERS)
def test_kustomize_builds_the_same(folder):
    program = os.environ.get("TEXTCLF_KUSTOMIZE")
    if not program:
        pytest.skip("TEXTCLF_KUSTOMIZE names no `kustomize`")
    built = subprocess.run(
        [program, "build", KUBERNETES / folder], capture_output=True, text=True, timeout=60, check=True
    )
    expected = list(yaml.safe_load_all(built.stdout))

    def key(found: dict[str, Any]) -> tuple[str, str]:
        return found["kind"], found["metadata"]["name"]

    assert sorted(build(KUBERNETES / folder), key=key) == sorted(expected, key=key)


def test_every_component_is_used():
    used = set()
    for path in KUBERNETES.glob("overlays/*/kustomization.yaml"):
        used |= {name.rpartition("/")[2] for name in yaml.safe_load(path.read_text(encoding="utf-8"))["components"]}
    assert used == {path.name for path in (KUBERNETES / "components").iterdir()}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_setting_exists(folder):
    for found in build(KUBERNETES / folder):
        for pod in pods(found):
            is_server = found["kind"] == "Deployment"
            environment = {item["name"]: item.get("value", "") for item in pod["spec"]["containers"][0]["env"]}
            if is_server:
                kinds = (Settings, SourceSettings)
                assert environment.keys() <= {name.upper() for kind in kinds for name in kind.__dataclass_fields__}
                for kind in kinds:
                    values_of(kind, environment)
            else:
                assert environment.keys() <= {option.envvar for option in monitoring.check.params}


@pytest.mark.parametrize("folder", FOLDERS)
def test_pods_are_confined(folder):
    for found in build(KUBERNETES / folder):
        for pod in pods(found):
            spec = pod["spec"]
            (container,) = spec["containers"]
            assert spec["automountServiceAccountToken"] is False
            assert spec["securityContext"]["runAsNonRoot"]
            assert spec["securityContext"]["runAsUser"] == 10001
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {mount["name"] for mount in container["volumeMounts"]} == {
                volume["name"] for volume in spec["volumes"]
            }
            assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "textclf", "the network policy selects it"
    assert "USER=textclf" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "useradd --uid 10001" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", FOLDERS)
def test_labels_ports_and_names_fit(folder):
    deployment = one(folder, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    service = one(folder, "Service")
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    assert one(folder, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    port = container["ports"][0]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    policy = one(folder, "NetworkPolicy")["spec"]
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": port["containerPort"]}]
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"PORT={port['containerPort']}" in image
    for found in build(KUBERNETES / folder):
        if found["kind"] == "ServiceMonitor":
            assert found["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
            assert found["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_the_key_reaches_servers_and_prometheus():
    for folder in ("overlays/production", "overlays/keda"):
        (endpoint,) = one(folder, "ServiceMonitor")["spec"]["endpoints"]
        assert endpoint["authorization"] == {
            "type": "Bearer",
            "credentials": key_reference(one(folder, "Deployment"), "API_KEY"),
        }


def key_reference(deployment: dict[str, Any], name: str) -> dict[str, str]:
    (variable,) = [
        item for item in deployment["spec"]["template"]["spec"]["containers"][0]["env"] if item["name"] == name
    ]
    return variable["valueFrom"]["secretKeyRef"]


def test_every_probed_path_exists(tmp_path):
    client = create_app(settings(tmp_path), inference()).test_client()
    (container,) = one("base", "Deployment")["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert client.get(container[probe]["httpGet"]["path"]).status_code == 200


def test_a_pod_has_time_to_end():
    pod = one("base", "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {item["name"]: item.get("value", "") for item in container["env"]}
    served = Settings.from_environment({"MODEL_PATH": "x", **environment})
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= sleep + served.drain_seconds + grace_seconds(served) + 5
    # Readiness has failed, and every node knows it, before requests are refused.
    readiness = container["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] <= sleep + served.drain_seconds
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 60, "the longest start of a worker"


def test_signals_of_autoscaling_follow_the_settings():
    (container,) = one("base", "Deployment")["spec"]["template"]["spec"]["containers"]
    environment = {item["name"]: item.get("value", "") for item in container["env"]}
    served = Settings.from_environment({"MODEL_PATH": "x", **environment})
    threads = served.model_server_workers * served.inference_threads
    assert container["resources"]["requests"]["cpu"] == container["resources"]["limits"]["cpu"] == str(threads)
    (trigger,) = one("overlays/keda", "ScaledObject")["spec"]["triggers"]
    assert int(trigger["metadata"]["threshold"]) == served.model_server_workers * served.max_concurrent / 2
    scaled = one("overlays/keda", "ScaledObject")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    by_cpu = one("overlays/production", "HorizontalPodAutoscaler")["spec"]
    assert by_cpu["behavior"] == scaled
    assert scaled["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert 60 <= by_cpu["metrics"][0]["resource"]["target"]["averageUtilization"] <= 70
    for folder in ("overlays/keda", "overlays/production"):
        assert "replicas" not in one(folder, "Deployment")["spec"]


def test_the_drift_job_runs_the_documented_command():
    (container,) = pods(one("overlays/production", "CronJob"))[0]["spec"]["containers"]
    script = container["command"][-1]
    assert script.startswith("python monitoring.py check --model-path /opt/ml/model ")
    for status, expected in ((0, 0), (3, 3), (4, 0), (1, 1)):
        tried = re.sub(r"^python [^;]*", f"(exit {status})", script)
        assert subprocess.run(["sh", "-c", tried], timeout=10).returncode == expected


def test_prometheus_operator_and_prometheus_have_the_same_alerts():
    alerts = yaml.safe_load((ROOT / "deploy" / "monitoring" / "alerts.yml").read_text(encoding="utf-8"))
    assert one("overlays/production", "PrometheusRule")["spec"] == alerts


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3]}),
        ([{"op": "add", "path": "/a/0", "value": 3}, {"op": "remove", "path": "/a/1"}], {"a": [3, 2]}),
        ([{"op": "test", "path": "/a/1", "value": 2}, {"op": "replace", "path": "/a/1", "value": 4}], {"a": [1, 4]}),
        ([{"op": "add", "path": "/b", "value": 1}], {"a": [1, 2], "b": 1}),
    ],
)
def test_json_patches(operations, expected):
    assert json_patch({"a": [1, 2]}, operations) == expected


def test_a_json_patch_that_does_not_fit_fails():
    with pytest.raises(AssertionError):
        json_patch({"a": [1]}, [{"op": "test", "path": "/a/0", "value": 2}])
