"""Training: recipes, the loop, checkpoints, and the files of a run."""

from yolo9000.errors import needs_extra

with needs_extra("train", "training"):
    from yolo9000.training.trainer import Outcome, train

__all__ = ["Outcome", "train"]
