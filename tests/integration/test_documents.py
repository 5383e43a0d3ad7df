"""Every command that the documents show, as they show it, on small files of the names that they use."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
import typer
import yaml
from PIL import Image
from support.paths import BATTERY, ROOT
from support.small_data import Box, write_voc_set
from support.small_models import write_flat, write_tree_model

from yolo9000.checkpoints.safetensors import read_checkpoint, write_checkpoint
from yolo9000.cli.app import application, run
from yolo9000.data.dataset import DataSetFile
from yolo9000.errors import EXIT_DATA_INVALID
from yolo9000.serve.one_file import RUNTIME_FILES
from yolo9000.taxonomy.class_names import COCO
from yolo9000.training.recipe import built_in_recipes, read_recipe

NAMES = ("banana", "apple", "person", "dog", "bus")  # the first two are the data set's
# What makes a training small: a narrow network at a small size, few images at a time
SMALL = ["epochs=1", "batch=4", "accumulate=1", "workers=0", "network.width=0.05", "optimizer.lr=1e-4"]
SMALL_CLASSIFIER = [*SMALL, "network.size=32", "augment.min_crop=32", "augment.max_crop=40"]
SMALL_DETECTOR = [*SMALL, "network.size=[96,64]"]
ADDED = {
    "fine-tune": ["minutes=none", "epochs=1", "workers=0", "batch=8", "optimizer.burn_in=1", "network.size=[192,96]"],
    "imagenet-224": SMALL_CLASSIFIER,
    "imagenet-448": SMALL_CLASSIFIER,
    "small-detector": SMALL_DETECTOR,
    "voc": [*SMALL_DETECTOR, "multi_scale.sizes=[64,96]", "optimizer.steps=[1]", "optimizer.scales=[0.1]"],
    "my.toml": SMALL_DETECTOR,
}
NOT_RUN = ("yolo9000 predict 0 ", "yolo9000 track rtsp:", "yolo9000 serve")  # no cameras; a service does not end


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands_of(document: str) -> list[str]:
    """The commands of the program in the shell examples of a document."""
    lines = "\n".join(blocks(document, "sh")).splitlines()
    return [line for line in lines if "yolo9000 " in line and not line.startswith(NOT_RUN)]


def words_of(command: str) -> list[str]:
    """A command as words, made small where it trains; without what comes before a pipe."""
    words = shlex.split(command.replace("|| true", ""), comments=True)
    words = words[words.index("|") + 1 :] if "|" in words else words
    if "train" not in words:
        return words
    if "--resume" in words:
        return [re.sub(r"^epochs=\d+$", "epochs=3", word) for word in words]
    fine_tunes = words[1] == "train" and "--recipe" not in words
    recipe = "fine-tune" if fine_tunes else next((word for word in words if word in ADDED), "")
    out = words.index("--out") if "--out" in words else len(words)
    added = ADDED.get(recipe, ())
    keys = {one.partition("=")[0] for one in added}
    before = [word for word in words[:out] if word.partition("=")[0] not in keys]  # a key must not be given twice
    return [*before, *added, *words[out:]]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the documents name, where the program runs."""
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "holiday/beach", "frames"):
        write_images(tmp_path / folder)
    write_clip(tmp_path / "clip.mp4")
    for seed, name in enumerate(("yolov2-voc", "yolov2", "tiny-yolov2")):
        write_flat(tmp_path, seed, name=name, names=NAMES)
    write_tree_model(tmp_path, name="yolo9000", tree="9k.tree")
    (tmp_path / "9k.names").write_bytes((tmp_path / "yolo9000.names").read_bytes())
    write_voc_set(tmp_path / "fruit", val=12, boxes=boxes_of_many_sizes)
    for file in (tmp_path / "fruit" / "Annotations").glob("*.xml"):
        file.write_text(file.read_text().replace(">red<", ">apple<").replace(">blue<", ">banana<"))
    shutil.make_archive(str(tmp_path / "parts"), "zip", tmp_path / "fruit")
    for split in ("train", "val"):
        for name in ("Granny Smith", "Royal Gala"):
            write_images(tmp_path / "varieties" / split / name)
    write_images(tmp_path / "pink-lady")
    (tmp_path / "parents.csv").write_text(blocks("docs/your-own-tree.md", "csv")[0])
    (tmp_path / "overrides.csv").write_text(blocks("docs/your-own-tree.md", "csv")[1])
    write_geotiff(tmp_path / "field.tif")
    (tmp_path / "zones.yaml").write_text(blocks("docs/tracking.md", "yaml")[0])
    (tmp_path / "coarse.names").write_text("apple\nbanana\n")
    (tmp_path / "coco.names").write_text("".join(f"{name}\n" for name in COCO))
    (tmp_path / "imagenet-ids.txt").write_text("n02084071\nn02113335\nn04507155\n")
    for name in ("fruit.yaml", "VOC.yaml"):
        (tmp_path / name).write_text(yaml.safe_dump(DATA_SET))
    (tmp_path / "results.json").write_text(json.dumps([RESULT]))
    for split in ("train", "val"):
        for name in ("n01", "n02", "n03"):
            write_images(tmp_path / "ImageNet" / split / name)
    runtime = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    runtime.mkdir(parents=True)
    for name in RUNTIME_FILES:
        (runtime / name).write_text(name)
    (tmp_path / "my.toml").write_text('task = "detect"\ndata = "fruit"\nnetwork = {name = "tiny-yolov2"}\n')
    return tmp_path


DATA_SET = {
    "classes": ["banana", "apple"],
    "train": [{"format": "voc", "path": "fruit", "list": "ImageSets/Main/train.txt"}],
    "val": [{"format": "voc", "path": "fruit", "list": "ImageSets/Main/val.txt"}],
    "test": [{"format": "voc", "path": "fruit", "list": "ImageSets/Main/val.txt"}],
}
RESULT = {"image_id": "p09", "category_id": 1, "bbox": [10, 8, 20, 12], "score": 0.9}


def boxes_of_many_sizes(number: int) -> list[Box]:
    """Three boxes, of sizes that no other image has."""
    return [
        ("red", (2, 3, 12 + number, 20)),
        ("blue", (30, 5, 45, 20 + 2 * number)),
        ("red", (50, 10, 60 + number, 25 + number)),
    ]


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(zlib.crc32(str(folder).encode()))
    for name, (height, width) in {"a.jpg": (60, 90), "b.jpg": (75, 41)}.items():
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / name)


def write_geotiff(path: Path) -> None:
    import rasterio

    on_earth = {"crs": "EPSG:32633", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_800_000)}
    with rasterio.open(path, "w", driver="GTiff", width=90, height=70, count=3, dtype="uint8", **on_earth) as file:
        file.write(np.random.default_rng(0).integers(0, 256, (3, 70, 90), dtype=np.uint8))


def write_clip(path: Path) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (96, 64))
    assert writer.isOpened()
    for shade in range(3):
        writer.write(np.full((64, 96, 3), 60 * shade, np.uint8))
    writer.release()


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        *(
            f"docs/{name}.md"
            for name in (
                "tour",
                "predict",
                "data",
                "training",
                "your-own-tree",
                "labeling",
                "page",
                "tracking",
                "large-images",
            )
        ),
    ],
)
def test_the_commands_of_a_document_run(
    document: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = [command for command in commands_of(document) if BATTERY or not command.startswith("torchrun")]
    assert commands
    photo = io.BytesIO((workplace / "photos" / "a.jpg").read_bytes())
    for command in commands:
        words = words_of(command)
        if words[1] == "calibrate":
            let_it_find_apples(Path(words[2]))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.getvalue())))
        code = run(words[1:]) if words[0] == "yolo9000" else run_apart(words)
        err = capsys.readouterr().err
        may_be = (0, EXIT_DATA_INVALID) if "|| true" in command else (0,)
        assert code in may_be, f"{command}\n{err}"


def let_it_find_apples(file: Path) -> None:
    """So little training finds nothing: let the model see an apple in every cell, where an image's left one is."""
    trained = read_checkpoint(file)
    assert trained.tree is not None
    apple = trained.tree.path(trained.tree.find("apple"))
    (*rest, last, head) = trained.trained_weights.parameters
    anchors_wh = np.array(trained.trained_weights.architecture.head.anchors_wh_cells)
    biases = np.zeros((len(anchors_wh), 5 + len(trained.tree)), np.float32)
    biases[:, 1] = -0.5  # a little above the middle of its cell, which is 30 x 30 pixels
    biases[:, 2:4] = np.log(np.array([0.8, 0.67]) / anchors_wh)
    biases[:, [4, *(5 + node for node in apple)]] = 6
    planted = replace(last, weights=np.zeros_like(last.weights), biases=biases.reshape(-1))
    write_checkpoint(
        file, replace(trained, weights=replace(trained.trained_weights, parameters=(*rest, planted, head)))
    )


def run_apart(words: list[str]) -> int:
    """Run ``torchrun`` and the like in processes of their own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    processes = [word if word != "4" else "2" for word in words]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    assert processes[0] == "torchrun", words
    return subprocess.run([*launcher, *processes[1:]], env=environment, timeout=240, check=False).returncode


def test_the_data_set_file_of_the_document_is_one() -> None:
    (text,) = blocks("docs/data.md", "yaml")
    described = yaml.safe_load(text)
    assert [source for source in described["train"] if "format" not in source] == [{"path": "export.zip"}]  # recognized
    described["train"] = [source for source in described["train"] if "format" in source]
    file = DataSetFile.model_validate(described)
    assert len(file.train) == 3
    assert len(file.val) == 1


def test_the_python_of_the_page_about_python_runs(workplace: Path) -> None:
    code = "\n".join(blocks("docs/python.md", "python"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (workplace / "annotated.png").exists()
    assert [line.split()[0] for line in done.stdout.splitlines()[-2:]] == ["0", "2"]


def test_the_python_of_the_readme_runs(workplace: Path) -> None:
    (code,) = blocks("README.md", "python")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (workplace / "annotated.png").exists()
    assert len(done.stdout.splitlines()) >= 2 + 3  # two photographs, three frames


@pytest.mark.parametrize("document", ["docs/tracking.md", "docs/large-images.md"])
@pytest.mark.usefixtures("workplace")
def test_the_python_of_a_document_runs(document: str) -> None:
    (code,) = blocks(document, "python")
    exec(compile(code, document, "exec"), {})  # noqa: S102


def test_every_recipe_that_comes_along_can_be_read_and_is_in_the_document() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for name in built_in_recipes():
        assert read_recipe(name, {"data": "somewhere"}).epochs > 0
        assert f"`{name}`" in text, name


def test_the_map_of_the_paper_names_what_is_there() -> None:
    text = (ROOT / "docs" / "paper-map.md").read_text(encoding="utf-8")
    modules = re.findall(r"`([\w/]+\.py)`((?: `\w[\w-]*`(?:,|(?= |$|;|\)))?)*)", text)
    assert len(modules) > 25
    for module, names in modules:
        code = (ROOT / "src" / "yolo9000" / module).read_text(encoding="utf-8")
        for name in re.findall(r"`([^`]+)`", names):
            assert name in code, f"{module} has no {name}"


def options_of(command: click.Command) -> set[str]:
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*map(options_of, getattr(command, "commands", {}).values()))


OPTIONS_OF_OTHERS = {
    *(
        "--nproc-per-node",
        "--max-restarts",
        "--images",
        "--rounds",
        "--only",
        "--network",
        "--pjreddie",
        "--alexeyab",
        "--nano",
        "--clients",
        "--requests",
        "--seeds",
        "--mutants",
        "--targets",
        "--steps",
        "--folds",
        "--passes",
    ),  # torchrun, benchmarks
    *("--data-binary", "--form", "--read-only", "--cap-drop", "--memory", "--publish"),  # curl, docker
}


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_every_option_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?=[\s`=|,;)]|\.\s)", text))
    assert named <= options_of(typer.main.get_command(application())) | OPTIONS_OF_OTHERS | {"--debug", "--help"}
