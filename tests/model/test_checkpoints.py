import json

import pytest
import torch
from torch import nn

from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError
from henasy_stream.model.checkpoints import load_strictly, load_weights, save_weights

STATE = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([1.5, -2.0]).half(), "count": torch.tensor([3, 4])}


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "deep" / "model.safetensors"
    save_weights(path, STATE, HenasyConfig.demo(), recipe="world_demo", seed=3)
    return path


def test_what_was_saved_comes_back_in_float32(weights):
    state, config, metadata = load_weights(weights)
    assert config == HenasyConfig.demo()
    assert metadata == {"recipe": "world_demo", "seed": 3}
    assert state.keys() == STATE.keys()
    assert state["a"].dtype == state["b"].dtype == torch.float32
    assert state["count"].dtype == torch.int64
    for name, tensor in STATE.items():
        assert torch.equal(state[name], tensor.to(state[name].dtype))


def test_nothing_but_the_two_files_is_left_and_others_may_read_them(weights):
    assert sorted(file.name for file in weights.parent.iterdir()) == ["model.json", "model.safetensors"]
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in weights.parent.iterdir())


def test_a_save_that_fails_leaves_the_old_weights(weights):
    before = weights.read_bytes()
    shared = torch.zeros(4)
    with pytest.raises(RuntimeError, match="share memory"):
        save_weights(weights, {"a": shared, "b": shared}, HenasyConfig.demo())
    assert weights.read_bytes() == before
    assert sorted(file.name for file in weights.parent.iterdir()) == ["model.json", "model.safetensors"]


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        save_weights(tmp_path / "model.pth", STATE, HenasyConfig.demo())


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:5],
        lambda content: content[: len(content) - 3],
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: b"PK\x03\x04 a zip file, not ours" * 20,
    ],
    ids=["empty", "head cut", "tail cut", "absurd header", "foreign"],
)
def test_damaged_weights_are_named(weights, damage):
    weights.write_bytes(damage(weights.read_bytes()))
    with pytest.raises(UserError, match=r"model\.safetensors is damaged or no safetensors file") as caught:
        load_weights(weights)
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(weights):
    with pytest.raises(UserError, match=r"nothing\.safetensors does not exist"):
        load_weights(weights.with_name("nothing.safetensors"))
    weights.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"model\.json is missing"):
        load_weights(weights)


def edit(weights, change):
    beside = weights.with_suffix(".json")
    note = json.loads(beside.read_text())
    change(note)
    beside.write_text(json.dumps(note))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda note: note["config"].update(num_entity=8), "unknown key 'num_entity'; did you mean 'num_entities'"),
        (
            lambda note: note["config"]["vision"].update(head=3),
            r"config\.vision has an unknown key 'head'; did you mean 'heads'",
        ),
        (lambda note: note["config"].update(vision=5), r"config\.vision must be an object, not int"),
        (lambda note: note["config"].update(num_groups="many"), r"Expected `int`, got `str`.*num_groups"),
        (lambda note: note["config"].update(decoder="magic"), "magic"),
        (lambda note: note["config"]["vision"].update(heads=7), r"is not a multiple of heads 7 .*\$\.vision"),
        (lambda note: note.pop("config"), "config must be an object, not NoneType"),
        (lambda note: note.update(metadata=[]), "metadata must be an object, not list"),
        (lambda note: note.update(format="other"), "does not say format"),
    ],
)
def test_a_wrong_config_says_what_is_wrong(weights, change, message):
    edit(weights, change)
    with pytest.raises(UserError, match=message) as caught:
        load_weights(weights)
    assert "model.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_config_that_is_no_json_is_named(weights):
    weights.with_suffix(".json").write_text("{")
    with pytest.raises(UserError, match=r"model\.json is not readable JSON"):
        load_weights(weights)


def test_strict_loading_counts_and_lists_each_kind_of_mismatch():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    state = {"0.weight": torch.zeros(3, 2), "0.bias": torch.zeros(5)}
    state |= {f"extra{index}": torch.zeros(1) for index in range(200)}
    with pytest.raises(UserError) as caught:
        load_strictly(model, state, "some.pth")
    message = str(caught.value)
    assert message.startswith("some.pth does not fit Sequential")
    assert "2 missing (1.weight, 1.bias)" in message
    assert "200 unexpected (extra0, extra1, extra2, extra3, extra4, … 195 more)" in message
    assert "1 misshapen (0.bias (5,) instead of (3,))" in message
    assert len(message) < 1000
    assert "\n" not in message


def test_strict_loading_fills_a_model_without_memory():
    with torch.device("meta"):
        model = nn.Linear(2, 3)
    state = {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
    load_strictly(model, state, "some.pth")
    assert torch.equal(model(torch.ones(1, 2)), torch.full((1, 3), 3.0))
    assert model.weight.requires_grad


def test_whole_numbers_in_place_of_weights_are_refused():
    model = nn.Linear(2, 2)
    state = model.state_dict() | {"weight": torch.ones(2, 2, dtype=torch.int64)}
    with pytest.raises(UserError, match=r"1 misshapen \(weight of torch\.int64\)"):
        load_strictly(model, state, "some.pth")


def test_a_text_tower_may_lie_in_other_weights_of_the_folder(tmp_path):
    lender = {
        "towers.text.ln.weight": torch.ones(3),
        "towers.text_projection": torch.eye(2),
        "towers.other": STATE["a"],
    }
    save_weights(tmp_path / "lender.safetensors", lender, HenasyConfig.demo())
    save_weights(tmp_path / "own.safetensors", {"a": STATE["a"]}, HenasyConfig.demo(), text_from="lender.safetensors")
    state, _, _ = load_weights(tmp_path / "own.safetensors")
    assert state.keys() == {"a", "towers.text.ln.weight", "towers.text_projection"}
    assert torch.equal(state["towers.text_projection"], torch.eye(2))
    (tmp_path / "lender.safetensors").unlink()
    with pytest.raises(UserError, match=r"lender\.safetensors does not exist"):
        load_weights(tmp_path / "own.safetensors")


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "sub/other.safetensors", 7, ["a"]])
def test_other_weights_are_named_within_the_folder_only(weights, name):
    note = json.loads(weights.with_suffix(".json").read_text())
    weights.with_suffix(".json").write_text(json.dumps(note | {"text_from": name}))
    with pytest.raises(UserError, match="text_from must be the name of a file in the same folder"):
        load_weights(weights)
