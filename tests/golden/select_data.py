"""Choose the recorded numbers that are kept in ``data/``: run once, from the whole suite beside the checkout.

    python tests/golden/select_data.py

Kept are all kinds of checks on small cases, about 3 MB of 11.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent / "data"
WHOLE = Path(__file__).parents[3] / "shared" / "golden" / "dev"

NETS = ("d_yolov2", "d_yolo9000", "d_tiny", "d_darknet9000", "d_extras")
MAPS = 3  # of the maps of a network this number of the last ones is kept, with the passthrough of d_yolov2 among them
TREES = ("tree26", "chain", "flat", "split")
REGIONS = ("low", "nosoftmax", "tree26")
IMAGES = ("rgb", "gray", "rgba", "thin")
PHOTO_KEYS = ("photo_load", "photo_letterbox_48x80", "photo_resize_20x20", "photo_center_crop", "photo_resize_min")
PROGRAMS = ("d_tiny", "d_yolo9000", "d_yolov2", "d_darknet9000")
LOSSES = ("_input", "_truth", "_map", "_delta_in", "_cost", "_stats")
LARGE_LOSS = "9k_mixed"
CLASSIFIERS = ("plain10", "tree26", "split")
TRAININGS = ("train_region", "train_region_tree", "train_softmax", "train_softmax_tree")


def main() -> None:
    if HERE.exists():
        shutil.rmtree(HERE)
    for folder in ("nets", "trees", "images", "train"):
        (HERE / folder).mkdir(parents=True)
    keep("box", lambda key: True, lambda info: info)
    keep("tree", starting(TREES), only(TREES))
    keep("region_infer", starting(REGIONS), lambda info: [case for case in info if case["name"] in REGIONS])
    wanted = starting((*IMAGES, "aug"))
    keep("preproc", lambda key: key in PHOTO_KEYS or wanted(key), only((*IMAGES, "photo", "aug")))
    keep("e2e", starting(PROGRAMS), only(PROGRAMS))
    keep(
        "region_train",
        lambda key: key.endswith(LOSSES) and not key.startswith(LARGE_LOSS),
        lambda info: [case for case in info if case["name"] != LARGE_LOSS],
    )
    keep("classifier", starting(CLASSIFIERS), lambda info: [case for case in info if case["name"] in CLASSIFIERS])
    keep_networks()
    keep_trainings()
    for tree in TREES:
        shutil.copy(WHOLE / "trees" / f"{tree}.tree", HERE / "trees")
    for image in (*IMAGES, "photo"):
        shutil.copy(WHOLE / "images" / f"{image}.png", HERE / "images")


def keep(name: str, wanted: Any, choose: Any) -> None:
    keep_arrays(name, wanted)
    info = choose(json.loads((WHOLE / f"{name}.json").read_text()))
    (HERE / f"{name}.json").write_text(json.dumps(info, indent=1) + "\n")


def keep_arrays(name: str, wanted: Any) -> None:
    with np.load(WHOLE / f"{name}.npz") as file:
        np.savez_compressed(HERE / f"{name}.npz", **{key: file[key] for key in file.files if wanted(key)})


def starting(names: tuple[str, ...]) -> Any:
    return lambda key: key.startswith(tuple(f"{name}_" for name in names))


def only(names: tuple[str, ...]) -> Any:
    return lambda info: {name: info[name] for name in names if name in info}


def keep_networks() -> None:
    info = json.loads((WHOLE / "nets" / "nets.json").read_text())
    for name in NETS:
        for path in (WHOLE / "nets").glob(f"{name}*"):
            if path.suffix in (".cfg", ".weights"):
                shutil.copy(path, HERE / "nets")
        layers = len(info[name]["layers"])
        keep_arrays(f"nets/{name}", lambda key, layers=layers: wanted_of_network(key, layers))
    shutil.copy(WHOLE / info["partial"]["file"], HERE / "nets")
    shutil.copy(WHOLE / "nets" / "partial.npz", HERE / "nets")
    kept = {name: info[name] for name in (*NETS, "partial")}
    (HERE / "nets" / "nets.json").write_text(json.dumps(kept, indent=1) + "\n")


def keep_trainings() -> None:
    for name in TRAININGS:
        keep_arrays(f"train/{name}", lambda key: key in ("input", "truth") or "_cudnn_" in key)
        for file in (f"{name}_sub1.cfg", f"{name}_sub2.cfg", f"{name}.weights"):
            shutil.copy(WHOLE / "train" / file, HERE / "train")
    shutil.copy(WHOLE / "train" / "train.json", HERE / "train")


def wanted_of_network(key: str, layers: int) -> bool:
    if key.startswith("L"):
        return key.startswith(("L00_", "L02_"))
    if "_L" in key:
        return layers - 1 - MAPS <= int(key.split("_L")[1][:2]) or "_L16_" in key or "_L18_" in key
    return True


if __name__ == "__main__":
    main()
