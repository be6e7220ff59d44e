"""Phases within phases become one share that never falls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from henasy_stream.backends.tensorrt_progress import Phases


def test_inner_phases_are_parts_of_a_step() -> None:
    told: list[tuple[float, str]] = []
    now = iter(range(100))
    phases = Phases(lambda share, name: told.append((share, name)), monotonic=lambda: float(next(now)))
    phases.start("whole", None, 2)
    phases.start("part", "whole", 4)
    phases.step("part", 1)
    phases.step("part", 3)
    phases.finish("part")
    phases.step("whole", 0)
    phases.step("whole", 1)
    assert told == [(0.0, "whole"), (0.0, "part"), (0.25, "part"), (0.5, "part"), (0.5, "whole"), (1.0, "whole")]


def test_it_is_not_told_of_every_step() -> None:
    told: list[float] = []
    phases = Phases(lambda share, _: told.append(share), monotonic=lambda: 0.0)
    phases.start("whole", None, 1000)
    for index in range(1000):
        phases.step("whole", index)
    assert len(told) == 1


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.sampled_from("abc"), st.sampled_from(["a", "b", "c", None]), st.integers(0, 5)),
        st.tuples(st.just("step"), st.sampled_from("abc"), st.integers(0, 9)),
        st.tuples(st.just("finish"), st.sampled_from("abc")),
    )
)


@given(EVENTS)
def test_whatever_a_builder_tells(events: list[tuple[object, ...]]) -> None:
    told = [0.0]
    now = iter(range(1000))
    phases = Phases(lambda share, _: told.append(share), monotonic=lambda: float(next(now)))
    for kind, *arguments in events:
        getattr(phases, str(kind))(*arguments)
    assert told == sorted(told)
    assert told[-1] <= 1.0
