"""Recipes: what stands in them, what goes over them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolo9000.errors import ConfigError
from yolo9000.training.recipe import ClassifyRecipe, DetectRecipe, built_in_recipes, parse_overrides, read_recipe

SMALL = """
task = "detect"
data = "boxes"
epochs = 3.5

[network]
name = "tiny-yolov2"
size = [416, 320]

[optimizer]
lr = 0.01
steps = [1, 2]
scales = [0.1, 0.1]
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    (tmp_path / "boxes").mkdir()
    file = tmp_path / "small.toml"
    file.write_text(SMALL)
    return file


def test_what_is_left_out_has_its_default(recipe_file: Path) -> None:
    recipe = read_recipe(recipe_file)
    assert isinstance(recipe, DetectRecipe)
    assert recipe.epochs == 3.5
    assert recipe.network.size_wh == (416, 320)
    assert recipe.optimizer.momentum == 0.9
    assert recipe.loss.object_scale == 5
    assert recipe.multi_scale is None


def test_images_are_placed_as_they_are_fitted_in_use_unless_it_says_otherwise(recipe_file: Path) -> None:
    def placement(*changes: str) -> str:
        recipe = read_recipe(recipe_file, parse_overrides(changes))
        assert isinstance(recipe, DetectRecipe)
        return recipe.augment.placement

    assert placement() == placement("augment.jitter=0.3") == "letterbox_jitter"  # letterbox
    assert placement("network.fit=stretch") == "random_crop"
    assert placement("network.fit=stretch", "augment.placement=letterbox_jitter") == "letterbox_jitter"
    assert placement("augment.placement=random_crop") == "random_crop"


def test_a_change_goes_over_the_file_and_leaves_the_rest(recipe_file: Path) -> None:
    changes = [
        "epochs=7",
        "optimizer.momentum=0.5",
        "network.size=320",
        "ema_decay=none",
        "precision=float32",
        "start=a b.weights",
    ]
    recipe = read_recipe(recipe_file, parse_overrides(changes))
    assert (recipe.epochs, recipe.optimizer.momentum, recipe.optimizer.lr) == (7, 0.5, 0.01)
    assert recipe.network.size_wh == (320, 320)
    assert (recipe.ema_decay, recipe.precision, recipe.start) == (None, "float32", "a b.weights")


def test_paths_of_a_file_are_relative_to_it_and_those_of_a_change_are_not(recipe_file: Path) -> None:
    assert read_recipe(recipe_file).data == str(recipe_file.parent / "boxes")
    assert read_recipe(recipe_file, {"data": "boxes"}).data == "boxes"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epoch=7", r"epoch: unknown key; known: .*did you mean 'epochs'"),
        ("optimizer.momentun=0.5", r"optimizer.momentun: unknown key; .*did you mean 'momentum'"),
        ("loss.tresh=0.5", r"loss.tresh: unknown key; .*did you mean 'thresh'"),
        ("multi_scale.evry=0.5", r"multi_scale.evry: unknown key; .*did you mean 'every'"),
        ("optimizer.momentum=1.5", r"optimizer.momentum: must be less than 1, got 1.5"),
        ("batch=0", r"batch: must be greater than 0, got 0"),
        ("accumulate=7", r"accumulate must divide the batch of 64, got 7"),
        ("optimizer.steps=[2, 1]", r"steps must rise, got \[2.0, 1.0\]"),
        ("optimizer.scales=[0.1]", r"steps and scales must be as many, got 2 and 1"),
        ("optimizer.lr=nan", r"optimizer.lr: .*got nan"),
        ("network.size=[416, 320, 3]", r"network.size"),
        ("network.size=[0, 32]", r"network\.size\.0: must be greater than 0, got 0"),
        ("multi_scale=5", r"multi_scale: must be a section of keys, got 5"),
        ("task=segment", r"task must be one of detect, classify, got 'segment'"),
        ("epochs", r"'epochs': must be key=value"),
        ("epochs.more=1", r"epochs: must be a number, got {'more': 1}"),
    ],
)
def test_what_is_wrong_is_named(recipe_file: Path, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_recipe(recipe_file, parse_overrides([change]))


@pytest.mark.parametrize(
    ("again", "epochs", "lr"), [("epochs=2", 2, 0.2), ("optimizer.lr=0.1", 1, 0.1), ("optimizer={lr = 0.1}", 1, 0.1)]
)
def test_of_a_key_that_is_given_again_the_last_value_counts(again: str, epochs: int, lr: float, caplog) -> None:
    key = again.partition("=")[0]
    assert parse_overrides(["epochs=1", "optimizer.lr=0.2", again]) == {"epochs": epochs, "optimizer": {"lr": lr}}
    assert [record.getMessage() for record in caplog.records] == [f"{key} is given more than once: {again} counts"]


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"voc2: must be a TOML file or one of .*did you mean 'voc'"):
        read_recipe("voc2")
    broken = tmp_path / "broken.toml"
    broken.write_text("task = detect")
    with pytest.raises(ConfigError, match=r"broken.toml: must be TOML"):
        read_recipe(broken)


def test_the_data_must_be_named() -> None:
    with pytest.raises(ConfigError, match=r"voc: data: is missing"):
        read_recipe("voc")


@pytest.mark.parametrize("name", built_in_recipes())
def test_every_recipe_that_comes_along_can_be_read(name: str) -> None:
    read_recipe(name, {"data": "somewhere"})


def test_the_papers_recipes_say_what_the_paper_says() -> None:
    # §3 Training for classification: 160 epochs, 0.1, power 4, 0.0005, 0.9; then 10 epochs at 448 from 1e-3.
    first, second = (read_recipe(f"imagenet-{size}", {"data": "somewhere"}) for size in (224, 448))
    assert isinstance(first, ClassifyRecipe)
    assert (first.epochs, first.optimizer.lr, first.optimizer.power) == (160, 0.1, 4)
    assert (first.optimizer.weight_decay, first.optimizer.momentum) == (0.0005, 0.9)
    assert (first.network.size, second.network.size) == (224, 448)
    assert (second.epochs, second.optimizer.lr) == (10, 0.001)
    # §3 Training for detection: 160 epochs, 1e-3, a tenth at 60 and 90; §2: {320, 352, ..., 608} every 10 batches.
    for name in ("voc", "coco"):
        recipe = read_recipe(name, {"data": "somewhere"})
        assert isinstance(recipe, DetectRecipe)
        assert (recipe.epochs, recipe.optimizer.lr, recipe.optimizer.steps) == (160, 0.001, [60, 90])
        assert (recipe.optimizer.scales, recipe.network.clusters) == ([0.1, 0.1], 5)
        assert recipe.multi_scale is not None
        assert (recipe.multi_scale.sizes, recipe.multi_scale.every) == (list(range(320, 609, 32)), 10)


def test_a_detector_may_keep_the_anchors_of_its_architecture() -> None:
    recipe = read_recipe("small-detector", {"data": "shapes", "network": {"anchors": "architecture"}})
    assert isinstance(recipe, DetectRecipe)
    assert recipe.network.anchors == "architecture"
