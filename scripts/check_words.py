"""Check that the project uses one word for each concept: the terms of docs/glossary.md.

Names (functions, classes, parameters, variables, attributes, keys) are split into words, so that ``pred_labels`` is
"pred" and "labels"; uses of other libraries' names are not looked at. Prose is comments, docstrings, messages, and the
documents. Exits with 1 if a word of the tables below is used.

    python scripts/check_words.py              # every use, as file:line
    python scripts/check_words.py --count      # how many in each folder
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]

# In names: the word on the left is refused, the glossary's term on the right is meant.
NAMES = {
    "picture": "image",
    "place": "index, position, location",
    "numbers": "weights, parameters, logits, metrics, indices",
    "truth": "gt, targets",
    "found": "pred, detections, matches",
    "share": "fraction, ratio",
    "fault": "issue",
    "mend": "fix",
    "advice": "suggestion",
    "tops": "roots",
    "ways": "paths",
    "settled": "overrides",
    "doubtful": "ambiguous",
    "weak": "pseudo (pseudo-boxes)",
    "colour": "color",
    "optimiser": "optimizer",
    "processor": "cpu",
    "narrow": "width multiplier",
    "descend": "decode",
    "descent": "path",
    "knee": "elbow",
    "least": "min",
    "most": "max",
    "shipped": "bundled",
    "told": "reported, logged",
    "came": "got",
    "anew": "again",
}

# In names of these files only, since elsewhere they mean what they say (rows of a table of results, CSV rows).
NAMES_IN = {
    "src/yolo9000/architectures/*": {"table": "architecture"},  # rows are those of a matrix, or of cells
    "src/yolo9000/checkpoints/darknet/cfg.py": {"row": "layer", "table": "architecture"},
}

# In prose: regular expressions, matched as whole words whatever their case.
PROSE = {
    r"pictures?": "image",
    r"(?<!ground )(?<!ground-)truths?": "ground truth, targets",
    r"shares? of": "fraction",
    r"(?<!page )faults?": "issue",
    r"mend(s|ed|ing)?": "fix",
    r"advice": "suggestion",
    r"top nodes?|ways? to the top": "root, path to the root",
    r"settled?": "overrides",
    r"doubtful": "ambiguous",
    r"weak box(es)?": "pseudo-boxes",
    r"colou?red|colours?": "color",
    r"optimisers?": "optimizer",
    r"processors?": "CPU",
    r"descends?": "decode",
    r"anew": "again",
    r"told": "reported",
    r"what (is|was|it is) given|what came": "the input, the argument; got",
    r"from nothing|starting numbers": "from scratch, initial weights",
    r"(that|which) ships?|comes? along": "bundled",
    r"so many": "number of",
    r"head numbers|network's numbers|its numbers": "raw predictions, weights, metrics",
    r"[`\"'](release|head)[`\"'] (and|or|push)|rule_out|class_only": "darknet-2017-01, negatives, class-only",
    r"must exist|there is no such": "file not found",
    r"min_probability|image_fit|on_bad|clip_norm|inside_1e-5|outside_1e-6|crop2016|place2017": "see the changelog",
}

# Uses that are right: files, the word as it is found, and why.
EXCEPTIONS = [
    ("src/yolo9000/bench/machine.py", "processor", "in names of CPUs"),
    ("tests/integration/test_bench.py", "processor", "in names of CPUs"),
    ("CHANGELOG.md", "*", "lists old names beside new ones"),
    ("scripts/check_words.py", "*", "the list itself"),
    ("tests/unit/test_words.py", "*", "plants words to be refused"),
    ("docs/glossary.md", "*", "names the words to avoid"),
    ("src/yolo9000/taxonomy/WORDNET-LICENSE.txt", "*", "quoted licence"),
    ("tests/golden/*", "truth", "a key of the recorded arrays"),
    ("tests/golden/*", "place", "a key of the recorded parameters"),
    ("tests/unit/test_safety.py", "colour", "an unknown setting that is refused"),
    ("tests/unit/test_web.py", "weak", "an ETag of HTTP that is weak"),
    ("benchmarks/*", "processor", "the function of Python's platform module"),
    ("src/yolo9000/checkpoints/darknet/sections.py", "share", "part of a key of Darknet's"),
]

# Not checked yet: folders and files that still have to be reworded. To be emptied.
UNCHECKED: list[str] = []


@dataclass(frozen=True)
class Use:
    """A refused word: where it is, and what to say instead."""

    file: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.word!r}: say {self.instead}"


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case: ``BoxTruths_2`` gives box, truths."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def uses_in_name(file: str, line: int, name: str) -> Iterator[Use]:
    """Refused words of a name, in the singular or with an s."""
    refused = names_refused_in(file)
    for word in words_of(name):
        entry = next((entry for entry in (word, word.removesuffix("s")) if entry in refused), None)
        if entry and not is_exception(file, word):
            yield Use(file, line, name, refused[entry])


@cache
def names_refused_in(file: str) -> dict[str, str]:
    """The words that names in a file must not have."""
    return NAMES | {
        word: say for files, words in NAMES_IN.items() if fnmatch(file, files) for word, say in words.items()
    }


def uses_in_prose(file: str, line: int, text: str) -> Iterator[Use]:
    """Refused words of a text that begins at a line."""
    for pattern, instead in PROSE.items():
        for match in re.finditer(rf"\b(?:{pattern})\b", text, re.IGNORECASE):
            if not is_exception(file, match[0]):
                yield Use(file, line + text.count("\n", 0, match.start()), match[0], instead)


def is_exception(file: str, word: str) -> bool:
    """Whether a word may be used in a file."""
    return any(fnmatch(file, files) and fnmatch(word.lower(), allowed) for files, allowed, _ in EXCEPTIONS)


def names_defined(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that a module defines, and every key that is a string, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias(asname=str(name)):
                yield node.lineno, name
            case ast.Dict():
                yield from ((key.lineno, key.value) for key in node.keys if _is_key(key))
            case ast.Subscript(slice=ast.Constant() as key) if _is_key(key):
                yield key.lineno, key.value


def _is_key(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier()


def uses_in_python(file: str, text: str) -> Iterator[Use]:
    """Refused words of a module."""
    for line, name in names_defined(ast.parse(text)):
        yield from uses_in_name(file, line, name)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING) or token.type == getattr(tokenize, "FSTRING_MIDDLE", -1):
            yield from uses_in_prose(file, token.start[0], token.string)


def uses_in(file: str, text: str) -> list[Use]:
    """Refused words of a file, in the order of its lines."""
    uses = uses_in_python(file, text) if file.endswith(".py") else uses_in_prose(file, 1, text)
    distinct = {(use.line, use.word.lower()): use for use in uses}  # a key is a name and a text
    return sorted(distinct.values(), key=lambda use: use.line)


def project_files() -> list[str]:
    """Tracked text files, relative to the root; recorded data are left out."""
    command = ["git", "ls-files"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    kinds = (".py", ".md", ".toml", ".yml", ".yaml", ".html", ".css", ".js", ".sh", ".cff", "Makefile")
    return [file for file in listed if file.endswith(kinds) and not file.startswith("tests/golden/data")]


def main() -> int:
    """Print every use of a refused word."""
    parser = argparse.ArgumentParser(description="Check that the project uses the glossary's words.")
    parser.add_argument("--count", action="store_true", help="print how many there are in each folder")
    parser.add_argument("files", nargs="*", help="files to check (default: all)")
    options = parser.parse_args()
    files = options.files or [file for file in project_files() if not any(fnmatch(file, one) for one in UNCHECKED)]
    uses = [use for file in files for use in uses_in(file, (ROOT / file).read_text(encoding="utf-8"))]
    if options.count:
        for folder, count in Counter(str(Path(use.file).parent) for use in uses).most_common():
            print(f"{count:6}  {folder}")
    else:
        print(*uses, sep="\n", end="\n" if uses else "")
    if uses:
        print(f"{len(uses)} words are not those of docs/glossary.md", file=sys.stderr)
    return 1 if uses else 0


if __name__ == "__main__":
    sys.exit(main())
