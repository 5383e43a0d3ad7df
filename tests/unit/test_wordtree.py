"""The label tree by hand: every expected number is worked out beside the assertion."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo9000.errors import TreeError, nearest
from yolo9000.taxonomy.class_names import COCO, COCO_CATEGORY_IDS, VOC, default_names
from yolo9000.taxonomy.wordtree import TreePath, WordTree

# Two roots. Groups: [animal, thing], [dog, cat, bird], [cup], [terrier, hound].
#
#   animal 0            thing 1
#   dog 2  cat 3  bird 4    cup 5
#   terrier 6  hound 7
NAMES = ("animal", "thing", "dog", "cat", "bird", "cup", "terrier", "hound")
TREE = WordTree.from_parents([-1, -1, 0, 0, 0, 1, 2, 2], NAMES)

# P(node | parent); each group sums to 1.
CONDITIONALS = np.array([0.75, 0.25, 0.5, 0.375, 0.125, 1.0, 0.25, 0.75])


def test_groups() -> None:
    assert TREE.group_offsets.tolist() == [0, 2, 5, 6]
    assert TREE.group_sizes.tolist() == [2, 3, 1, 2]
    assert TREE.groups.tolist() == [0, 0, 1, 1, 1, 2, 3, 3]
    assert TREE.child_groups.tolist() == [1, 2, 3, -1, -1, -1, -1, -1]
    assert TREE.leaves.tolist() == [False, False, False, True, True, True, True, True]
    assert len(TREE) == 8


def test_depths_and_paths() -> None:
    assert TREE.depths.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    assert [TREE.path(node) for node in (0, 1, 5, 7)] == [(0,), (1,), (1, 5), (0, 2, 7)]


@pytest.mark.parametrize(("node", "inside"), [(0, [0, 2, 3, 4, 6, 7]), (1, [1, 5]), (2, [2, 6, 7]), (3, [3]), (7, [7])])
def test_below(node: int, inside: list[int]) -> None:
    assert np.flatnonzero(TREE.below(node)).tolist() == inside


def test_order_need_not_be_by_depth() -> None:
    # 0 and 1 at the top; 2, 3 under 1; 4 under 3; 5 under 0
    tree = WordTree.from_parents([-1, -1, 1, 1, 3, 0])
    assert tree.depths.tolist() == [0, 0, 1, 1, 2, 1]
    assert tree.child_groups.tolist() == [3, 1, -1, 2, -1, -1]
    assert tree.below(1).tolist() == [False, True, True, True, True, False]
    assert tree.path(4) == (1, 3, 4)


def test_single_node() -> None:
    tree = WordTree.from_parents([-1])
    assert (tree.names, tree.ids) == (("0",), ("0",))
    assert tree.softmax(np.array([-3.0])).tolist() == [1.0]
    assert tree.probabilities(np.array([1.0])).tolist() == [1.0]
    (path,) = decode(tree, np.ones((1, 1)), 0.5)
    assert path == TreePath((0,), (1.0,), None, None)


def test_names_and_ids() -> None:
    assert (TREE.names, TREE.ids) == (NAMES, tuple("01234567"))
    tree = WordTree.from_parents([-1, 0], ids=["n1", "n2"])
    assert tree.names == tree.ids == ("n1", "n2")
    tree = WordTree.from_parents([-1, 0, 0], ["bat", "bat", "ball"], ["n1", "n2", "n3"])  # names may repeat
    assert (tree.names, tree.ids) == (("bat", "bat", "ball"), ("n1", "n2", "n3"))


def test_softmax() -> None:
    logits = np.log([3, 1, 4, 3, 1, 7, 1, 3])  # 3:1, 4:3:1, alone, 1:3
    expected = [3 / 4, 1 / 4, 4 / 8, 3 / 8, 1 / 8, 1, 1 / 4, 3 / 4]
    np.testing.assert_allclose(TREE.softmax(logits), expected, rtol=1e-12)
    shifted = logits + np.array([5, 5, -9, -9, -9, 2, 40, 40])  # a constant in each group changes nothing
    np.testing.assert_allclose(TREE.softmax(shifted), expected, rtol=1e-12)


def test_softmax_of_a_batch() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2, 3, 8)).astype(np.float32)
    conditionals = TREE.softmax(logits)
    assert (conditionals.shape, conditionals.dtype) == ((2, 3, 8), np.float32)
    for i, j in np.ndindex(2, 3):
        for first, last in [(0, 2), (2, 5), (5, 6), (6, 8)]:
            exponentials = [math.exp(x) for x in logits[i, j, first:last].tolist()]
            expected = [x / sum(exponentials) for x in exponentials]
            np.testing.assert_allclose(conditionals[i, j, first:last], expected, rtol=1e-5)


def test_softmax_of_huge_logits() -> None:
    conditionals = TREE.softmax(np.array([1000, 0, -1000, -1000, -5000, 88888, 0, 800], np.float32))
    assert conditionals.tolist() == [1, 0, 0.5, 0.5, 0, 1, 0, 1]


def test_softmax_of_nothing() -> None:
    assert TREE.softmax(np.empty((0, 8), np.float32)).shape == (0, 8)
    assert TREE.probabilities(np.empty((0, 8), np.float32)).shape == (0, 8)


def test_probabilities() -> None:
    expected = [
        0.75,
        0.25,
        0.75 * 0.5,
        0.75 * 0.375,
        0.75 * 0.125,
        0.25 * 1.0,
        0.75 * 0.5 * 0.25,
        0.75 * 0.5 * 0.75,
    ]
    given_before = CONDITIONALS.copy()
    absolute = TREE.probabilities(CONDITIONALS)
    assert absolute.tolist() == expected  # exact: sums of powers of two
    np.testing.assert_array_equal(CONDITIONALS, given_before)
    assert absolute[TREE.leaves].sum() == 1.0


def test_probabilities_of_a_batch() -> None:
    batch = np.stack([CONDITIONALS, np.array([0.5, 0.5, 1, 0, 0, 1, 0.5, 0.5])]).reshape(2, 1, 8)
    absolute = TREE.probabilities(batch)
    assert absolute[1, 0].tolist() == [0.5, 0.5, 0.5, 0, 0, 0.5, 0.25, 0.25]
    np.testing.assert_array_equal(absolute[0, 0], TREE.probabilities(CONDITIONALS))


# The walk down


def asker(tree: WordTree, conditionals: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def of_groups(objects: np.ndarray, groups: np.ndarray) -> np.ndarray:
        return np.concatenate([conditionals[i, tree.groups == group] for i, group in zip(objects, groups, strict=True)])

    return of_groups


def decode(tree: WordTree, conditionals: np.ndarray, threshold: float, rule: str = "conditional") -> list[TreePath]:
    return list(tree.decode(asker(tree, conditionals), len(conditionals), threshold, rule))


# The likeliest way: animal .75, dog .5, hound .75. Paths: .75, .375, .28125.
# Rule ``darknet``: weights .75, .75 * .375 = .28125, .28125 * .28125 = .0791015625.
@pytest.mark.parametrize(
    ("rule", "threshold", "nodes", "refused", "runner_up"),
    [
        ("conditional", 0.0, (0, 2, 7), None, (6, 0.25)),
        ("conditional", 0.28, (0, 2, 7), None, (6, 0.25)),
        ("conditional", 0.28125, (0, 2), (7, 0.75), (3, 0.375)),  # above, not at
        ("conditional", 0.375, (0,), (2, 0.5), (1, 0.25)),
        ("conditional", 0.74, (0,), (2, 0.5), (1, 0.25)),
        ("conditional", 0.75, (0,), None, (1, 0.25)),  # the root itself is too unlikely: nobody looks below
        ("conditional", 0.9, (0,), None, (1, 0.25)),
        ("darknet", 0.079, (0, 2, 7), None, (6, 0.25)),
        ("darknet", 0.08, (0, 2), (7, 0.75), (3, 0.375)),
        ("darknet", 0.28, (0, 2), (7, 0.75), (3, 0.375)),
        ("darknet", 0.28125, (0,), (2, 0.5), (1, 0.25)),
        ("darknet", 0.75, (0,), None, (1, 0.25)),
    ],
)
def test_walk(
    rule: str, threshold: float, nodes: tuple[int, ...], refused: tuple[int, float] | None, runner_up: tuple[int, float]
) -> None:
    (path,) = decode(TREE, CONDITIONALS[None], threshold, rule)
    assert path.nodes == nodes
    assert path.conditionals == tuple(CONDITIONALS[list(nodes)])
    assert path.refused == refused
    assert path.runner_up == runner_up


def test_only_child_has_no_runner_up() -> None:
    conditionals = np.array([[0.25, 0.75, 0.5, 0.375, 0.125, 1.0, 0.25, 0.75]])
    (path,) = decode(TREE, conditionals, 0.5)
    assert path == TreePath((1, 5), (0.75, 1.0), None, None)


def test_runner_up_without_any_probability_is_still_another_node() -> None:
    (path,) = decode(TREE, np.array([[1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0]]), 0.5)
    assert (path.nodes, path.runner_up) == ((0, 2, 6), (7, 0.0))


def test_runner_up_at_a_refusal_belongs_to_the_answer() -> None:
    # dog .5 is entered (.75 * .5 = .375 > .3); hound is refused (.28125); the rival of dog is cat
    (path,) = decode(TREE, CONDITIONALS[None], 0.3)
    assert (path.nodes, path.refused, path.runner_up) == ((0, 2), (7, 0.75), (3, 0.375))


@pytest.mark.parametrize("rule", ["conditional", "darknet"])
def test_ties_go_to_the_first(rule: str) -> None:
    conditionals = np.array([[0.5, 0.5, 0.375, 0.25, 0.375, 1.0, 0.5, 0.5]])
    (path,) = decode(TREE, conditionals, 0.0, rule)
    assert path.nodes == (0, 2, 6)
    assert path.runner_up == (7, 0.5)
    (path,) = decode(TREE, conditionals, 0.18 if rule == "conditional" else 0.09, rule)
    assert path.nodes == (0, 2)  # .5 * .375 = .1875, or .5 * .1875 = .09375; terrier is half of that or less
    assert path.runner_up == (4, 0.375)
    assert path.refused == (6, 0.5)


@pytest.mark.parametrize("rule", ["conditional", "darknet"])
@pytest.mark.parametrize("threshold", [0.5, 0.999, 1.0, 2.0])
def test_a_top_node_is_accepted_however_unlikely(rule: str, threshold: float) -> None:
    tree = WordTree.from_parents([-1] * 5 + [3, 3])
    conditionals = np.array([[0.1, 0.2, 0.2, 0.3, 0.2, 0.5, 0.5]])
    (path,) = decode(tree, conditionals, threshold, rule)
    assert path == TreePath((3,), (0.3,), None, (1, 0.2))


def test_groups_are_asked_level_by_level_and_only_on_the_way() -> None:
    asked = []
    conditionals = np.array(
        [
            CONDITIONALS,  # animal, dog, hound
            [0.25, 0.75, 0.5, 0.375, 0.125, 1.0, 0.25, 0.75],  # thing, cup
            [0.75, 0.25, 0.25, 0.75, 0.0, 1.0, 0.25, 0.75],  # animal, cat
            [0.75, 0.25, 0.5, 0.375, 0.125, 1.0, 0.75, 0.25],  # animal, dog, terrier
        ]
    )

    def of_groups(objects: np.ndarray, groups: np.ndarray) -> np.ndarray:
        asked.append((objects.tolist(), groups.tolist()))
        return asker(TREE, conditionals)(objects, groups)

    paths = TREE.decode(of_groups, 4, 0.1)
    assert [path.nodes for path in paths] == [(0, 2, 7), (1, 5), (0, 3), (0, 2, 6)]
    assert asked == [([0, 1, 2, 3], [0, 0, 0, 0]), ([0, 1, 2, 3], [1, 2, 1, 1]), ([0, 3], [3, 3])]


def test_no_objects() -> None:
    def never(objects: np.ndarray, groups: np.ndarray) -> np.ndarray:
        raise AssertionError("nothing must be asked")

    assert list(TREE.decode(never, 0, 0.5)) == []


def test_paths_in_arrays() -> None:
    other = np.array([0.25, 0.75, 0.5, 0.375, 0.125, 1.0, 0.25, 0.75])
    paths = TREE.decode(asker(TREE, np.stack([CONDITIONALS, other])), 2, 0.3)
    assert paths.nodes.tolist() == [[0, 2, -1], [1, 5, -1]]  # below dog nothing was entered
    assert paths.labels.tolist() == [2, 5]
    assert paths.probabilities.tolist() == [0.375, 0.75]
    assert paths[0] == paths[:1][0] == TreePath((0, 2), (0.75, 0.5), (7, 0.75), (3, 0.375))
    assert list(paths.select(np.array([1, 0, 1]))) == [paths[1], paths[0], paths[1]]
    elsewhere = paths.renumbered(np.arange(8) * 10)
    assert list(elsewhere) == [
        TreePath((0, 20), (0.75, 0.5), (70, 0.75), (30, 0.375)),
        TreePath((10, 50), (0.75, 1.0), None, None),
    ]


LEVELS = 15


def chain() -> WordTree:
    """15 levels; on each a pair, the first of which goes on: nodes 0, 2, 4, ... 28."""
    parents: list[int] = [-1, -1]
    for level in range(1, LEVELS):
        parents += [2 * (level - 1)] * 2
    return WordTree.from_parents(parents)


def levels_entered(conditional: Fraction, threshold: Fraction, rule: str) -> int:
    """How deep the walk goes, in exact arithmetic and powers alone.

    At level n the path has probability q^n. The paper's rule compares that. Darknet's multiplies the probabilities of
    all the nodes passed: q^1 q^2 ... q^n = q^(n (n + 1) / 2). The root is entered in any case.
    """
    power = (lambda n: n) if rule == "conditional" else (lambda n: n * (n + 1) // 2)
    entered = [n for n in range(1, LEVELS + 1) if conditional ** power(n) > threshold]
    return max(entered, default=1)


@pytest.mark.parametrize(
    ("percent", "rule", "level"),
    [  # the levels recorded from the C program on the way to "Norfolk terrier"
        (99, "conditional", 15),  # .99^15 = .860
        (95, "conditional", 13),  # .95^13 = .513, .95^14 = .488
        (90, "conditional", 6),  # .9^6 = .531, .9^7 = .478
        (99, "darknet", 11),  # .99^66 = .515, .99^78 = .457
        (95, "darknet", 4),  # .95^10 = .599, .95^15 = .463
        (90, "darknet", 3),  # .9^6 = .531, .9^10 = .349
    ],
)
def test_how_far_down_a_chain(percent: int, rule: str, level: int) -> None:
    q, tree = percent / 100, chain()
    assert levels_entered(Fraction(percent, 100), Fraction(1, 2), rule) == level
    conditionals = np.tile([q, 1 - q], LEVELS)[None]
    (path,) = decode(tree, conditionals, 0.5, rule)
    assert path.nodes == tuple(range(0, 2 * level, 2))
    assert tree.depths[path.nodes[-1]] == level - 1
    assert path.conditionals == (q,) * level
    assert path.runner_up == (2 * level - 1, 1 - q)
    assert path.refused == (None if level == LEVELS else (2 * level, q))
    if level < LEVELS:
        assert q ** len(path.nodes) == pytest.approx(tree.probabilities(conditionals)[0, path.nodes[-1]])


def random_tree(choices: Sequence[int]) -> WordTree:
    """A tree whose siblings stand side by side: each number says how many children the next node gets."""
    parents = [-1, -1]
    for node, children in enumerate(choices):
        if node < len(parents):
            parents += [node] * children
    return WordTree.from_parents(parents)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 3), max_size=12),
    st.integers(0, 2**32),
    st.floats(0, 1),
    st.sampled_from(["conditional", "darknet"]),
)
def test_walk_against_plain_arithmetic(choices: list[int], seed: int, threshold: float, rule: str) -> None:
    tree = random_tree(choices)
    tree.check_groups_contiguous()
    logits = 3 * np.random.default_rng(seed).normal(size=(3, len(tree)))
    conditionals = tree.softmax(logits)
    assert [path.nodes for path in decode(tree, conditionals, threshold, rule)] == [
        plain_walk(tree, row.tolist(), threshold, rule) for row in conditionals
    ]


def plain_walk(tree: WordTree, conditional: list[float], threshold: float, rule: str) -> tuple[int, ...]:
    """The rule as a sentence: go to the likeliest child while the product so far is above the threshold."""
    nodes: list[int] = []
    probability = weight = 1.0
    while True:
        parent = nodes[-1] if nodes else -1
        children = [node for node, above in enumerate(tree.parents.tolist()) if above == parent]
        if not children:
            return tuple(nodes)
        best = max(children, key=lambda node: conditional[node])
        probability *= conditional[best]
        weight *= conditional[best] if rule == "conditional" else probability
        if weight > threshold:
            nodes.append(best)
        else:
            return tuple(nodes) or (best,)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=12), st.integers(0, 2**32))
def test_laws(choices: list[int], seed: int) -> None:
    tree = random_tree(choices)
    absolute = tree.probabilities(tree.softmax(np.random.default_rng(seed).normal(size=len(tree))))
    assert absolute[tree.leaves].sum() == pytest.approx(1)
    for node in range(len(tree)):
        below = np.flatnonzero(tree.below(node)).tolist()
        assert below == [other for other in range(len(tree)) if node in tree.path(other)]
        assert absolute[tree.below(node) & tree.leaves].sum() == pytest.approx(absolute[node])
        assert len(tree.path(node)) == tree.depths[node] + 1


# Errors


@pytest.mark.parametrize(
    ("parents", "names", "ids", "message"),
    [
        ([], None, None, "a tree must have at least one node"),
        ([0], None, None, "node 0 (0): its parent must be -1 or a node before it, got 0"),
        ([-1, 1], None, ["a", "b"], "node 1 (b): its parent must be -1 or a node before it, got 1"),
        ([-1, 2, 0], None, None, "node 1 (1): its parent must be -1 or a node before it, got 2"),
        ([-1, 0, -2], None, None, "node 2 (2): its parent must be -1 or a node before it, got -2"),
        ([-1, 0, 99], None, None, "node 2 (2): its parent must be -1 or a node before it, got 99"),
        ([-1, 0], ["one"], None, "2 nodes need as many names and ids, got 1 and 2"),
        ([-1, 0], None, ["a", "b", "c"], "2 nodes need as many names and ids, got 3 and 3"),
        ([-1, 0], ["a", "b"], ["a"], "2 nodes need as many names and ids, got 2 and 1"),
        ([-1, 0, 0], None, ["a", "b", "b"], "ids must be unique, got 'b' 2 times"),
        ([-1, 0, 0], ["x", "y", "z"], ["b", "b", "b"], "ids must be unique, got 'b' 3 times"),
    ],
)
def test_what_is_no_tree(parents: list[int], names: list[str] | None, ids: list[str] | None, message: str) -> None:
    with pytest.raises(TreeError) as caught:
        WordTree.from_parents(parents, names, ids)
    assert str(caught.value) == message


def test_split_siblings() -> None:
    tree = WordTree.from_parents([-1, 0, 0, 1, 0], ids=list("abcde"))  # e stands apart from b and c
    with pytest.raises(TreeError) as caught:
        tree.check_groups_contiguous()
    assert str(caught.value) == (
        "node 4 (e): the children of a node must be contiguous, but parent 0 has other children before it"
    )
    with pytest.raises(TreeError, match=r"^node 2 \(2\): .* parent -1 has other children before it$"):
        WordTree.from_parents([-1, 0, -1]).check_groups_contiguous()
    TREE.check_groups_contiguous()


def test_split_siblings_keep_darknets_meaning() -> None:
    tree = WordTree.from_parents([-1, 0, 0, 1, 0])
    assert tree.group_sizes.tolist() == [1, 2, 1, 1]
    assert tree.child_groups.tolist() == [3, 2, -1, -1, -1]  # of node 0 only the last run is found
    assert tree.softmax(np.zeros(5)).tolist() == [1, 0.5, 0.5, 1, 1]


# Index


class CountedName(str):
    """A name that counts how often it is compared with another or hashed."""

    operations = 0

    def __eq__(self, other: object) -> bool:
        CountedName.operations += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        CountedName.operations += 1
        return str.__hash__(self)

    def lower(self) -> str:
        CountedName.operations += 1
        return CountedName(str.lower(self))


def lookups(count: int) -> int:
    """Operations on names for finding every node of a flat tree by its id and by its name."""
    tree = WordTree.from_parents(
        [-1] * count,
        [CountedName(f"Name {node}") for node in range(count)],
        [CountedName(f"id-{node}") for node in range(count)],
    )
    CountedName.operations = 0
    for node in range(count):
        assert tree.find(CountedName(f"id-{node}")) == node
        assert tree.find(CountedName(f"name {node}")) == node
    return CountedName.operations


def test_a_lookup_takes_a_constant_number_of_operations() -> None:
    assert 0 < lookups(800) < 2 * 2.5 * lookups(400)  # a scan of all names would take 4 times as many
    assert lookups(800) < 40 * 800


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["bat", "Bat", "ball", "club"]), min_size=1, max_size=8), st.data())
def test_index_against_scans(names: list[str], data: st.DataObject) -> None:
    synonyms = [tuple(data.draw(st.lists(st.sampled_from(["BAT", "stick"]), max_size=2))) for _ in names]
    tree = WordTree.from_parents([-1] * len(names), names, synonyms=synonyms, ids=[f"n{i}" for i in range(len(names))])
    for node, (node_id, name) in enumerate(zip(tree.ids, names, strict=True)):
        assert tree.find(node_id) == tree.index_by_id[node_id] == node
        assert tree.index_by_name[name] == tuple(i for i, other in enumerate(names) if other == name)
    for name in ("bat", "stick", "none"):
        by_name = [i for i, other in enumerate(names) if other.lower() == name]
        by_synonym = [i for i, several in enumerate(synonyms) if name in map(str.lower, several)]
        assert list(tree.nodes_named(name)) == (by_name or by_synonym)


def test_find_answers_with_the_nearest_name_or_the_ids() -> None:
    tree = WordTree.from_parents([-1, 0, 0], ["toy", "bat", "bat"], ["n1", "n2", "n3"])
    with pytest.raises(TreeError, match=r"^'tyo' must be the id or name of a node \(did you mean 'toy'\?\)$"):
        tree.find("tyo")
    with pytest.raises(TreeError, match=r"^'bat' is the name of 2 nodes; use an id instead: n2 \(toy > bat\), n3"):
        tree.find("bat")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=12), st.data())
def test_subtree_keeps_everything_at_or_below_its_roots(choices: list[int], data: st.DataObject) -> None:
    tree = random_tree(choices)
    count = range(len(tree))
    tree = WordTree.from_parents(
        tree.parents.tolist(), [f"name {i}" for i in count], [f"n{i}" for i in count],
        [(f"synonym {i}",) for i in count], [f"note {i}" for i in count],
    )  # fmt: skip
    roots = data.draw(st.lists(st.sampled_from(count), min_size=1, max_size=4, unique=True))
    if any(step in roots for node in roots for step in tree.path(node)[:-1]):
        with pytest.raises(TreeError, match="must not be the same as, or below"):
            tree.subtree(roots)
        return
    part, nodes = tree.subtree(roots)
    assert sorted(nodes.tolist()) == [node for node in count if set(tree.path(node)) & set(roots)]
    assert nodes[: len(roots)].tolist() == sorted(roots)
    assert [part.path_names(i) for i in range(len(part))] == [
        " > ".join(f"name {step}" for step in tree.path(node) if set(tree.path(step)) & set(roots))
        for node in nodes.tolist()
    ]
    for field in ("names", "ids", "synonyms", "notes"):
        assert getattr(part, field) == tuple(getattr(tree, field)[node] for node in nodes)


def test_subtree_refuses_a_node_named_twice() -> None:
    with pytest.raises(TreeError, match="'dog' must not be the same as, or below, 'dog'"):
        TREE.subtree([2, 2])
    with pytest.raises(TreeError, match="at least one node"):
        TREE.subtree([])


# Names


def test_default_names() -> None:
    assert default_names(20) == VOC
    assert default_names(80) == COCO
    assert default_names(3) == ("class 0", "class 1", "class 2")
    assert (len(set(VOC)), len(set(COCO))) == (20, 80)
    assert set(VOC) <= set(COCO)  # both are Darknet's spellings
    assert (VOC[11], VOC[14], COCO[0], COCO[16]) == ("dog", "person", "person", "dog")


def test_category_ids() -> None:
    assert len(COCO_CATEGORY_IDS) == 80
    assert [COCO_CATEGORY_IDS[COCO.index(name)] for name in ("person", "dog", "backpack", "toothbrush")] == [
        1,
        18,
        27,
        90,
    ]


def test_nearest() -> None:
    assert nearest("dogg", VOC) == " (did you mean 'dog'?)"
    assert nearest("quetzalcoatl", VOC) == ""
    assert nearest("dog", ()) == ""
