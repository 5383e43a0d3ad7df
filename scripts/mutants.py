"""Change a module in one place at a time and list the changes that its tests do not notice.

A tool to look with, not a gate: some survivors are equivalent to the original. Run it by ``make mutants``, for example

    make mutants MODULE=inference/decode.py TESTS="tests/unit/test_postprocess.py tests/laws/test_postprocess_laws.py"
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True)
class Mutant:
    """A changed module: where, what it said, what it says now, and its whole source."""

    line: int
    before: str
    after: str
    source: str


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """Copies of a node with one plausible slip."""
    new = deepcopy(node)
    match new:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            new.ops = [COMPARISONS[type(op)]()]
            yield new
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            new.op = OPERATORS[type(op)]()
            yield new
        case ast.BoolOp():
            new.op = ast.Or() if isinstance(new.op, ast.And) else ast.And()
            yield new
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield new.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.IfExp():
            new.body, new.orelse = new.orelse, new.body
            yield new


def code_nodes(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Every expression inside functions as parent, field and index, annotations left out."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for statement in function.body:
                for parent in ast.walk(statement):
                    for field, value in ast.iter_fields(parent):
                        if field in ("annotation", "returns"):
                            continue
                        if isinstance(value, ast.expr):
                            yield parent, field, None
                        elif isinstance(value, list):
                            yield from (
                                (parent, field, i) for i, item in enumerate(value) if isinstance(item, ast.expr)
                            )


def mutants_of(source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    tree = ast.parse(source)
    mutants: dict[tuple[int, int, str], Mutant] = {}
    for parent, field, index in code_nodes(tree):
        node = getattr(parent, field) if index is None else getattr(parent, field)[index]
        for variant in variants(node):
            _put(parent, field, index, variant)
            mutant = Mutant(node.lineno, ast.unparse(node), ast.unparse(variant), ast.unparse(tree))
            _put(parent, field, index, node)
            mutants[node.lineno, node.col_offset, mutant.after] = mutant
    return sorted(mutants.values(), key=lambda mutant: mutant.line)


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def tests_fail(package: Path, tests: list[str], seconds: float) -> bool:
    """Whether the tests fail, or do not end, with the package in a folder."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1", "CI": "1"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def main() -> int:
    """Run the tests on a sample of mutants and print the survivors."""
    parser = argparse.ArgumentParser(description="Find changes to a module that its tests do not notice.")
    parser.add_argument("module", type=Path)
    parser.add_argument("--tests", nargs="+", required=True)
    parser.add_argument("--count", type=int, default=20, help="mutants to try, drawn at random (default: 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds after which a mutant counts as noticed")
    options = parser.parse_args()
    module = options.module.resolve().relative_to(ROOT / "src")
    every = mutants_of((ROOT / "src" / module).read_text(encoding="utf-8"))
    chosen = random.Random(options.seed).sample(every, min(options.count, len(every)))  # noqa: S311
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "yolo9000")
        shutil.copytree(ROOT / "src" / "yolo9000", package, ignore=shutil.ignore_patterns("__pycache__"))
        if tests_fail(package, options.tests, options.timeout):
            sys.exit("the tests must pass on the unchanged module")
        survived = 0
        for mutant in sorted(chosen, key=lambda mutant: mutant.line):
            Path(folder, module).write_text(mutant.source, encoding="utf-8")
            noticed = tests_fail(package, options.tests, options.timeout)
            survived += not noticed
            verdict = "noticed " if noticed else "SURVIVED"
            print(f"{verdict}  {module}:{mutant.line}  {mutant.before}  ->  {mutant.after}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} mutants noticed ({len(every)} possible)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
