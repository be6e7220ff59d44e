"""`henasy_stream.stream`: the loop for those who write their own program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from henasy_stream.config import StreamConfig
from henasy_stream.types import EntityBoxes, Frame, Perception

if TYPE_CHECKING:
    from henasy_stream.backends.base import Backend
    from henasy_stream.stream.phrases import VerbNounPairs


def stream(
    model: Backend,
    source: Iterable[Frame],
    *,
    queries: Sequence[str] = (),
    phrases: Sequence[str] | VerbNounPairs | None = None,
    config: StreamConfig | None = None,
    entities: Callable[[Frame], Sequence[EntityBoxes]] | None = None,
) -> Iterator[Perception]:
    """Runs a model over a source and yields one perception a frame.

    Args:
        model: what `load` returned.
        source: what `open_source` returned, or anything that yields frames with increasing stamps.
        queries: texts to find and track under that name; for models with the capability "queries".
        phrases: captions to choose from; None takes the weights' own.
        config: how the model is run; the defaults when None.
        entities: your own detector in place of the model's entities: called with every frame, it returns what it has
            found since the last one, for this frame or others.

    Yields:
        For every frame what is known at it; `fresh` says whether the network ran at this one.  When the source ends
        with an action going on, one more perception of the last frame, not fresh, brings its closed segment.

    Raises:
        UserError: the model cannot do what is asked of it.
    """
    from henasy_stream.runtime.loop import closing
    from henasy_stream.stream.engine import Engine

    config = config or StreamConfig()
    if entities is not None:
        config = replace(config, entities="outside")
    engine = Engine(model, config, queries=queries, phrases=phrases)
    state, perception = engine.initial_state(), None
    for frame in source:
        state, perception = engine.step(state, frame, entities(frame) if entities is not None else ())
        yield perception
    final = closing(engine, state, perception)
    if final is not None:
        yield final
