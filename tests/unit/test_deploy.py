"""The container and the manifests: they agree with the program, and give away no privilege."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from support.paths import ROOT

from yolo9000.cli.app import application
from yolo9000.cli.serve import TOKEN_VARIABLE
from yolo9000.serve.settings import ServeSettings

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["yolo9000"]
MANIFESTS = {path.name: yaml.safe_load(path.read_text()) for path in (DEPLOY / "kubernetes").glob("*.yaml")}
POD = MANIFESTS["deployment.yaml"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
USER = 10001
PORT = 8000


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, with their arguments."""
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def started_with(arguments: list[str]) -> dict[str, Any]:
    """What ``yolo9000 serve`` takes the arguments for; an error where it takes them for nothing."""
    command = typer.main.get_command(application()).commands["serve"]  # type: ignore[attr-defined]
    return command.make_context("serve", arguments).params


def entry_point() -> list[str]:
    (words,) = (yaml.safe_load(rest) for name, rest in instructions() if name == "ENTRYPOINT")
    assert words[:2] == ["yolo9000", "serve"]
    return words[2:]


def test_the_image_is_built_in_two_stages_and_runs_without_privileges() -> None:
    names = [name for name, _ in instructions()]
    stages = [rest for name, rest in instructions() if name == "FROM"]
    assert len(stages) == 2
    assert all(re.fullmatch(r"python:3\.\d+-slim( AS build)?", stage) for stage in stages)
    last = names[len(names) - names[::-1].index("FROM") :]
    assert "RUN" not in last, "nothing is installed in the image that runs"
    assert ("USER", f"{USER}:{USER}") in instructions()
    assert ("EXPOSE", str(PORT)) in instructions()
    assert "ADD" not in names
    assert "torch" not in re.sub("^#.*$", "", DOCKERFILE, flags=re.MULTILINE)


def test_what_the_image_copies_is_here_and_in_the_context() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    for path in [path for paths in copied for path in paths]:
        assert (ROOT / path).exists()
        assert f"!{path}" in ignored
    assert ignored[0] == "*"


def test_the_image_starts_the_service() -> None:
    started = started_with([*entry_point(), "yolo9000-small"])
    assert (started["host"], started["port"], started["models"]) == ("0.0.0.0", PORT, ["yolo9000-small"])
    (probe,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", DOCKERFILE)
    assert probe == (str(PORT), "/healthz")


@pytest.mark.parametrize(
    ("arguments", "grace"),
    [
        (COMPOSE["command"], float(COMPOSE["stop_grace_period"].removesuffix("s"))),
        (CONTAINER["args"], float(POD["spec"]["terminationGracePeriodSeconds"])),
    ],
)
def test_there_is_time_to_answer_what_was_received(arguments: list[str], grace: float) -> None:
    given = started_with([*entry_point(), *arguments])
    times = {name: given[name] for name in ("drain_seconds", "receive_seconds", "answer_seconds") if given[name]}
    settings = ServeSettings(**times)
    assert grace >= settings.drain_seconds + settings.receive_seconds + settings.answer_seconds


def test_the_composition_is_closed() -> None:
    assert COMPOSE["read_only"] is True
    assert COMPOSE["cap_drop"] == ["ALL"]
    assert COMPOSE["security_opt"] == ["no-new-privileges:true"]
    assert COMPOSE["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert ":?" in COMPOSE["environment"][TOKEN_VARIABLE]
    assert all(volume["read_only"] for volume in COMPOSE["volumes"])
    assert {"mem_limit", "cpus", "pids_limit"} <= set(COMPOSE)
    assert (DEPLOY / COMPOSE["build"]["context"] / COMPOSE["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"


def test_the_pod_is_closed() -> None:
    pod, container = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert (pod["runAsUser"], pod["runAsGroup"]) == (USER, USER)
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert set(CONTAINER["resources"]["limits"]) == set(CONTAINER["resources"]["requests"]) == {"cpu", "memory"}
    (variable,) = CONTAINER["env"]
    assert variable["name"] == TOKEN_VARIABLE
    assert set(variable["valueFrom"]) == {"secretKeyRef"}


def test_the_manifests_belong_together() -> None:
    assert set(MANIFESTS["kustomization.yaml"]["resources"]) == set(MANIFESTS) - {"kustomization.yaml"}
    labels = POD["metadata"]["labels"]
    selectors = [
        MANIFESTS["deployment.yaml"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["service.yaml"]["spec"]["selector"],
        MANIFESTS["disruption.yaml"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["network.yaml"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector == labels for selector in selectors)
    assert CONTAINER["ports"] == [{"name": "http", "containerPort": PORT}]
    probes = {name: CONTAINER[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert [probe["path"] for probe in probes.values()] == ["/healthz", "/readyz", "/healthz"]
    assert MANIFESTS["service.yaml"]["spec"]["ports"][0]["targetPort"] == "http"


def test_every_key_of_the_manifests_is_unique() -> None:
    """YAML readers keep the last of two equal keys without a word."""

    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader: Strict, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(set(keys)) == len(keys), keys
        return loader.construct_mapping(node, deep=True)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    files = [*(DEPLOY / "kubernetes").glob("*.yaml"), DEPLOY / "compose.yaml"]
    assert all(isinstance(yaml.load(Path(file).read_text(), Strict), dict) for file in files)  # noqa: S506  a safe loader
