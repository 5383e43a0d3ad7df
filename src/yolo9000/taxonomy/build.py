"""Build one tree over labels, as the paper builds its WordTree.

Paper: §4 Hierarchical classification: "Many synsets only have one path through the graph so first we add all of those
paths to our tree. Then we iteratively examine the concepts we have left and add the paths that grow the tree by as
little as possible." The paper does not say how ties are broken; here the deeper position wins: a dog is a carnivore
rather than just an animal. See `Keep` and ``collapse_only_children`` for further rules of Darknet's ``9k.tree``.

Labels with several senses are matched last. A sense costs the number of nodes by which it would grow the tree, the
paper's own measure, plus `RANK_COST` for every more frequent sense, minus up to `TOPIC_BONUS` if many of the other
labels have its topic (WordNet's lexicographer files: food, animal, artifact, ...). The constants were set by hand on
names of everyday objects. Among the 80 names of COCO, half or twice the value of any of them changes the sense of at
most three (mouse, horse, cow, knife, toilet); without the cost of rare senses nine change (a bird becomes a
shuttlecock), without the bonus two (broccoli and carrot become plants). Every label with several senses is reported for
review.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from yolo9000.choices import Keep
from yolo9000.errors import TreeError
from yolo9000.taxonomy.hierarchy import Hierarchy
from yolo9000.taxonomy.match import Sense, new_entry, senses_of
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["BuiltTree", "Choice", "Keep", "Match", "build_tree"]

RANK_COST = 1.0  # nodes of growth that a sense may save before a next less frequent sense is preferred
TOPIC_BONUS = 3.0  # nodes of growth that a sense of the labels' topic may cost more than another
TOPIC_FRACTION = (
    0.15  # fraction of the unambiguous labels that must have a topic for the whole bonus; less in proportion
)


@dataclass(frozen=True)
class Match:
    """The node of a label.

    Attributes:
        label: the label.
        sense: the chosen meaning.
        others: other possible meanings.
    """

    label: str
    sense: Sense
    others: tuple[Sense, ...]

    @property
    def ambiguous(self) -> bool:
        """Whether it should be reviewed."""
        return bool(self.others) or not self.sense.reliable


@dataclass(frozen=True)
class Choice:
    """A node with several paths to the root, and the path that was chosen.

    Attributes:
        node: the node.
        taken: the nodes of the chosen path, up to the first that the tree already had.
        growth: number of nodes that it added.
        others: the other paths.
    """

    node: str
    taken: tuple[str, ...]
    growth: int
    others: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class BuiltTree:
    """A tree and how it was built.

    Attributes:
        tree: the tree.
        nodes: id of each label's node.
        matches: how each label was matched, in the order of labels.
        choices: between several paths to the root, in the order in which they were made.
        removed: nodes on the paths to the root that were pruned.
        hierarchy: the is-a relations, with entries for new nodes.
    """

    tree: WordTree
    nodes: Mapping[str, str]
    matches: tuple[Match, ...]
    choices: tuple[Choice, ...]
    removed: tuple[str, ...]
    hierarchy: Hierarchy


def build_tree(
    labels: Iterable[str],
    hierarchy: Hierarchy,
    *,
    overrides: Mapping[str, str] | None = None,
    keep: Keep = "forks",
    collapse_only_children: bool = False,
) -> BuiltTree:
    """Build a tree over labels. The result does not depend on the order of the labels.

    Args:
        labels: ids or names. Names that the hierarchy's entries use as parents are added.
        hierarchy: the is-a relations.
        overrides: id of the node of some labels.
        keep: which nodes that are not labels are kept.
        collapse_only_children: make an only child a sibling of its parent, as in ``9k.tree``: a sibling group of one
            has nothing to learn. By default it stays a child.

    Raises:
        TreeError: there are no labels; a label or a parent cannot be matched; the relations have a cycle.

    Example:
        >>> from yolo9000.taxonomy.hierarchy import Hierarchy
        >>> from yolo9000.taxonomy.wordnet import wordnet
        >>> tree = build_tree(["terrier", "hound", "cat"], Hierarchy(wordnet())).tree
        >>> tree.path_names(tree.find("terrier"))
        'dog > terrier'
    """
    hierarchy = hierarchy.copy()
    growing = _GrowingTree(hierarchy)
    overrides = overrides or {}
    parents = _add_labels(sorted(hierarchy.parent_names()), overrides, growing)
    hierarchy.meanings |= {match.label: match.sense.node for match in parents}
    others = _add_labels(sorted(set(labels) - set(hierarchy.meanings)), overrides, growing)
    matches = tuple(sorted([*parents, *others], key=lambda match: match.label))
    if not matches:
        raise TreeError("a tree needs at least one label")
    nodes = {match.label: match.sense.node for match in matches}
    kept = _prune(growing.parents, set(nodes.values()), keep)
    if collapse_only_children:
        kept = _collapse_only_children(kept)
    return BuiltTree(
        tree=_lay_out(kept, hierarchy),
        nodes=nodes,
        matches=matches,
        choices=tuple(growing.choices),
        removed=tuple(sorted(set(growing.parents) - set(kept))),
        hierarchy=hierarchy,
    )


class _GrowingTree:
    """A tree under construction; `parents` has the parent of each of its nodes, None for a root."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self.parents: dict[str, str | None] = {}
        self.choices: list[Choice] = []

    def paths(self, node: str) -> list[tuple[str, ...]]:
        """All paths from a node up to the first node of the tree, or else to a root of the hierarchy."""
        self.hierarchy.ancestors(node)  # raises if there is a cycle
        return self._paths(node)

    def _paths(self, node: str) -> list[tuple[str, ...]]:
        parents = () if node in self.parents else self.hierarchy.parents(node)
        return [(node, *path) for parent in parents for path in self._paths(parent)] or [(node,)]

    def growth(self, path: Sequence[str]) -> int:
        """Number of nodes that a path adds."""
        return len(path) - (path[-1] in self.parents)

    def best_path(self, paths: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
        """The path that grows the tree least; of those the one that ends deepest, then the first by id."""
        return min(paths, key=lambda path: (self.growth(path), -self._depth(path[-1]), path))

    def add(self, node: str) -> None:
        """Add a node by its best path."""
        paths = self.paths(node)
        best = self.best_path(paths)
        if len(paths) > 1:
            others = tuple(sorted(path for path in paths if path != best))
            self.choices.append(Choice(node, best, self.growth(best), others))
        for child, parent in zip(best, (*best[1:], None), strict=True):
            self.parents.setdefault(child, parent)

    def _depth(self, node: str | None) -> int:
        depth = 0
        while node is not None and node in self.parents:
            node = self.parents[node]
            depth += 1
        return depth


def _add_labels(labels: Sequence[str], overrides: Mapping[str, str], growing: _GrowingTree) -> tuple[Match, ...]:
    """Match and add every label: first those with one sense and one path, then with one sense, then the others."""
    hierarchy = growing.hierarchy
    senses = {label: senses_of(label, hierarchy, overrides) for label in labels}
    chosen: dict[str, Sense] = {label: several[0] for label, several in senses.items() if len(several) == 1}
    for label, sense in chosen.items():
        _add_new_entry(label, sense, hierarchy)
    nodes = sorted({sense.node for sense in chosen.values()})
    for node in sorted(nodes, key=lambda node: len(growing.paths(node)) > 1):
        growing.add(node)
    bonuses = _topic_bonuses(nodes, hierarchy)

    def cost(sense: Sense) -> float:
        position = sense.node if sense.parent is None else sense.parent
        growth = growing.growth(growing.best_path(growing.paths(position)))
        return growth + RANK_COST * (sense.rank - 1) - bonuses[hierarchy.topic(position)]

    ambiguous = [label for label in senses if label not in chosen]
    for label in sorted(ambiguous, key=lambda label: (min(map(cost, senses[label])), label)):
        sense = min(senses[label], key=lambda sense: (cost(sense), sense.rank))
        chosen[label] = sense
        _add_new_entry(label, sense, hierarchy)
        growing.add(sense.node)
    return tuple(
        Match(label, chosen[label], tuple(sense for sense in several if sense != chosen[label]))
        for label, several in senses.items()
    )


def _add_new_entry(label: str, sense: Sense, hierarchy: Hierarchy) -> None:
    if sense.how in ("new-child", "unmatched"):
        hierarchy.add(new_entry(label, sense))


def _topic_bonuses(nodes: Sequence[str], hierarchy: Hierarchy) -> defaultdict[str | None, float]:
    """The bonus of each topic, in proportion to the fraction of the nodes that have it."""
    counts = Counter(hierarchy.topic(node) for node in nodes)
    bonuses: defaultdict[str | None, float] = defaultdict(float)
    for topic, count in counts.items():
        bonuses[topic] = TOPIC_BONUS * min(1.0, count / (TOPIC_FRACTION * len(nodes)))
    return bonuses


def _prune(parents: Mapping[str, str | None], labels: set[str], keep: Keep) -> dict[str, str | None]:
    """Remove nodes that are not labels, as `Keep` says, and a single root: its probability would always be 1."""
    pruned = dict(parents)
    if keep == "all":
        return pruned
    children = _children(pruned)
    for node in _deepest_first(pruned):
        if node not in labels and (keep == "labels" or len(children[node]) <= 1):
            for child in children.pop(node):
                pruned[child] = pruned[node]
                children[pruned[node]].append(child)
            children[pruned[node]].remove(node)
            del pruned[node]
    while len(roots := [node for node, parent in pruned.items() if parent is None]) == 1 and roots[0] not in labels:
        del pruned[roots[0]]
        pruned = {node: None if parent == roots[0] else parent for node, parent in pruned.items()}
    return pruned


def _collapse_only_children(parents: Mapping[str, str | None]) -> dict[str, str | None]:
    collapsed = dict(parents)
    children = _children(collapsed)
    for node in _deepest_first(collapsed):
        if len(children[node]) == 1:
            (child,) = children[node]
            children[node] = []
            collapsed[child] = collapsed[node]
            children[collapsed[node]].append(child)
    return collapsed


def _children(parents: Mapping[str, str | None]) -> dict[str | None, list[str]]:
    children: dict[str | None, list[str]] = {node: [] for node in (None, *parents)}
    for node, parent in parents.items():
        children[parent].append(node)
    return children


def _deepest_first(parents: Mapping[str, str | None]) -> list[str]:
    depths: dict[str | None, int] = {None: 0}

    def depth(node: str | None) -> int:
        path = []
        while node not in depths:
            path.append(node)
            node = parents[node]  # type: ignore[index]  # None is in depths
        for step in reversed(path):
            depths[step] = depths[node] + 1
            node = step
        return depths[node]

    return sorted(parents, key=lambda node: (-depth(node), node))


def _lay_out(parents: Mapping[str, str | None], hierarchy: Hierarchy) -> WordTree:
    """Order the nodes: level by level, siblings contiguous, by id."""
    children = _children(parents)
    order: list[str] = []
    level: list[str | None] = [None]
    while level:
        next_level = [child for node in level for child in sorted(children[node])]
        order += next_level
        level = list(next_level)
    index: dict[str | None, int] = {None: -1} | {node: i for i, node in enumerate(order)}
    return WordTree.from_parents(
        [index[parents[node]] for node in order],
        [hierarchy.name(node) for node in order],
        order,
        synonyms=[hierarchy.synonyms(node) for node in order],
        notes=[hierarchy.note(node) for node in order],
    )
