"""The label tree against Darknet's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from support.golden import FOLDER, arrays, assert_close
from support.golden_trees import TREES, tree_of

from yolo9000.errors import TreeError
from yolo9000.taxonomy.files import read_tree


def test_split_sibling_run_is_refused() -> None:
    if "split" not in TREES:
        pytest.skip("the case is not here")
    with pytest.raises(TreeError, match="must be contiguous"):
        read_tree(FOLDER / TREES["split"]["file"])


@pytest.mark.parametrize("name", TREES)
def test_structure(name: str) -> None:
    tree, golden = tree_of(name), arrays("tree")
    np.testing.assert_array_equal(tree.parents, golden[f"{name}_parent"])
    np.testing.assert_array_equal(tree.child_groups, golden[f"{name}_child"])
    np.testing.assert_array_equal(tree.groups, golden[f"{name}_group"])
    np.testing.assert_array_equal(tree.leaves, golden[f"{name}_leaf"].astype(bool))
    np.testing.assert_array_equal(tree.group_sizes, golden[f"{name}_group_size"])
    np.testing.assert_array_equal(tree.group_offsets, golden[f"{name}_group_offset"])


@pytest.mark.parametrize("name", TREES)
def test_probabilities(name: str) -> None:
    tree, golden = tree_of(name), arrays("tree")
    conditionals = tree.softmax(golden[f"{name}_logits"].T)
    assert_close(conditionals, golden[f"{name}_cond"].T, 5e-6)
    assert_close(tree.probabilities(conditionals), golden[f"{name}_abs"].T, 5e-6)
    assert_close(tree.probabilities(conditionals) * tree.leaves, golden[f"{name}_abs_leaves"].T, 5e-6)
    for node, theirs in zip(golden[f"{name}_prob_classes"], golden[f"{name}_prob"], strict=True):
        assert_close(conditionals[:, tree.path(int(node))].prod(axis=1), theirs, 5e-6)


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize(("rule", "column"), [("conditional", "top_on_cond"), ("darknet", "top_on_abs")])
def test_walk(name: str, rule: str, column: str) -> None:
    """The C program walks over whatever array it is given; over absolute probabilities it is our rule ``darknet``."""
    tree, golden = tree_of(name), arrays("tree")
    conditionals = golden[f"{name}_cond"].T.copy()

    def of_groups(objects: np.ndarray, groups: np.ndarray) -> np.ndarray:
        return np.concatenate([conditionals[i, tree.groups == group] for i, group in zip(objects, groups, strict=True)])

    for column_index, threshold in enumerate(TREES[name]["thresholds"]):
        tree_paths = tree.decode(of_groups, len(conditionals), threshold, rule)
        assert [tree_path.nodes[-1] for tree_path in tree_paths] == golden[f"{name}_{column}"][:, column_index].tolist()
