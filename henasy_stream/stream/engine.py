"""The loop of the stream: a frame goes in, windows are run when they are due, tracks and captions come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from henasy_stream.backends.base import Backend
from henasy_stream.config import StreamConfig
from henasy_stream.errors import UserError
from henasy_stream.preprocess import View, is_plain
from henasy_stream.stream.continuity import discontinuity, is_live
from henasy_stream.stream.network import Network, Pace
from henasy_stream.stream.phrases import Progress, VerbNounPairs
from henasy_stream.stream.queries import QueryBank
from henasy_stream.stream.reader import Reader
from henasy_stream.stream.reading import Window
from henasy_stream.stream.sampler import Sampler, SampleRing
from henasy_stream.stream.state import StreamState, fingerprint
from henasy_stream.stream.texts import prepare_texts
from henasy_stream.stream.turns import BackgroundFilling, Turns
from henasy_stream.types import Caption, EntityBoxes, Frame, Perception, Track

_STEP_RATE = 0.3


class Engine:
    """Runs a model over a stream.  Holds the model, the texts and the configuration; the stream is in `StreamState`.

    `step` depends on nothing but the state and the frame, save that with `hop=0` a live source's hop follows the
    measured time of a window.

    Attributes:
        spec: of the weights; with entities from outside they count among its capabilities.
        vocabulary: what `Track.label_index` counts: the weights' nouns, and "hand" after them if it is not one; empty
            for weights without a vocabulary, whose tracks are labelled "entity" unless they answer a query.
        phrases: the caption bank.
        timings: seconds of the last `step` by stage: "preprocess", "network", "perception"; stages that did not run
            are left out.
    """

    def __init__(
        self,
        backend: Backend,
        config: StreamConfig,
        *,
        queries: Sequence[str] = (),
        phrases: Sequence[str] | VerbNounPairs | None = None,
        progress: Progress | None = None,
        background: bool = False,
    ) -> None:
        """Embeds all texts, from the cache on disk where it can.

        Args:
            backend: executes the network.
            config: how it is run over the stream.
            queries: the user's texts, see `set_queries`.
            phrases: caption bank; None takes the weights' own, or everyday actions when they have none.
            progress: called with (texts done, texts in all) while a large bank is embedded.
            background: a large bank is embedded by a thread while the stream runs, and captions are chosen from what is
                there; what they say then depends on how fast that goes.  `close` ends the thread.

        Raises:
            UserError: the bank is empty, the span, the mode or the hop is impossible.
        """
        spec = backend.spec
        self.backend, self.config, self.spec = backend, config, spec
        self.timings: dict[str, float] = {}
        self._network = Network(backend, config)
        if config.entities == "outside":
            self.spec = replace(spec, capabilities=spec.capabilities | {"entities"})
        span_s = spec.span_s if config.span_s is None else config.span_s
        self._sampler = Sampler.plan(spec.num_frames, span_s, config.gap_s)
        texts = prepare_texts(backend, phrases, progress, background=background)
        self._turns = Turns()
        self.vocabulary, self.phrases = texts.vocabulary.labels, texts.bank.texts
        self._reader = Reader(
            backend, texts, config, period_ns=self._sampler.period_ns, frames_out=self._network.frames_out
        )
        self.set_queries(queries)
        filling = texts.bank.filling
        self._filling = None if filling.complete else BackgroundFilling(filling, self._turns)
        sizes = (spec.model_id, spec.image_size, spec.num_frames, spec.num_entities, spec.grid, spec.embed_dim)
        how = (spec.attention, self._sampler, config.rotate, spec.resize, config.entities)
        self._fingerprint = fingerprint(sizes, how, self.vocabulary, self.phrases)

    @property
    def queries(self) -> tuple[str, ...]:
        """The texts that are looked for now."""
        return self._reader.queries.texts

    def set_queries(self, texts: Sequence[str]) -> None:
        """Looks for other texts from the next window on.

        With entities, the track that answers a text takes it as its label and its `query`.  Without, the texts are
        scored for the whole window and appended to the caption's alternatives.
        """
        self.use_queries(self.prepare_queries(texts))

    def prepare_queries(self, texts: Sequence[str]) -> QueryBank:
        """Embeds texts for `use_queries`; another thread may do that while `step` runs."""
        return self._reader.asker.bank(texts, self._reader.queries, self._turns.stream)

    def use_queries(self, bank: QueryBank) -> None:
        """Looks for what `prepare_queries` returned from the next window on; between two steps only."""
        self._reader.queries = bank

    def warm_up(self) -> float:
        """Runs the network over grey pictures, so that the first real one is not slow; returns the seconds."""
        started = perf_counter()
        with self._turns.stream():
            self._network.warm_up()
        return perf_counter() - started

    def initial_state(self) -> StreamState:
        """The state before the first frame."""
        return StreamState(
            fingerprint=self._fingerprint,
            ring=SampleRing.empty(self.spec.num_frames, self.spec.image_size),
            books=self._reader.empty(),
            last=self._reader.nothing(),
            network=self._network.initial_state(),
        )

    def step(
        self, state: StreamState, frame: Frame, entities: Sequence[EntityBoxes] = ()
    ) -> tuple[StreamState, Perception]:
        """Takes one frame.  Consumes `state`: its rings are written to.

        `entities`: boxes from outside that came in since the last frame, in any order, for this frame or others; see
        `henasy_stream.stream.outside`.  Only with `StreamConfig(entities="outside")`.

        When the backend fails, the state may be used once more with a frame whose `reset` is set: ids then go on, and
        the network's memory starts afresh.

        Raises:
            FloatingPointError: the network's output is not finite; as when the backend fails.
            UserError: the state belongs to other weights, phrases or another window, or boxes are given to an engine
                that looks for entities itself.
        """
        with self._turns.stream():
            return self._step(state, frame, entities)

    def _step(
        self, state: StreamState, frame: Frame, entities: Sequence[EntityBoxes]
    ) -> tuple[StreamState, Perception]:
        if entities and not self._reader.outside:
            raise UserError('boxes from outside are given: make the engine with StreamConfig(entities="outside")')
        if state.fingerprint != self._fingerprint:
            raise UserError("this stream state was saved with other weights, phrases or sampling: start afresh")
        self.timings = {}
        reason = discontinuity(state, frame, self._sampler)
        ended: tuple[Track, ...] = ()
        closed: tuple[Caption, ...] = ()
        if reason is not None:
            state, ended, closed = self._reset(state, frame)
        new = 0
        ring, wanted = self._sampler.observe(state.ring, frame.stamp_ns)
        state = replace(state, ring=ring, busy_s=0.0, frames=state.frames + 1)
        state = replace(state, height=frame.height, width=frame.width, source=frame.source)
        if wanted:
            started = perf_counter()
            image = self._view(frame).apply(frame.image)
            new = -ring.next_tick if ring.filled else 0
            ring = self._sampler.push(ring, image, frame.stamp_ns)
            new += ring.next_tick
            self.timings["preprocess"] = perf_counter() - started
            state = replace(state, ring=ring, samples=state.samples + 1)
        if entities:
            oldest_ns = int(state.ring.stamps.min())
            books = self._reader.receive(
                state.books, entities, oldest_ns=oldest_ns, now_ns=frame.stamp_ns, first=state.frames == 1
            )
            state = replace(state, books=books)
        pace = self._network.pace(state.step_s, self._sampler.period_ns, live=is_live(frame))
        due = wanted and (not state.hops or state.ring.since_window >= pace.hop)
        if due:
            state, ended_now = self._look(state, frame, new, pace)
            closed += ended_now
        last = state.last
        return state, Perception(
            frame=frame,
            stamp_ns=frame.stamp_ns,
            window_start_ns=last.window_start_ns,
            window_end_ns=last.window_end_ns,
            tracks=ended + tuple(track for track in last.tracks if due or track.state != "removed"),
            caption=last.caption,
            closed=closed,
            relations=last.relations,
            queries=last.queries,
            masks=last.masks,
            reset=reason,
            fresh=due,
            notice=last.notice,
        )

    def close(self) -> None:
        """Ends the thread that embeds a large bank, if one does; what it has done is kept on disk."""
        if self._filling is not None:
            self._filling.close()

    def finish(self, state: StreamState) -> tuple[Caption, ...]:
        """The segment that is open when the stream ends, closed."""
        return state.books.captions.close(self.phrases)[1]

    def _view(self, frame: Frame) -> View:
        return View.plan(frame.height, frame.width, self.spec.image_size, self.spec.resize, self.config.rotate)

    def _reset(self, state: StreamState, frame: Frame) -> tuple[StreamState, tuple[Track, ...], tuple[Caption, ...]]:
        """The state afresh, ids and counters going on; the tracks that this removes and the segment that it closes."""
        books, ended, closed = self._reader.restart(state.books, frame.stamp_ns, self._view(frame))
        fresh = replace(
            state,
            ring=replace(state.ring, filled=0, since_window=0),
            books=books,
            last=self._reader.nothing(),
            network=None if state.network is None else state.network.reset(),
            hops=0,
            resets=state.resets + 1,
        )
        return fresh, ended, closed

    def _look(self, state: StreamState, frame: Frame, new: int, pace: Pace) -> tuple[StreamState, tuple[Caption, ...]]:
        """Runs the network and reads what it says; also the segment that this closes."""
        started = perf_counter()
        look = self._network.look(state.ring, state.network, new, pace)
        middle = perf_counter()
        window = Window(
            stamps=look.stamps,
            coverage=look.coverage,
            view=self._view(frame),
            first=not state.hops,
            plain=is_plain(frame.image),
        )
        reading = self._reader.read(state.books, look.output, window)
        ended = perf_counter()
        self.timings |= {"network": middle - started, "perception": ended - middle}
        step_s = (ended - started) / look.steps
        state = replace(
            state,
            ring=replace(state.ring, since_window=0),
            books=reading.books,
            last=reading.result if look.notice is None else replace(reading.result, notice=look.notice),
            network=look.state,
            busy_s=ended - started,
            step_s=state.step_s + _STEP_RATE * (step_s - state.step_s) if state.windows else step_s,
            hops=state.hops + 1,
            windows=state.windows + 1,
        )
        return state, reading.closed
