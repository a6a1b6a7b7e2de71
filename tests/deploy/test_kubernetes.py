"""The Helm chart and the KServe runtime, rendered by the real helm and held against Kubernetes' own schemas.

Without helm on the PATH (or named by HELM) the rendering is skipped; nothing here needs a cluster.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.routes.health import LIVE, READY
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
CHART = ROOT / "clipmax"
HELM = os.environ.get("HELM") or shutil.which("helm")
VERSIONS = ("1.27", "1.35")
EVERYTHING = (
    "autoscaling.enabled=true",
    "models.existingClaim=trained",
    "models.subPath=digits",
    "apiKeys.secret=keys",
    "tls.secret=certificate",
    "settings.threads=2",
    "settings.versions=latest:2",
    "image.digest=sha256:" + "0" * 64,
    "imagePullSecrets[0].name=registry",
    "podAnnotations.team=risk",
    "podLabels.tier=online",
    "nodeSelector.disk=ssd",
    "tolerations[0].operator=Exists",
)
needs_helm = pytest.mark.skipif(HELM is None, reason="helm is not installed")


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, timeout=60, check=False)


def render(*values: str) -> dict[str, dict[str, Any]]:
    """Kind → object, as the cluster would get it."""
    done = helm("template", "r", str(CHART), *(f"--set={value}" for value in values))
    assert done.returncode == 0, done.stderr
    return {one["kind"]: one for one in yaml.safe_load_all(done.stdout) if one}


def container(objects: dict[str, dict[str, Any]]) -> Any:
    return objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]


@needs_helm
def test_the_chart_passes_helm_s_own_lint() -> None:
    """Strictly: warnings count."""
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@needs_helm
@pytest.mark.parametrize("values", [(), EVERYTHING], ids=["defaults", "everything"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_fits_kubernetes_schema(version: str, values: tuple[str, ...]) -> None:
    """Of the oldest version that the chart names and of a new one; unknown members are faults."""
    objects = render(*values)
    assert {"Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"} <= set(objects)
    for one in objects.values():
        kubernetes_validate.validate(one, version, strict=True)


@needs_helm
def test_the_pod_may_write_nowhere_and_call_nobody() -> None:
    """What the image promises, asked of the cluster too."""
    objects = render(*EVERYTHING)
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container(objects)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod["automountServiceAccountToken"]
    assert all(mount["readOnly"] for mount in container(objects)["volumeMounts"] if mount["name"] != "tmp")
    assert objects["NetworkPolicy"]["spec"]["egress"] == []
    assert "Egress" in objects["NetworkPolicy"]["spec"]["policyTypes"]


@needs_helm
def test_probes_and_settings_are_those_of_the_service() -> None:
    """A path or a variable that the service does not know would be found on the day of the upgrade."""
    objects = render(*EVERYTHING)
    found = container(objects)
    probes = {name: found[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert probes == {"startup": READY, "readiness": READY, "liveness": LIVE}
    variables = {one["name"].removeprefix("CLIPMAX_").lower() for one in found["env"]}
    assert variables <= set(Settings.model_fields)
    assert {"threads", "versions", "api_keys_file", "tls_key_file"} <= variables


@needs_helm
def test_the_cluster_waits_longer_than_the_drain() -> None:
    """Otherwise the kubelet kills what is still answering."""
    pod = render("drain.delaySeconds=7", "drain.timeoutSeconds=31")["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > 7 + 31


@needs_helm
def test_the_autoscaler_alone_says_how_many() -> None:
    """A number of replicas beside it would undo its work at each upgrade; it follows a metric that is served."""
    objects = render("autoscaling.enabled=true")
    assert "replicas" not in objects["Deployment"]["spec"]
    assert objects["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]["metric"]["name"] == "clipmax_busy_ratio"
    assert render()["Deployment"]["spec"]["replicas"] == 2


@needs_helm
@pytest.mark.parametrize("value", ["image.digest=latest", "replicas=-1", "settings.Bad-Name=1", "unknown=1"])
def test_a_wrong_value_is_refused_before_anything_is_sent(value: str) -> None:
    """By the chart's schema."""
    assert helm("template", "r", str(CHART), f"--set={value}").returncode != 0


def test_the_kserve_runtime_runs_as_the_chart_does() -> None:
    """Its probes and settings are those of the service, and its root is read-only."""
    runtime, model = yaml.safe_load_all((ROOT / "kserve.yaml").read_text())
    found = runtime["spec"]["containers"][0]
    assert found["readinessProbe"]["httpGet"]["path"] == READY
    assert found["livenessProbe"]["httpGet"]["path"] == LIVE
    assert {one["name"].removeprefix("CLIPMAX_").lower() for one in found["env"]} <= set(Settings.model_fields)
    assert found["securityContext"]["readOnlyRootFilesystem"]
    assert model["spec"]["predictor"]["model"]["runtime"] == runtime["metadata"]["name"]
