"""The comparison of heads on kinds that they never learnt, on drawn features."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from support.paths import ROOT

GROUPS, IN_A_GROUP, CHANNELS = 3, 4, 12


def write_features(file: Path, per_class: int, seed: int) -> None:
    """Leaves lie near the middle of their group, and groups far apart."""
    middles = np.random.default_rng(0)
    groups = 9 * middles.standard_normal((GROUPS, 1, CHANNELS))
    leaves = (groups + 2 * middles.standard_normal((GROUPS, IN_A_GROUP, CHANNELS))).reshape(-1, CHANNELS)
    labels = np.repeat(np.arange(len(leaves)), per_class)
    features = leaves[labels] + np.random.default_rng(seed).standard_normal((len(labels), CHANNELS))
    classes = [f"leaf {index}" for index in range(len(leaves))]
    np.savez(file, features=features.astype(np.float16), labels=labels, classes=np.array(classes))


def test_a_tree_stops_above_what_it_does_not_know(tmp_path: Path) -> None:
    write_features(tmp_path / "train.npz", 60, seed=1)
    write_features(tmp_path / "val.npz", 20, seed=2)
    rows = [f"leaf {index},group {index // IN_A_GROUP}" for index in range(GROUPS * IN_A_GROUP)]
    (tmp_path / "parents.csv").write_text("\n".join(["name,parent", *rows]) + "\n")
    script = ROOT / "examples" / "unknown-kinds" / "compare.py"
    words = ["train.npz", "val.npz", "--hold-out", "2", "--parents", "parents.csv", "--seeds", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    values = {line.split(" | ")[0][2:]: float(line.split(" | ")[1]) for line in done.stdout.splitlines()[2:]}
    outcomes = [values[f"unknown: {how}"] for how in ("right ancestor", "wrong leaf", "wrong inner node")]
    assert abs(sum(outcomes) - 1) < 0.01
    assert values["known: most probable leaf right"] > 0.5
    assert values["known: tree right at the leaf"] + values["known: tree right at an ancestor"] > 0.9
    assert values["unknown: right ancestor"] > 0
