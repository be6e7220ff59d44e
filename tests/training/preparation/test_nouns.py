from __future__ import annotations

import pytest

from training.preparation.nouns import find_nouns, named_things, open_dictionary, word_rows

TAXONOMY = (
    ("bowl", "container"),
    ("board", "plank"),
    ("chopping board", "cutting_board"),
    ("knife", "blade"),
    ("box", "carton"),
    ("cherry",),
    ("hand", "palm"),
    ("person", "man"),
    ("glass",),
    ("lid",),
    ("container",),
)


@pytest.mark.parametrize(
    ("text", "nouns"),
    [
        ("#C C puts the knives", (3,)),
        ("#C C puts the knife, in the bowls.", (3, 0)),
        ("#C C drops the knife on the cutting board", (2, 3)),
        ("#C C drops the knife on the board", (3, 1)),
        ("#C C picks two boxes of cherries", (4, 5)),
        ("#C C washes the glass", (8,)),
        ("#O man X holds his hand", ()),
        ("#C C opens the container", (0,)),
        ("#C C stacks bowl knife board box cherry", (0, 3, 1, 4)),
        ("", ()),
    ],
)
def test_rows_that_a_narration_names(text, nouns):
    assert find_nouns(text, word_rows(TAXONOMY)) == nouns


def test_things_without_a_taxonomy():
    pytest.importorskip("spacy")
    from training.preparation.parser import load_parser

    texts = [
        "#C C drops the knives on the chopping board",
        "#O man X gives the cup to C",
        "#C C looks around",
        "#C C takes a piece of bread with her right hand",
    ]
    assert list(named_things(texts, load_parser())) == [("knife", "chopping board"), ("cup",), (), ("bread",)]


def test_the_dictionary_begins_with_what_is_named_most():
    rows = [("cup", "pan"), ("pan",), ("apple", "cup"), ("lid",)]
    assert open_dictionary(rows) == ("cup", "pan", "apple", "lid")
    assert open_dictionary(rows, min_count=2) == ("cup", "pan")
