"""Faults that somebody may make by hand: each is found by a layer, and by which is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from manifests import Manifest, by_admission, by_schema, one, overlay
from references import problems
from test_rendered import ELSEWHERE

WORKER = ("StatefulSet", "billing-agg")
Change = Callable[[Manifest], object]


def spec(manifest: Manifest) -> Any:
    return manifest["spec"]["template"]["spec"]


def container(manifest: Manifest) -> Any:
    return spec(manifest)["containers"][0]


ADMISSION, REFERENCES, SCHEMA = "admission", "references", "schema"
PLANTED: dict[str, tuple[tuple[str, str], Change, str, str]] = {
    "a wrong selector": (
        WORKER, lambda it: it["spec"]["selector"].update(matchLabels={"app": "other"}), ADMISSION,
        "`selector` does not match template `labels`"),
    "a volume that is not there": (
        WORKER, lambda it: spec(it)["volumes"].pop(0), ADMISSION, "volumeMounts[0].name: Not found"),
    "a port's name of 26 letters": (
        WORKER, lambda it: container(it)["ports"][0].update(name="pages-of-the-billing-group"), ADMISSION,
        "must be no more than 15"),
    "requests over limits": (
        WORKER, lambda it: container(it)["resources"]["requests"].update(memory="8Gi"), ADMISSION,
        "must be less than or equal to memory limit"),
    "a container that may be root": (
        WORKER, lambda it: spec(it)["securityContext"].update(runAsNonRoot=False), ADMISSION, "runAsNonRoot"),
    "a capability": (
        WORKER, lambda it: container(it)["securityContext"].pop("capabilities"), ADMISSION,
        "unrestricted capabilities"),
    "a variable twice": (
        WORKER, lambda it: container(it)["env"].append({"name": "STREAM_KAFKA__SASL_USERNAME", "value": "x"}),
        REFERENCES, "STREAM_KAFKA__SASL_USERNAME is set twice"),
    "a probe of a port that is not there": (
        WORKER, lambda it: container(it)["readinessProbe"]["httpGet"].update(port="page"), REFERENCES,
        "its readinessProbe asks port page"),
    "a probe that starts a JVM": (
        ("StatefulSet", "insights-kafka"),
        lambda it: container(it).update(livenessProbe={"exec": {"command": ["kafka-broker-api-versions.sh"]}}),
        REFERENCES, "its livenessProbe starts a process"),
    "a file that is not mounted": (
        WORKER,
        lambda it: container(it)["env"].append({"name": "STREAM_WEB__JWT_KEYS", "value": "/run/secrets/jwks/keys"}),
        REFERENCES, "is in no volume that is mounted"),
    "a variable that is used before it is set": (
        ("StatefulSet", "insights-kafka"), lambda it: container(it)["env"].reverse(), REFERENCES,
        "uses POD_NAME before it is set"),
    "a secret that nobody makes": (
        WORKER, lambda it: spec(it)["volumes"][0]["secret"].update(secretName="kafka-biling"), REFERENCES,
        "needs Secret/kafka-biling"),
    "a service that selects nothing": (
        ("Service", "capture"), lambda it: it["spec"].update(selector={"app.kubernetes.io/name": "captures"}),
        REFERENCES, "Service/capture: selects no pod"),
    "a service's port that no pod has": (
        ("Service", "capture"), lambda it: it["spec"]["ports"][0].update(targetPort="http"), REFERENCES,
        "its port http is none of capture"),
    "a budget that blocks a drain": (
        ("PodDisruptionBudget", "billing-agg"), lambda it: it["spec"].update(maxUnavailable=0), REFERENCES,
        "may block a drain for ever"),
    "a field that does not exist": (
        WORKER, lambda it: it["spec"].update(replica=2), SCHEMA, "'replica' was unexpected"),
    "a policy's port that is none": (
        ("NetworkPolicy", "insights-kafka"), lambda it: it["spec"]["ingress"][0]["ports"][0].update(port=99093),
        ADMISSION, "must be between 1 and 65535"),
}  # fmt: skip

JUDGES: dict[str, Callable[[list[Manifest]], list[str]]] = {ADMISSION: by_admission, SCHEMA: by_schema}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str) -> None:
    name, change, layer, words = PLANTED[fault]
    found = overlay("one-broker")
    change(one(found, *name))
    told = problems(found, ELSEWHERE) if layer == REFERENCES else JUDGES[layer](found)
    assert [line for line in told if words in line], told
