"""The rendered manifests of deploy/kubernetes, and the judges that need no cluster."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from streamapp.broker.jars import held
from streamapp.errors import Unavailable

PROJECT = Path(__file__).parent.parent.parent
KUBERNETES = PROJECT / "deploy" / "kubernetes"
OVERLAYS = ("one-broker", "three-brokers")
COMPONENTS = ("cert-manager", "external-secrets", "keda", "oauth2-proxy", "operator", "servicemonitor")
CACHE_DIR = PROJECT / ".cache"
SOURCE = Path(__file__).parent / "admission"
SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / "v1.36.0-local-strict"
BUILD_TIMEOUT_S = 3600  # 87 s on an idle machine
BINARIES = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
CUSTOM = ("cert-manager.io/", "external-secrets.io/", "keda.sh/", "monitoring.coreos.com/")

Manifest = dict[str, Any]


def program(name: str) -> str:
    found = shutil.which(name, path=BINARIES)
    assert found is not None, f"{name} is among the project's dev packages"
    return found


@cache
def _rendered(folder: Path) -> str:
    done = subprocess.run(
        [program("kubectl"), "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(folder: Path) -> list[Manifest]:
    """What `kubectl apply -k` would send: new objects each time, to be changed at will."""
    return [one for one in yaml.load_all(_rendered(folder), yaml.CSafeLoader) if one]


def overlay(name: str) -> list[Manifest]:
    return rendered(KUBERNETES / "overlays" / name)


def with_components(folder: Path, *names: str) -> list[Manifest]:
    """The overlay of one broker with components, rendered from an overlay as an operator writes one."""
    folder.mkdir(parents=True, exist_ok=True)

    def way(to: str) -> str:
        return os.path.relpath(KUBERNETES / to, folder)

    made = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [way("overlays/one-broker")],
        "components": [way(f"components/{name}") for name in names],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(made))
    return rendered(folder)


def one(manifests: Iterable[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def template(manifest: Manifest) -> Manifest | None:
    """The template of a manifest's pods."""
    if manifest["kind"] in {"Deployment", "StatefulSet", "Job"}:
        found: Manifest = manifest["spec"]["template"]
        return found
    return None


def by_schema(manifests: Iterable[Manifest]) -> list[str]:
    """What the strict schemas of Kubernetes' API have against them. Custom resources have none here."""
    return [
        f"{each['kind']}/{each['metadata']['name']}: {error.json_path} {error.message}"
        for each in manifests
        if not each["apiVersion"].startswith(CUSTOM)
        for error in _schema(each["apiVersion"], each["kind"]).iter_errors(each)
    ]


@cache
def _schema(api: str, kind: str) -> Draft202012Validator:
    """The schema of a kind, from the files of kubernetes-validate: its own `validate` reads megabytes each time."""
    group, _, version = api.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], version)))
    return Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()), registry=_definitions())


@cache
def _definitions() -> Registry[Any]:
    found = Resource.from_contents(json.loads((SCHEMAS / "_definitions.json").read_text()))
    made: Registry[Any] = found @ Registry()
    return made


def by_admission(manifests: Iterable[Manifest], security: str = "restricted") -> list[str]:
    """What an API server would answer to their creation: errors and warnings, and what a Pod Security Standard has
    against their pods."""
    asked = list(manifests)
    text = yaml.dump_all(asked, Dumper=yaml.CSafeDumper, sort_keys=False)
    command = [str(judge()), "-skip", "-pss", security]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    told = f"{len(asked)} documents, "
    assert lines[-1].startswith(told), lines[-1]
    return [line.removeprefix("/dev/stdin: ") for line in lines[:-1] if "warning skipped: " not in line]


def judge(cache_dir: Path = CACHE_DIR) -> Path:
    """The API server's own validation as a program, built unless it is there; once for each state of its source.

    Raises `Unavailable` when it cannot be built; the message has Go's words.
    """
    sources = [*sorted(SOURCE.glob("*.go")), SOURCE / "go.mod", SOURCE / "go.sum"]
    state = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]
    wanted = cache_dir / f"admission-{state}" / "admission"
    if not wanted.exists():
        cache_dir.mkdir(exist_ok=True)
        with held(cache_dir / "admission.lock"):
            if not wanted.exists():
                _build(wanted)
    return wanted


def _build(wanted: Path) -> None:
    # All that Go wants to keep is in the room: a build that was cut off goes on there, and only the program stays.
    room = wanted.parent.with_name("admission-building").resolve()
    places = {"GOPATH": room / "path", "GOCACHE": room / "cache"}
    environment = os.environ | {name: str(place) for name, place in places.items()}
    command = [program("go"), "build", "-modcacherw", "-trimpath", "-ldflags=-s -w", "-o", str(room / "admission"), "."]
    done = subprocess.run(
        command, cwd=SOURCE, env=environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise Unavailable(f"the judge of manifests could not be built: {done.stderr[-2000:]}")
    wanted.parent.mkdir(exist_ok=True)
    os.replace(room / "admission", wanted)
    shutil.rmtree(room)


if __name__ == "__main__":
    sys.stdout.write(f"{judge()}\n")
