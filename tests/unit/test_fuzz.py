"""Whatever bytes come, only errors of the package leave the readers: a short round of `make fuzz`, and its corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.fuzz_targets import TARGETS
from support.fuzzing import CORPUS, fuzz, mutant, replay

MUTANTS = {True: 2, False: 12}  # of a data set, which is slow to read; of another target
ENTRIES = [(name, entry) for name, target in TARGETS.items() for entry in sorted(target.corpus.glob("*"))]


@pytest.mark.parametrize("name", TARGETS)
def test_the_seed_is_read_and_mutants_raise_nothing_else(name: str, tmp_path: Path) -> None:
    (tmp_path / "seed").mkdir()
    target = TARGETS[name]
    target.read(target.write(tmp_path / "seed"))
    (tmp_path / "mutants").mkdir()
    rng = np.random.default_rng(list(TARGETS).index(name))
    wanted = MUTANTS[name.startswith("set ")]
    outcome = fuzz(target, tmp_path / "mutants", rng, tmp_path / "kept", lambda count: count < wanted)
    assert not outcome.failures
    assert outcome.mutants == wanted


@pytest.mark.parametrize(("name", "entry"), ENTRIES, ids=[str(entry.relative_to(CORPUS)) for _, entry in ENTRIES])
def test_what_once_broke_a_reader(name: str, entry: Path, tmp_path: Path) -> None:
    assert replay(TARGETS[name], entry, tmp_path) == ""


def test_every_entry_of_the_corpus_has_its_target() -> None:
    known = {target.corpus.name for target in TARGETS.values()}
    assert {path.name for path in CORPUS.iterdir()} <= known
    assert len(known) == len(TARGETS)


def test_a_broken_reader_is_noticed(tmp_path: Path) -> None:
    """A reader that breaks on a zero byte is noticed, and the mutant kept."""

    def read(file: Path) -> None:
        if b"\0" in file.read_bytes():
            raise KeyError("zero")

    target = TARGETS["names"]
    broken = type(target)("names", target.write, read)
    (tmp_path / "seed").mkdir()
    outcome = fuzz(broken, tmp_path / "seed", np.random.default_rng(1), tmp_path / "kept", lambda count: count < 300)
    assert outcome.failures
    for kept, problem in outcome.failures.items():
        assert problem == "KeyError: 'zero'"
        assert kept.parent.parent == tmp_path / "kept"
        (tmp_path / "again").mkdir(exist_ok=True)
        assert replay(broken, kept.parent, tmp_path / "again") == problem


def test_mutants_differ_and_repeat() -> None:
    data = b"classes = 3\nnames = a.names\n"
    made = [mutant(data, np.random.default_rng(seed)) for seed in range(50)]
    assert made == [mutant(data, np.random.default_rng(seed)) for seed in range(50)]
    assert len(set(made)) > 40
