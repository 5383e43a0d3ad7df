"""The training loop: the same for classifiers and detectors, for one process and for many.

A step is a function of the training's state and of its own number: which images it trains, at which size, how they
are changed and at what rate all follow from the number. So a run that ended at any moment goes on from its last
checkpoint as it would have gone on, to the bit.
"""

from __future__ import annotations

from yolo9000.training.loader import Feed
from yolo9000.training.monitor import Run
from yolo9000.training.trainer import Training

__all__ = ["train"]


def train(training: Training, feed: Feed, run: Run) -> None:
    """Train from where the training stands to its end, or until the run is asked to stop.

    Args:
        training: what is trained.
        feed: images from the training's step on.
        run: what watches it: writes the log, scores and checkpoints.

    Raises:
        TrainingError: the loss or its gradient is not finite; a process that prepares images died or hangs.
        DataError: an image cannot be read.
    """
    with feed.errors_named():
        while training.step < training.total_steps and not run.asked_to_stop():
            training.set_rate()
            progress = training.backward(feed)
            run.check(progress)
            training.update()
            run.log(progress)
            if run.scores_are_due():
                run.score()
            if run.checkpoint_is_due():
                run.save()
