from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.preparation.inflection import base_of_third_person, gerund

FORMS = """
cuts cut cutting|carries carry carrying|ties tie tying|lies lie lying|unties untie untying|washes wash washing
|closes close closing|uses use using|sees see seeing|dips dip dipping|unplugs unplug unplugging|unzips unzip unzipping
|begins begin beginning|opens open opening|listens listen listening|visits visit visiting|plays play playing
|mixes mix mixing|saws saw sawing|goes go going|has have having|passes pass passing|dyes dye dyeing|hoes hoe hoeing
|picks pick picking|scrapes scrape scraping|mimics mimic mimicking|quits quit quitting|refers refer referring
|squeezes squeeze squeezing|throws throw throwing|fries fry frying|dries dry drying|stirs stir stirring
""".replace("\n", "").split("|")


@pytest.mark.parametrize("forms", FORMS)
def test_forms_of_verbs(forms):
    third, base, ing = forms.split()
    assert base_of_third_person(third) == base
    assert gerund(base) == ing


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12))
def test_a_gerund_ends_in_ing_whatever_the_word(word):
    assert gerund(word).endswith("ing")
