"""What people have of Darknet: whole weights to start from, another fork's key for how images are fitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.small_models import FLAT_NAMES, random_model, small_architecture, write_flat

from yolo9000.architectures.layers import Architecture, AvgPool, Conv, Softmax
from yolo9000.architectures.surgery import initial_model
from yolo9000.checkpoints.darknet.cfg import parse_cfg, write_cfg
from yolo9000.checkpoints.darknet.weights import write_weights
from yolo9000.checkpoints.export import export_darknet
from yolo9000.checkpoints.load import load_model
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.errors import WeightsError
from yolo9000.training.initialize import named_architecture, transfer
from yolo9000.training.logging import data_fingerprint
from yolo9000.training.recipe import DetectorNetworkSettings
from yolo9000.types import ImageFile, Sample


@pytest.mark.parametrize("suffix", [".cfg", ".weights"])
def test_training_starts_from_a_whole_detector(tmp_path: Path, suffix: str) -> None:
    """Of 7 convolutions all but the last fit, and two of the classes are known by name."""
    start = write_flat(tmp_path).with_suffix(suffix)
    names = ("kite", "dog", "unheard of")
    initial = transfer(str(start), initial_model(small_architecture(3), 0), names, None)
    convolutions = [layer for layer in small_architecture(3).layers if isinstance(layer, Conv)]
    assert initial.origin.startswith(f"{len(convolutions) - 1} of {len(convolutions)} convolutions transferred")
    assert initial.origin.endswith("and 2 of 3 classes: kite, dog")


def test_training_starts_from_a_whole_classifier(tmp_path: Path) -> None:
    trunk = small_architecture(3).layers[:4]
    classifier = Architecture((*trunk, Conv(10, 1, padding=0, activation="linear"), AvgPool(), Softmax()), 72, 48)
    (tmp_path / "c.cfg").write_text(write_cfg(classifier))
    write_weights(tmp_path / "c.weights", random_model(classifier))
    fresh = initial_model(small_architecture(3), 0)
    initial = transfer(str(tmp_path / "c.weights"), fresh, ("a", "b", "c"), None)
    assert initial.origin.startswith("2 of 7 convolutions transferred")
    (tmp_path / "c.cfg").rename(tmp_path / "elsewhere.cfg")
    with pytest.raises(WeightsError, match=r"if these are the weights of another network, put its \.cfg beside"):
        transfer(str(tmp_path / "c.weights"), fresh, ("a", "b", "c"), None)


def test_exporting_to_darknet_keeps_how_images_are_fitted(tmp_path: Path) -> None:
    weights = random_model(small_architecture(5))
    for mode, line in (("stretch", "letter_box=0\n"), ("letterbox", "")):
        model = LoadedModel.from_weights(weights, FLAT_NAMES, resize_mode=mode)
        export_darknet(model, tmp_path / f"{mode}.cfg")
        text = (tmp_path / f"{mode}.cfg").read_text()
        assert line in text
        assert ("letter_box" in text) == bool(line)
        assert load_model(tmp_path / f"{mode}.cfg").detector_head.resize_mode == mode
    # What the user says counts more, and is what the next export says.
    model = load_model(tmp_path / "stretch.cfg", resize_mode="letterbox")
    assert model.detector_head.resize_mode == "letterbox"
    export_darknet(model, tmp_path / "again.cfg")
    assert "letter_box=1\n" in (tmp_path / "again.cfg").read_text()


@pytest.mark.parametrize(("value", "mode"), [("0", "stretch"), ("1", "letterbox"), ("x", None)])
@pytest.mark.filterwarnings("ignore:.*letter_box")
def test_letter_box(value: str, mode: str | None) -> None:
    text = write_cfg(small_architecture(5)).replace("[net]\n", f"[net]\nletter_box={value}\n", 1)
    assert parse_cfg(text).resize_mode == mode


def test_a_cfg_is_not_narrowed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = DetectorNetworkSettings(name=str(write_flat(tmp_path)), width=0.5, size=(72, 48))
    assert named_architecture(settings).layers == small_architecture(5).layers
    assert caplog.messages == [f"network.width is of built-in networks: {settings.name} is taken as it is"]
    built_in = named_architecture(DetectorNetworkSettings(name="tiny-yolov2-voc", width=0.5))
    assert built_in.layers[0] == Conv(8)


def test_the_fingerprint_of_data_does_not_depend_on_where_they_are(tmp_path: Path) -> None:
    prints = set()
    for folder in ("here", "there/below"):
        file = tmp_path / folder / "p.png"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"12345")
        sample = Sample(str(file), ImageFile(file), str(file), image_labels=(1,))
        prints.add(data_fingerprint([sample]))
        prints.add(data_fingerprint([replace(sample, image_labels=(2,))]))
    assert len(prints) == 2
