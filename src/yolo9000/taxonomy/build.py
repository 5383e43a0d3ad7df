"""Growing one tree over labels, as the paper builds its WordTree.

Paper: §4 Hierarchical classification: "Many synsets only have one path through the graph so first we add all of those
paths to our tree. Then we iteratively examine the concepts we have left and add the paths that grow the tree by as
little as possible." Ties, about which it says nothing, go to the deeper place: a dog is a carnivore rather than just an
animal. See `Keep` and ``collapse_only_children`` for what Darknet's ``9k.tree`` has besides.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from yolo9000.errors import TreeError
from yolo9000.taxonomy.hierarchy import Hierarchy
from yolo9000.taxonomy.match import Sense, new_entry, senses_of
from yolo9000.taxonomy.wordtree import WordTree

__all__ = ["BuiltTree", "Choice", "Keep", "Match", "build_tree"]

Keep = Literal["all", "forks", "labels"]
"""Which nodes that are no labels stay: ``all``, up to the top; those at which the tree ``forks``, since a node with one
child is no question; none, so that only ``labels`` are left, as in ``9k.tree``."""
# What a reading of a label costs, in nodes that the tree grows by
RANK_COST = 1.0  # of a sense for each that is more frequent
TOPIC_BONUS = 3.0  # of a sense whose subject, such as food, is one of those that the labels are about
TOPIC_FRACTION = 0.15  # of the labels with one meaning have such a subject; with fewer the bonus is as much smaller


@dataclass(frozen=True)
class Match:
    """The node of a label.

    Attributes:
        label: as it was given.
        sense: what it was taken for.
        others: other meanings that it may have.
    """

    label: str
    sense: Sense
    others: tuple[Sense, ...]

    @property
    def ambiguous(self) -> bool:
        """Whether somebody should look at it."""
        return bool(self.others) or not self.sense.sure


@dataclass(frozen=True)
class Choice:
    """A node with several ways to the top, and the one that was taken.

    Attributes:
        node: whose ways they are.
        taken: the nodes of the way, up to the first that the tree had already.
        growth: nodes that it added.
        others: the other ways.
    """

    node: str
    taken: tuple[str, ...]
    growth: int
    others: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class BuiltTree:
    """A tree, and how it came about.

    Attributes:
        tree: the tree.
        nodes: id of each label's node.
        matches: how the labels were understood, by label.
        choices: between several ways to the top, in the order in which they were made.
        removed: nodes on the ways to the top that did not stay.
        hierarchy: what was a kind of what, with entries for new nodes.
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
    """Grow a tree over labels. It does not depend on the order of the labels.

    Args:
        labels: ids or names. What the hierarchy's entries name as their parents is added to them.
        hierarchy: what is a kind of what.
        overrides: node of labels that the user decided on.
        keep: which nodes that are no labels stay.
        collapse_only_children: where a label has one child, put the child beside it, as in ``9k.tree``: a group of one
            has nothing to learn. Otherwise such a child stays where it is, since it is a kind of the other.

    Raises:
        TreeError: there are no labels; a label or a parent cannot be; something is a kind of itself.
    """
    hierarchy = hierarchy.copy()
    growing = _Growing(hierarchy)
    decided = overrides or {}
    parents = _settle(sorted(hierarchy.parent_names()), decided, growing)
    hierarchy.meanings |= {match.label: match.sense.node for match in parents}
    others = _settle(sorted(set(labels) - set(hierarchy.meanings)), decided, growing)
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


class _Growing:
    """A tree that grows; `parents` has the parent of each of its nodes, None at the top."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self.parents: dict[str, str | None] = {}
        self.choices: list[Choice] = []

    def ways(self, node: str) -> list[tuple[str, ...]]:
        """All ways from a node up to the tree, or where it does not reach it to a top."""
        self.hierarchy.above(node)  # refuses circles
        return self._ways(node)

    def _ways(self, node: str) -> list[tuple[str, ...]]:
        above = () if node in self.parents else self.hierarchy.parents(node)
        return [(node, *way) for parent in above for way in self._ways(parent)] or [(node,)]

    def growth(self, way: Sequence[str]) -> int:
        """Nodes that a way adds."""
        return len(way) - (way[-1] in self.parents)

    def best_path(self, ways: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
        """The way that grows the tree least; of those the one that ends farthest from the top, then by id."""
        return min(ways, key=lambda way: (self.growth(way), -self._depth(way[-1]), way))

    def add(self, node: str) -> None:
        """Add a node by its best way."""
        ways = self.ways(node)
        best = self.best_path(ways)
        if len(ways) > 1:
            others = tuple(sorted(way for way in ways if way != best))
            self.choices.append(Choice(node, best, self.growth(best), others))
        for child, parent in zip(best, (*best[1:], None), strict=True):
            self.parents.setdefault(child, parent)

    def _depth(self, node: str | None) -> int:
        depth = 0
        while node is not None and node in self.parents:
            node = self.parents[node]
            depth += 1
        return depth


def _settle(labels: Sequence[str], decided: Mapping[str, str], growing: _Growing) -> tuple[Match, ...]:
    """Add every label: first those with one meaning and one way, then those with one meaning, then the others."""
    hierarchy = growing.hierarchy
    known = {label: senses_of(label, hierarchy, decided) for label in labels}
    chosen: dict[str, Sense] = {label: senses[0] for label, senses in known.items() if len(senses) == 1}
    for label, sense in chosen.items():
        _enter(label, sense, hierarchy)
    nodes = sorted({sense.node for sense in chosen.values()})
    several = [node for node in nodes if len(growing.ways(node)) > 1]
    for node in [*(node for node in nodes if node not in set(several)), *several]:
        growing.add(node)
    bonuses = _topic_bonuses(nodes, hierarchy)

    def cost(sense: Sense) -> float:
        place = sense.node if sense.parent is None else sense.parent
        growth = growing.growth(growing.best_path(growing.ways(place)))
        return growth + RANK_COST * (sense.rank - 1) - bonuses[hierarchy.topic(place)]

    unsettled = [label for label in known if label not in chosen]
    for label in sorted(unsettled, key=lambda label: (min(map(cost, known[label])), label)):
        sense = min(known[label], key=lambda sense: (cost(sense), sense.rank))
        chosen[label] = sense
        _enter(label, sense, hierarchy)
        growing.add(sense.node)
    return tuple(
        Match(label, chosen[label], tuple(sense for sense in senses if sense != chosen[label]))
        for label, senses in known.items()
    )


def _enter(label: str, sense: Sense, hierarchy: Hierarchy) -> None:
    if sense.how in ("kind", "nowhere"):
        hierarchy.add(new_entry(label, sense))


def _topic_bonuses(nodes: Sequence[str], hierarchy: Hierarchy) -> defaultdict[str | None, float]:
    """How much less a sense costs whose subject, as WordNet files it, many of the nodes have."""
    counts = Counter(hierarchy.topic(node) for node in nodes)
    bonuses: defaultdict[str | None, float] = defaultdict(float)
    for topic, count in counts.items():
        bonuses[topic] = TOPIC_BONUS * min(1.0, count / (TOPIC_FRACTION * len(nodes)))
    return bonuses


def _prune(parents: Mapping[str, str | None], labels: set[str], keep: Keep) -> dict[str, str | None]:
    """Take out nodes that are no labels, as `Keep` says, and a top that stands alone: it is always right."""
    thinned = dict(parents)
    if keep == "all":
        return thinned
    children = _children(thinned)
    for node in _deepest_first(thinned):
        if node not in labels and (keep == "labels" or len(children[node]) <= 1):
            for child in children.pop(node):
                thinned[child] = thinned[node]
                children[thinned[node]].append(child)
            children[thinned[node]].remove(node)
            del thinned[node]
    while len(roots := [node for node, parent in thinned.items() if parent is None]) == 1 and roots[0] not in labels:
        del thinned[roots[0]]
        thinned = {node: None if parent == roots[0] else parent for node, parent in thinned.items()}
    return thinned


def _collapse_only_children(parents: Mapping[str, str | None]) -> dict[str, str | None]:
    lifted = dict(parents)
    children = _children(lifted)
    for node in _deepest_first(lifted):
        if len(children[node]) == 1:
            (child,) = children[node]
            children[node] = []
            lifted[child] = lifted[node]
            children[lifted[node]].append(child)
    return lifted


def _children(parents: Mapping[str, str | None]) -> dict[str | None, list[str]]:
    children: dict[str | None, list[str]] = {node: [] for node in (None, *parents)}
    for node, parent in parents.items():
        children[parent].append(node)
    return children


def _deepest_first(parents: Mapping[str, str | None]) -> list[str]:
    depths: dict[str | None, int] = {None: 0}

    def depth(node: str | None) -> int:
        way = []
        while node not in depths:
            way.append(node)
            node = parents[node]  # type: ignore[index]  # None is in depths
        for step in reversed(way):
            depths[step] = depths[node] + 1
            node = step
        return depths[node]

    return sorted(parents, key=lambda node: (-depth(node), node))


def _lay_out(parents: Mapping[str, str | None], hierarchy: Hierarchy) -> WordTree:
    """Number the nodes: level by level, siblings side by side, by id."""
    children = _children(parents)
    order: list[str] = []
    above: list[str | None] = [None]
    while above:
        level = [child for node in above for child in sorted(children[node])]
        order += level
        above = list(level)
    place: dict[str | None, int] = {None: -1} | {node: number for number, node in enumerate(order)}
    return WordTree.from_parents(
        [place[parents[node]] for node in order],
        [hierarchy.name(node) for node in order],
        order,
        synonyms=[hierarchy.synonyms(node) for node in order],
        notes=[hierarchy.note(node) for node in order],
    )
