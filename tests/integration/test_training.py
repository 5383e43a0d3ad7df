"""Training as a user runs it: to the end, killed and resumed, on two processes, and when something goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.small_data import write_voc_set
from support.small_models import small_architecture
from support.training_runs import command, finish, log_of, start, wait_for_log

from yolo9000.checkpoints.darknet.cfg import write_cfg
from yolo9000.cli.app import run

RECIPE = """
task = "detect"
data = "shapes"
epochs = 8
batch = 4
seed = 5
workers = 1
evaluate_every = 2
checkpoint_every = 2

[network]
name = "net.cfg"
size = [72, 48]
clusters = 2

[optimizer]
lr = 0.003
burn_in = 3
steps = [6]
scales = [0.1]

[multi_scale]
sizes = [64, 72, 96]
every = 2
"""
STEPS = 18  # 8 epochs of 9 images in batches of 4


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe for the small data set, which lies beside it."""
    write_voc_set(tmp_path / "shapes")
    (tmp_path / "net.cfg").write_text(write_cfg(small_architecture(2)))
    file = tmp_path / "small.toml"
    file.write_text(RECIPE)
    return file


def test_a_run_leaves_what_it_promises(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert run(["train", "--recipe", str(recipe), "workers=0", "--out", str(folder), "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "9 images, 2 classes; initialised from scratch" in out
    facts = json.loads((folder / "run.json").read_text())
    assert facts["recipe"]["optimizer"]["lr"] == 0.003
    assert facts["steps"] == STEPS
    steps = [line for line in log_of(folder) if line["kind"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    scores = [line["step"] for line in log_of(folder) if line["kind"] == "metrics"]
    assert scores == [5, 9, 14, 18]  # the first steps past epochs 2, 4, 6 (4.5, 9, 13.5 batches) and the end
    for name in ("results.csv", "best.safetensors", "last.safetensors", "report.html", "curves.png"):
        assert (folder / name).stat().st_size > 0, name
    assert len(list((folder / "checkpoints").iterdir())) == 2
    assert len(list((folder / "images").glob("batch-*.jpg"))) == 3
    assert len(list((folder / "images").glob("validation-*.jpg"))) == 4
    assert run(["info", str(folder / "best.safetensors")]) == 0
    assert run(["val", str(folder / "last.safetensors"), str(tmp_path / "shapes"), "--out", str(tmp_path / "val")]) == 0
    assert run(["train", "--resume", str(folder)]) == 0
    assert f"is finished after {STEPS} steps" in capsys.readouterr().out


@pytest.mark.battery  # a joint run is killed once in test_joint_training.py
def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(recipe: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert finish(start("--recipe", recipe, "--out", whole, "--threads", "1"))[0] == 0
    rng = np.random.default_rng(7)
    process = start("--recipe", recipe, "--out", broken, "--threads", "1")
    for lines in np.sort(rng.choice(np.arange(1, STEPS), 3, replace=False)):
        assert wait_for_log(process, broken, lines)
        process.kill()
        process.communicate()
        process = start("--resume", broken)
    code, _, err = finish(process)
    assert code == 0, err
    assert (broken / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()
    assert (broken / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    assert log_of(broken) == log_of(whole)


@pytest.mark.posix
@pytest.mark.parametrize(
    ("name", "code", "group"), [("SIGTERM", 143, True), ("SIGHUP", 129, True), ("SIGINT", 130, False)]
)
def test_asked_to_stop_it_saves_and_leaves(recipe: Path, tmp_path: Path, name: str, code: int, group: bool) -> None:
    """The process alone, or the group with the workers, as timeout, systemd, Slurm and a lost terminal do it."""
    folder = tmp_path / "run"
    settings = ["epochs=100000", "evaluate_every=100000", "checkpoint_every=none", "workers=2", "--threads", "1"]
    process = start("--recipe", recipe, *settings, "--out", folder, new_session=True)
    assert wait_for_log(process, folder, lines=4)
    number = getattr(signal, name)
    process.send_signal(number)
    if group:
        os.killpg(process.pid, number)  # so that the process gets it twice, as from timeout
    ended, out, err = finish(process)
    assert ended == code, err
    assert "Traceback" not in err
    assert f"--resume {folder}" in out
    assert len(list((folder / "checkpoints").iterdir())) == 1


def torchrun(processes: int, *arguments: str | Path, restarts: int = 0) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher += ["--max-restarts", str(restarts)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launcher, *command(*arguments)[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def test_two_processes_train_what_one_trains(recipe: Path, tmp_path: Path) -> None:
    settings = [
        "precision=float32",
        "sync_bn=true",
        "workers=0",
        "epochs=2",
        "ema_decay=0.9",
        "optimizer.lr=1e-5",
        "augment.placement=random_crop",  # on flat grey, rounding goes further
    ]
    assert run(["train", "--recipe", str(recipe), *settings, "--out", str(tmp_path / "one"), "--threads", "1"]) == 0
    code, _, err = finish(torchrun(2, "--recipe", recipe, *settings, "--out", tmp_path / "two", "--threads", "1"))
    assert code == 0, err
    one, two = (load_file(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-4, atol=1e-5, err_msg=name)
    for first, second in zip(log_of(tmp_path / "one"), log_of(tmp_path / "two"), strict=True):
        assert first["step"] == second["step"]
        if first["kind"] == "step":
            assert second["losses"]["total"] == pytest.approx(first["losses"]["total"], rel=1e-4)


@pytest.mark.battery
@pytest.mark.posix
def test_a_dead_process_ends_all(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = torchrun(2, "--recipe", recipe, "epochs=100000", "workers=0", "--out", folder, "--threads", "1")
    assert wait_for_log(process, folder, lines=4)
    children = kill_one_of(process, folder)
    code, _, _ = finish(process)
    assert code != 0
    assert all(not Path(f"/proc/{child}").exists() for child in children)


def kill_one_of(process: subprocess.Popen[str], folder: Path) -> list[int]:
    ranks = subprocess.run(["pgrep", "-f", f"yolo9000 train.*{folder}"], capture_output=True, text=True, check=True)
    children = [int(line) for line in ranks.stdout.split() if int(line) != process.pid]
    os.kill(children[-1], signal.SIGKILL)
    return children


@pytest.mark.posix
@pytest.mark.battery
def test_restarted_by_torchrun_it_goes_on_from_the_last_training_state(recipe: Path, tmp_path: Path) -> None:
    settings = ["--recipe", recipe, "workers=0", "checkpoint_every=2", "--threads", "1", "--out"]
    assert finish(torchrun(2, *settings, tmp_path / "whole"))[0] == 0
    process = torchrun(2, *settings, tmp_path / "broken", restarts=1)
    assert wait_for_log(process, tmp_path / "broken", lines=8)
    kill_one_of(process, tmp_path / "broken")
    code, out, err = finish(process)
    assert code == 0, err
    assert out.count("2 classes; initialised from scratch") == 1
    assert log_of(tmp_path / "broken") == log_of(tmp_path / "whole")


def test_a_loss_that_is_no_number_stops_before_any_weight_follows(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    settings = ["optimizer.lr=1e30", "optimizer.burn_in=0", "checkpoint_every=1"]
    assert run(["train", "--recipe", str(recipe), "workers=0", *settings, "--out", str(folder), "--threads", "1"]) == 2
    err = capsys.readouterr().err
    assert "the loss and its gradient must be finite" in err
    (issue,) = (folder / "issues").iterdir()
    batch = json.loads((issue / "batch.json").read_text())
    assert len(batch["images"]) == 4
    assert all((issue / image["file"]).exists() for image in batch["images"])
    newest = max((folder / "checkpoints").iterdir())
    assert all(np.isfinite(values).all() for values in load_file(newest / "tensors.safetensors").values())


def test_a_image_that_broke_since_the_start_is_named(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "shapes" / "JPEGImages" / "p04.png"
    data = image.read_bytes()
    image.write_bytes(data[: len(data) // 2])  # its header is whole
    assert run(["train", "--recipe", str(recipe), "workers=0", "--out", str(tmp_path / "run"), "--threads", "1"]) == 2
    err = capsys.readouterr().err
    assert "p04.png" in err
    assert "Traceback" not in err


def test_wrong_data_are_reported_before_the_first_step(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shapes" / "JPEGImages" / "p04.png").write_text("no image")
    assert run(["train", "--recipe", str(recipe), "workers=0", "--out", str(tmp_path / "run")]) == 2
    assert "p04" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.posix
def test_a_dead_worker_names_the_image(recipe: Path, tmp_path: Path) -> None:
    # A worker that takes the machine's memory is killed by the system; here it kills itself at image p04.
    script = tmp_path / "deadly.py"
    script.write_text(
        "import os, signal, sys\n"
        "import yolo9000.training.tasks.detection as detect\n"
        "from yolo9000.cli.app import run\n"
        "load = detect.load_image\n"
        "def deadly(image, name):\n"
        "    if 'p04' in name: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return load(image, name)\n"
        "detect.load_image = deadly\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, script, *command("--recipe", recipe, "--out", tmp_path / "run", "--threads", "1")[3:]],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert ended.returncode == 2
    assert "p04" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_resume_refuses_changed_data(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert run(["train", "--recipe", str(recipe), "workers=0", "epochs=2", "--out", str(folder), "--threads", "1"]) == 0
    annotation = tmp_path / "shapes" / "Annotations" / "p02.xml"
    annotation.write_text(annotation.read_text().replace("<xmin>14</xmin>", "<xmin>15</xmin>"))
    assert run(["train", "--resume", str(folder)]) == 2
    assert "the training images must be as when the run began" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "train needs DATA"),
        (["RECIPE", "--resume", "run"], "--resume continues a run with its own recipe"),
        (["shapes", "epochs=3", "fruit"], "after DATA there must be settings, KEY=VALUE, got 'fruit'"),
        (["--resume", "run"], "run"),
        (
            ["small-detector", "data=shapes"],
            "small-detector is a recipe, not a data set: write --recipe small-detector",
        ),
        (["my.toml"], "write --recipe my.toml"),
        (["RECIPE", "epoch=3"], "did you mean 'epochs'"),
        (["RECIPE", "network.name=yolov3"], "did you mean 'yolov2'"),
        (["RECIPE", "network.size=70"], "multiple"),
        (["RECIPE", "network.name=darknet19", "network.size=64"], "must be a detector"),
        (["RECIPE", "data=nowhere"], "nowhere"),
        (["RECIPE", "start=nothing.weights"], "nothing.weights"),
        (["RECIPE", "--device", "tpu"], "tpu"),
        (["RECIPE", "--threads", "0"], "--threads: must be at least 1"),
    ],
)
def test_wrong_use_is_reported_in_one_line(
    recipe: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"RECIPE": ["--recipe", str(recipe)], "run": [str(tmp_path / "run")]}
    filled = [part for word in arguments for part in words.get(word, [word])]
    assert run(["train", *filled, *([] if "--resume" in arguments else ["--out", str(tmp_path / "out")])]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
