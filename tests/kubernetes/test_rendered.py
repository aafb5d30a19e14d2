"""The manifests as they are sent: strict schemas, the API server's own validation, and what refers to what."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from manifests import COMPONENTS, KUBERNETES, OVERLAYS, by_admission, by_schema, one, overlay, template, with_components
from references import problems

from streamapp.access.passwords import holds
from streamapp.broker.jars import KAFKA_VERSION
from streamapp.topics.registry import GROUPS, offsets_retention_minutes

# deploy/ is no package: the scripts are found as `python deploy/kubernetes/generate.py` finds them.
GENERATE, PODS = import_module("generate"), import_module("parts.pods")
ELSEWHERE = frozenset(f"Secret/{name}" for name in (*PODS.secret_names(), "oauth2-proxy"))


def test_what_follows_from_the_registries_is_as_they_say() -> None:
    for name, text in GENERATE.files().items():
        assert (KUBERNETES / name).read_text(encoding="utf-8") == text, f"{name}: python deploy/kubernetes/generate.py"


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_valid_in_every_layer(name: str) -> None:
    found = overlay(name)
    assert len(found) > 50
    assert by_schema(found) == []
    assert by_admission(found) == []
    assert problems(found, ELSEWHERE) == []


@pytest.mark.parametrize("names", [*((name,) for name in COMPONENTS), COMPONENTS], ids="+".join)
def test_components_fit_to_an_overlay(names: tuple[str, ...], tmp_path: Path) -> None:
    found = with_components(tmp_path / "overlay", *names)
    assert len(found) > len(overlay("one-broker"))
    assert by_schema(found) == []
    assert by_admission(found) == []
    assert problems(found, ELSEWHERE) == []


def test_every_group_has_as_many_workers_as_the_standard_says() -> None:
    found = [each for each in overlay("one-broker") if each["kind"] in {"Deployment", "StatefulSet"}]
    counts = {each["metadata"]["name"]: each["spec"]["replicas"] for each in found}
    assert {group.name: counts[group.name] for group in GROUPS} == {group.name: group.consumers for group in GROUPS}


def test_the_broker_is_the_standards() -> None:
    found = one(overlay("one-broker"), "StatefulSet", "insights-kafka")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert found["metadata"]["namespace"] == "hanzo"
    assert found["spec"]["replicas"] == 1
    assert container["resources"] == {
        "requests": {"memory": "1Gi", "cpu": "500m"},
        "limits": {"memory": "2Gi", "cpu": "1000m"},
    }
    (claim,) = found["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    assert claim["spec"]["storageClassName"] == "do-block-storage"
    assert f":{KAFKA_VERSION}-" in container["image"]
    given = {each["name"]: each.get("value") for each in container["env"]}
    assert given["KAFKA_CFG_OFFSETS_RETENTION_MINUTES"] == str(offsets_retention_minutes())
    assert given["KAFKA_CFG_LOG_RETENTION_HOURS"] == "168"
    assert given["KAFKA_CFG_LISTENERS"] == "PLAINTEXT://127.0.0.1:9092,SASL_SSL://:9093,CONTROLLER://:9094"
    assert [each["containerPort"] for each in container["ports"]] == [9093, 9094, 9404]


def test_three_brokers_differ_from_one_in_what_grows_alone() -> None:
    one_broker, three = (
        {(each["kind"], each["metadata"]["name"]): each for each in overlay(name)} for name in OVERLAYS
    )
    assert three.keys() - one_broker.keys() == {("PodDisruptionBudget", "insights-kafka")}
    different = {name for kind, name in one_broker if one_broker[kind, name] != three[kind, name]}
    assert different == {"insights-kafka", "stream-settings"}


def test_secrets_are_files() -> None:
    for each in overlay("one-broker"):
        for container in (template(each) or {"spec": {"containers": []}})["spec"]["containers"]:
            assert not [given for given in container.get("env", ()) if "secretKeyRef" in given.get("valueFrom", {})]
            assert not [given for given in container.get("envFrom", ()) if "secretRef" in given]


def test_the_script_of_passwords_makes_every_secret_that_has_one() -> None:
    """And the brokers know each password, in a form from which it cannot be read."""
    done = subprocess.run(
        [sys.executable, str(KUBERNETES / "passwords.py")], capture_output=True, text=True, check=True, timeout=60
    )
    found = list(yaml.safe_load_all(done.stdout))
    assert by_schema(found) == []
    made = {each["metadata"]["name"]: each["stringData"] for each in found}
    others = {"kafka-ca", "kafka-tls", "stream-directory", "stream-stores"}
    assert set(PODS.secret_names()) - made.keys() == others
    known = made.pop("kafka-users")
    token = done.stderr.split()[-1]
    assert made.pop("stream-pages")["tokens"].split()[-1] == hashlib.sha256(token.encode()).hexdigest()
    assert {f"kafka-{user}" for user in known} == made.keys()
    assert len({each["password"] for each in made.values()}) == len(made)
    for user, line in known.items():
        assert holds(line.strip(), made[f"kafka-{user}"]["password"])
