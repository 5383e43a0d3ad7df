"""What computing a model in another precision costs, measured when it was exported and stored in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from yolo9000.checkpoints.model import RECEIPTS, LoadedModel
from yolo9000.choices import ExportPrecision

__all__ = ["Receipt", "allows_bfloat16", "computed_in", "with_receipt"]


@dataclass(frozen=True)
class Receipt:
    """A model in float32 and in another precision, on images that were not used for calibration.

    Attributes:
        data: name of the data set.
        images: number of images scored.
        map50_before, map50: mAP50 in float32, and in the other precision.
        ece_before, ece: expected calibration error of the scores, likewise.
        changed: fraction of the answers of either that the other does not give: same label, IoU of .5 or more.
        float_layers: layers that stay in float32.
        notes: what does not fit about the images.
    """

    data: str
    images: int
    map50_before: float
    map50: float
    ece_before: float
    ece: float
    changed: float
    float_layers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def drop(self) -> float:
        """Points of mAP50 that are lost, 0 to 100; negative for a gain."""
        return 100 * (self.map50_before - self.map50)

    def lines(self, precision: str) -> list[str]:
        """The receipt for people."""
        kept = f"; in float32: {', '.join(self.float_layers)}" if self.float_layers else ""
        return [
            f"{precision} against float32 on {self.images} images of {self.data} held out from calibration{kept}",
            f"mAP50 {self.map50:.4f} (float32 {self.map50_before:.4f}, {-self.drop:+.2f} points)",
            f"calibration error {self.ece:.4f} (float32 {self.ece_before:.4f})",
            f"{self.changed:.1%} of the answers change",
            *(f"note: {note}" for note in self.notes),
        ]


def with_receipt(model: LoadedModel, precision: ExportPrecision, receipt: Receipt) -> LoadedModel:
    """The model with a receipt for a precision."""
    lists = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(receipt).items()}
    receipts = {**_receipts(model), precision: lists}
    return replace(model, trained={**model.trained, RECEIPTS: receipts})


def allows_bfloat16(model: LoadedModel) -> bool:
    """Whether the model has a receipt for bfloat16, which only one that is good enough is stored with."""
    return "bfloat16" in _receipts(model)


def computed_in(model: LoadedModel, precision: str) -> str:
    """What a model is computed in by an engine that was asked for a precision: a quantized graph is in int8."""
    return "int8" if model.weights is None and "int8" in _receipts(model) else precision


def _receipts(model: LoadedModel) -> Mapping[str, Any]:
    receipts = model.trained.get(RECEIPTS, {})
    return receipts if isinstance(receipts, Mapping) else {}
