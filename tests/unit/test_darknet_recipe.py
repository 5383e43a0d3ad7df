"""A .cfg's training options as a recipe: the learning rate of every batch is Darknet's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_data import write_voc_set

from yolo9000.checkpoints.darknet.cfg import parse_cfg
from yolo9000.errors import ConfigError
from yolo9000.training.darknet_recipe import cfg_recipe, cfg_values
from yolo9000.training.recipe import DetectRecipe, recipe_of
from yolo9000.training.schedule import lr

BODY = "[convolutional]\nfilters=14\nactivation=linear\n[region]\nanchors=1,2,3,4\nnum=2\nclasses=2\ncoords=4\n"
NET = "[net]\nwidth=64\nheight=32\nbatch=8\nsubdivisions=2\nmax_batches=60\n"


def recipe_for(net: str, images: int = 24, region: str = "") -> DetectRecipe:
    values = cfg_values(parse_cfg(f"{NET}{net}{BODY}{region}"), "n.cfg", images) | {"data": "d"}
    recipe = recipe_of(values, "n.cfg")
    assert isinstance(recipe, DetectRecipe)
    return recipe


def darknet_rate(batch: int, net: dict[str, float], steps: list[int], scales: list[float]) -> float:
    """src/network.c get_current_rate, in Python."""
    rate, power = net.get("learning_rate", 0.001), net.get("power", 4)
    if batch < net.get("burn_in", 0):
        return rate * (batch / net["burn_in"]) ** power
    match net["policy"]:
        case "constant":
            return rate
        case "step":
            return rate * net["scale"] ** (batch // int(net["step"]))
        case "exp":
            return rate * net["gamma"] ** batch
        case "poly":
            return rate * (1 - batch / 60) ** power
        case _:
            for at, scale in zip(steps, scales, strict=True):
                if at > batch:
                    return rate
                rate *= scale
            return rate


@settings(max_examples=60, deadline=None)
@given(
    policy=st.sampled_from(["constant", "step", "steps", "exp", "poly"]),
    burn_in=st.sampled_from([0, 1, 10]),
    power=st.sampled_from([None, 1, 3]),
    steps=st.lists(st.integers(-1, 70), min_size=1, max_size=4, unique=True).map(sorted),
    every=st.integers(1, 30),
    images=st.integers(5, 200),
)
def test_every_batch_has_darknets_rate(
    policy: str, burn_in: int, power: int | None, steps: list[int], every: int, images: int
) -> None:
    scales = [0.1, 10, 0.5, 0.1][: len(steps)]
    net = {"policy": policy, "learning_rate": 0.01, "burn_in": burn_in, "step": every, "scale": 0.5, "gamma": 0.97}
    net |= {} if power is None else {"power": power}
    lists = f"steps={','.join(map(str, steps))}\nscales={','.join(map(str, scales))}\n"
    text = "".join(f"{key}={value}\n" for key, value in net.items()) + lists
    recipe = recipe_for(text, images)
    total = -(-round(recipe.epochs * images) // recipe.batch)
    assert total == 60
    ours = [lr(recipe.optimizer, batch, batch / total, batch * recipe.batch / images) for batch in range(1, 61)]
    assert ours == pytest.approx([darknet_rate(batch, net, steps, scales) for batch in range(1, 61)], rel=1e-6)


def test_what_the_file_does_not_say_is_darknets_default() -> None:
    recipe = recipe_for("")
    assert (recipe.batch, recipe.accumulate, recipe.epochs) == (8, 2, 20)  # 60 batches of 8 of 24 images
    assert (recipe.optimizer.momentum, recipe.optimizer.weight_decay, recipe.optimizer.policy) == (
        0.9,
        1e-4,
        "constant",
    )
    assert (recipe.augment.hue, recipe.augment.saturation, recipe.augment.exposure, recipe.augment.jitter) == (
        0,
        1,
        1,
        0.2,
    )
    assert (recipe.loss.object_scale, recipe.loss.thresh, recipe.loss.rescore, recipe.loss.bias_match) == (
        1,
        0.5,
        False,
        False,
    )
    assert recipe.network.size_wh == (64, 32)
    assert (recipe.network.fit, recipe.network.anchors, recipe.augment.placement) == (
        "letterbox",
        "architecture",
        "letterbox_jitter",
    )
    assert recipe.multi_scale is None


def test_what_the_file_says() -> None:
    net = "letter_box=0\nhue=.05\nsaturation=.75\ndecay=.001\nmomentum=.8\n"
    recipe = recipe_for(net, region="jitter=.3\nrescore=1\nbias_match=1\nobject_scale=5\nthresh=.6\nrandom=1\n")
    assert (recipe.network.fit, recipe.augment.placement) == ("stretch", "random_crop")
    assert (recipe.augment.hue, recipe.augment.saturation, recipe.augment.jitter) == (0.05, 0.75, 0.3)
    assert (recipe.optimizer.weight_decay, recipe.optimizer.momentum) == (0.001, 0.8)
    assert (recipe.loss.object_scale, recipe.loss.thresh, recipe.loss.rescore, recipe.loss.bias_match) == (
        5,
        0.6,
        True,
        True,
    )
    assert recipe.multi_scale is not None
    assert (recipe.multi_scale.sizes[0], recipe.multi_scale.sizes[-1], recipe.multi_scale.every) == (320, 608, 10)


def test_classifiers() -> None:
    text = "[net]\nwidth=32\nheight=32\nbatch=4\nmax_batches=30\nmin_crop=40\nmax_crop=48\nangle=7\naspect=.75\n"
    layers = "[convolutional]\nfilters=3\n[avgpool]\n[softmax]\n"
    recipe = recipe_of(cfg_values(parse_cfg(text + layers), "c.cfg", 12) | {"data": "d"}, "c.cfg")
    assert (recipe.task, recipe.epochs) == ("classify", 10)
    assert recipe.augment.model_dump(include={"min_crop", "max_crop", "angle", "aspect"}) == {
        "min_crop": 40, "max_crop": 48, "angle": 7, "aspect": 0.75,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ("policy=random\n", "policy must be constant, step, steps, exp or poly to train, got random"),
        ("policy=steps\nsteps=1,2\nscales=.1\n", "steps and scales must be as many, got 2 and 1"),
        ("policy=step\nstep=-3\n", "step must be at least 1, got -3"),
    ],
)
def test_what_cannot_be_a_recipe(net: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=rf"^n\.cfg: \[net\] {message}"):
        recipe_for(net)
    with pytest.raises(ConfigError, match="must give max_batches"):
        cfg_values(parse_cfg(f"[net]\nwidth=64\nheight=32\nbatch=2\n{BODY}"), "n.cfg", 5)
    cfg_values(parse_cfg(f"[net]\nwidth=64\nheight=32\nmax_batches=2\n{BODY}"), "n.cfg", 5)
    assert "n.cfg: batch=1 is for testing" in caplog.text


def test_the_training_images_are_counted(tmp_path: Path) -> None:
    (tmp_path / "n.cfg").write_text(f"{NET}{BODY}")
    values = cfg_recipe(tmp_path / "n.cfg", write_voc_set(tmp_path / "set", train=9))
    assert values["epochs"] == 60 * 8 / 9
    assert values["data"] == str(tmp_path / "set")
