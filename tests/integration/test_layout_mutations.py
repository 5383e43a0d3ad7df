"""Data sets with something renamed, emptied, lost, nested or mixed in: read exactly, or reported; never misread.

The law: every image that is read without an issue has what its file said of it, and every image on the disk is read,
has an issue or a warning, lies in what the description names as passed over, or the data set is refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support.layouts import CLASSES, LAYOUTS, Known, draw, known_of, number_of
from test_layouts import known_in

from yolo9000.data.check import check_splits
from yolo9000.data.dataset import open_splits
from yolo9000.data.images import load_image
from yolo9000.errors import YoloError

NAMES = list(LAYOUTS)
SPLIT_NAMES = [
    "Train",
    "TRAIN",
    "valid",
    "validation",
    "Val",
    "dev",
    "Test",
    "testing",
    "val2017",
    "stuff",
    "images2",
    "new",
]
Mutation = Callable[[random.Random, Path], None]


def files_in(root: Path, *, images: bool) -> list[Path]:
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return [path for path in files if (path.suffix == ".png") == images and path.suffix != ".tar"]


def rename_folder(rng: random.Random, root: Path) -> None:
    folders = [path for path in sorted(root.rglob("*")) if path.is_dir()]
    if folders:
        folder = rng.choice(folders)
        target = folder.with_name(rng.choice([*SPLIT_NAMES, folder.name.upper(), f"{folder.name} (1)"]))
        if not target.exists():
            folder.rename(target)


def nest(rng: random.Random, root: Path) -> None:
    inner = root.with_name("inner")
    root.rename(inner)
    root.mkdir()
    inner.rename(root / rng.choice(["export", "data", "my set", "train"]))


def empty_file(rng: random.Random, root: Path) -> None:
    if files := files_in(root, images=False):
        rng.choice(files).write_bytes(b"")


def lose_file(rng: random.Random, root: Path) -> None:
    if files := files_in(root, images=False):
        rng.choice(files).unlink()


def lose_image(rng: random.Random, root: Path) -> None:
    if files := files_in(root, images=True):
        rng.choice(files).unlink()


def cut_file(rng: random.Random, root: Path) -> None:
    if files := files_in(root, images=False):
        file = rng.choice(files)
        data = file.read_bytes()
        file.write_bytes(data[: rng.randrange(len(data) + 1)])


def rename_image(rng: random.Random, root: Path) -> None:
    if files := files_in(root, images=True):
        file = rng.choice(files)
        file.rename(file.with_name("other.png"))


def add_litter(rng: random.Random, root: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "README.md", "@eaDir/x.txt", "__MACOSX/._a", "part 0.npy", "notes.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"litter")


def windows_ends(rng: random.Random, root: Path) -> None:
    for file in files_in(root, images=False):
        if file.suffix == ".parquet":  # no text
            continue
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))


def add_image(rng: random.Random, root: Path) -> None:
    folder = rng.choice([root, *[path for path in sorted(root.rglob("*")) if path.is_dir()]])
    draw(folder / "unknown.png", 200)


def truncate_image(rng: random.Random, root: Path) -> None:
    if files := files_in(root, images=True):
        file = rng.choice(files)
        file.write_bytes(file.read_bytes()[:20])


def mix(rng: random.Random, root: Path) -> None:
    LAYOUTS[rng.choice(NAMES)].write(rng.choice([root, root / "more"]))


MUTATIONS: list[Mutation] = [
    rename_folder,
    nest,
    empty_file,
    lose_file,
    lose_image,
    cut_file,
    rename_image,
    add_litter,
    windows_ends,
    add_image,
    truncate_image,
    mix,
]
HARMLESS = (nest, add_litter, windows_ends)


def check_law(root: Path, name: str, mutation: Mutation) -> str:
    """How it went; fails where something is read that was not said."""
    on_disk = set(root.rglob("*.png"))
    try:
        opened = open_splits(root)
        annotations = {split: list(data.annotations()) for split, data in opened.items()}
        result = check_splits(opened)
    except YoloError:
        return "refused"
    read: set[Path] = set()
    reported = "".join(f"{issue} " for issue in result.issues())
    warned = any(warning.code == "image-unused" for warning in result.warnings)
    allowed = [known_of(one, n) for one in (LAYOUTS.values() if mutation is mix else [LAYOUTS[name]]) for n in range(6)]
    for split, data in opened.items():
        for annotation in annotations[split]:
            sample = annotation.sample
            if sample is None or annotation.issues:
                continue
            try:
                number = number_of(load_image(sample.image, sample.name).pixels)
            except YoloError:
                continue
            known = known_in(sample, data)
            emptied = mutation in (empty_file, cut_file) and known == ()
            ours = known_of(LAYOUTS[name], number) if number < 6 else None
            less = mutation in (cut_file, lose_file) and is_less(known, ours or ())
            assert known == ours or emptied or less or (mutation is mix and known in allowed), (split, number, known)
            if sample.image.offset is None:
                read.add(sample.image.path.resolve())
    description = next(iter(opened.values())).description
    for path in on_disk if not any(".tar" in path.name for path in root.iterdir()) else ():
        parts = path.relative_to(root).parts
        written = path.name in reported or f"{path.stem}." in reported or f"{path.stem}:" in reported
        named = written or any(f"{part}/" in description for part in parts)
        assert path.resolve() in read or named or warned, (str(path), description, reported)
    return "reported" if reported else "read"


def is_less(known: Known, ours: Known) -> bool:
    """Whether what is lost is what no file can show: the end of a table of labels, or of a name, or all names."""
    sides = [sorted(row[1:] for row in rows) for rows in (known, ours)]
    names = {str(row[0]) for row in known}
    unnamed = all(name.startswith("/m/0") or any(one.startswith(name) for one in CLASSES) for name in names)
    return (sides[0] == sides[1] and unnamed) or (all(len(row) == 1 for row in known) and set(known) < set(ours))


def run(seed: int, tmp_path: Path) -> tuple[str, Mutation]:
    rng = random.Random(seed)  # noqa: S311  the same every time
    name = NAMES[seed % len(NAMES)]
    mutation = MUTATIONS[(seed // len(NAMES) + seed) % len(MUTATIONS)]
    root = tmp_path / "set"
    LAYOUTS[name].write(root)
    mutation(rng, root)
    return check_law(root, name, mutation), mutation


@pytest.mark.parametrize("seed", range(0, 480, 16))
def test_some_mutations(seed: int, tmp_path: Path) -> None:
    outcome, mutation = run(seed, tmp_path)
    assert outcome == "read" or mutation not in HARMLESS


@pytest.mark.battery
@pytest.mark.parametrize("seed", [seed for seed in range(480) if seed % 16])
def test_mutations(seed: int, tmp_path: Path) -> None:
    outcome, mutation = run(seed, tmp_path)
    assert outcome == "read" or mutation not in HARMLESS
