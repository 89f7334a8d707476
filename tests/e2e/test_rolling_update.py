"""A rolling update of three servers under load, as the manifests describe it, fails no request."""

import dataclasses
from pathlib import Path

import pytest
from kubelet import Deployment, PodTemplate
from kustomize import build
from serving_stack import ROOT, need_nginx
from steady_load import Balancer, Load
from tiny_engine import write_version

pytestmark = pytest.mark.slow
RATE = 200
# Seconds until all nodes know of a change of the endpoints.
LAG = 2.0
MANIFEST = build(ROOT / "deploy" / "kubernetes" / "base")[0]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[Path]:
    """Two stores with different versions."""
    stores = [tmp_path_factory.mktemp("served") / "model" for _ in range(2)]
    for seed, store in enumerate(stores):
        write_version(store, seed=seed)
    return stores


def template(model: Path) -> PodTemplate:
    """One worker, as three servers share this machine; with slots enough for its pauses, so that 429 is no reason."""
    return PodTemplate.of(
        MANIFEST, MODEL_PATH=str(model), HOST="127.0.0.1", MODEL_SERVER_WORKERS="1", MAX_CONCURRENT="300"
    )


def update(folder: Path, old: PodTemplate, new: PodTemplate) -> tuple[Load, Deployment]:
    balancer = Balancer()
    deployment = Deployment(folder, balancer.set_endpoints, LAG)
    load = Load(balancer, "the film was great", RATE)
    with deployment.running(old, 3), load.running():
        deployment.rolling_update(new)
    seconds = sorted(sent.seconds for sent in load.sent)
    ended = deployment.ended
    print(
        f"{len(load.sent)} requests in {max(sent.at for sent in load.sent):.1f} s: {dict(load.outcomes)}; "
        f"median {seconds[len(seconds) // 2]:.3f} s, 99% {seconds[len(seconds) * 99 // 100]:.3f} s; "
        f"ready after {[round(pod.seconds_to_ready, 1) for pod in deployment.pods]} s, "
        f"ended after {[round(pod.seconds_to_end, 1) for pod in ended]} s with {[pod.status for pod in ended]}"
    )
    return load, deployment


def test_a_rolling_update_fails_no_request(models, tmp_path):
    need_nginx()
    old, new = (template(model) for model in models)
    load, deployment = update(tmp_path, old, new)
    assert set(load.outcomes) == {"200"}, load.outcomes
    assert len(load.sent) > RATE * 10
    assert [pod.status for pod in deployment.ended] == [0, 0, 0], "none was killed"
    assert not any(pod.is_restarted for pod in (*deployment.pods, *deployment.ended))
    assert all(pod.seconds_to_end > old.pre_stop for pod in deployment.ended)
    models_served = [sent.model for sent in load.sent]
    assert len(set(models_served)) == 2
    assert models_served[0] != models_served[-1]


def test_without_the_waiting_times_requests_fail(models, tmp_path):
    """The check would see what preStop and drain prevent."""
    need_nginx()
    old, new = (template(model) for model in models)
    old = dataclasses.replace(old, pre_stop=0, environment={**old.environment, "DRAIN_SECONDS": "0"})
    load, _ = update(tmp_path, old, new)
    assert set(load.outcomes) > {"200"}
