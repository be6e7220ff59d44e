"""The soak test in its short form, and that its bounds can fail."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks._soak.__main__ import main
from benchmarks._soak.measures import BINS, Series, series_checks, summary
from benchmarks._soak.readers import Tally
from benchmarks._soak.record import LINES, RollingRecord
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.messages import Message
from tests.sinks import synthetic

STEPS = 5000


@pytest.mark.slow
def test_five_thousand_steps_with_faults_at_random(tmp_path, capsys):
    result, plot = tmp_path / "soak.json", tmp_path / "soak.png"
    code = main(["--steps", str(STEPS), "--seed", "7", "--json", str(result), "--plot", str(plot)])
    said = capsys.readouterr().out
    assert code == 0, said
    measured = json.loads(result.read_text())
    assert measured["steps"] == STEPS
    assert measured["windows"] > STEPS / 50
    assert sum(measured["faults"].values()) > 30
    assert measured["messages"]["henasy/1/tracks"] > measured["windows"] / 2
    assert plot.read_bytes().startswith(b"\x89PNG")


def series(folder: Path) -> Series:
    """A quiet run."""
    made = Series(2000, folder)
    made.steps = 2000
    made.fresh[:] = True
    made.wall_ms[:] = made.cpu_ms[:] = np.random.default_rng(0).normal(10, 0.5, 2000)
    made.memory[:1000] = [(2 * i, 5e8, 20, 5) for i in range(1000)]
    made.states[:200] = [(10 * i, 3e5, 3.1e5) for i in range(200)]
    return made


def failed(made: Series) -> list[str]:
    return [check.name for check in series_checks(made) if not check.ok]


class TestBounds:
    def test_a_quiet_run_passes(self, tmp_path):
        made = series(tmp_path)
        assert not failed(made)
        assert summary(made)["resident_MB"] == [500.0] * BINS

    def test_memory_that_creeps_up_by_three_percent_does_not(self, tmp_path):
        made = series(tmp_path)
        made.memory[:1000, 1] *= np.linspace(1, 1.03, 1000)
        assert [name.split(" grows")[0] for name in failed(made)] == ["resident memory"]

    def test_memory_that_is_taken_while_warming_up_is_no_growth(self, tmp_path):
        made = series(tmp_path)
        made.memory[:40, 1] *= 0.5
        assert not failed(made)

    def test_a_state_that_gains_an_array_does_not(self, tmp_path):
        made = series(tmp_path)
        made.states[150:200, 1] += 8
        assert failed(made) == ["the state's arrays keep their size"]

    def test_windows_that_take_ever_longer_do_not(self, tmp_path):
        made = series(tmp_path)
        made.cpu_ms *= np.linspace(1, 2.5, 2000)
        assert len(failed(made)) == 1
        assert "p99" in failed(made)[0]


class TestOrder:
    def test_a_tally_tells_loss_from_repetition(self):
        tally = Tally()
        for seq in (3, 4, 7, 7, 8):
            tally.add(message(seq))
        assert (tally.received.total(), tally.missing.total(), tally.disorder) == (4, 2, 1)

    def test_the_record_is_read_back_and_finds_a_hole(self, tmp_path):
        record = RollingRecord(tmp_path / "record.jsonl")
        numbers = [*range(LINES + 5), LINES + 6]
        for seq in numbers:
            record.send([message(seq)])
        assert (tmp_path / "record.jsonl").read_bytes().count(b"\n") == 6
        record.close()
        assert record.holes == 1
        assert record.counts == {"henasy/1/caption": LINES + 7}


def message(seq: int) -> Message:
    made = MessageBuilder(synthetic.CAPTIONS_ONLY).perception(synthetic.perception())[0]
    return msgspec.structs.replace(made, seq=seq)
