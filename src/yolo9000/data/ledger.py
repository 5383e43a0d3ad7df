"""What was left out of a data set or changed in it, counted by code: images in = images out + images reported."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from yolo9000.io.files import write_atomically
from yolo9000.types import Annotation, Issue

__all__ = ["Ledger"]


@dataclass
class Ledger:
    """Counts of one reading of a data set.

    Attributes:
        images_in: images that the data set has, as far as records could be read.
        images_out: images that were used.
        boxes_in: boxes that its annotations have, good and bad.
        boxes_out: boxes that were used.
        left_out: images left out, by the code of their first issue.
        changed: objects corrected or left out in images that were used, by code.
        issues: all of them.
    """

    images_in: int = 0
    images_out: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    issues: list[Issue] = field(default_factory=list)

    def add(self, annotation: Annotation, *, used: bool) -> None:
        """Count an annotation that was used or left out."""
        self.images_in += 1
        self.images_out += used
        self.issues += annotation.issues
        codes = [issue.code for issue in annotation.issues]
        if used:
            self.changed.update(codes)
        elif codes:
            self.left_out[codes[0]] += 1

    def leave_out(self, issue: Issue) -> None:
        """Count an image that was used so far and now is left out after all."""
        self.images_out -= 1
        self.left_out[issue.code] += 1
        self.issues.append(issue)

    def __bool__(self) -> bool:
        return bool(self.issues)

    def lines(self, name: str = "") -> Iterator[str]:
        """What to tell: one line for what was left out and one for what was changed; none if all was used as it is.

        Args:
            name: of the split, to begin each line with.
        """
        start = f"{name}: " if name else ""
        if self.left_out:
            total = sum(self.left_out.values())
            yield f"{start}{total:,} of {self.images_in:,} images or records left out: {_counts(self.left_out)}"
        if self.changed:
            yield f"{start}{sum(self.changed.values()):,} objects corrected or left out: {_counts(self.changed)}"

    def write(self, file: Path) -> None:
        """Write all issues, a JSON object a line.

        Raises:
            OSError: the file cannot be written.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, "".join(json.dumps(vars(issue)) + "\n" for issue in self.issues))


def _counts(codes: Counter[str]) -> str:
    return ", ".join(f"{count:,} x {code}" for code, count in codes.most_common())
