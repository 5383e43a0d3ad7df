"""Weights and rules of the region loss: the one place where they are named."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat

__all__ = ["LossSettings"]

RAMP_START = 0.1


class LossSettings(BaseModel):
    """Weights and rules of the region loss; the defaults are those of every ``.cfg`` of the family.

    Attributes:
        object_scale, noobject_scale, class_scale, coord_scale: weights of the terms.
        thresh: IoU with an object above which a box is not trained towards "no object".
        rescore: the target of objectness is the IoU instead of 1.
        bias_match: an object is assigned to the anchor with the most similar shape, not to the predicted box.
        noobject_ramp: fraction of the training over which ``noobject_scale`` rises from a tenth to its value. A model
            that already detects would otherwise first forget its objects for all that is labelled no more.
        warm_up_images: number of images at the start for which all boxes are also pulled towards their anchor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    object_scale: NonNegativeFloat = 5.0
    noobject_scale: NonNegativeFloat = 1.0
    class_scale: NonNegativeFloat = 1.0
    coord_scale: NonNegativeFloat = 1.0
    thresh: float = Field(default=0.6, ge=0, le=1)
    rescore: bool = True
    bias_match: bool = True
    noobject_ramp: float = Field(default=0.0, ge=0, le=1)
    warm_up_images: int = Field(default=12_800, ge=0)

    def at(self, progress: float) -> LossSettings:
        """The settings when a fraction of the training is done.

        Example:
            >>> LossSettings(noobject_scale=0.5, noobject_ramp=0.5).at(0.25).noobject_scale
            0.275
        """
        if progress >= self.noobject_ramp:
            return self
        factor = RAMP_START + (1 - RAMP_START) * progress / self.noobject_ramp
        return self.model_copy(update={"noobject_scale": factor * self.noobject_scale})
