"""Every reader of files of unknown origin, with a seed that it accepts."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from support.fuzz_other_targets import OTHER_TARGETS
from support.fuzzing import Target
from support.layouts import LAYOUTS, put_json
from support.small_models import TREE, loaded, random_model, small_architecture
from yolo9000.checkpoints.darknet.cfg import parse_cfg, read_cfg, write_cfg
from yolo9000.checkpoints.darknet.weights import read_weights, write_weights
from yolo9000.checkpoints.load import load_model
from yolo9000.checkpoints.metadata import NO_DIGEST, CfgNetwork, Metadata
from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.onnx import onnx_file
from yolo9000.checkpoints.openvino import openvino_files
from yolo9000.checkpoints.safetensors import write_checkpoint
from yolo9000.data import archive
from yolo9000.data.dataset import open_data, open_splits
from yolo9000.data.formats.darknet import read_darknet_data
from yolo9000.evaluation.coco_results import read_coco_results
from yolo9000.io.documents import parse_json, parse_toml, parse_yaml
from yolo9000.io.files import read_text
from yolo9000.io.images import read_image, read_size
from yolo9000.io.sources import open_sources
from yolo9000.taxonomy.files import read_map, read_names, read_tree, write_tree
from yolo9000.taxonomy.match import read_overrides
from yolo9000.taxonomy.readers import read_parent_table
from yolo9000.training.checkpoint import TrainingState, latest_state, save_state
from yolo9000.training.logging import RunFolder
from yolo9000.training.recipe import read_recipe

Writer = Callable[[Path], Path]

YAML = "path: .\ntrain: images/train\nval: [images/val]\nnc: 2\nnames: {0: cat, 1: 'dog'}\nnote: >-\n  a\n"
TOML = 'task = "detect"\ndata = "d"\nepochs = 2\n[optimizer]\nlr = 1e-3\nat = 2024-01-02T03:04:05Z\n'
JSON = '[{"image_id": 1, "category_id": 2, "bbox": [1.0, 2, 3, 4e1], "score": 0.5, "s": "\\u00e4"}]'
PARENTS_CSV = (
    'name,parent,id,synonyms,note\nGranny Smith,apple,,,\napple,fruit,n1,Apfel;mela,"red, sour"\nfruit,,n0,,\n'
)
PARENTS_YAML = "- {name: apple, parent: fruit, id: n1, synonyms: [Apfel], note: red}\n- {name: fruit, id: n0}\n"
SKOS = """@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
<http://x/fruit> a skos:Concept ; skos:prefLabel "fruit"@en .
<http://x/apple> a skos:Concept ; skos:prefLabel "apple" ; skos:altLabel "Apfel"@de ; skos:broader <http://x/fruit> .
"""
DATA = "classes = 2\n# lists\ntrain = train.txt\nvalid = val.txt\nnames = obj.names\nbackup = backup/\n"
SET = """classes: [bolt, gear, nut]
train:
  - {format: coco, path: annotations.json, images: images, leave_out: [gear]}
  - {format: folder, path: shelf, map: {mutter: nut}, exhaustive: none}
val: [{format: yolo, path: plain, names: [bolt, gear, nut]}]
"""


def text(name: str, contents: str) -> Writer:
    """A file with that text."""

    def write(folder: Path) -> Path:
        (folder / name).write_text(contents, encoding="utf-8")
        return folder / name

    return write


def small_model(*, tree: bool) -> LoadedModel:
    weights = random_model(small_architecture(len(TREE), tree="t.tree" if tree else None))
    return LoadedModel.from_weights(weights, TREE.names, TREE) if tree else loaded(weights)


def checkpoint(folder: Path) -> Path:
    write_checkpoint(folder / "m.safetensors", small_model(tree=True), dtype="int8", last_dtype="float16")
    return folder / "m.safetensors"


def onnx(folder: Path) -> Path:
    model = small_model(tree=True).with_lazy_classes(True)
    (folder / "m.onnx").write_bytes(onnx_file(model, dtype="int8"))
    return folder / "m.onnx"


def openvino(folder: Path) -> Path:
    xml, weights = openvino_files(small_model(tree=True).with_lazy_classes(True))
    (folder / "m.xml").write_bytes(xml)
    (folder / "m.bin").write_bytes(weights)
    return folder / "m.xml"


def openvino_pair(xml: Path) -> Sequence[Path]:
    return xml, xml.with_suffix(".bin")


def sealed_again(data: bytes) -> bytes:
    """The file with the digest that it ought to have, so that what lies behind the digest is read."""
    match = re.search(rb'sha256\\?"\s*:\s*\\?"([0-9a-f]{64})', data)
    if match is None:
        return data
    start, end = match.span(1)
    digest = hashlib.sha256(data[:start] + NO_DIGEST.encode() + data[end:]).hexdigest()
    return data[:start] + digest.encode() + data[end:]


def metadata(folder: Path) -> Path:
    model, file = small_model(tree=True), folder / "m.json"
    network = CfgNetwork(cfg=write_cfg(model.trained_weights.architecture), batch_norm="eps_inside_sqrt")
    tree = {"parents": TREE.parents.tolist(), "ids": list(TREE.ids)}
    made = Metadata.model_validate({"network": network.model_dump(), "names": list(TREE.names), "tree": tree})
    file.write_text(made.model_dump_json())
    return file


def read_metadata(file: Path) -> None:
    made = Metadata.parse(file.read_bytes())
    made.word_tree()
    if isinstance(made.network, CfgNetwork):
        parse_cfg(made.network.cfg)
    else:
        made.graph_head()


def cfg(folder: Path) -> Path:
    (folder / "m.cfg").write_text(write_cfg(small_architecture(7, tree="t.tree")))
    return folder / "m.cfg"


def weights(folder: Path) -> Path:
    write_weights(folder / "m.weights", random_model(small_architecture(5)))
    return folder / "m.weights"


def tree(folder: Path, suffix: str) -> Path:
    write_tree(folder / f"t{suffix}", TREE)
    return folder / f"t{suffix}"


def image(kind: str, **options: object) -> Writer:
    def write(folder: Path) -> Path:
        rows, columns = np.mgrid[0:24, 0:36].astype(np.uint8)
        pixels = Image.fromarray(np.dstack([rows * 10, columns * 7, rows ^ columns]))
        pixels.save(folder / f"p.{kind.lower()}", kind, **options)
        return folder / f"p.{kind.lower()}"

    return write


def read_whole_image(file: Path) -> None:
    """The size by the header is that of the pixels, whenever there are any."""
    size_wh = read_size(file, max_pixels=1_000_000)
    height, width = read_image(file, max_pixels=1_000_000).pixels.shape[:2]
    assert (width, height) == size_wh


def image_list(folder: Path) -> Path:
    image("PNG")(folder)
    return text("list.txt", f"{folder / 'p.png'}\n\np.png\n")(folder)


def read_sources(file: Path) -> None:
    for _ in open_sources(str(file), max_pixels=1_000_000):
        pass


def read_set(pointed: Path) -> None:
    """Every annotation of every split; what is read is sane."""
    for data_set in open_splits(pointed).values():
        for annotation in data_set.annotations():
            sample = annotation.sample
            if sample is not None and sample.boxes is not None:
                assert np.isfinite(sample.boxes.boxes_xyxy).all()
                assert (sample.boxes.labels < len(data_set.classes)).all()


def annotation_files(root: Path) -> list[Path]:
    named = [path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".png"]
    return named or [path for path in sorted(root.rglob("*")) if path.is_file()]


def set_of(layout: str) -> Writer:
    def write(folder: Path) -> Path:
        LAYOUTS[layout].write(folder)
        return folder

    return write


def archive_of(layout: str, kind: str) -> Writer:
    def write(folder: Path) -> Path:
        LAYOUTS[layout].write(folder / "in")
        made = shutil.make_archive(str(folder / "set"), kind, folder / "in")
        shutil.rmtree(folder / "in")
        return Path(made)

    return write


def read_archive(file: Path) -> None:
    """Unpacked into a folder that goes afterwards."""
    with tempfile.TemporaryDirectory() as cache:
        given, archive.cache_folder = archive.cache_folder, lambda: Path(cache)
        try:
            read_set(file)
        finally:
            archive.cache_folder = given


def described_set(folder: Path) -> Path:
    LAYOUTS["coco in one file"].write(folder)
    (folder / "shelf" / "mutter").mkdir(parents=True)
    image("PNG")(folder / "shelf" / "mutter")
    LAYOUTS["yolo of labelimg"].write(folder / "plain")
    return text("set.yaml", SET)(folder)


def darknet_data(folder: Path) -> Path:
    for name, contents in {"train.txt": "p0.png\n", "val.txt": "p1.png\n", "obj.names": "cat\ndog\n"}.items():
        text(name, contents)(folder)
    return text("obj.data", DATA)(folder)


def results(folder: Path) -> Path:
    LAYOUTS["coco in one file"].write(folder)
    put_json(
        folder / "results.json",
        [{"image_id": i, "category_id": 1, "bbox": [1, 2, 10.5, 8], "score": 0.5} for i in (1, 2, 3)],
    )
    return folder / "results.json"


def read_results(file: Path) -> None:
    for _ in read_coco_results(file, open_data(file.parent / "annotations.json"), "skip"):
        pass


def run_folder(folder: Path) -> Path:
    run = RunFolder(folder / "run")
    facts = {"recipe": {}, "seed": 0, "threads": 1, "data": "x", "steps": 2, "start": "", "tree": None, "processes": 1}
    run.start(facts | {"device": "cpu"})
    for step in (1, 2):
        run.log_step(step, {"lr": 0.1, "loss": 2.5, "losses": {"coordinates": 1.0}, "seconds": 1.0})
    run.log_metrics(2, 1.0, 2.0, {"map50": 0.5})
    state = {"best": {"map50": 0.5}, "seconds": 2.5}
    save_state(run.checkpoints, TrainingState(2, {"w": torch.ones(3)}, state))
    return folder / "run"


def run_files(folder: Path) -> Sequence[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def read_run(folder: Path) -> None:
    run = RunFolder(folder)
    json.dumps([run.facts(), run.lines("step"), run.lines("metrics")])
    latest_state(run.checkpoints)


def _document(parse: Callable[..., object]) -> Callable[[Path], object]:
    return lambda file: parse(read_text(file), file)


def _recipe(folder: Path) -> Path:
    return text("r.toml", (files("yolo9000.training.recipes") / "fine-tune.toml").read_text())(folder)


def _targets() -> list[Target]:
    architecture = small_architecture(5)
    single = [
        Target("YAML", text("d.yaml", YAML), _document(parse_yaml)),
        Target("TOML", text("d.toml", TOML), _document(parse_toml)),
        Target("JSON", text("d.json", JSON), _document(parse_json)),
        Target("recipe", _recipe, lambda file: read_recipe(file, {"data": "d"})),
        Target("cfg", cfg, read_cfg),
        Target("weights", weights, lambda file: read_weights(file, architecture)),
        Target("partial weights", weights, lambda file: read_weights(file, architecture, partial=True)),
        Target("safetensors", checkpoint, load_model),
        Target("safetensors behind its digest", checkpoint, load_model, finish=sealed_again),
        Target("onnx", onnx, load_model),
        Target("onnx behind its digest", onnx, load_model, finish=sealed_again),
        Target("openvino", openvino, load_model, files=openvino_pair),
        Target("metadata", metadata, read_metadata),
        Target("names", text("a.names", "cat\ndog\n\tGranny Smith \nöl\n"), read_names),
        Target("map", text("a.map", "0\n3\n2\n"), lambda file: read_map(file, 7)),
        Target("tree", lambda folder: tree(folder, ".tree"), read_tree),
        Target("tree in YAML", lambda folder: tree(folder, ".yaml"), read_tree),
        Target("parents in CSV", text("p.csv", PARENTS_CSV), read_parent_table),
        Target("parents in YAML", text("p.yaml", PARENTS_YAML), read_parent_table),
        Target("parents in SKOS", text("p.ttl", SKOS), read_parent_table),
        Target("overrides", text("o.csv", "label,id\ncat,n1\n'dog',n2\n"), read_overrides),
        Target("Darknet data", darknet_data, read_darknet_data),
        Target("list of images", image_list, read_sources),
        Target("data-set file", described_set, read_set),
        Target("COCO results", results, read_results),
        Target("run", run_folder, read_run, files=run_files),
        Target("zip", archive_of("voc", "zip"), read_archive),
        Target("tar.gz", archive_of("yolo without yaml", "gztar"), read_archive),
    ]
    kinds: dict[str, dict[str, object]] = {"JPEG": {}, "PNG": {}, "GIF": {}, "BMP": {}, "TIFF": {}}
    kinds |= {"WEBP": {"lossless": True}, "TIFF ": {"compression": "tiff_lzw"}, "JPEG ": {"progressive": True}}
    images = [
        Target(f"image {kind}{'-'.join(options)}", image(kind.strip(), **options), read_whole_image)
        for kind, options in kinds.items()
    ]
    sets = [Target(f"set {name}", set_of(name), read_set, files=annotation_files) for name in LAYOUTS]
    return [*single, *images, *OTHER_TARGETS, *sets]


TARGETS = {target.name: target for target in _targets()}
