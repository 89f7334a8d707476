"""A kubelet and a Deployment in small: pods of real servers with probes, preStop, SIGTERM, a grace period and SIGKILL.

Each pod is a process `serving/serve` on a free port of 127.0.0.1. The figures come from the manifest of the Deployment.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving_stack import ROOT, free_port


@dataclass(frozen=True)
class Probe:
    """An HTTP probe; seconds as in the manifest."""

    path: str
    period: float
    timeout: float
    failures: int

    @classmethod
    def of(cls, probe: Mapping[str, Any]) -> "Probe":
        assert probe["httpGet"].keys() == {"path", "port"}
        return cls(probe["httpGet"]["path"], probe["periodSeconds"], probe["timeoutSeconds"], probe["failureThreshold"])

    def succeeds(self, port: int) -> bool:
        """Return whether the server answers with a status from 200 to 399 in time."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=self.timeout)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", self.path)
            return 200 <= connection.getresponse().status < 400
        return False


@dataclass(frozen=True)
class PodTemplate:
    """The fields of a Deployment that the kubelet reads."""

    environment: Mapping[str, str]
    startup: Probe
    readiness: Probe
    liveness: Probe
    pre_stop: float
    grace: float

    @classmethod
    def of(cls, deployment: Mapping[str, Any], **environ: str) -> "PodTemplate":
        """Read a manifest; `environ` overrides its settings."""
        rolling = deployment["spec"]["strategy"]["rollingUpdate"]
        assert rolling == {"maxSurge": 1, "maxUnavailable": 0}, "what rolling_update does"
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        settings = {item["name"]: item["value"] for item in container["env"] if "value" in item}
        return cls(
            {**settings, **environ},
            *(Probe.of(container[f"{name}Probe"]) for name in ("startup", "readiness", "liveness")),
            container["lifecycle"]["preStop"]["sleep"]["seconds"],
            spec["terminationGracePeriodSeconds"],
        )


class Pod:
    """A server, and a thread that probes it.

    Attributes:
        seconds_to_ready, seconds_to_end: how long it took to become ready, and to end after its deletion.
        status: exit status; negative for a signal.
        is_restarted: whether a probe failed too often, for which the kubelet would restart the container.
    """

    def __init__(self, template: PodTemplate, folder: Path) -> None:
        self.template = template
        self.folder = folder
        self.port = free_port()
        self.seconds_to_ready = self.seconds_to_end = 0.0
        self.status: int | None = None
        self.is_restarted = False
        self._ready = threading.Event()
        self._deleted = threading.Event()

    def run(self, is_ready: Callable[["Pod", bool], None]) -> None:
        """Start the server; call `is_ready` in another thread whenever its readiness changes."""
        self.folder.mkdir(parents=True)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        own = {"PORT": str(self.port), "NEW_DATA_DIR": str(self.folder / "new_data")}
        with open(self.folder / "serve.log", "wb") as log:
            self._process = subprocess.Popen(
                [os.environ.get("TEXTCLF_SERVING_PYTHON") or sys.executable, str(ROOT / "serving" / "serve")],
                cwd=self.folder,
                env={**kept, **self.template.environment, **own},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._prober = threading.Thread(target=self._probe, args=(is_ready, time.monotonic()))
        self._prober.start()

    def wait_until_ready(self, seconds: float) -> None:
        is_ready = self._ready.wait(seconds)
        assert is_ready, (self.folder / "serve.log").read_text()
        assert not self.is_restarted, (self.folder / "serve.log").read_text()

    def end(self) -> None:
        """Delete the pod: preStop, SIGTERM, and SIGKILL once the grace period, which contains preStop, is over."""
        began = time.monotonic()
        self._deleted.set()
        time.sleep(self.template.pre_stop)
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self.template.grace - self.template.pre_stop)
        self._process.kill()
        self.status = self._process.wait()
        self.seconds_to_end = time.monotonic() - began
        self._prober.join()

    def stop(self) -> None:
        """End the process without a drain, at the end of a test."""
        self._deleted.set()
        self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()
        self._prober.join()

    def _probe(self, is_ready: Callable[["Pod", bool], None], began: float) -> None:
        startup, readiness, liveness = self.template.startup, self.template.readiness, self.template.liveness
        failures = 0
        while not startup.succeeds(self.port):
            failures += 1
            if failures >= startup.failures or self._deleted.wait(startup.period):
                self.is_restarted = not self._deleted.is_set()
                self._ready.set()
                return
        self.seconds_to_ready = time.monotonic() - began
        self._ready.set()
        is_ready(self, True)
        is_ready_now, unready, dead, probed_liveness = True, 0, 0, time.monotonic()
        # A pod that is deleted is out of the endpoints already, and its probes change nothing.
        while not self._deleted.wait(readiness.period):
            unready = 0 if readiness.succeeds(self.port) else unready + 1
            if is_ready_now != (unready < readiness.failures):
                is_ready_now = not is_ready_now
                is_ready(self, is_ready_now)
            if time.monotonic() - probed_liveness >= liveness.period:
                probed_liveness = time.monotonic()
                dead = 0 if liveness.succeeds(self.port) else dead + 1
                self.is_restarted |= dead >= liveness.failures


class Deployment:
    """Pods of one Deployment, and the endpoints of its service.

    Args:
        folder: folder for the pods.
        set_endpoints: called with the ports of the ready pods.
        lag: seconds until a change of the endpoints is in effect, as on the nodes of a cluster.
    """

    def __init__(self, folder: Path, set_endpoints: Callable[[list[int]], None], lag: float) -> None:
        self.folder = folder
        self.pods: list[Pod] = []
        self.ended: list[Pod] = []
        self._set_endpoints = set_endpoints
        self._lag = lag
        self._ready: list[Pod] = []
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []
        self._ending: list[Future[None]] = []
        self._threads = ThreadPoolExecutor(8)

    @contextlib.contextmanager
    def running(self, template: PodTemplate, replicas: int) -> Iterator["Deployment"]:
        """Start the pods and wait until they are ready; stop all pods at the end."""
        try:
            for _ in range(replicas):
                self._add(template)
            for pod in self.pods:
                pod.wait_until_ready(60)
            time.sleep(self._lag)
            yield self
        finally:
            for timer in self._timers:
                timer.cancel()
            self._threads.shutdown()
            for pod in self.pods:
                pod.stop()

    def rolling_update(self, template: PodTemplate) -> None:
        """Replace the pods with maxSurge 1 and maxUnavailable 0; return when the old ones have ended."""
        for old in list(self.pods):
            self._add(template).wait_until_ready(60)
            self.pods.remove(old)
            self.ended.append(old)
            self._readiness_changed(old, False)
            # A Deployment does not wait for the end of an old pod before it starts the next new one.
            self._ending.append(self._threads.submit(old.end))
        for future in self._ending:
            future.result()

    def _add(self, template: PodTemplate) -> Pod:
        pod = Pod(template, self.folder / f"pod-{len(self.pods) + len(self.ended)}")
        self.pods.append(pod)
        pod.run(self._readiness_changed)
        return pod

    def _readiness_changed(self, pod: Pod, is_ready: bool) -> None:
        with self._lock:
            self._ready = [other for other in self._ready if other is not pod] + [pod] * is_ready
            ports = [other.port for other in self._ready]
            timer = threading.Timer(self._lag, self._set_endpoints, [ports])
            self._timers.append(timer)
            timer.start()
