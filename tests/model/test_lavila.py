import argparse
import functools
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError
from henasy_stream.model import load_lavila
from henasy_stream.model.checkpoints import load_weights, save_weights
from henasy_stream.model.lavila import DualEncoder, convert_lavila, inflate_temporal

GOLDEN = Path(__file__).parents[1] / "golden"
assert_close = functools.partial(torch.testing.assert_close, rtol=1e-5, atol=2e-5)
HEADS = {"vision_heads": 4, "text_heads": 4}


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN / "lavila_text_tiny.safetensors") | load_file(
        GOLDEN / "lavila_timesformer_tiny.safetensors"
    )


@pytest.fixture(scope="module")
def state(golden):
    return OrderedDict((name, tensor) for name, tensor in golden.items() if name.startswith("module."))


@pytest.fixture
def checkpoint(tmp_path, state):
    """A file with everything that LaViLa's training writes."""
    path = tmp_path / "clip.pth"
    optimizer = {"state": {0: {"step": 1, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 3e-5, "params": [0]}]}
    content = {
        "epoch": 5,
        "state_dict": state,
        "criterion": OrderedDict(),
        "optimizer": optimizer,
        "scaler": {"scale": 65536.0},
        "best_acc1": np.float64(0.3),
        "args": argparse.Namespace(model="CLIP_OPENAI_TIMESFORMER_BASE", lr=3e-5, betas=(0.9, 0.98)),
    }
    torch.save(content, path)
    return path


@torch.no_grad()
def test_embeddings_equal_lavila(golden, checkpoint):
    model = load_lavila(checkpoint, **HEADS)
    for video, out in (("in.video", "out."), ("in.video_2frames", "out_2frames.")):
        embedding = model.encode_video(golden[video].transpose(1, 2))
        assert_close(embedding, golden[out + "image_embed"])
        unit = torch.nn.functional.normalize(embedding, dim=-1)
        assert_close(unit, golden[out + "image_embed_l2"])
    texts = model.encode_text(golden["in.token_ids"])
    assert_close(texts, golden["out.text_embed"], rtol=1e-5, atol=1e-5)
    unit_texts = torch.nn.functional.normalize(texts, dim=-1)
    assert_close(unit_texts, golden["out.text_embed_l2"], rtol=1e-5, atol=1e-5)
    unit = torch.nn.functional.normalize(model.encode_video(golden["in.video"].transpose(1, 2)), dim=-1)
    assert_close(unit @ unit_texts.T, golden["out.cosine_image_text"])
    assert_close(model.logit_scale.exp()[None], golden["out.logit_scale_exp"])


@torch.no_grad()
def test_more_frames_are_inflated_while_loading(golden, checkpoint):
    model = load_lavila(checkpoint, num_frames=8, **HEADS)
    assert model.visual.config.num_frames == 8
    embedding = model.encode_video(golden["in.video_8frames"].transpose(1, 2))
    assert_close(embedding, golden["out_8frames.image_embed"])


@pytest.mark.parametrize(
    ("frames", "mode"),
    [(3, "bilinear"), (6, "bilinear"), (8, "bilinear"), (16, "bilinear"), (8, "interp"), (8, "zeros")],
)
def test_inflation_equals_lavila(golden, frames, mode):
    inflated = inflate_temporal(golden["module.visual.temporal_embed"], frames, mode)
    assert_close(inflated, golden[f"inflate.temporal_embed_4to{frames}_{mode}"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", ["bilinear", "interp", "zeros"])
def test_fewer_frames_keep_the_first_rows_in_every_mode(golden, mode):
    embed = golden["module.visual.temporal_embed"]
    assert torch.equal(inflate_temporal(embed, 2, mode), embed[:, :2])
    with pytest.raises(ValueError, match="at least 1"):
        inflate_temporal(embed, 0, mode)


def test_sizes_are_read_off_the_weights(checkpoint):
    model = load_lavila(checkpoint)
    vision, text = model.visual.config, model.text.config
    assert (vision.image_size, vision.patch_size, vision.num_frames, vision.width, vision.layers) == (32, 8, 4, 64, 3)
    assert (text.vocab_size, text.context, text.width, text.layers) == (512, 20, 64, 3)
    assert (vision.heads, text.heads) == (1, 1)


@torch.no_grad()
def test_conversion_keeps_the_model_and_drops_the_rest(golden, checkpoint, tmp_path):
    out = tmp_path / "lavila.safetensors"
    convert_lavila(checkpoint, out, **HEADS)
    state, config, metadata = load_weights(out)
    assert not [name for name in state if "optim" in name or "exp_avg" in name]
    assert metadata == {"kind": "lavila", "source": "clip.pth"}
    assert (config.vision.heads, config.embed_dim) == (4, 32)
    model = load_lavila(out)
    embedding = model.encode_video(golden["in.video"].transpose(1, 2))
    assert_close(embedding, golden["out.image_embed"])


@torch.no_grad()
def test_a_dual_encoder_with_another_stem_is_read_by_its_config(tmp_path):
    config = HenasyConfig.demo()
    written = DualEncoder(config.vision, config.text, config.embed_dim)
    save_weights(tmp_path / "towers.safetensors", written.state_dict(), config, kind="lavila")
    video = torch.rand(1, 4, 3, 80, 80)
    with torch.no_grad():
        read = load_lavila(tmp_path / "towers.safetensors")
        assert torch.equal(read.encode_video(video), written.encode_video(video))
    longer = load_lavila(tmp_path / "towers.safetensors", num_frames=8)
    assert longer.visual.config.num_frames == 8


def test_safetensors_with_official_names_and_half_precision(golden, state, tmp_path):
    save_file({name: tensor.half() for name, tensor in state.items()}, tmp_path / "half.safetensors")
    model = load_lavila(tmp_path / "half.safetensors", **HEADS)
    assert model.image_projection.dtype == torch.float32
    embedding = model.encode_video(golden["in.video"].transpose(1, 2))
    assert_close(embedding, golden["out.image_embed"], rtol=0.05, atol=0.05)


def test_a_scalar_from_old_numpy_is_read(state, tmp_path):
    class OldScalar:
        def __reduce__(self):
            return np.float64(0.3).__reduce__()

    path = tmp_path / "old.pth"
    torch.save({"state_dict": state, "best_acc1": OldScalar()}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert b"numpy._core.multiarray" in content or b"numpy.core.multiarray" in content
    path.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert load_lavila(path).image_projection.shape == (64, 32)


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_pickle_is_refused_and_never_runs(state, tmp_path, new_format):
    marker = tmp_path / "it-ran"

    class Malicious:
        def __reduce__(self):
            return Path.touch, (marker,)

    class Call:
        def __reduce__(self):
            return eval, (f"open({str(marker)!r}, 'w')",)

    for index, harm in enumerate((Malicious(), Call())):
        path = tmp_path / f"bad{index}.pth"
        torch.save({"state_dict": state, "args": harm}, path, _use_new_zipfile_serialization=new_format)
        with pytest.raises(UserError, match=rf"bad{index}\.pth was not opened: it holds ") as caught:
            load_lavila(path)
        assert "\n" not in str(caught.value)
        assert not marker.exists()
    plain = tmp_path / "plain.pth"
    plain.write_bytes(pickle.dumps(Call(), protocol=2))
    with pytest.raises(UserError, match=r"plain\.pth"):
        load_lavila(plain)
    assert not marker.exists()


def test_a_namespace_cannot_smuggle_code(state, tmp_path):
    marker = tmp_path / "it-ran"

    class Call:
        def __reduce__(self):
            return eval, (f"open({str(marker)!r}, 'w')",)

    torch.save({"state_dict": state, "args": argparse.Namespace(model=Call())}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match="was not opened"):
        load_lavila(tmp_path / "bad.pth")
    assert not marker.exists()


def test_the_allow_list_of_the_process_stays_as_it_was(checkpoint):
    before = set(torch.serialization.get_safe_globals())
    load_lavila(checkpoint)
    assert set(torch.serialization.get_safe_globals()) == before


def test_another_model_gets_one_error_with_three_lists(state, tmp_path):
    wrong = {name: tensor for name, tensor in state.items() if "ln_final" not in name}
    wrong["module.visual.ln_pre.weight"] = torch.zeros(7)
    wrong["module.video_model.head"] = torch.zeros(1)
    torch.save({"state_dict": wrong}, tmp_path / "wrong.pth")
    with pytest.raises(UserError) as caught:
        load_lavila(tmp_path / "wrong.pth")
    message = str(caught.value)
    assert "wrong.pth does not fit DualEncoder" in message
    assert "2 missing (text.ln_final.weight, text.ln_final.bias)" in message
    assert "1 unexpected (video_model.head)" in message
    assert "1 misshapen (visual.ln_pre.weight (7,) instead of (64,))" in message


def test_a_foreign_model_is_told_apart_without_building_a_giant(tmp_path):
    foreign = {"fc.weight": torch.zeros(10, 512), "visual.blocks.999999999.norm1.weight": torch.zeros(3)}
    torch.save(foreign, tmp_path / "resnet.pth")
    with pytest.raises(UserError, match=r"resnet\.pth does not fit DualEncoder: \d+ missing .*; 2 unexpected"):
        load_lavila(tmp_path / "resnet.pth")


@pytest.mark.parametrize("keep", [0, 100, -200])
def test_a_damaged_checkpoint_is_named(checkpoint, keep):
    checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"clip\.pth is damaged or no PyTorch checkpoint"):
        load_lavila(checkpoint)


def test_files_without_weights_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.pth does not exist"):
        load_lavila(tmp_path / "none.pth")
    for name, content in (
        ("list.pth", [1, 2]),
        ("numbers.pth", {"state_dict": {"a": 1}}),
        ("empty.pth", {"state_dict": {}}),
    ):
        torch.save(content, tmp_path / name)
        with pytest.raises(UserError, match=rf"{name} holds no state_dict"):
            load_lavila(tmp_path / name)
