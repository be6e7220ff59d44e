"""`henasy_stream.stream`: the loop for those who write their own program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from henasy_stream.config import StreamConfig
from henasy_stream.types import Frame, Perception

if TYPE_CHECKING:
    from henasy_stream.backends.base import Backend


def stream(
    model: Backend,
    source: Iterable[Frame],
    *,
    queries: Sequence[str] = (),
    phrases: Sequence[str] | None = None,
    config: StreamConfig | None = None,
) -> Iterator[Perception]:
    """Runs a model over a source and yields one perception a frame.

    Args:
        model: what `load` returned.
        source: what `open_source` returned, or anything that yields frames with increasing stamps.
        queries: texts to find and track under that name; for models with the capability "queries".
        phrases: captions to choose from; None takes the weights' own.
        config: how the model is run; the defaults when None.

    Yields:
        For every frame what is known at it; `fresh` says whether the network ran at this one.  When the source ends
        with an action going on, one more perception of the last frame, not fresh, brings its closed segment.

    Raises:
        UserError: the model cannot do what is asked of it.
    """
    from henasy_stream.runtime.loop import closing
    from henasy_stream.stream.engine import Engine

    engine = Engine(model, config or StreamConfig(), queries=queries, phrases=phrases)
    state, perception = engine.initial_state(), None
    for frame in source:
        state, perception = engine.step(state, frame)
        yield perception
    final = closing(engine, state, perception)
    if final is not None:
        yield final
