"""The parts of the bundled model's recipe that work without the pretrained networks."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from support.paths import ROOT
from support.small_data import write_voc_set

from yolo9000.architectures.layers import Conv, Route, Upsample
from yolo9000.losses.classification import SiblingGroups
from yolo9000.taxonomy.files import read_tree
from yolo9000.taxonomy.wordtree import WordTree

RECIPE = ROOT / "examples" / "model"
COCO = (
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "dog",
    "potted plant",
    "tv",
    "hot dog",
    "toothbrush",
)
sys.path.insert(0, str(RECIPE))
import compute_features  # noqa: E402
import feature_cache  # noqa: E402
import fit_objectness  # noqa: E402
import label_table  # noqa: E402
import make_start  # noqa: E402
import make_tree  # noqa: E402
import yolox  # noqa: E402
from teachers import NONE, UNUSUAL, Teachers  # noqa: E402


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> WordTree:
    path = tmp_path_factory.mktemp("tree") / "tree.yaml"
    make_tree.write(RECIPE / "imagenet.txt", path)
    return read_tree(path)


@pytest.fixture
def pets() -> WordTree:
    """animal > (cat > (tabby, tiger cat), dog), tool."""
    names = ["animal", "tool", "cat", "dog", "tabby", "tiger cat"]
    return WordTree.from_parents([-1, -1, 0, 0, 2, 2], names, [f"n{i}" for i in range(6)])


def test_the_tree_holds_every_class_once_and_no_abstract_word(tree: WordTree) -> None:
    ids = (RECIPE / "imagenet.txt").read_text().split()
    assert len(ids) == len(set(ids)) == 1000
    assert set(ids) <= set(tree.ids)
    assert len({name.lower() for name in tree.names}) == len(tree)
    assert all(tree.nodes_named(name) for name in (*COCO, *UNUSUAL))
    assert not {"whole", "artifact", "instrumentality", "physical object", "entity"} & set(tree.names)
    assert tree.path_names(tree.find("dog")) == "animal > dog"
    assert int(tree.depths.max()) <= 4


def test_tables_have_nodes_for_classes(tmp_path: Path, tree: WordTree) -> None:
    write_voc_set(tmp_path / "voc", boxes=lambda _: [("red", (9, 6, 45, 36))])  # of 90 x 60
    nodes = label_table._Nodes(tree, {"red": "apple", "blue": "Orange"})
    lines = list(label_table.boxed(tmp_path / "voc", "train", nodes))
    apple = tree.ids[tree.find("apple")]
    assert lines[0]["boxes"] == [[*np.round([9 / 90, 6 / 60, 45 / 90, 36 / 60], 5), apple]]
    folder = tmp_path / "photos" / "Granny-Smith"
    folder.mkdir(parents=True)
    (folder / "a.jpg").touch()
    (line,) = label_table.by_folder(tmp_path / "photos", nodes)
    assert line["file"] == "Granny-Smith/a.jpg"
    assert line["label"] == tree.ids[tree.find("Granny Smith")]
    with pytest.raises(label_table.TreeError, match="'green': must be the name of a node"):
        nodes["green"]


def test_boxes_move_with_their_image() -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    image[15:30, 9:45] = 255  # .1 to .5 across, .25 to .5 down
    box = [[0.1, 0.25, 0.5, 0.5]]
    for seed in (None, 0, 1, 2, 3):
        rng = None if seed is None else np.random.default_rng(seed)
        pixels, placed = compute_features.jitter(image, rng)
        ((x1, y1, x2, y2),), (inside,) = feature_cache.Placed("a", **placed).boxes(box)
        bright = np.argwhere(pixels.mean(2) > 200)
        if inside > 0.99:
            np.testing.assert_allclose([*bright.min(0)[::-1], *(bright.max(0)[::-1] + 1)], [x1, y1, x2, y2], atol=4)
    assert placed["flip"] in (True, False)


def test_a_box_half_outside_is_cut_off() -> None:
    placed = feature_cache.Placed("a", (100, 50), (4.0, 4.0), (-200.0, 0.0), False)
    boxes, inside = placed.boxes([[0.25, 0.0, 0.75, 1.0]])  # 100 to 300 in x before the offset: -100 to 100
    np.testing.assert_allclose(boxes, [[0, 0, 100, 200]])
    np.testing.assert_allclose(inside, [0.5])


@pytest.fixture
def teachers(pets: WordTree) -> Teachers:
    """COCO's classes are "cat" and "tool", the classifier's "tabby", "tiger cat" and "dog"."""
    return Teachers(
        groups=SiblingGroups.of(pets),
        below=torch.from_numpy(np.stack([pets.below(node) for node in range(len(pets))])).float(),
        known=torch.tensor([2, 1]),
        unusual=torch.tensor([False, False]),
        leaves=torch.tensor([4, 5, 3]),
        yolox=[(torch.zeros(2, 64), torch.tensor([0.4, 0.3]).logit()) for _ in range(3)],
        rows=torch.zeros(3, 512),
        biases=torch.tensor([0.6, 0.2, 0.2]).log(),
    )


def distribution(teachers: Teachers, level: int, label: int) -> torch.Tensor:
    return teachers.distribution(torch.zeros(1, 896 + 12), torch.tensor([level]), torch.tensor([label]))[0]


def test_both_networks_speak_where_there_is_no_label(teachers: Teachers) -> None:
    """Cat .4, of which tabby .75 and tiger cat .25; tool .3; the rest, .3, as the classifier says."""
    said = distribution(teachers, 2, NONE)
    torch.testing.assert_close(said, torch.tensor([0, 0.3, 0, 0.06, 0.3 + 0.18, 0.1 + 0.06]))


@pytest.mark.parametrize(("level", "counts"), [(0, 1.0), (1, 0.5), (2, 0.1)])
def test_a_class_that_the_classifier_denies_counts_less(teachers: Teachers, level: int, counts: float) -> None:
    """Cat .4, of which the classifier gives .02: below MIN_MASS, so that nothing is said of what lies below."""
    denying = replace(teachers, biases=torch.tensor([0.01, 0.01, 0.98]).log())
    said = distribution(denying, level, NONE)
    cat, rest = 0.4 * counts, 0.7 - 0.4 * counts
    torch.testing.assert_close(said, torch.tensor([0, 0.3, cat, 0.98 * rest, 0.01 * rest, 0.01 * rest]))


@pytest.mark.parametrize("biases", [[0.01, 0.01, 0.98], [0.6, 0.2, 0.2]])  # denies the class, or is sure of a kind
def test_of_a_class_with_unusual_kinds_one_network_decides_and_all_kinds_are_as_likely(
    teachers: Teachers, biases: list[float]
) -> None:
    """Cat .4, half of it each of its two kinds; tool .3; the rest, .3, as the classifier says."""
    unusual = replace(teachers, biases=torch.tensor(biases).log(), unusual=torch.tensor([True, False]))
    tabby, tiger, dog = (0.3 * probability for probability in biases)
    torch.testing.assert_close(distribution(unusual, 2, NONE), torch.tensor([0, 0.3, 0, dog, 0.2 + tabby, 0.2 + tiger]))


def test_a_label_is_taken_and_what_lies_below_it_is_the_classifiers(teachers: Teachers) -> None:
    torch.testing.assert_close(distribution(teachers, 1, 2), torch.tensor([0, 0, 0, 0, 0.75, 0.25]))
    torch.testing.assert_close(distribution(teachers, 1, 1), torch.tensor([0, 1.0, 0, 0, 0, 0]))
    denying = replace(teachers, biases=torch.tensor([0.1, 0.1, 0.8]).log())
    torch.testing.assert_close(distribution(denying, 1, 2), torch.tensor([0, 0, 1.0, 0, 0, 0]))


def test_photographs_take_the_last_part_of_their_label_that_is_a_node(tmp_path: Path, tree: WordTree) -> None:
    (tmp_path / "pets.csv").write_text("a.jpg,dog/beagle\nb.jpg,dog/mongrel\nc.jpg,\nd.jpg,n02123045\ne.jpg,Polo\n")
    nodes = label_table._Nodes(tree, {"Polo": "shirt"})
    lines = {line["file"]: line for line in label_table.photographs(tmp_path, nodes, {})}
    names = {file: tree.names[tree.ids.index(line["label"])] for file, line in lines.items() if "label" in line}
    assert names == {"a.jpg": "beagle", "b.jpg": "dog", "d.jpg": "tabby cat", "e.jpg": "shirt"}
    assert len(list(label_table.photographs(tmp_path, nodes, {"pets": 2}))) == 2


def test_the_mean_of_four_cells_is_exact_above_zero() -> None:
    """swish(4 x) / 4 is x within .02 for x >= 1; the reorg stacks four cells of two channels."""
    params = make_start._mean_of_four(2)
    cells = np.array([[1.0, 5.0], [3.0, 6.0], [2.0, 7.0], [2.0, 8.0]])  # means 2 and 6.5
    x = params.weights[:, :, 0, 0] @ cells.reshape(-1)
    np.testing.assert_allclose(x / (1 + np.exp(-x)) / make_start.SMALL_SCALE, [2, 6.5], atol=0.02)


def test_a_convolution_makes_its_image_smaller_first() -> None:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((48, 72, 3)).astype(np.float32)
    smaller = cv2.resize(image, (48, 32), interpolation=cv2.INTER_AREA)
    kernels = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    params = make_start.ConvParameters(kernels, np.zeros(4, np.float32))
    row, larger = make_start._at_two_thirds(Conv(4, 3, 2, padding=0, end_padding=1), params)

    def convolved(x: np.ndarray, weights: np.ndarray, stride: int, end: int) -> torch.Tensor:
        padded = np.pad(x.transpose(2, 0, 1)[None], ((0, 0), (0, 0), (0, end), (0, end)))
        return torch.nn.functional.conv2d(torch.from_numpy(padded), torch.from_numpy(weights), stride=stride)

    ours, expected = convolved(image, larger.weights, row.stride, row.end_padding), convolved(smaller, kernels, 2, 1)
    assert ours.shape == (1, 4, 16, 24)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_focus_is_a_convolution_of_six_by_six() -> None:
    """YOLOX stacks the pixels of each 2x2 block, then convolves 3x3 with padding 1."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((5, 12, 3, 3)).astype(np.float32)
    rgb = torch.rand(1, 3, 10, 14, generator=torch.Generator().manual_seed(1))
    bgr = rgb.flip(1) * 255
    blocks = torch.cat([bgr[..., y::2, x::2] for y, x in ((0, 0), (1, 0), (0, 1), (1, 1))], 1)
    expected = torch.nn.functional.conv2d(blocks, torch.from_numpy(weights), padding=1)
    params = yolox._without_focus(make_start.ConvParameters(weights, np.zeros(5, np.float32)))
    ours = torch.nn.functional.conv2d(rgb, torch.from_numpy(params.weights), stride=2, padding=2)
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-2)


def test_a_growing_table_routes_where_it_must() -> None:
    table = yolox.Rows()
    first = table.add(Conv(4, 1, padding=0))
    second = table.add(Conv(4, 1, padding=0), source=first)
    table.add(Upsample(2), source=first)
    assert table.rows[second + 1 :] == [Route((first,)), Upsample(2)]
    assert [type(row) for row in table.rows] == [Conv, Conv, Route, Upsample]
    assert len(table.parameters) == 4


def test_the_lists_of_the_recipe_agree() -> None:
    sources = {line.split(",")[0] for line in (RECIPE / "sources.csv").read_text().splitlines()[1:]}
    import photographs

    assert sources == set(photographs.SOURCES)
    ids = (RECIPE / "imagenet.txt").read_text().split()
    assert all(a < b for a, b in pairwise(sorted(ids)))


def test_objectness_rises_where_the_label_is_likeliest() -> None:
    """Anchor 1 of cell (2, 1) is the box; its neighbor to the right has about the same one, the cell beyond another."""
    labels = feature_cache.Labels(np.zeros((0, 4)), (), image_node=0)
    anchors = torch.tensor([[1.0, 1.0], [4.0, 4.0]])
    boxes = torch.full((1, 2, 5, 8, 9), -4.0)  # logits; the centre near the upper left corner of the cell
    boxes[:, :, 2:4] = 0
    boxes[0, 1, 0, 2, 1], boxes[0, 1, 4, 2, 1] = 4.0, -1.0
    head = SimpleNamespace(boxes=boxes, class_logits=lambda images, *_: torch.zeros(len(images), 2))
    groups = SiblingGroups.of(WordTree.from_parents([-1, -1], ["cat", "dog"], ["n0", "n1"]))
    before = boxes[0, :, 4].sigmoid()
    after = fit_objectness.targets(head, 0, labels, groups, anchors)
    assert after[1, 2, 1] == pytest.approx(fit_objectness.RAISED, abs=1e-6)
    raised = torch.nonzero(after > before)
    assert [1, 2, 2] in raised.tolist()  # its box lies in column 2.02, the first one's in 1.98: IoU .98
    assert all(row[0] == 1 and 1 <= row[1] <= 3 and 1 <= row[2] <= 3 for row in raised.tolist())
    unlabelled = feature_cache.Labels(np.zeros((0, 4)), (), image_node=None)
    assert torch.equal(fit_objectness.targets(head, 0, unlabelled, groups, anchors), before)
