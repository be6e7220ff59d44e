"""What a run tells of itself, on planted cases."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from training.logbook import Logbook, check_tensorboard
from training.losses import LossInputs
from training.monitor import FEWEST, FUTILE, Meter, Watch, grounding, memory_gb

NAN = torch.nan


def inputs(masks: Tensor, entities: Tensor, boxes: Tensor, box_noun: Tensor) -> LossInputs:
    width = entities.shape[-1]
    empty = torch.zeros(len(masks), width)
    return LossInputs(
        video=empty,
        text=empty,
        positives=torch.eye(len(masks), dtype=torch.bool),
        masks=masks,
        entities=entities,
        boxes=boxes,
        box_noun=box_noun,
        dictionary=torch.eye(width),
    )


def halves(entities: int = 3) -> Tensor:
    """(1, 2, 4, 4, entities): slot 0 has the left half of a 4 × 4 grid, slot 1 the right one, others nothing."""
    masks = torch.full((1, 2, 4, 4, entities), 0.1)
    masks[:, :, :, :2, 0], masks[:, :, :, 2:, 1] = 0.8, 0.8
    return masks


LEFT, RIGHT = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]


def test_noun_that_chooses_the_wrong_slot_shows_beside_the_best_one() -> None:
    words = torch.eye(3)[None]
    both = torch.tensor([[[LEFT], [[NAN] * 4]]])  # absent from the second frame, which must not count
    right = grounding(inputs(halves(), words, both, torch.tensor([[0]])))
    wrong = grounding(inputs(halves(), words, both, torch.tensor([[1]])))
    assert right == pytest.approx({"iou_chosen": 1, "iou_best": 1, "dead_slots": 1, "background_share": 0.5})
    assert wrong == pytest.approx({"iou_chosen": 0, "iou_best": 1, "dead_slots": 1, "background_share": 0.5})


def test_cell_that_a_box_covers_in_part_counts_in_part() -> None:
    narrow = torch.tensor([[[[0.0, 0.0, 0.375, 1.0]]] * 2])  # six of the eight cells that slot 0 has
    assert grounding(inputs(halves(), torch.eye(3)[None], narrow, torch.tensor([[0]])))["iou_chosen"] == pytest.approx(
        6 / 8
    )


def test_noun_of_two_boxes_is_right_with_either() -> None:
    boxes = torch.tensor([[[LEFT, RIGHT]] * 2])
    slots = torch.tensor([[[0.0, 1, 0], [0.0, 0.9, 1], [1, 0, 0]]])  # the noun 1 chooses slot 0
    assert grounding(inputs(halves(), slots, boxes, torch.tensor([[1, 1]])))["iou_chosen"] == pytest.approx(1)
    assert grounding(inputs(halves(), slots, boxes, torch.tensor([[1, -1]])))["iou_chosen"] == pytest.approx(1)
    assert grounding(inputs(halves(), slots, boxes, torch.tensor([[-1, 1]])))["iou_chosen"] == pytest.approx(0)


def test_clips_without_named_boxes_have_no_iou() -> None:
    absent = torch.full((1, 2, 1, 4), NAN)
    assert set(grounding(inputs(halves(), torch.eye(3)[None], absent, torch.tensor([[0]])))) == {
        "dead_slots",
        "background_share",
    }


def told(watch: Watch, losses: list[float], values: dict[str, float] | None = None, first: int = 1) -> list[str]:
    return [
        line
        for step, loss in enumerate(losses, first)
        for line in watch.see(step, {"loss": loss, "grad_norm": 1.0, **(values or {})}, f"batch {step}")
    ]


def test_silent_grounding_is_told_once_an_interval() -> None:
    bad, good = {"iou_chosen": 0.1, "iou_best": 0.3}, {"iou_chosen": 0.2, "iou_best": 0.3}
    watch = Watch(10)
    lines = told(watch, [1.0] * 30, bad)
    assert [line.split(":")[0] for line in lines] == ["step 10", "step 20", "step 30"]
    assert "0.100" in lines[0]
    assert "0.300" in lines[0]
    assert told(watch, [1.0] * 10, good, first=31) == []
    assert told(watch, [1.0] * 10, first=41) == []  # no boxes


def test_spike_names_its_batch_once_an_interval() -> None:
    watch = Watch(100)
    usual = [4 + 0.2 * (step % 3) for step in range(FEWEST)]
    assert told(watch, usual) == []
    (line,) = told(watch, [4.2, 9.0, 9.0, 4.2], first=FEWEST + 1)
    assert f"step {FEWEST + 2}: the loss jumped to 9 from about 4.2" in line
    assert f"batch {FEWEST + 2}" in line


def test_loss_that_falls_or_wavers_is_no_spike() -> None:
    wavering = [0.02 + 0.01 * (step % 5) for step in range(200)]
    falling = [8 * 0.99**step for step in range(200)]
    assert told(Watch(50), falling + wavering) == []


def test_gradients_that_stay_infinite_end_the_run() -> None:
    watch = Watch(100)
    values = {"loss": 1.0, "grad_norm": float("nan")}
    for step in range(1, FUTILE):
        (line,) = watch.see(step, values, f"clip {step}")
        assert f"clip {step}" in line
    with pytest.raises(FloatingPointError, match=rf"clip {FUTILE}"):
        watch.see(FUTILE, values, f"clip {FUTILE}")


def test_meter_counts_what_came_since_it_was_read() -> None:
    meter = Meter()
    meter.add(clips=8, seconds=1.0, waited=0.5)
    meter.add(clips=8, seconds=3.0, waited=0.5)
    assert meter.read() == {"clips_per_s": 4.0, "waiting": 0.25}
    meter.add(clips=6, seconds=2.0, waited=0.0)
    assert meter.read() == {"clips_per_s": 3.0, "waiting": 0.0}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak there")
def test_memory_is_the_peak_that_the_system_knows() -> None:
    peak_kb = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]
    assert memory_gb(torch.device("cpu")) == pytest.approx(peak_kb * 1024 / 1e9, rel=0.01)


def test_log_drops_what_a_killed_run_wrote_beyond_its_checkpoint(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 2, "loss": 1}\n{"step": 4, "loss": 2}\n{"step": 6, "loss": 3}\n{"step": 4, "lo')
    Logbook(tmp_path, 4).write(6, {"loss": 4.0})
    assert [json.loads(line) for line in log.read_text().splitlines()] == [
        {"step": 2, "loss": 1},
        {"step": 4, "loss": 2},
        {"step": 6, "loss": 4.0},
    ]


def test_tensorboard_shows_a_step_once(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    Logbook(tmp_path, 0, tensorboard=True).write(3, {"loss": 1.0})
    Logbook(tmp_path, 2, tensorboard=True).write(3, {"loss": 2.0, "val/inter": 0.5})
    events: Any = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 2.0)]
    assert [event.value for event in events.Scalars("val/inter")] == [0.5]


def test_missing_tensorboard_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"henasy-stream\[train\]"):
        check_tensorboard()
