from __future__ import annotations

import numpy as np
import pytest

from henasy_stream.stream.captions import CaptionBook, PhraseBank, find_mentions
from henasy_stream.stream.filling import Filling
from henasy_stream.stream.pairs import PairBank, pair_lengths
from henasy_stream.stream.phrases import VerbNounPairs
from henasy_stream.stream.text_cache import TextCache
from henasy_stream.stream.texts import prepare_texts
from tests.stream.fake import NOUNS, VERBS, WIDTH, FakeBackend, text_vector

PAIRS = VerbNounPairs(verbs=tuple(f"{verb} the {{}}" for verb in VERBS), nouns=NOUNS)
LARGE = VerbNounPairs(
    verbs=(*VERBS, *(f"verb{i}" for i in range(94))), nouns=(*NOUNS, *(f"noun{i}" for i in range(296)))
)
LABELS = (*NOUNS, "hand")


def pair_bank(pairs, backend=None, *, full=True):
    backend = backend or FakeBackend()
    cache = TextCache(backend)
    verbs, nouns = (Filling(backend, cache, words).run() for words in (pairs.verb_texts, pairs.noun_texts))
    filling = Filling(backend, cache, pairs.texts)
    if full:
        filling.run()
    mentions = find_mentions(pairs.nouns, LABELS)
    return PairBank(
        pairs=pairs, verbs=verbs, nouns=nouns, lengths=pair_lengths(verbs, nouns), filling=filling, mentions=mentions
    )


def random_video(seed):
    video = np.random.default_rng(seed).normal(size=WIDTH).astype(np.float32)
    return video / np.linalg.norm(video)


@pytest.mark.parametrize("grounded", [None, np.array([1, 0, 0.5, 0, 1], np.float32)])
def test_a_small_bank_is_scored_as_the_whole_would_be(grounded):
    bank = pair_bank(PAIRS)
    whole = PhraseBank(filling=bank.filling, mentions=find_mentions(PAIRS.texts, LABELS))
    for seed in range(20):
        args = (random_video(seed), 0.05, grounded)
        np.testing.assert_allclose(bank.log_probabilities(*args), whole.log_probabilities(*args), atol=1e-5)


@pytest.mark.parametrize("text", ["moves left knife", "holds book"])
def test_the_right_pair_of_many_is_found(text):
    bank = pair_bank(LARGE, full=False)
    assert len(bank.texts) == 97 * 300
    found = bank.log_probabilities(text_vector(text), 0.05, None)
    assert bank.texts[int(found.argmax())] == text  # by its words alone
    wanted = bank.filling.wanted
    assert np.exp(found[wanted]).sum() <= 1 + 1e-4
    assert np.count_nonzero(found == np.median(found)) >= len(found) - 20 * 20
    assert text in [bank.texts[row] for row in wanted]
    assert len(wanted) == 20 * 20
    while not bank.filling.ready[wanted].all():
        bank.filling.work()
    assert bank.filling.done < len(bank.texts)
    again = bank.log_probabilities(text_vector(text), 0.05, None)
    assert bank.texts[int(again.argmax())] == text


def test_a_noun_that_is_seen_brings_its_pairs_among_the_best():
    """Its own word fits too little to be looked at."""
    bank = pair_bank(LARGE)
    video = text_vector("moves left knife") + 0.2 * text_vector("cup")
    video /= np.linalg.norm(video)
    cup = np.array([1, 0, 0, 0, 0], np.float32)
    row = bank.texts.index("moves left cup")
    plain = bank.log_probabilities(video, 0.05, None)[row]
    assert bank.log_probabilities(video, 0.05, cup)[row] > plain


def test_pairs_name_what_their_noun_names():
    bank = pair_bank(PAIRS)
    for phrase, text in enumerate(bank.texts):
        assert [LABELS[i] for i in np.flatnonzero(bank.mentioned(phrase))] == [n for n in NOUNS if n in text]


def test_a_book_takes_a_large_bank():
    bank = pair_bank(LARGE, full=False)
    book = CaptionBook.empty(len(bank.texts))
    for hop in range(6):
        scores = bank.log_probabilities(text_vector("moves left knife"), 0.05, None)
        book, _ = book.update(scores, bank.texts, window_start_ns=0, stamp_ns=hop * 10**9, hold_s=0.5)
    caption = book.caption(bank.texts)
    assert caption is not None
    assert caption.text == "moves left knife"
    scores = [a.score for a in caption.alternatives]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert scores[0] <= caption.score


def test_a_model_with_verbs_and_nouns_has_their_pairs():
    backend = FakeBackend()
    texts = prepare_texts(backend, PAIRS)
    assert isinstance(texts.bank, PairBank)
    assert texts.bank.filling.complete
    assert texts.bank.mentions.shape == (len(NOUNS), len(LABELS))
    partly = prepare_texts(FakeBackend(), LARGE, background=True)
    assert not partly.bank.filling.complete
    assert partly.bank.filling.done == pytest.approx(256, abs=256)
