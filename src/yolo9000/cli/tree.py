"""The commands about label trees."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from yolo9000.cli.options import (
    OverridesOption,
    ParentsOption,
    WordNetOption,
    read_hierarchy,
)
from yolo9000.cli.terminal import say
from yolo9000.errors import EXIT_DATA_INVALID, ConfigError, TreeError

if TYPE_CHECKING:
    from yolo9000.taxonomy.build import BuiltTree
    from yolo9000.taxonomy.hierarchy import Hierarchy
    from yolo9000.taxonomy.match import Sense
    from yolo9000.taxonomy.wordtree import WordTree

tree_app = typer.Typer(
    name="tree",
    rich_markup_mode=None,
    help="Build label trees, look at them, check them.",
)

TreeArgument = Annotated[
    Path, typer.Argument(help="A .tree or .yaml file, Open Images' .json, or a model with a tree.", show_default=False)
]
NodeNamesOption = Annotated[Path | None, typer.Option(help="Display names of a .tree, one a line.", show_default=False)]
LabelsOption = Annotated[
    list[Path] | None,
    typer.Option(help="File of labels, one a line: names or ids; may be repeated.", show_default=False),
]


def open_tree(path: Path, names: Path | None) -> WordTree:
    """The tree in a file or a model.

    Raises:
        YoloError: it cannot be read; a model has no tree.
    """
    from yolo9000.checkpoints.load import is_model, load_model
    from yolo9000.taxonomy.files import read_names, read_tree

    if not is_model(path):
        return read_tree(path, read_names(path.with_suffix(".names")) if _beside(path, names) else _names(names))
    tree = load_model(path, names=names).tree
    if tree is None:
        raise TreeError(f"{path}: must be a model with a label tree; its classes are flat")
    return tree


def _beside(path: Path, names: Path | None) -> bool:
    return names is None and path.suffix == ".tree" and path.with_suffix(".names").is_file()


def _names(file: Path | None) -> tuple[str, ...] | None:
    from yolo9000.taxonomy.files import read_names

    return None if file is None else read_names(file)


@tree_app.command()
def show(
    tree: TreeArgument,
    under: Annotated[str | None, typer.Option(help="Only what is below this node.", show_default=False)] = None,
    depth: Annotated[int, typer.Option(help="Levels to print.")] = 3,
    names: NodeNamesOption = None,
) -> None:
    """Print a tree, indented, and what it amounts to."""
    word_tree = open_tree(tree, names)
    node = -1 if under is None else word_tree.find(under)
    if under is not None:
        say(_line(word_tree, node))
    for line in _lines(word_tree, node, 0 if under is None else 1, depth):
        say(line)
    leaves = int(word_tree.leaves.sum())
    say(
        f"{len(word_tree):,} nodes, {leaves:,} leaves, {len(word_tree.group_offsets):,} sibling groups, "
        f"depth {int(word_tree.depths.max())}; fingerprint {word_tree.fingerprint[:16]}"
    )


def _lines(tree: WordTree, node: int, level: int, depth: int) -> Iterator[str]:
    if level >= depth:
        return
    for child in tree.children(node):
        hidden = int(tree.below(child).sum()) - 1 if level == depth - 1 else 0
        yield "  " * level + _line(tree, child) + (f"  (+{hidden:,} below)" if hidden else "")
        yield from _lines(tree, child, level + 1, depth)


def _line(tree: WordTree, node: int) -> str:
    named = tree.names[node] != tree.ids[node]
    return f"{tree.names[node]}  {tree.ids[node]}" if named else tree.ids[node]


@tree_app.command()
def find(
    tree: TreeArgument,
    text: Annotated[str, typer.Argument(help="Part of a name, synonym or id.", show_default=False)],
    names: NodeNamesOption = None,
) -> None:
    """Print the nodes whose name, synonyms or id hold some text, each with its path."""
    word_tree = open_tree(tree, names)
    wanted = text.lower()
    for node in range(len(word_tree)):
        known = (word_tree.ids[node], word_tree.names[node], *(word_tree.synonyms[node] if word_tree.synonyms else ()))
        if any(wanted in word.lower() for word in known):
            say(f"{node:>6}  {word_tree.ids[node]:<12} {word_tree.path_names(node)}")


@tree_app.command()
def path(
    tree: TreeArgument,
    node: Annotated[str, typer.Argument(help="Name or id of a node.", show_default=False)],
    names: NodeNamesOption = None,
) -> None:
    """Print the path from the root to a node, with the number of siblings at every step."""
    word_tree = open_tree(tree, names)
    for step in word_tree.path(word_tree.find(node)):
        siblings = int(word_tree.group_sizes[word_tree.groups[step]])
        say(f"{step:>6}  {_line(word_tree, step)}  (1 of {siblings})")


@tree_app.command()
def lint(
    tree: TreeArgument,
    names: NodeNamesOption = None,
    labels: Annotated[
        Path | None, typer.Option(help="What a data set calls its classes, one a line.", show_default=False)
    ] = None,
    node_map: Annotated[
        Path | None,
        typer.Option(
            "--map", help="Darknet's .map: number of the node of each label [matched by name].", show_default=False
        ),
    ] = None,
) -> None:
    """Find what may be wrong with a tree; exit code 4 if there is anything."""
    from yolo9000.taxonomy.lint import lint as findings_of
    from yolo9000.taxonomy.wordnet import wordnet

    word_tree = open_tree(tree, names)
    findings = findings_of(word_tree, _label_nodes(word_tree, labels, node_map), wordnet())
    for finding in findings:
        say(str(finding))
    counts = {
        code: sum(finding.code == code for finding in findings) for code in dict.fromkeys(f.code for f in findings)
    }
    say(", ".join(f"{count} x {code}" for code, count in counts.items()) or f"{len(word_tree):,} nodes, no findings")
    if findings:
        raise typer.Exit(EXIT_DATA_INVALID)


def _label_nodes(tree: WordTree, labels: Path | None, node_map: Path | None) -> dict[str, int]:
    from yolo9000.taxonomy.files import read_map, read_names

    if labels is None:
        if node_map is not None:
            raise ConfigError("--map goes with --labels")
        return {}
    known = read_names(labels)
    if node_map is None:
        return {label: tree.find(label) for label in known}
    nodes = read_map(node_map, len(tree))
    if len(nodes) != len(known):
        raise ConfigError(f"{node_map}: must have a line for each of the {len(known)} labels, has {len(nodes)}")
    return dict(zip(known, nodes.tolist(), strict=True))


@tree_app.command()
def diff(
    old: TreeArgument,
    new: Annotated[Path, typer.Argument(help="The newer one.", show_default=False)],
) -> None:
    """Print what changed between two trees."""
    from yolo9000.taxonomy.diff import tree_diff

    before, after = open_tree(old, None), open_tree(new, None)
    changed = tree_diff(before, after)
    for what in ("added", "removed", "moved", "renamed"):
        for node_id in getattr(changed, what):
            tree = before if what == "removed" else after
            say(f"{what:<8} {node_id:<12} {tree.path_names(tree.index_by_id[node_id])}")
    groups = ", ".join(parent or "the roots" for parent in changed.regrouped)
    say(f"sibling groups that changed: {groups}" if groups else "all sibling groups are unchanged")
    say("node indices changed" if changed.reordered else "node indices are unchanged")


@tree_app.command()
def export(
    tree: TreeArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A .tree (with .names beside it) or .yaml.", show_default=False)
    ],
    names: NodeNamesOption = None,
) -> None:
    """Write a tree in the other form."""
    for file in _write_tree(open_tree(tree, names), out):
        say(str(file))


def _write_tree(tree: WordTree, out: Path) -> list[Path]:
    from yolo9000.io.files import write_atomically
    from yolo9000.taxonomy.files import write_tree

    write_tree(out, tree)
    if out.suffix != ".tree":
        return [out]
    names = out.with_suffix(".names")
    write_atomically(names, "".join(f"{name}\n" for name in tree.names))
    return [out, names]


@tree_app.command()
def build(
    labels: LabelsOption = None,
    parents: ParentsOption = None,
    overrides: OverridesOption = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="A .yaml or .tree to write.")] = Path("labels.yaml"),
    keep: Annotated[
        Literal["all", "forks", "labels"],
        typer.Option(help="Which nodes that are no labels stay: all, those with several children, or none."),
    ] = "forks",
    collapse_only_children: Annotated[
        bool, typer.Option("--collapse-only-children", help="Put a label's only child beside it, as 9k.tree does.")
    ] = False,
    with_wordnet: WordNetOption = True,
) -> None:
    """Grow one tree over the labels of several data sets, over WordNet or your own parents (§4)."""
    from yolo9000.taxonomy.build import build_tree
    from yolo9000.taxonomy.match import read_overrides

    hierarchy = read_hierarchy(parents or (), with_wordnet)
    wanted = [label for file in labels or () for label in read_labels(file)] + list(hierarchy.entries)
    if not wanted:
        raise ConfigError("tree build needs --labels or --parents")
    built = build_tree(
        wanted,
        hierarchy,
        overrides=read_overrides(overrides) if overrides else None,
        keep=keep,
        collapse_only_children=collapse_only_children,
    )
    files = [*_write_tree(built.tree, out), *_write_reports(built, out)]
    ambiguous = sum(match.ambiguous for match in built.matches)
    say(
        f"{len(built.nodes):,} labels, {len(built.tree):,} nodes, depth {int(built.tree.depths.max())}; "
        f"{len(built.choices):,} choices between paths to the root; {ambiguous:,} labels to look at"
    )
    say("Written: " + ", ".join(str(file) for file in files))


def read_labels(file: Path) -> list[str]:
    """The labels in a file: one a line; of a .csv or .tsv the first column.

    Raises:
        DataError: the file cannot be read or holds nothing.
    """
    from yolo9000.taxonomy.files import read_names

    separator = {".csv": ",", ".tsv": "\t"}.get(file.suffix)
    lines = read_names(file)
    return list(dict.fromkeys(line.split(separator)[0].strip() if separator else line for line in lines))


def _write_reports(built: BuiltTree, out: Path) -> list[Path]:
    """Write the labels to review, as a table for --overrides, and every choice between paths to the root."""
    from yolo9000.io.files import write_atomically

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    hierarchy = built.hierarchy
    rows.writerow(["label", "id", "meaning", "how", "other meanings"])
    for match in built.matches:
        if match.ambiguous:
            others = "; ".join(_meaning(sense, hierarchy) for sense in match.others)
            rows.writerow([match.label, match.sense.node, _meaning(match.sense, hierarchy), match.sense.how, others])
    doubts, choices = (out.with_name(f"{out.stem}-{what}") for what in ("doubts.csv", "choices.txt"))
    write_atomically(doubts, text.getvalue())
    write_atomically(choices, "".join(_explained(built)))
    return [doubts, choices]


def _meaning(sense: Sense, hierarchy: Hierarchy) -> str:
    if sense.parent is not None:
        return f"a new kind of {sense.parent} {_described(sense.parent, hierarchy)}"
    return f"{sense.node} {_described(sense.node, hierarchy)}"


def _described(node: str, hierarchy: Hierarchy) -> str:
    above = hierarchy.parents(node)
    return f"({hierarchy.name(node)}, a kind of {hierarchy.name(above[0])})" if above else f"({hierarchy.name(node)})"


def _explained(built: BuiltTree) -> Iterator[str]:
    hierarchy = built.hierarchy
    yield "Nodes with several paths to the root, in the order in which they were added.\n"
    for choice in built.choices:
        yield f"\n{hierarchy.name(choice.node)} ({choice.node}): grows the tree by {choice.growth}\n"
        yield f"  taken: {' > '.join(hierarchy.name(node) for node in choice.taken)}\n"
        for way in choice.others:
            yield f"  other: {' > '.join(hierarchy.name(node) for node in way)}\n"
    yield f"\nNot kept, {len(built.removed)} nodes: {', '.join(hierarchy.name(node) for node in built.removed)}\n"
