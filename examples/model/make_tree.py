"""Write the bundled model's label tree from everyday.txt, names.csv and WordNet.

    python make_tree.py imagenet.txt OUT.yaml

The first file has ImageNet's 1,000 ids, one a line. Every one must be in the tree exactly once. ``everyday.txt`` says
what its lines mean; ``names.csv`` has the names of classes whose first word in WordNet is not what people say.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from yolo9000.taxonomy.wordnet import wordnet

HERE = Path(__file__).parent


class RecipeError(Exception):
    """The files do not make a tree."""


@dataclass(frozen=True)
class Line:
    """A line of everyday.txt: an inner node, or a class with nothing below it.

    Attributes:
        depth: edges from the top.
        name: what people say.
        id: WordNet's, or ``x-`` and a word.
        below: what stands after the colon.
    """

    depth: int
    name: str
    id: str
    below: list[str]


def read_lines(path: Path) -> list[Line]:
    """The lines that are no comments."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            head, _, rest = line.partition(":")
            name, node = head.strip().rsplit(" ", 1)
            below = [word.strip() for word in rest.split(",") if word.strip()]
            lines.append(Line((len(head) - len(head.lstrip())) // 2, name, node, below))
    return lines


def ancestors(synset: str) -> list[str]:
    """All synsets above one, nearest first."""
    words, reached, queue = wordnet(), [], deque([synset])
    while queue:
        for above in words.hypernyms(queue.popleft()):
            if above not in reached:
                reached.append(above)
                queue.append(above)
    return reached


class Tree:
    """The nodes while they are collected.

    Args:
        lines: of everyday.txt.
        ids: ImageNet's.
    """

    def __init__(self, lines: list[Line], ids: list[str]) -> None:
        self.lines, self.ids = lines, ids
        self.nodes: dict[str, dict[str, Any]] = {}
        self.parents: dict[str, str] = {}
        self.wild = {entry[1:]: line.id for line in lines for entry in line.below if entry.startswith("*")}
        self.by_name: dict[str, list[str]] = {}
        for one in ids:
            self.by_name.setdefault(wordnet().names(one)[0], []).append(one)

    def add_lines(self) -> None:
        """Add the nodes of the lines, and the classes that are not ImageNet's."""
        stack: list[str] = []
        for line in self.lines:
            stack[line.depth :] = [line.id]
            above = {"parent": stack[line.depth - 1]} if line.depth else {}
            self.nodes[line.id] = {"id": line.id, "name": line.name, **above}
        for line in self.lines:
            for entry in line.below:
                if entry.startswith("+"):
                    own = "x-" + entry[1:].lower().replace(" ", "-")
                    self.nodes[own] = {"id": own, "name": entry[1:], "parent": line.id}

    def find_parents(self) -> None:
        """Find the node above each of ImageNet's classes: the line that names it, else the nearest that takes all."""
        for line in self.lines:
            for entry in line.below:
                if entry[0] not in "*+":
                    self.parents[self._class(entry, line)] = line.id
        for one in self.ids:
            if one not in self.nodes and one not in self.parents:
                above = next((above for above in ancestors(one) if above in self.wild), None)
                if above is None:
                    raise RecipeError(f"everyday.txt: no node for {one} {wordnet().names(one)[0]!r}")
                self.parents[one] = self.wild[above]

    def _class(self, entry: str, line: Line) -> str:
        ids = [entry] if re.fullmatch(r"n\d{8}", entry) else self.by_name.get(entry, [])
        free = [one for one in ids if one not in self.parents]
        if not free:
            raise RecipeError(f"everyday.txt: {line.id}: {entry!r} is no class of ImageNet that is still free")
        positions = {line.id, *(wild for wild, node in self.wild.items() if node == line.id)}
        return next((one for one in free if positions & set(ancestors(one))), free[0])

    def add_classes(self, names: dict[str, str]) -> None:
        """Add ImageNet's classes, each with a name that no other node has."""
        used = {str(node["name"]).lower() for node in self.nodes.values()}
        for one in self.ids:
            if one in self.nodes:
                continue
            name = names.get(one) or wordnet().names(one)[0]
            if name.lower() in used:
                raise RecipeError(f"names.csv: {one} needs another name than {name!r}, of {wordnet().names(one)}")
            used.add(name.lower())
            self.nodes[one] = {"id": one, "name": name, "parent": self.parents[one]}

    def add_synonyms(self) -> None:
        """Add WordNet's other words for the nodes that have its ids, where they are nobody's name."""
        used = {str(node["name"]).lower() for node in self.nodes.values()}
        for one, node in self.nodes.items():
            words = wordnet().names(one) if one.startswith("n") and one in wordnet() else ()
            if others := [word for word in words if word.lower() not in used]:
                node["synonyms"] = others

    def in_order(self) -> list[dict[str, Any]]:
        """The nodes by depth, siblings side by side."""
        positions = {one: position for position, one in enumerate(self.nodes)}

        def path(node: dict[str, Any]) -> list[int]:
            above = node.get("parent")
            return [*(path(self.nodes[above]) if above else []), positions[str(node["id"])]]

        return sorted(self.nodes.values(), key=lambda node: (len(path(node)), path(node)))


def write(ids: Path, out: Path) -> int:
    """Write the tree; how many nodes it has.

    Raises:
        RecipeError: a class has no node, two, or a name that is taken.
    """
    tree = Tree(read_lines(HERE / "everyday.txt"), ids.read_text(encoding="utf-8").split())
    tree.add_lines()
    tree.find_parents()
    with (HERE / "names.csv").open(encoding="utf-8", newline="") as stream:
        names = {row["id"]: row["name"] for row in csv.DictReader(stream)}
    tree.add_classes(names)
    tree.add_synonyms()
    nodes = tree.in_order()
    out.write_text(yaml.safe_dump(nodes, sort_keys=False, allow_unicode=True, width=200), encoding="utf-8")
    return len(nodes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    try:
        print(f"{options.out}: {write(options.ids, options.out):,} nodes")
    except (RecipeError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
