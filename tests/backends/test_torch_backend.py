from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from henasy_stream.backends.torch_backend import TorchBackend
from henasy_stream.config import HenasyConfig, PreprocessConfig, TextConfig, VisionConfig, VocabularyConfig
from henasy_stream.errors import UserError
from henasy_stream.model import DualEncoder, Henasy
from henasy_stream.model.checkpoints import save_weights
from henasy_stream.model.tokenizer import ClipTokenizer

TINY = HenasyConfig(
    vision=VisionConfig(image_size=16, patch_size=8, num_frames=3, width=12, layers=2, heads=2),
    text=TextConfig(width=8, layers=2, heads=2, context=12),
    preprocess=PreprocessConfig(resize="letterbox", mean=(10.0, 20.0, 30.0), std=(40.0, 50.0, 60.0), span_s=1.25),
    vocabulary=VocabularyConfig(nouns=("cup", "knife"), verbs=("push",), phrases=("push a cup",), background="nothing"),
    embed_dim=6,
    entity_width=16,
    entity_heads=2,
    num_groups=5,
    num_entities=4,
    bootstrap_layers=2,
    grouping_layers=1,
    refine_layers=1,
    decoder_layers=1,
)
FINE = dataclasses.replace(TINY, vision=dataclasses.replace(TINY.vision, stem="conv"), fine_masks=True)


def network_of(config: HenasyConfig, kind: str = "henasy") -> Henasy | DualEncoder:
    torch.manual_seed(0)
    if kind == "henasy":
        return Henasy(config)
    return DualEncoder(config.vision, config.text, config.embed_dim)


def saved(path: Path, config: HenasyConfig = TINY, kind: str = "henasy", **metadata: Any) -> Path:
    save_weights(path, network_of(config, kind).state_dict(), config, **metadata)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return saved(tmp_path / "tiny.safetensors")


@pytest.fixture(scope="module")
def backend() -> TorchBackend:
    return TorchBackend(network_of(TINY), TINY, "tiny", "cpu")


def clip_of(config: HenasyConfig = TINY, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    vision = config.vision
    shape = (vision.num_frames, vision.image_size, vision.image_size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_what_was_saved_runs_as_the_network_itself(weights):
    clip = clip_of()
    mean, std = (torch.tensor(v).double() for v in (TINY.preprocess.mean, TINY.preprocess.std))
    video = ((torch.from_numpy(clip).double() - mean) / std).permute(0, 3, 1, 2)[None]
    with torch.no_grad():
        expected = network_of(TINY).double().eval()(video)
    found = TorchBackend.from_file(weights, device="cpu").run_window(clip)

    def unit(x: torch.Tensor) -> np.ndarray[Any, Any]:
        return (x / x.norm(dim=-1, keepdim=True))[0].numpy()

    assert found.entity_embeddings is not None
    assert found.entity_probability is not None
    np.testing.assert_allclose(found.video_embedding, unit(expected.video), atol=1e-5)
    np.testing.assert_allclose(found.entity_embeddings, unit(expected.entities), atol=1e-5)
    # Row by row: cell (y, x) of the grid is patch 2 y + x.
    np.testing.assert_allclose(found.entity_probability[2, 1, 0], expected.probability[0, 2, 2], atol=1e-5)


@pytest.mark.parametrize(("config", "grid"), [(TINY, 2), (FINE, 4)], ids=["patches", "fine masks"])
def test_output_is_what_the_protocol_promises(tmp_path, config, grid):
    backend = TorchBackend.from_file(saved(tmp_path / "w.safetensors", config), device="cpu")
    found = backend.run_window(clip_of(config))
    assert backend.spec.grid == grid
    assert found.entity_embeddings is not None
    assert found.entity_probability is not None
    assert found.video_embedding.shape == (6,)
    assert found.entity_embeddings.shape == (4, 6)
    assert found.entity_probability.shape == (3, grid, grid, 4)
    for array in (found.video_embedding, found.entity_embeddings, found.entity_probability):
        assert isinstance(array, np.ndarray)
        assert array.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.video_embedding), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found.entity_embeddings, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found.entity_probability.sum(-1), 1, atol=1e-5)


def test_a_window_leaves_no_trace(backend):
    clip = clip_of()
    before = clip.copy()
    first = backend.run_window(clip)
    backend.run_window(clip_of(seed=1))
    again = backend.run_window(clip)
    np.testing.assert_array_equal(first.video_embedding, again.video_embedding)
    np.testing.assert_array_equal(first.entity_probability, again.entity_probability)
    np.testing.assert_array_equal(clip, before)


def test_a_view_of_frames_is_as_good_as_a_copy(backend):
    wide = np.concatenate([clip_of(seed=1), clip_of(seed=2)], 2)
    view = wide[:, :, ::2][::-1]
    view.flags.writeable = False
    found, expected = backend.run_window(view), backend.run_window(view.copy())
    np.testing.assert_array_equal(found.video_embedding, expected.video_embedding)


def test_another_picture_size_is_refused_and_both_are_named(backend):
    with pytest.raises(ValueError, match=r"3x24x16 .* 3x16x16"):
        backend.run_window(np.zeros((3, 24, 16, 3), np.uint8))


def test_spec_tells_what_the_config_says(backend):
    spec = backend.spec
    assert (spec.model_id, spec.image_size, spec.num_frames, spec.span_s) == ("tiny", 16, 3, 1.25)
    assert (spec.embed_dim, spec.num_entities, spec.grid, spec.temperature) == (6, 4, 2, 0.05)
    assert spec.capabilities == {"caption", "queries", "entities"}
    assert (spec.resize, spec.mean, spec.std) == ("letterbox", (10, 20, 30), (40, 50, 60))
    assert (spec.nouns, spec.verbs, spec.phrases) == (("cup", "knife"), ("push",), ("push a cup",))
    assert (spec.background, spec.synthetic) == ("nothing", False)


def test_a_dual_encoder_has_a_caption_and_no_entities(tmp_path):
    backend = TorchBackend.from_file(saved(tmp_path / "dual.safetensors", kind="dual"), device="cpu")
    assert backend.spec.capabilities == {"caption", "queries"}
    assert backend.spec.num_entities == backend.spec.grid == 0
    found = backend.run_window(clip_of())
    assert found.entity_embeddings is None
    assert found.entity_probability is None
    assert found.video_embedding.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.video_embedding), 1, atol=1e-5)
    # The same towers inside HENASY read texts alike.
    texts = ["a cup", "a knife"]
    whole = Henasy(TINY)
    whole.towers.load_state_dict(network_of(TINY, "dual").state_dict())
    np.testing.assert_allclose(
        backend.embed_texts(texts), TorchBackend(whole, TINY, "x", "cpu").embed_texts(texts), atol=1e-6
    )


def test_weights_in_half_precision_run_in_single(tmp_path, weights):
    half = {name: t.half() if t.is_floating_point() else t for name, t in network_of(TINY).state_dict().items()}
    path = tmp_path / "half.safetensors"
    save_weights(path, half, TINY)
    assert path.stat().st_size < 0.6 * weights.stat().st_size
    found = TorchBackend.from_file(path, device="cpu").run_window(clip_of())
    exact = TorchBackend.from_file(weights, device="cpu").run_window(clip_of())
    assert found.video_embedding.dtype == np.float32
    np.testing.assert_allclose(found.video_embedding, exact.video_embedding, atol=0.02)
    assert not np.array_equal(found.video_embedding, exact.video_embedding)


def test_the_model_is_named_by_its_metadata_or_its_file(tmp_path, weights):
    assert TorchBackend.from_file(weights).spec.model_id == "tiny"
    named = saved(tmp_path / "other.safetensors", model_id="world-2")
    assert TorchBackend.from_file(named).spec.model_id == "world-2"


def test_name_says_where_it_runs(backend):
    assert backend.name == "torch-cpu"


@settings(max_examples=15, deadline=None)
@given(texts=st.lists(st.text(max_size=40), max_size=8))
def test_texts_are_embedded_as_one_by_one(backend, texts):
    found = backend.embed_texts(texts)
    assert found.shape == (len(texts), 6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.ones(len(texts)), atol=1e-5)
    for text, row in zip(texts, found, strict=True):
        np.testing.assert_allclose(backend.embed_texts([text])[0], row, atol=1e-5)


def test_texts_keep_their_order_over_several_batches(backend):
    texts = [f"{'very ' * (i % 7)}small cup {i}" for i in range(600)]
    found = backend.embed_texts(texts)
    for index in (0, 1, 255, 256, 257, 511, 599):
        np.testing.assert_allclose(backend.embed_texts([texts[index]])[0], found[index], atol=1e-5)


def test_a_text_that_is_too_long_still_counts(backend):
    """The end token is kept, so that two long texts do not fall together."""
    long = backend.embed_texts(["cup " * 50, "knife " * 50])
    assert np.abs(long[0] - long[1]).max() > 1e-3


@torch.no_grad()
def test_texts_equal_the_tower_on_padded_rows(backend):
    texts = ["a", "push a cup to the left", "чашка 🔪"]
    tokens = torch.from_numpy(ClipTokenizer(TINY.text.context)(texts))
    model = network_of(TINY).eval()
    expected = torch.stack([model.encode_text(row[None])[0] for row in tokens])
    expected = expected / expected.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(backend.embed_texts(texts), expected.numpy(), atol=1e-5)


def test_threads_of_the_process_are_as_before(backend):
    before = torch.get_num_threads()
    backend.run_window(clip_of())
    backend.embed_texts(["cup"])
    with pytest.raises(ValueError):
        backend.run_window(np.zeros((3, 5, 5, 3), np.uint8))
    assert torch.get_num_threads() == before


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        TorchBackend.from_file(path, device="cpu")
    message = str(caught.value)
    assert "\n" not in message
    assert path.stem in message
    return message


@pytest.mark.parametrize("keep", [0, 7, 100, -1], ids=["empty", "in the length", "in the header", "last byte"])
def test_truncated_weights_are_one_line(weights, keep):
    weights.write_bytes(weights.read_bytes()[:keep])
    assert "damaged or no safetensors file" in refusal(weights)


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, 20_000), byte=st.integers(0, 255))
def test_a_flipped_byte_runs_or_is_one_line(tmp_path_factory, place, byte):
    path = saved(tmp_path_factory.mktemp("flipped") / "tiny.safetensors")
    content = bytearray(path.read_bytes())
    content[place % len(content)] = byte
    path.write_bytes(content)
    said = f"{path}"
    try:
        TorchBackend.from_file(path, device="cpu")
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert "tiny" in said


def test_weights_that_are_missing_or_of_another_kind(tmp_path, weights):
    assert "does not exist" in refusal(tmp_path / "none.safetensors")
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert "damaged or no safetensors file" in refusal(other)
    weights.with_suffix(".json").unlink()
    assert "config must lie beside" in refusal(weights)


def edited(weights: Path, part: str, **values: Any) -> Path:
    beside = weights.with_suffix(".json")
    note = json.loads(beside.read_text())
    (note["config"][part] if part else note["config"]).update(values)
    beside.write_text(json.dumps(note))
    return weights


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("", {"num_entities": 9}, r"entity_encoder.entity_tokens \(4, 16\) instead of \(9, 16\)"),
        ("", {"decoder": "average"}, "unexpected"),
        ("", {"bootstrap_layers": 1}, "unexpected"),
        ("", {"fine_masks": True}, "fine_masks needs"),
        ("", {"entity_heads": 3}, "not a multiple of entity_heads 3"),
        ("vision", {"layers": 3}, "missing"),
        ("vision", {"image_size": 17}, "not a multiple of patch_size"),
        ("text", {"heads": 3}, "not a multiple of heads 3"),
        ("text", {"vocab_size": 50000}, "misshapen"),
        ("text", {"context": 1}, "misshapen"),
        ("vision", {"heads": 0}, "heads"),
        ("vision", {"heads": -2}, "heads"),
        ("vision", {"patch_size": 0}, "patch_size"),
        ("vision", {"num_frames": -1}, "num_frames"),
        ("", {"entity_heads": 0}, "entity_heads"),
        ("text", {"heads": 0}, "heads"),
    ],
)
def test_a_config_that_does_not_fit_is_one_line(weights, part, values, message):
    with pytest.raises(UserError, match=message):
        TorchBackend.from_file(edited(weights, part, **values), device="cpu")
    refusal(weights)


def test_weights_with_another_vocabulary_are_refused(tmp_path):
    text = dataclasses.replace(TINY.text, vocab_size=512)
    path = saved(tmp_path / "small.safetensors", dataclasses.replace(TINY, text=text))
    assert "512" in refusal(path)
