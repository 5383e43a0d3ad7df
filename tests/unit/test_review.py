"""Which images to label next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.small_models import TREE

from yolo9000.errors import ConfigError
from yolo9000.labeling.review import (
    NOTHING_SEEN,
    Choice,
    choices_csv,
    choose,
    excluded_names,
    expected_clicks,
    uncertainty,
)


def record(*boxes: tuple[str, float]) -> dict[str, Any]:
    return {"boxes": [{"id": node_id, "score": score} for node_id, score in boxes]}


def test_uncertainty_is_the_expected_number_of_errors() -> None:
    assert uncertainty(record(("n4", 0.5))["boxes"]) == 0.5
    assert uncertainty(record(("n4", 0.9), ("n6", 0.3))["boxes"]) == pytest.approx(0.1 + 0.3)
    assert uncertainty([]) == NOTHING_SEEN


def test_what_was_not_seen_before_comes_before_what_was() -> None:
    """Two uncertain terriers and a surer bus: after one terrier the other one shows nothing new."""
    records = [record(("n4", 0.5)), record(("n4", 0.5)), record(("n6", 0.8)), {"error": "truncated"}]
    first, second, third = choose(records, TREE, 5)
    assert (first.index, second.index, third.index) == (0, 2, 1)
    assert first == Choice(0, 0.5, 1.0)
    assert second.uncertainty == pytest.approx(0.2)
    assert (second.novelty, third.novelty) == (1.0, 0.0)


def test_what_is_learnt_counts_for_each_click() -> None:
    """Four boxes at .8: .8 errors in 1 + 3.2 clicks, .19 each; one at .5: .5 in 1.5; nothing seen: .25 in 1."""
    records = [record(*[("n4", 0.8)] * 4), record(("n6", 0.5)), record()]
    assert [expected_clicks(one["boxes"]) for one in records] == pytest.approx([4.2, 1.5, 1.0])
    assert [choice.index for choice in choose(records, TREE, 3)] == [1, 2, 0]


def test_a_cousin_is_less_new_than_a_stranger() -> None:
    """Terrier shows animal, dog and itself at .5; a poodle has two of four of these nodes in common: novelty .5."""
    records = [record(("n4", 0.5)), record(("n5", 0.5)), record(("n6", 0.5))]
    assert [(choice.index, choice.novelty) for choice in choose(records, TREE, 3)] == [(0, 1.0), (2, 1.0), (1, 0.5)]


def test_images_of_earlier_batches_are_known(tmp_path: Path) -> None:
    file = tmp_path / "choices.csv"
    file.write_text(choices_csv(["a, b.png", "ü.png"], [Choice(3, 0.25, 1.0), Choice(0, 0.5, 0.125)]))
    assert file.read_text().splitlines()[1] == '"a, b.png",0.2500,1.0000'
    assert excluded_names([file]) == {"a, b.png", "ü.png"}
    file.write_text("name\nx.png\n")
    with pytest.raises(ConfigError, match=r"choices\.csv: must be a choices\.csv"):
        excluded_names([file])


def test_without_images_nothing_is_chosen() -> None:
    assert choose([{"error": "truncated"}], TREE, 3) == []
