"""Write the table of boxes and labels of a data set, with nodes of the tree for its classes.

    python label_table.py DATA SPLIT tree.yaml OUT.jsonl [--rename beans="canned beans" ...] [--every N]
    python label_table.py FOLDER - tree.yaml OUT.jsonl     # image-level labels: the name of each image's folder
    python label_table.py PHOTOGRAPHS csv tree.yaml OUT.jsonl --take catdog=600 ...    # as photographs.py has written

A line for each image: ``{"file", "boxes": [[x1, y1, x2, y2, node]], "label": node}``; boxes are fractions of the image,
nodes are ids. A class of the data set must be a node's name, but for case and hyphens, or its id. Of a label like
``dog/beagle`` the last part counts if there is such a node, else the first.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yolo9000.data.dataset import open_data
from yolo9000.errors import TreeError, YoloError
from yolo9000.taxonomy.files import read_tree
from yolo9000.taxonomy.wordtree import WordTree


def nodes_by_name(tree: WordTree) -> dict[str, str]:
    """Id of each node by its name and its synonyms; names come before synonyms."""
    synonyms = {plain(word): tree.ids[i] for i, words in enumerate(tree.synonyms or ()) for word in words}
    return synonyms | {plain(name): one for name, one in zip(tree.names, tree.ids, strict=True)}


def plain(name: str) -> str:
    """A name without case, hyphens and underscores."""
    return name.lower().replace("-", " ").replace("_", " ")


def boxed(data: Path, split: str, nodes: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Lines of a data set with boxes."""
    data_set = open_data(data, split)  # type: ignore[arg-type]
    for sample in data_set.samples("fix"):
        if sample.boxes is None or sample.size_wh is None:
            continue
        fractions = (sample.boxes.boxes_xyxy / [*sample.size_wh, *sample.size_wh]).round(5).tolist()
        labels = [nodes[data_set.classes[label]] for label in sample.boxes.labels]
        boxes = [[*box, node] for box, node in zip(fractions, labels, strict=True)]
        yield {"file": sample.image.path.relative_to(data).as_posix(), "boxes": boxes}


def by_folder(data: Path, nodes: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Lines of images that lie in folders with the names of their classes."""
    for path in sorted(data.rglob("*.jpg")):
        file = path.relative_to(data).as_posix()
        yield {"file": file, "boxes": [], "label": nodes[path.parent.name]}


def photographs(folder: Path, nodes: dict[str, str], take: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Lines of the images that ``photographs.py`` has written, of some sources a random part."""
    for table in sorted(folder.glob("*.csv")):
        rows = list(csv.reader(table.read_text().splitlines()))
        random.Random(0).shuffle(rows)  # noqa: S311  not for secrets
        for file, label in rows[: take.get(table.stem, len(rows))]:
            yield {"file": file, "boxes": []} | ({"label": nodes[label]} if label else {})


class _Nodes(dict[str, str]):
    """Ids of nodes by the data set's names of classes."""

    def __init__(self, tree: WordTree, renamed: dict[str, str]) -> None:
        super().__init__()
        self.known, self.renamed = nodes_by_name(tree) | dict(zip(tree.ids, tree.ids, strict=True)), renamed

    def __missing__(self, name: str) -> str:
        kind, _, fine = self.renamed.get(name, name).partition("/")
        node = self.known.get(plain(fine), self.known.get(plain(kind)))
        if node is None:
            raise TreeError(f"{name!r}: must be the name of a node, or be given one by --rename")
        return node


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("split")
    for name in ("tree", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--rename", nargs="*", default=[], metavar="CLASS=NODE")
    parser.add_argument("--every", type=int, default=1, help="take every Nth image")
    parser.add_argument("--take", nargs="*", default=[], metavar="SOURCE=COUNT", help="of photographs; default all")
    options = parser.parse_args()
    try:
        nodes = _Nodes(read_tree(options.tree), dict(pair.split("=", 1) for pair in options.rename))
        take = {pair.partition("=")[0]: int(pair.partition("=")[2]) for pair in options.take}
        match options.split:
            case "-":
                lines = by_folder(options.data, nodes)
            case "csv":
                lines = photographs(options.data, nodes, take)
            case split:
                lines = boxed(options.data, split, nodes)
        chosen = list(lines)[:: options.every]
    except (YoloError, OSError) as error:
        sys.exit(str(error))
    options.out.write_text("".join(json.dumps(line) + "\n" for line in chosen))
    print(f"{options.out}: {len(chosen):,} images")


if __name__ == "__main__":
    main()
