"""Prepare groceries: what is a kind of what, and data-set files, for `yolo9000 data combine`.

    python make_groceries.py DATA groceries/

DATA holds

    groceries-labels/   images of a shelf with an image-level label each: classes.csv with the fine class, its
                        number, the coarse class and a path that names the department (Fruit, Vegetables, Packages);
                        train.txt and val.txt with an image, its fine and its coarse class a line
    groceries-boxes/    VOC, boxes of packaged food
    fruit/              VOC, boxes of fruit

Written are ``parents.csv``, every class and what it is a kind of, up to the department; ``labels.yaml``, a data-set
file of the images with image-level labels; and ``boxed.names``, the classes with boxes.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from yolo9000.data.dataset import open_data

BOXES_DEPARTMENT = "Packages"


def kinds(classes: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    """Fine class and coarse class, coarse class and department."""
    for row in classes:
        fine, coarse = row["Class Name (str)"], row["Coarse Class Name (str)"]
        department = PurePosixPath(row["Iconic Image Path (str)"]).parts[2]
        if fine != coarse:
            yield fine, coarse
        yield coarse, department


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    data, out = options.data.resolve(), options.out
    out.mkdir(parents=True)
    with (data / "groceries-labels" / "classes.csv").open() as file:
        classes = list(csv.DictReader(file))
    parents = dict(kinds(classes))
    known = {name.casefold() for name in parents}
    packages, fruit = (open_data(data / name, "train").classes for name in ("groceries-boxes", "fruit"))
    parents |= {name: BOXES_DEPARTMENT for name in packages if name.casefold() not in known}
    with (out / "parents.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("name", "parent"), *parents.items()])
    names = ", ".join(row["Class Name (str)"] for row in sorted(classes, key=lambda row: int(row["Class ID (int)"])))
    source = "{{format: list, path: {0}.txt, images: {1}, columns: {{image: 0, labels: [1], indices: true}}}}"
    lines = [
        f"classes: [{names}]",
        *(
            f"{split}: [{source.format(data / 'groceries-labels' / split, data / 'groceries-labels')}]"
            for split in ("train", "val")
        ),
    ]
    (out / "labels.yaml").write_text("\n".join(lines) + "\n")
    (out / "boxed.names").write_text("".join(f"{name}\n" for name in (*packages, *fruit)))
    print(f"{len(classes)} classes with image-level labels, {len(packages) + len(fruit)} with boxes")


if __name__ == "__main__":
    main()
