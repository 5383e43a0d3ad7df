"""The files for Slurm and Kubernetes that label and train: they run the commands that they should."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from support.paths import ROOT

from yolo9000.cli.app import application
from yolo9000.labeling.parts import Shard

SLURM = ROOT / "deploy" / "slurm"
JOBS = ROOT / "deploy" / "kubernetes" / "jobs"
JOB: dict[str, Any] = yaml.safe_load((JOBS / "label.yaml").read_text())
RAY_JOB: dict[str, Any] = yaml.safe_load((JOBS / "ray.yaml").read_text())


def understood(words: list[str]) -> dict[str, Any]:
    """What the program takes ``yolo9000 COMMAND ...`` for; an error where it takes it for nothing."""
    command = typer.main.get_command(application()).commands[words[1]]  # type: ignore[attr-defined]
    return command.make_context(words[1], words[2:]).params


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where programs of a cluster print what they are called with."""
    tools = {
        "srun": 'exec "$@"',
        "scontrol": "printf 'node7\\nnode8\\n'",
        "yolo9000": 'printf "%s\\n" yolo9000 "$@"; exit ${CODE:-0}',
        "torchrun": 'printf "%s\\n" torchrun "$@"',
    }
    for name, text in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    facts = {"CPUS_PER_TASK": 4, "ARRAY_TASK_ID": 3, "ARRAY_TASK_COUNT": 8, "NNODES": 2, "JOB_ID": 99}
    for name, value in facts.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[7-8]")
    return tmp_path


def submit(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", SLURM / script, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.posix
@pytest.mark.parametrize(("code", "ends"), [(0, 0), (3, 0), (2, 2)])
@pytest.mark.usefixtures("slurm")
def test_a_task_of_an_array_labels_its_shard(code: int, ends: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE", str(code))
    done = submit("label.sbatch", "my images", "out", "--to", "parquet")
    assert done.returncode == ends
    given = understood(done.stdout.splitlines())
    assert (given["sources"], given["shard"], given["threads"], given["to"]) == (["my images"], "3/8", 4, "parquet")


@pytest.mark.posix
def test_a_job_that_is_queued_again_resumes(slurm: Path) -> None:
    def words() -> tuple[list[str], list[str]]:
        done = submit("train.sbatch", str(slurm / "run"), "VOC.yaml", "--recipe", "voc")
        assert done.returncode == 0, done.stderr
        launcher, _, rest = done.stdout.partition("-m\nyolo9000\n")
        return launcher.splitlines(), ["yolo9000", *rest.splitlines()]

    launcher, first = words()
    assert launcher[launcher.index("--rdzv-endpoint") + 1] == "node7:29500"
    assert launcher[launcher.index("--nnodes") + 1] == "2"
    given = understood(first)
    assert (given["out"], given["recipe"], given["resume"]) == (slurm / "run", "voc", None)
    (slurm / "run").mkdir()
    (slurm / "run" / "run.json").touch()
    again = understood(words()[1])
    assert (again["resume"], again["out"], again["recipe"]) == (slurm / "run", None, None)


@pytest.mark.posix
@pytest.mark.parametrize("script", ["label.sbatch", "train.sbatch"])
def test_options_of_slurm_come_before_all_commands(script: str) -> None:
    lines = (SLURM / script).read_text().splitlines()
    commands = [number for number, line in enumerate(lines) if line and not line.startswith("#")]
    options = [number for number, line in enumerate(lines) if line.startswith("#SBATCH ")]
    assert options
    assert max(options) < min(commands), "sbatch reads no options after the first command"
    assert all(re.fullmatch(r"#SBATCH --[a-z-]+(=\S+)?", lines[number]) for number in options)


def test_the_pods_of_a_job_label_all_shards_once() -> None:
    (container,) = JOB["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "-c"]
    (line,) = container["args"]
    command, _, rest = line.partition(" || ")
    assert rest == "[ $? -eq 3 ]"
    completions = JOB["spec"]["completions"]
    seen = []
    for index in range(completions):
        given = understood(shlex.split(command.replace("$((JOB_COMPLETION_INDEX + 1))", str(index + 1))))
        seen += [part for part in range(50) if part in Shard.parse(given["shard"])]
        assert str(given["threads"]) == container["resources"]["limits"]["cpu"]
    assert sorted(seen) == list(range(50))
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts[given["sources"][0]] == "images"
    assert mounts[given["out"].as_posix()] == "labels"
    assert set(mounts.values()) == {volume["name"] for volume in JOB["spec"]["template"]["spec"]["volumes"]}
    assert JOB["spec"]["completionMode"] == "Indexed"
    assert JOB["spec"]["template"]["spec"]["restartPolicy"] == "Never"  # as backoffLimitPerIndex requires


def test_the_job_on_ray_runs_the_command_on_ray() -> None:
    given = understood(shlex.split(RAY_JOB["spec"]["entrypoint"]))
    assert (given["runner"], given["to"], given["shard"]) == ("ray", "parquet", None)
    cluster = RAY_JOB["spec"]["rayClusterSpec"]
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert cluster["rayVersion"] == pinned[1]
    assert f"rayproject/ray:{pinned[1]}-" in (JOBS / "ray.yaml").read_text()
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    images = {container["image"] for pod in pods for container in pod["template"]["spec"]["containers"]}
    assert images == {"yolo9000-ray:0.1.0"}
    assert all(group["minReplicas"] <= group["replicas"] <= group["maxReplicas"] for group in pods[1:])
    assert all(pod["template"]["spec"]["automountServiceAccountToken"] is False for pod in pods)


def test_jobs_are_as_closed_as_the_service() -> None:
    pod = JOB["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
