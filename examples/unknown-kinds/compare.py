"""Kinds that were held out of training: what a head on a label tree answers for them, beside a flat head.

    python compare.py TRAIN.npz VAL.npz --hold-out 20 [--parents parents.csv] [--seeds 3]

TRAIN and VAL are files of features.py. The tree is built over all classes, from WordNet or from a table of parents.
For each seed some leaves are held out, each with two siblings at least that are not; both heads are trained on the
same features of the other classes. They have a hidden layer: what is below an inner node looks so different that a
linear row does not tell it from the rest. How probable a node must be to be the answer is chosen without the kinds held
out: as many of the others are held out in a rehearsal, and the lowest threshold is taken with at most ``--wrong-leaf``
wrong leaves there.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from yolo9000.evaluation.unknown import Kind, answers_of, outcome
from yolo9000.losses.classification import SiblingGroups, class_loss, class_probabilities
from yolo9000.taxonomy.build import build_tree
from yolo9000.taxonomy.hierarchy import Hierarchy
from yolo9000.taxonomy.readers import read_parent_table
from yolo9000.taxonomy.wordnet import wordnet
from yolo9000.taxonomy.wordtree import WordTree

THRESHOLDS = (*np.round(np.linspace(0.02, 0.98, 49), 2).tolist(), 0.985, 0.99, 0.995, 0.998, 0.999)
HIDDEN, DROPOUT, EPOCHS, BATCH, LR, WEIGHT_DECAY = 1024, 0.5, 60, 256, 0.001, 0.05


@dataclass(frozen=True)
class Split:
    """Images as features, each with the node of its class on the tree of all classes."""

    features: torch.Tensor
    nodes: np.ndarray

    def of(self, nodes: np.ndarray) -> Split:
        """The images whose class is one of some nodes."""
        keep = np.isin(self.nodes, nodes)
        return Split(self.features[torch.from_numpy(keep)], self.nodes[keep])


@dataclass(frozen=True)
class KnownTree:
    """The tree of all classes without some leaves."""

    tree: WordTree
    node_in_full: np.ndarray

    @classmethod
    def without(cls, full: WordTree, leaves: np.ndarray) -> KnownTree:
        kept = np.setdiff1d(np.arange(len(full)), leaves)
        new = {int(node): index for index, node in enumerate(kept)}
        parents = [new.get(int(full.parents[node]), -1) for node in kept]
        names, ids = ([texts[node] for node in kept] for texts in (full.names, full.ids))
        return cls(WordTree.from_parents(parents, names, ids), kept)

    def index_of(self, nodes: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.node_in_full, nodes)


def read_split(file: Path, tree: WordTree, node_of: dict[str, str], mean_std: tuple[torch.Tensor, torch.Tensor] | None):
    data = np.load(file)
    nodes = np.array([tree.index_by_id[node_of[str(name)]] for name in data["classes"]])
    features = torch.from_numpy(data["features"].astype(np.float32))
    mean, std = mean_std or (features.mean(0), features.std(0) + 1e-3)
    return Split((features - mean) / std, nodes[data["labels"]]), (mean, std)


def train_head(split: Split, labels: np.ndarray, outputs: int, groups: SiblingGroups | None, seed: int):
    """A head; on a tree if groups are given."""
    torch.manual_seed(seed)
    last = torch.nn.Linear(HIDDEN, outputs)
    torch.nn.init.zeros_(last.weight)
    hidden = [torch.nn.Dropout(DROPOUT), torch.nn.Linear(split.features.shape[1], HIDDEN), torch.nn.ReLU()]
    head = torch.nn.Sequential(*hidden, torch.nn.Dropout(DROPOUT), last)
    optimizer = torch.optim.AdamW(head.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * max(1, len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    targets = torch.from_numpy(labels)
    for _ in range(steps):
        some = torch.randint(len(labels), (BATCH,))
        optimizer.zero_grad()
        class_loss(head(split.features[some]), targets[some], groups).mean().backward()
        optimizer.step()
        schedule.step()
    return head.eval()


def hold_out(tree: WordTree, candidates: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Leaves to hold out, so that two siblings at least of each stay."""
    left = Counter(int(tree.parents[node]) for node in candidates)
    chosen: list[int] = []
    for node in rng.permutation(candidates):
        if len(chosen) < count and left[parent := int(tree.parents[node])] > 2 and parent >= 0:
            chosen.append(int(node))
            left[parent] -= 1
    if len(chosen) < count:
        raise SystemExit(f"only {len(chosen)} leaves have siblings enough to be held out, not {count}")
    return np.array(chosen)


def node_probabilities(head: torch.nn.Module, known: KnownTree, split: Split) -> np.ndarray:
    """The absolute probability of every node of the known tree, for each image."""
    with torch.no_grad():
        return class_probabilities(head(split.features), SiblingGroups.of(known.tree)).numpy()


def answers(known: KnownTree, probabilities: np.ndarray) -> np.ndarray:
    """The node of the full tree that each image is answered with at each threshold."""
    rows = [answers_of(known.tree, row, THRESHOLDS) for row in probabilities]
    return known.node_in_full[np.array(rows)]


def best_leaves(known: KnownTree, probabilities: np.ndarray) -> np.ndarray:
    """The node of the full tree of the most probable leaf of each image."""
    leaves = np.flatnonzero(known.tree.leaves)
    return known.node_in_full[leaves[probabilities[:, leaves].argmax(1)]]


def fractions(full: WordTree, nodes: np.ndarray, answered: np.ndarray) -> dict[str, float]:
    """How many images have each outcome, as fractions."""
    kinds = {int(node): Kind(tuple(full.path(int(node))[:-1]), int(node)) for node in set(nodes.tolist())}
    counts = Counter(outcome(full, kinds[int(n)], int(a)) for n, a in zip(nodes, answered, strict=True))
    return {name: counts[name] / len(nodes) for name in ("itself", "ancestor", "wrong_node", "wrong_leaf")}


def tree_head(full: WordTree, train: Split, out: np.ndarray, classes: np.ndarray, seed: int):
    known = KnownTree.without(full, out)
    seen = train.of(np.setdiff1d(classes, out))
    groups = SiblingGroups.of(known.tree)
    return train_head(seen, known.index_of(seen.nodes), len(known.tree), groups, seed), known


def rehearsed_threshold(full: WordTree, train: Split, out: np.ndarray, classes: np.ndarray, wrong: float, seed: int):
    """The index of the lowest threshold with few enough wrong leaves for other kinds, held out for that."""
    rng = np.random.default_rng(1000 + seed)
    known = np.setdiff1d(classes, out)
    rehearsed = hold_out(full, known, len(out), rng)
    head, tree = tree_head(full, train, np.concatenate([out, rehearsed]), classes, seed)
    unknown = train.of(rehearsed)
    answered = answers(tree, node_probabilities(head, tree, unknown))
    for index in range(len(THRESHOLDS)):
        if fractions(full, unknown.nodes, answered[:, index])["wrong_leaf"] <= wrong:
            return index
    return len(THRESHOLDS) - 1


def compare(full: WordTree, train: Split, val: Split, options: argparse.Namespace, seed: int) -> dict[str, float]:
    classes = np.unique(train.nodes)
    out = hold_out(full, classes, options.hold_out, np.random.default_rng(seed))
    known_classes = np.setdiff1d(classes, out)
    chosen = rehearsed_threshold(full, train, out, classes, options.wrong_leaf, seed)
    head, tree = tree_head(full, train, out, classes, seed)
    seen, known, unknown = train.of(known_classes), val.of(known_classes), val.of(out)
    flat = train_head(seen, np.searchsorted(known_classes, seen.nodes), len(known_classes), None, seed)
    with torch.no_grad():
        flat_right = known_classes[flat(known.features).argmax(1).numpy()] == known.nodes
    probabilities = node_probabilities(head, tree, known)
    leaf_right = best_leaves(tree, probabilities) == known.nodes
    here = fractions(full, known.nodes, answers(tree, probabilities)[:, chosen])
    there = fractions(full, unknown.nodes, answers(tree, node_probabilities(head, tree, unknown))[:, chosen])
    return {
        "hier_thresh": THRESHOLDS[chosen],
        "unknown: right ancestor": there["ancestor"],
        "unknown: wrong leaf": there["wrong_leaf"],
        "unknown: wrong inner node": there["wrong_node"],
        "known: flat head right": float(flat_right.mean()),
        "known: most probable leaf right": float(leaf_right.mean()),
        "known: tree right at the leaf": here["itself"],
        "known: tree right at an ancestor": here["ancestor"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--hold-out", type=int, required=True)
    parser.add_argument("--parents", type=Path)
    parser.add_argument("--wrong-leaf", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    hierarchy = Hierarchy(None if options.parents else wordnet())
    for entry in read_parent_table(options.parents) if options.parents else ():
        hierarchy.add(entry)
    names = [str(name) for name in np.load(options.train)["classes"]]
    built = build_tree(names, hierarchy)
    node_of = {match.label: match.sense.node for match in built.matches}
    train, scale = read_split(options.train, built.tree, node_of, None)
    val, _ = read_split(options.val, built.tree, node_of, scale)
    runs = [compare(built.tree, train, val, options, seed) for seed in range(options.seeds)]
    print("| | " + " | ".join(f"seed {seed}" for seed in range(options.seeds)) + " | mean |")
    print("|---|" + "---|" * (options.seeds + 1))
    for key in runs[0]:
        values = [run[key] for run in runs]
        print(f"| {key} | " + " | ".join(f"{value:.3f}" for value in [*values, float(np.mean(values))]) + " |")


if __name__ == "__main__":
    main()
