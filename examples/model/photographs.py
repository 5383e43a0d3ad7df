"""Take training photographs out of clones of public repositories, made small.

    python photographs.py CLONES OUT

CLONES holds a clone, bare or not, of each repository of ``sources.csv`` in a folder of its name; README.md says how to
get them. Writes ``OUT/NAME/00000.jpg`` and so on, whose longer side is at most 448, and ``OUT/NAME.csv`` with the
image-level label of each: a WordNet id, a folder, a breed, or nothing. Which images are taken depends on nothing but
the commits. Sources that are there are not made again.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

LONGEST = 448
QUALITY = 88
HERE = Path(__file__).parent
Item = tuple[str, str]
"""A file of a repository, and the label of its image."""


@dataclass(frozen=True)
class Repository:
    """A commit of a clone.

    Attributes:
        folder: the clone.
        commit: what is read.
    """

    folder: Path
    commit: str

    def images(self, part: str = "") -> list[str]:
        """Its images whose path contains ``part``, sorted."""
        paths = self._git("ls-tree", "-r", "-z", "--name-only", self.commit).decode().split("\0")
        return sorted(path for path in paths if part in path and path.lower().endswith((".jpg", ".jpeg", ".png")))

    def table(self, path: str) -> list[list[str]]:
        """A CSV file."""
        return list(csv.reader(io.StringIO(self.read(path).decode("utf-8", "replace"))))

    def read(self, path: str) -> bytes:
        """A file."""
        return self._git("show", f"{self.commit}:{path}")

    def _git(self, *arguments: str) -> bytes:
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, capture_output=True, check=True).stdout  # noqa: S603


def chosen(items: list[Item], count: int) -> list[Item]:
    """A number of images at random, always the same ones."""
    items = list(items)
    random.Random(0).shuffle(items)  # noqa: S311  not for secrets
    return items[:count]


def by_folder(paths: list[str], count: int) -> Iterator[Item]:
    """A number of images of each folder, labelled with its name."""
    folders = sorted({path.split("/")[-2] for path in paths})
    for folder in folders:
        yield from chosen([(path, folder) for path in paths if path.split("/")[-2] == folder], count)


def catdog(repository: Repository) -> Iterator[Item]:
    """Cats and dogs; breeds where they are known."""
    for kind, file in (("cat", "cat_labels.csv"), ("dog", "labels.csv")):
        yield from chosen([(path, kind) for path in repository.images(f"/training_set/{kind}s")], 1000)
        table = repository.table(f"dataset/breed_dataset/{kind}_breeds/{file}")
        breeds = {row[0].rsplit(".", 1)[0]: row[1] for row in table if len(row) > 1}
        for path in repository.images(f"{kind}_breeds/train"):
            yield path, f"{kind}/{breeds.get(Path(path).stem, '')}"


def clothing(repository: Repository) -> Iterator[Item]:
    """Garments, but for those whose kind is not sure."""
    kinds = {row[0]: row[2] for row in repository.table("images.csv")}
    items = [(path, kinds.get(Path(path).stem, "")) for path in repository.images()]
    yield from chosen([item for item in items if item[1] not in ("", "Not sure", "Skip", "Other")], 1500)


def samples(repository: Repository) -> Iterator[Item]:
    """One image of each class of ImageNet; the file begins with the id."""
    for path in repository.images():
        yield path, Path(path).name.split("_")[0]


def imagenette(repository: Repository) -> Iterator[Item]:
    """The part that is for training; the folders are ids."""
    yield from by_folder([path for path in repository.images() if path.startswith("train/")], 250)


def fddb(repository: Repository) -> Iterator[Item]:
    """News photographs."""
    yield from chosen([(path, "") for path in repository.images()], 1500)


def bsds(repository: Repository) -> Iterator[Item]:
    """Photographs of all sorts."""
    for path in repository.images("data/images"):
        yield path, ""


def caltech101(repository: Repository) -> Iterator[Item]:
    """One object a photograph, of a hundred kinds; the names of the folders are not used."""
    yield from ((path, "") for path, _ in by_folder(repository.images("101_ObjectCategories/"), 20))


SOURCES = {
    "samples": samples,
    "imagenette": imagenette,
    "catdog": catdog,
    "clothing": clothing,
    "fddb": fddb,
    "bsds": bsds,
    "caltech101": caltech101,
}


def shrunk(data: bytes) -> bytes | None:
    """The image as JPEG with a longer side of at most 448; None where it cannot be read."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return None
    scale = LONGEST / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def take(name: str, repository: Repository, out: Path) -> None:
    """Write the images of a source, and its list last."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for path, label in SOURCES[name](repository):
        if (data := shrunk(repository.read(path))) is not None:
            file = f"{name}/{len(rows):05d}.jpg"
            (out / file).write_bytes(data)
            rows.append((file, label))
    with (out / f"{name}.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    print(f"{name}: {len(rows):,} images", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("clones", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    with (HERE / "sources.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        if (options.out / f"{row['name']}.csv").exists():
            continue
        try:
            take(row["name"], Repository(options.clones / row["name"], row["commit"]), options.out)
        except subprocess.CalledProcessError as error:
            sys.exit(f"{row['name']}: {error.stderr.decode().strip()}")


if __name__ == "__main__":
    main()
