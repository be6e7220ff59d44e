from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from henasy_stream.config import TextConfig
from henasy_stream.model.checkpoints import from_lavila_names
from henasy_stream.model.text import TextTransformer

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = TextConfig(vocab_size=512, context=20, width=64, layers=3, heads=4)
END, START = 511, 510


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "lavila_text_tiny.safetensors")


@pytest.fixture(scope="module")
def tower(golden):
    model = TextTransformer(TINY).eval()
    names = from_lavila_names({name: tensor for name, tensor in golden.items() if name.startswith("module.")})
    model.load_state_dict({name[5:]: tensor for name, tensor in names.items() if name.startswith("text.")})
    return model


@torch.no_grad()
def test_every_block_equals_lavila(golden, tower):
    ids = golden["in.token_ids"]
    x = tower.token_embedding(ids) + tower.positional_embedding
    for index, block in enumerate(tower.blocks):
        x = block(x)
        torch.testing.assert_close(x, golden[f"out.block{index}"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tower.encode(ids), golden["out.tokens_after_ln_final"], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_feature_equals_lavila_also_for_the_row_without_an_end_token(golden, tower):
    ids = golden["in.token_ids"]
    assert torch.equal(ids.argmax(1), golden["out.eot_index"])
    expected = golden["out.text_feature_before_projection"]
    torch.testing.assert_close(tower(ids), expected, rtol=1e-5, atol=1e-5)
    for row, feature in zip(ids, expected, strict=True):
        torch.testing.assert_close(tower(row[None])[0], feature, rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(0, 18), min_size=1, max_size=4), seed=st.integers(0, 1000))
@torch.no_grad()
def test_running_at_true_length_changes_nothing(tower, lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(len(lengths), 20, dtype=torch.int64)
    for row, length in zip(ids, lengths, strict=True):
        text = torch.randint(1, START, (length,), generator=generator)
        row[: length + 2] = torch.cat([torch.tensor([START]), text, torch.tensor([END])])
    end = torch.tensor(lengths) + 1
    full = tower.encode(ids)[torch.arange(len(ids)), end]
    torch.testing.assert_close(tower(ids), full, rtol=1e-5, atol=1e-5)
    double = TextTransformer(TINY).double()
    full = double.encode(ids)[torch.arange(len(ids)), end]
    torch.testing.assert_close(double(ids), full, rtol=1e-12, atol=1e-12)


def test_only_the_true_length_is_computed(tower, monkeypatch):
    lengths = []
    encode = tower.encode

    def watched(ids):
        lengths.append(ids.shape[1])
        return encode(ids)

    monkeypatch.setattr(tower, "encode", watched)
    ids = torch.zeros(2, 20, dtype=torch.int64)
    ids[0, :3] = torch.tensor([START, 5, END])
    ids[1, :6] = torch.tensor([START, 5, 6, 7, 8, END])
    tower(ids)
    assert lengths == [6]


def test_no_texts_give_no_features(tower):
    assert tower(torch.zeros(0, 20, dtype=torch.int64)).shape == (0, 64)


def test_more_tokens_than_the_context_are_refused(tower):
    ids = torch.zeros(1, 21, dtype=torch.int64)
    ids[0, 20] = END
    with pytest.raises(ValueError, match="21 tokens do not fit a context of 20"):
        tower(ids)
