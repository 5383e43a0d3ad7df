"""What labels depend on besides the images, as a value that can be sent to other processes and machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolo9000.inference.detector import Detector
from yolo9000.labeling.label import Labeler, LabelSettings
from yolo9000.labeling.parts import file_digest
from yolo9000.labeling.teachers import DetectorTeacher, ResultsTeacher, Teacher, tree_of

__all__ = ["LabelJob"]


@dataclass(frozen=True)
class LabelJob:
    """Who labels, and how.

    Attributes:
        models: detectors, as `Detector.load` takes them; the labels are those of the first.
        settings: when a box becomes a label.
        results: COCO results of another program, and the COCO file that their ids refer to.
        engine: arguments of `Detector.load` about what runs the models.
    """

    models: Sequence[str]
    settings: LabelSettings
    results: tuple[Path, Path] | None = None
    engine: Mapping[str, Any] = field(default_factory=dict)

    def fingerprint(self) -> dict[str, Any]:
        """What the labels depend on: digests of the files, and the settings. The engine is not part of it."""
        files = (*self.models, *(str(file) for file in self.results or ()))
        return {"teachers": {name: file_digest(name) for name in files}, **vars(self.settings)}

    def labeler(self, detectors: Sequence[Detector] | None = None) -> Labeler:
        """What labels one image after the other.

        Args:
            detectors: of the models; None loads them.

        Raises:
            YoloError: a model or the results cannot be read, or a threshold is wrong.
        """
        if detectors is None:
            detectors = [Detector.load(name, **self.engine) for name in self.models]
        tree = tree_of(detectors[0].head)
        lowest = self.settings.lowest(fused=len(detectors) > 1 or self.results is not None)
        changed = {"conf_threshold": lowest, "hier_thresh": self.settings.hier_thresh}
        teachers: list[Teacher] = [
            DetectorTeacher(name, detector.with_settings(**changed), tree)
            for name, detector in zip(self.models, detectors, strict=True)
        ]
        if self.results:
            teachers.append(ResultsTeacher(*self.results, tree))
        return Labeler(teachers, tree, self.settings)
