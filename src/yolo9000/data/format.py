"""What every data format has: the settings of its sources, and what recognizing it gives.

A format is one module of this package, listed in `yolo9000.data.formats.FORMATS`. It has the members of `Format`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from yolo9000.choices import Split
from yolo9000.types import Annotation

if TYPE_CHECKING:
    from yolo9000.data.listing import Listing

__all__ = ["SPLITS", "Format", "NumberedSettings", "Recognition", "SourceSettings", "Split", "Writer"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")
Writer = Callable[..., None]
"""``write(folder, samples, classes, split, *, copy)``: one split into a folder that may hold others already."""


class SourceSettings(BaseModel):
    """The keys that every source of a data-set file has.

    Attributes:
        path: its folder or file, relative to the data-set file.
        map: from the source's class names to the data set's.
        leave_out: classes of the source whose objects are not read: these, or all others than the data set's.
        exhaustive: classes of which every object is labelled in every image of the source: all, none or these. Of any
            other class, an image without a label may still show one.
        only: a file of names of images, one a line, that are read and no others, relative to the data-set file.
        boxes_from_shapes: polygons, rotated boxes and masks are read as their enclosing boxes; otherwise each is an
            issue.
        soft_labels: a file of soft labels, relative to the data-set file: see `yolo9000.data.soft_labels`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    FILES: ClassVar[tuple[str, ...]] = ("path",)
    """The keys that name files or folders relative to the data-set file."""

    format: str
    path: str
    map: dict[str, str] = Field(default_factory=dict)
    leave_out: Literal["others"] | list[str] = Field(default_factory=list)
    exhaustive: Literal["all", "none"] | list[str] = "all"
    only: str | None = None
    boxes_from_shapes: bool = False
    soft_labels: str | None = None

    @property
    def left_out(self) -> tuple[str, ...]:
        """The classes that `leave_out` names; none where it says ``others``."""
        return () if self.leave_out == "others" else tuple(self.leave_out)

    @property
    def knows_classes(self) -> bool:
        """Whether the source itself says which index stands for which class."""
        return False

    @property
    def by_index(self) -> bool:
        """Whether its labels are indices into the classes of the data set."""
        return False


class NumberedSettings(SourceSettings):
    """A source whose labels may be indices, from 0.

    Attributes:
        names: the classes that these index, in order: a list, or a file with one a line; None: the data set's.
    """

    names: list[str] | str | None = None

    @property
    def knows_classes(self) -> bool:
        """Whether `names` is given."""
        return self.names is not None

    @property
    def by_index(self) -> bool:
        """Whether its labels are indices into the classes of the data set."""
        return self.names is None


@dataclass(frozen=True)
class Recognition:
    """A data set that a format recognizes.

    Attributes:
        confidence: 0 to 1. From .9: a file that can be nothing else was read. Around .7: names of folders and files as
            the format has them, with contents that fit. Around .5: some of that.
        title: what it is, such as ``Roboflow COCO export``.
        reason: the evidence, such as ``train/_annotations.coco.json lists images and annotations``.
        sources: of each split the sources as a data-set file would name them, relative to the recognized folder; under
            ``""`` those of a data set that is not divided.
        counts: number of images of each split under the name that it has there, for people; None: not counted.
        classes: class names in order where the data set says so.
        used: names of the folders and files at its root that belong to it.
    """

    confidence: float
    title: str
    reason: str
    sources: Mapping[str, Sequence[Mapping[str, Any]]]
    counts: Mapping[str, int | None] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    used: frozenset[str] = frozenset()


class Format(Protocol):
    """The members of a format's module."""

    NAME: str
    """What ``format:`` says in a data-set file, and the name to convert to where it can be written."""
    TITLE: str
    """What it is, for people."""

    @property
    def Source(self) -> type[SourceSettings]:  # noqa: N802  a class
        """The settings of a source."""

    @property
    def write(self) -> Writer | None:
        """Write samples; None for a format that is only read."""

    def sniff(self, listing: Listing) -> Recognition | None:
        """What a folder or a file is, by what is in it; None if it is not of this format."""

    def class_names(self, root: Path, source: Any) -> Sequence[str]:
        """The classes that a source names itself; none if it does not."""

    def read(self, root: Path, source: Any, classes: Sequence[str]) -> Iterator[Annotation]:
        """Every image of a source with its annotation; labels are positions in ``classes``."""
