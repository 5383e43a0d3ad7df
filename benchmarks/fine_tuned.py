"""The bundled model fine-tuned on some images of a data set, as `yolo9000 train` does it, for `label_errors.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path

from yolo9000 import Detector
from yolo9000.data.dataset import DataSet
from yolo9000.training.distributed import join_world
from yolo9000.training.initialize import resolve_start
from yolo9000.training.loader import BatchLoader
from yolo9000.training.recipe import DetectRecipe, read_recipe
from yolo9000.training.splits import TrainingData
from yolo9000.training.trainer import initial_weights, make_learner, make_plan, prepare_task, worker_count
from yolo9000.types import Annotation, Sample


@dataclass(frozen=True)
class Given(DataSet):
    """A data set whose annotations are given instead of read from its files.

    Attributes:
        given: the samples.
    """

    given: tuple[Sample, ...] = ()

    @classmethod
    def of(cls, data: DataSet, samples: Iterable[Sample]) -> Given:
        return cls(**{field.name: getattr(data, field.name) for field in fields(DataSet)}, given=tuple(samples))

    def annotations(self) -> Iterator[Annotation]:
        return (Annotation(sample) for sample in self.given)


def fine_tuning(path: Path, size: Sequence[int] | None) -> DetectRecipe:
    """The recipe of `yolo9000 train` for a data set; its own size of the input, or another."""
    network = {} if size is None else {"network": {"size": list(size), "aspect": "size"}}
    recipe = resolve_start(read_recipe("fine-tune", {"data": str(path), "on_error": "fix", "minutes": None, **network}))
    assert isinstance(recipe, DetectRecipe)
    return recipe


def fine_tuned(
    recipe: DetectRecipe, data: DataSet, samples: Sequence[Sample], passes: int, seed: int, threads: int
) -> Detector:
    """A detector trained on some samples, with a data set's classes; `passes`: images, each as often as it is seen."""
    recipe = recipe.model_copy(update={"epochs": passes / len(samples), "seed": seed})
    with join_world("cpu") as world:
        task = prepare_task(recipe, TrainingData(Given.of(data, samples), None), world)
        learner = make_learner(task, recipe, world, initial_weights(recipe, task), threads, Path())
        assert learner.features is not None and learner.total_steps is not None  # noqa: PT018
        loader = BatchLoader(
            make_plan(task, recipe, world),
            task.example,
            lambda index: task.samples[index].where,
            steps=range(learner.total_steps),
            workers=worker_count(recipe.workers, world),
            is_cached=learner.features.plan.is_cached,
        )
        with closing(loader):
            for step in range(learner.total_steps):
                learner.prepare_step((step + 1) / learner.total_steps)
                learner.backward(loader)
                learner.update()
        return Detector.load(task.checkpoint(learner.evaluated_network.to_model(), {}), threads=threads)
