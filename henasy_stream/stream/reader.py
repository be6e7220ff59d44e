"""What one output of the network says: the only place where outputs become tracks, captions and answers.

`Reader.read` takes the books and one output and gives a `Reading`.  Whatever else is to be read of an output has its
book in `Books`, starts afresh in `restart`, and is called in `read`, after entities and before the caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from henasy_stream.backends.base import Backend
from henasy_stream.config import StreamConfig
from henasy_stream.preprocess import View
from henasy_stream.stream.answers import absent, answers, frame_answers
from henasy_stream.stream.asking import Asker
from henasy_stream.stream.captions import CaptionBook
from henasy_stream.stream.outside import OutsideBook
from henasy_stream.stream.outside_tracks import Names, as_users_know_them, empty_outside, empty_tracks, read_outside
from henasy_stream.stream.publish import publish
from henasy_stream.stream.reading import Found, Window, read_caption, read_tracks
from henasy_stream.stream.relation_evidence import look
from henasy_stream.stream.relation_weights import OUTSIDE, OWN
from henasy_stream.stream.relations import RelationBook, relate
from henasy_stream.stream.texts import Texts
from henasy_stream.stream.tracks import TrackBook, end_all
from henasy_stream.types import Caption, EntityBoxes, Masks, NetworkOutput, QueryAnswer, Relation, Track


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Books:
    """What a stream has learnt; every hop renews it.

    outside: boxes of the user's own detector that wait to be read.
    """

    tracks: TrackBook
    captions: CaptionBook
    outside: OutsideBook
    relations: RelationBook


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Result:
    """What a hop says, repeated until the next one."""

    tracks: tuple[Track, ...] = ()
    caption: Caption | None = None
    relations: tuple[Relation, ...] = ()
    queries: tuple[QueryAnswer, ...] = ()
    masks: Masks | None = None
    window_start_ns: int = 0
    window_end_ns: int = 0
    notice: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reading:
    """The books after an output, what users are told, and the segments that this closed."""

    books: Books
    result: Result
    closed: tuple[Caption, ...] = ()


class Reader:
    """Reads outputs.  Holds texts and configuration, no stream.

    Attributes:
        outside: entities are boxes of the user's own detector.
        texts: all that outputs are compared with.
        asker: makes what `queries` may be replaced by between two outputs.
        queries: what is looked for now.
    """

    def __init__(
        self, backend: Backend, texts: Texts, config: StreamConfig, *, period_ns: int, frames_out: int
    ) -> None:
        """Embeds nothing yet.

        Args:
            backend: embeds names that boxes from outside bring.
            texts: see attributes.
            config: of the stream.
            period_ns: between two samples; boxes from outside belong to samples half of it away at most.
            frames_out: frames of an output's masks.
        """
        self.texts, self.outside = texts, config.entities == "outside"
        self._backend, self._config, self._spec = backend, config, backend.spec
        self._period_ns, self._frames_out = period_ns, frames_out
        self._own = not self.outside and "entities" in backend.spec.capabilities
        self._names = Names(backend, texts)
        self.asker = Asker(backend, texts, closed=self._own and backend.spec.synthetic)
        self.queries = self.asker.bank(())

    def empty(self) -> Books:
        """Before the first output."""
        return Books(
            tracks=self._empty_tracks(1),
            captions=CaptionBook.empty(len(self.texts.bank.texts)),
            outside=empty_outside() if self.outside else OutsideBook(),
            relations=RelationBook.empty(),
        )

    def restart(self, books: Books, now_ns: int, view: View) -> tuple[Books, tuple[Track, ...], tuple[Caption, ...]]:
        """After a discontinuity: fresh books whose ids go on, the tracks that this removes, the segment it closes.

        Args:
            books: until now.
            now_ns: stamp of the first frame after the discontinuity.
            view: of that frame.
        """
        ended, _ = publish(
            end_all(books.tracks),
            books.outside.names if self.outside else self.texts.vocabulary.labels,
            now_ns=now_ns,
            height=view.height,
            width=view.width,
            coverage=1.0,
            lost_s=self._config.lost_s,
            embeddings=self._config.embeddings,
        )
        if self.outside:
            ended = as_users_know_them(ended, self.texts.vocabulary.labels)
        phrases = self.texts.bank.texts
        captions, closed = books.captions.close(phrases)
        fresh = Books(
            tracks=self._empty_tracks(books.tracks.next_id),
            captions=CaptionBook.empty(len(phrases), captions.next_id),
            outside=books.outside.restart(now_ns, self._slack_ns),
            relations=RelationBook.empty(),
        )
        return fresh, ended, closed

    def receive(self, books: Books, boxes: Sequence[EntityBoxes], *, oldest_ns: int, now_ns: int, first: bool) -> Books:
        """Takes in boxes from outside; `oldest_ns`: stamp of the oldest sample that is still looked at."""
        outside = books.outside.receive(boxes, oldest_ns - self._slack_ns, now_ns, first=first)
        return replace(books, outside=outside)

    def read(self, books: Books, output: NetworkOutput, window: Window) -> Reading:
        """One hop.

        Args:
            books: until now.
            output: of the network.
            window: what it has seen.
        """
        books, found = self._entities(books, output, window)
        books, relations = self._relations(books, found, int(window.stamps[-1]))
        caption: Caption | None = None
        closed: tuple[Caption, ...] = ()
        if "caption" in self._spec.capabilities:
            captions, caption, closed = read_caption(books.captions, output, window, found, self.queries, self._config)
            books = replace(books, captions=captions)
        result = Result(
            tracks=found.tracks,
            caption=caption,
            relations=relations,
            queries=self._answers(books.tracks, output),
            masks=found.masks,
            window_start_ns=int(window.stamps[0]),
            window_end_ns=int(window.stamps[-1]),
            notice=books.outside.remark(self._period_ns * (self._spec.num_frames - 1) / 1e9)
            or self.texts.bank.filling.remark(),
        )
        return Reading(books=books, result=result, closed=closed)

    def nothing(self) -> Result:
        """What is known before the first output: every query is absent."""
        return Result(queries=absent(self.queries))

    def _answers(self, book: TrackBook, output: NetworkOutput) -> tuple[QueryAnswer, ...]:
        if self._own or self.outside:
            return answers(book, self.queries, output.video_embedding)
        return frame_answers(self.queries, output.video_embedding, self.texts.bank.embeddings)

    def _entities(self, books: Books, output: NetworkOutput, window: Window) -> tuple[Books, Found]:
        if self.outside:
            tracks, outside, found = read_outside(
                books.tracks, books.outside, window, self._names, self.queries, self._config, slack_ns=self._slack_ns
            )
            return replace(books, tracks=tracks, outside=outside), found
        if self._own:
            tracks, found = read_tracks(books.tracks, output, window, self.texts, self.queries, self._config)
            return replace(books, tracks=tracks), found
        return books, Found(texts=self.texts)

    def _relations(self, books: Books, found: Found, now_ns: int) -> tuple[Books, tuple[Relation, ...]]:
        if found.masks is None:
            return books, ()
        weights = OUTSIDE if self.outside else OWN
        book, relations = relate(books.relations, look(found.tracks, found.masks), weights, now_ns)
        return replace(books, relations=book), relations

    @property
    def _slack_ns(self) -> int:
        """How far boxes may be from a sample that they belong to."""
        return self._period_ns // 2

    def _empty_tracks(self, next_id: int) -> TrackBook:
        spec = self._spec
        if self.outside:
            return empty_tracks(spec.embed_dim, next_id)
        return TrackBook.empty(
            num_entities=spec.num_entities if self._own else 0,
            num_frames=self._frames_out,
            grid=spec.grid,
            labels=len(self.texts.vocabulary.labels),
            width=spec.embed_dim,
            next_id=next_id,
        )
