"""`pretrain.py` over decoded clips as a user meets it: from LaViLa's weights, resumed, and refused in one line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from henasy_stream.backends.torch_backend import TorchBackend
from henasy_stream.model.checkpoints import load_weights
from henasy_stream.model.lavila import load_lavila
from tests.training.ego4d_files import Ego4dFiles, write_ego4d
from training.command import pretrain_main
from training.trainer import Trainer

TINY = """
  --model.vision.image-size 32 --model.vision.patch-size 8 --model.vision.width 64 --model.vision.layers 3
  --model.vision.heads 1 --model.text.width 64 --model.text.layers 3 --model.text.heads 1 --model.text.context 20
  --model.embed-dim 32 --model.entity-width 32 --model.entity-heads 2 --model.num-groups 6 --model.num-entities 4
  --model.bootstrap-layers 1 --model.grouping-layers 1 --model.refine-layers 1 --model.decoder-layers 1 --batch 4
  --device cpu --log-every 1
""".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Ego4dFiles:
    return write_ego4d(tmp_path_factory.mktemp("ego4d"))


@pytest.fixture
def command(files: Ego4dFiles, lavila_checkpoint: Path) -> list[str]:
    """The paper's recipe on a network of LaViLa's tiny weights, one pass over the clips."""
    return [
        "--recipe", "henasy_base_egoclip", "--init", str(lavila_checkpoint), *files.arguments(), *TINY,
        "--epochs", "1", "--checkpoint-every", "4",
    ]  # fmt: skip


def losses(out: Path) -> list[dict[str, float]]:
    names = ("step", "loss", "ego", "noun_entity", "verb_entities", "projection")
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in names} for line in lines]


def test_the_papers_recipe_trains_entities_from_lavilas_frozen_towers(
    command: list[str], lavila_checkpoint: Path, tmp_path: Path
) -> None:
    assert pretrain_main([*command, "--out", str(tmp_path)]) == 0
    log = losses(tmp_path)
    assert [line["step"] for line in log] == list(range(1, 7))  # 24 clips, 4 in a batch
    assert all(line[name] > 0 for line in log for name in line)
    state, config, metadata = load_weights(tmp_path / "weights.safetensors")
    towers = load_lavila(lavila_checkpoint).state_dict()
    for name, value in towers.items():
        kept = value.half().float() if value.ndim > 1 else value
        assert torch.equal(state[f"towers.{name}"], kept), name
    assert config.vocabulary.nouns == ("apple", "hand", "knife", "chopping board")
    assert config.preprocess.resize == "squash"
    assert metadata["losses"] == {"ego": 1.0, "noun_entity": 0.5, "verb_entities": 0.5, "projection": 1.0}
    assert TorchBackend.from_file(tmp_path / "weights.safetensors", device="cpu").spec.nouns == config.vocabulary.nouns
    resolved = json.loads((tmp_path / "recipe.json").read_text())
    assert (resolved["batch"], resolved["epochs"], resolved["optim"]["lr"]) == (4, 1, 3e-5)


def test_a_run_cut_off_within_an_epoch_goes_on_as_if_it_had_not(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pretrain_main([*command, "--out", str(tmp_path / "whole")]) == 0
    step = Trainer.step

    def cut(self: Trainer) -> dict[str, float]:
        if self.done == 5:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "step", cut)
        assert pretrain_main([*command, "--out", str(tmp_path / "cut")]) == 130
    assert pretrain_main([*command, "--out", str(tmp_path / "cut")]) == 0
    whole, resumed = losses(tmp_path / "whole"), losses(tmp_path / "cut")
    assert resumed[-2:] == whole[-2:]  # from the checkpoint after step 4
    weights = [load_weights(tmp_path / run / "weights.safetensors")[0] for run in ("whole", "cut")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def write_annotations(path: Path, change: Callable[[str], str], files: Ego4dFiles) -> Path:
    path.write_text(change(files.annotations.read_text()))
    return path


WRONG = {
    "commas": (lambda text: text.replace("\t", ","), "columns are separated by commas, expected tabs"),
    "column": (lambda text: text.replace("tag_noun", "nouns"), "no column tag_noun; the header is"),
    "code": (
        lambda text: text.replace("[5]", "__import__('os').getcwd()", 1),
        r"row 2, column tag_verb: .* is not a list of whole numbers",
    ),
    "taxonomy": (lambda text: text.replace("[0, 2]", "[0, 582]", 1), "column tag_noun: 582 is not in the taxonomy"),
    "words": (lambda text: text.replace("[0, 2]", "[0, 9]", 1), r"noun 9 is tagged; .*taxonomy\.csv has 0\.\.3 only"),
    "empty": (lambda text: text.split("\n")[0] + "\n", "no usable row"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_annotations_are_one_line(
    mistake: str, command: list[str], files: Ego4dFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, reason = WRONG[mistake]
    path = write_annotations(tmp_path / "egoclip.csv", change, files)
    refused([*command, "--data.annotations", str(path), "--data.phrases", ""], tmp_path, reason, capsys)


def test_rows_that_make_no_sense_are_left_out_and_counted(
    command: list[str], files: Ego4dFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(text: str) -> str:
        lines = text.splitlines()
        for place, (start, end) in enumerate((("nan", "2"), ("3", "2"), ("40", "41")), 1):
            cells = lines[place].split("\t")
            cells[6:8] = start, end
            lines[place] = "\t".join(cells)
        return "\n".join(lines) + "\n"

    path = write_annotations(tmp_path / "egoclip.csv", change, files)
    argv = [*command, "--data.annotations", str(path), "--data.phrases", "", "--epochs", "0", "--steps", "1"]
    assert pretrain_main([*argv, "--out", str(tmp_path / "run")]) == 0
    told = " ".join(capsys.readouterr().err.split())
    for reason in (
        "start or end is not a finite number (first: row 2",
        "end before start (first: row 3",
        "outside the",
    ):
        assert f"1 × {reason}" in told


def refused(argv: list[str], out: Path, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert pretrain_main([*argv, "--out", str(out / "run")]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pretrain: ")]
    assert len(told) == 1
    assert re.search(reason, told[0]), told[0]
    assert not (out / "run" / "checkpoint.pt").exists()


def test_weights_and_data_that_do_not_fit_are_one_line(
    command: list[str],
    files: Ego4dFiles,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = "does not fit Henasy: .* missing .*; .* unexpected .*; .* misshapen .*Is it another model"
    refused([*command, "--init", "demo"], tmp_path, other, capsys)
    refused([*command, "--init", "nothing.pth"], tmp_path, "nothing.pth", capsys)
    refused([*command, "--data.phrases", str(files.root)], tmp_path, "verbs.json: .*run prepare.py verbs again", capsys)
    refused([*command, "--data.videos", str(tmp_path)], tmp_path, "none of the 3 videos looked for is there", capsys)
    refused(["--data", str(tmp_path)], tmp_path, "no own.json there; make the folder with", capsys)
    monkeypatch.setenv("WORLD_SIZE", "3")
    refused(command, tmp_path, "a batch of 4 clips can't be divided among 3 ranks; change --batch", capsys)


def test_a_folder_of_another_run_is_left_alone(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*command, "--epochs", "0", "--steps", "1", "--out", str(tmp_path)]
    assert pretrain_main(argv) == 0
    weights = (tmp_path / "weights.safetensors").read_bytes()
    assert pretrain_main([*argv, "--optim.lr", "1"]) == 2
    assert "holds a run with other settings" in capsys.readouterr().err
    assert (tmp_path / "weights.safetensors").read_bytes() == weights


def test_a_damaged_clip_is_named_and_replaced(
    command: list[str], files: Ego4dFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(files.root / "videos", tmp_path / "videos")
    (tmp_path / "videos" / "v2.mp4" / "15.mp4").write_bytes(b"damaged")
    argv = [*command, "--data.videos", str(tmp_path / "videos"), "--data.max-unreadable", "1"]
    assert pretrain_main([*argv, "--out", str(tmp_path / "run")]) == 0
    assert "v2.mp4/15.mp4" in caplog.text
    assert "another one takes its place" in caplog.text
