"""WordNet's table: facts that can be looked up in WordNet 3.0 itself."""

from __future__ import annotations

import pytest
from support.paths import shared

from yolo9000.errors import TreeError
from yolo9000.taxonomy.wordnet import TOPICS, is_synset_id, singular_forms, wordnet


def test_it_has_all_noun_synsets() -> None:
    assert len(wordnet()) == 82_115  # wnstats(7WN)
    assert sum(len(wordnet().hypernyms(synset)) > 1 for synset in wordnet()) == 2_213
    assert [synset for synset in wordnet() if not wordnet().hypernyms(synset)] == ["n00001740"]  # entity


def test_a_synset_has_names_a_subject_and_hypernyms() -> None:
    dog = "n02084071"
    assert wordnet().names(dog) == ("dog", "domestic dog", "Canis familiaris")
    assert wordnet().topic(dog) == "animal"
    assert wordnet().hypernyms(dog) == ("n02083346", "n01317541")  # canine, domestic animal
    assert dog in wordnet()
    assert "n02084072" not in wordnet()
    assert len(TOPICS) == 26


def test_an_instance_is_below_what_it_is_an_instance_of() -> None:
    assert wordnet().hypernyms("n09277010") == ("n09360122",)  # Everest, an instance of a mountain peak


@pytest.mark.parametrize(
    ("name", "senses"),
    [
        ("mouse", ("n02330245", "n14289387", "n10335563", "n03793489")),  # index.noun: rodent, shiner, person, device
        ("Hot-Dog", ("n10187710", "n07697537", "n07676602")),
        ("no such thing", ()),
    ],
)
def test_senses_come_by_their_frequency(name: str, senses: tuple[str, ...]) -> None:
    assert wordnet().senses(name) == senses


def test_what_is_no_synset_is_refused() -> None:
    for wrong in ("n00000001", "dog", "n0208407"):
        with pytest.raises(TreeError, match="must be the id of a noun synset"):
            wordnet().names(wrong)
    assert not is_synset_id("n0208407")


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("carrots", "carrot"),
        ("cherries", "cherry"),
        ("potatoes", "potato"),
        ("knives", "knife"),
        ("loaves", "loaf"),
        ("firemen", "fireman"),
    ],
)
def test_plurals_have_their_singular(plural: str, singular: str) -> None:
    assert singular in tuple(singular_forms(plural))


def test_every_id_of_9k_is_there() -> None:
    ids = shared("data", "labels", "9k.labels").read_text().split()
    assert len(ids) == 9_418
    assert all(node in wordnet() for node in ids)
