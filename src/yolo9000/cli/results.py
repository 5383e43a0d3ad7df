"""What ``predict`` writes: files of the formats, annotated images and videos, crops; nothing before the first image."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yolo9000.errors import ConfigError, DataError
from yolo9000.io.files import locked_folder
from yolo9000.io.naming import make_run_folder

if TYPE_CHECKING:
    from yolo9000.inference.detector import Detector, Prediction
    from yolo9000.io.image_writer import CropWriter, ImageWriter
    from yolo9000.io.sources import OnInputError
    from yolo9000.io.writers import ResultWriter, Stream

__all__ = ["Results", "Wanted", "targets_of"]


@dataclass(frozen=True)
class Wanted:
    """What to write, and where.

    Attributes:
        out: folder; None for the next one of ``runs/predict``.
        formats: of `ResultWriter`.
        targets: further files or streams for JSON lines and CSV.
        save: whether to write annotated images and videos.
        crops: whether to write the part of the image in each box.
        show: whether to open annotated images in the system's viewer.
        every: distance of the frames of a video.
    """

    out: Path | None
    formats: list[str]
    targets: dict[str, Path | Stream]
    save: bool
    crops: bool
    show: bool
    every: int


def targets_of(json: str | None, csv: str | None) -> dict[str, Path | Stream]:
    """The files and streams that ``--json`` and ``--csv`` name.

    Raises:
        ConfigError: both are standard output, or it is closed.
    """
    if json == csv == "-":
        raise ConfigError("standard output takes --json or --csv, not both")
    if "-" in (json, csv) and sys.stdout is None:
        raise ConfigError("standard output is closed")
    given = {name: target for name, target in (("jsonl", json), ("csv", csv)) if target is not None}
    return {name: sys.stdout if target == "-" else Path(target) for name, target in given.items()}


class Results:
    """Writes what is wanted, image by image; a context manager.

    Attributes:
        folder: where files are; None before the first image, and where none are wanted.

    Raises:
        ConfigError: a format is unknown, or another process writes into the folder.
        DataError: a file cannot be written.
    """

    def __init__(self, wanted: Wanted, detector: Detector) -> None:
        from yolo9000.io.writers import check_formats

        check_formats(wanted.formats, with_images=wanted.save)
        self.folder: Path | None = None
        self._wanted = wanted
        self._detector = detector
        self._stack = ExitStack()
        self._results: ResultWriter | None = None
        self._images: ImageWriter | None = None
        self._crops: CropWriter | None = None

    def write(self, prediction: Prediction, failed: OnInputError) -> None:
        """Write the results of one image; what fails for it alone is reported."""
        if self._results is None:
            self._results = self._open()
        image = prediction.image
        to_lonlat = getattr(image, "to_lonlat", None)
        self._results.write(image.name, image.frame, prediction.detections, image.timestamp, to_lonlat=to_lonlat)
        try:
            self._write_images(prediction)
        except DataError as error:  # e.g. wider than a JPEG can be
            failed(error)

    def _write_images(self, prediction: Prediction) -> None:
        if self._crops:
            self._crops.write(prediction.image, prediction.detections.names, prediction.crop())
        if self._images:
            self._images.write(prediction.image, prediction.draw())
        if self._wanted.show and prediction.image.frame is None:
            prediction.show()

    def _open(self) -> ResultWriter:
        from yolo9000.io.image_writer import CropWriter, ImageWriter
        from yolo9000.io.writers import ResultWriter
        from yolo9000.taxonomy.class_names import COCO, COCO_CATEGORY_IDS

        wanted = self._wanted
        if wanted.save or wanted.formats or wanted.crops:
            self.folder = wanted.out or make_run_folder(Path("runs/predict"))
            self._stack.enter_context(locked_folder(self.folder))
        folder = self.folder or Path()
        category_ids = COCO_CATEGORY_IDS if self._detector.names == COCO else None
        writer = ResultWriter(
            folder,
            wanted.formats,
            category_ids,
            class_names=self._detector.names,
            with_images=wanted.save,
            targets=wanted.targets,
        )
        self._stack.enter_context(writer)
        if wanted.save:
            self._images = self._stack.enter_context(ImageWriter(folder, writer.names, every=wanted.every))
        if wanted.crops:
            self._crops = CropWriter(folder / "crops", writer.names)
        return writer

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
