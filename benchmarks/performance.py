"""Measure everything that docs/performance.md shows, and write the tables into it.

    python benchmarks/performance.py [--pjreddie libdarknet.so] [--alexeyab libdarknet.so] [--nano FILE.onnx ...]
        [--only NAME ...]

Takes about ten minutes; nothing else should run. Each table stands between two comments that name it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "performance.md"


def commands(darknets: list[str], nano: list[str]) -> dict[str, list[str]]:
    """What makes each table, after ``python``."""
    others = [word for path in nano for word in ("--against", f"onnx={path}")]
    peers = ["--against", "openvino", "--against", "onnxruntime", "--against", "opencv"]
    peers += [word for path in darknets for word in ("--against", f"darknet={path}")]
    bench = ["-m", "yolo9000", "bench"]
    precisions = [word for precision in ("float32", "bfloat16", "int8") for word in ("--precision", precision)]
    ours = ["--engine", "openvino", "--engine", "onnxruntime"]
    return {
        "bundled": [*bench, "yolo9000-small", *ours, "--batch", "1,4", "--rounds", "20"],
        **({"nano": [*bench, "yolo9000-small", "--engine", "openvino", *others, "--rounds", "20"]} if nano else {}),
        "yolo9000": [*bench, "yolo9000", *ours, *precisions, *peers, "--rounds", "5"],
        "yolov2": [*bench, "yolov2-voc", *ours, *precisions, *peers, "--rounds", "5"],
        "folder": ["benchmarks/folder.py"],
        "growth": ["benchmarks/growth.py"],
    }


def with_block(text: str, name: str, lines: str) -> str:
    pattern = rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)"
    changed, count = re.subn(pattern, lambda match: f"{match[1]}{lines}\n{match[2]}", text, flags=re.DOTALL)
    assert count == 1, f"{DOCUMENT}: must have one block {name}"
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pjreddie")
    parser.add_argument("--alexeyab")
    parser.add_argument("--nano", nargs="*", default=[], help="other small networks, beside the bundled model")
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    darknets = [path for path in (options.pjreddie, options.alexeyab) if path]
    for name, command in commands(darknets, options.nano).items():
        if options.only and name not in options.only:
            continue
        done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
        print(f"{name}: {done.stdout}{done.stderr}", flush=True)
        if done.returncode == 0:
            DOCUMENT.write_text(with_block(DOCUMENT.read_text(), name, done.stdout.strip()))


if __name__ == "__main__":
    main()
