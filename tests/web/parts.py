"""A page without a node: the synthetic world with its true masks, played to `LivePage` by a thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from henasy_stream.control import Reply, Request
from henasy_stream.runtime.monitor import Monitor
from henasy_stream.sources.world import WorldView, world_from_uri
from henasy_stream.types import Alternative, Caption, Frame, Masks, ModelSpec, Perception, Relation, Track
from henasy_stream.web.address import parse_address
from henasy_stream.web.messages import unpack
from henasy_stream.web.page import About, LivePage
from tests.runtime.parts import ScriptedSource

CELL = 4
"""Source pixels a side of one cell of the masks."""
SPEC = ModelSpec(
    model_id="truth",
    image_size=96,
    num_frames=4,
    span_s=1.5,
    embed_dim=4,
    capabilities=frozenset({"caption", "entities", "queries"}),
    resize="squash",
)


class Film:
    """A few seconds of the world, rendered once; played forwards and backwards for ever, with stamps that go on."""

    def __init__(self, uri: str = "world?seed=5&size=640x360&fps=30", frames: int = 45, start_s: float = 2.0) -> None:
        view: WorldView = world_from_uri(uri)
        self.size = view.size
        self.fps = view.fps
        self.pictures, self.instances = [], []
        for i in range(frames):
            image, instance = view.world.render(start_s + i / view.fps, view.size)
            self.pictures.append(np.ascontiguousarray(image))
            self.instances.append(instance)
        self.names = [thing.noun for thing in view.world.truth(start_s, view.size).objects]

    def place(self, index: int) -> int:
        """Which picture frame `index` shows."""
        period = 2 * len(self.pictures) - 2
        return min(index % period, period - index % period)

    def truth(self, index: int, thing: int) -> Any:
        """(H, W) bool: where a thing is visible on frame `index`."""
        return self.instances[self.place(index)] == thing + 1

    def largest(self) -> int:
        """The thing that covers most of the first picture."""
        return int(np.bincount(self.instances[0].ravel(), minlength=2)[1:].argmax())

    def frame(self, index: int) -> Frame:
        stamp_ns = round(index * 1e9 / self.fps)
        return Frame(image=self.pictures[self.place(index)], stamp_ns=stamp_ns, index=index, source="film")

    def perception(self, index: int, things: list[int] | None = None, *, fresh: bool = True) -> Perception:
        """What a perfect model says of frame `index`, of some things or of all that are visible."""
        frame = self.frame(index)
        instance = self.instances[self.place(index)]
        wanted = range(len(self.names)) if things is None else things
        shown = [k for k in wanted if (instance == k + 1).sum() > 200]
        h, w = self.size[0] // CELL, self.size[1] // CELL
        tracks, masks = [], []
        for row, k in enumerate(shown):
            inside = instance == k + 1
            ys, xs = np.nonzero(inside)
            tracks.append(
                Track(
                    id=k + 1,
                    label=self.names[k],
                    label_index=-1,
                    label_score=0.9,
                    score=1.0,
                    state="tracked",
                    box_xyxy=(float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)),
                    mask_index=row + 1,
                    first_seen_ns=0,
                    last_seen_ns=frame.stamp_ns,
                )
            )
            masks.append(inside.reshape(h, CELL, w, CELL).mean((1, 3)))
        probability = np.stack(masks).astype(np.float32) if masks else np.zeros((0, h, w), np.float32)
        caption = Caption(
            segment_id=index // 60,
            text=f"holding the {self.names[0]}",
            score=0.8,
            start_ns=round(index // 60 * 60 * 1e9 / self.fps),
            end_ns=frame.stamp_ns,
            final=False,
            track_ids=tuple(track.id for track in tracks[:1]),
            alternatives=(Alternative(text="waiting", score=0.1),),
        )
        relations: tuple[Relation, ...] = ()
        if len(tracks) > 1:
            relations = (
                Relation(subject_id=tracks[-1].id, predicate="contacts", object_id=tracks[0].id, score=0.9, start_ns=0),
            )
        return Perception(
            frame=frame,
            stamp_ns=frame.stamp_ns,
            window_start_ns=max(0, frame.stamp_ns - 10**9),
            window_end_ns=frame.stamp_ns,
            tracks=tuple(tracks),
            caption=caption,
            relations=relations,
            masks=Masks(probability=probability, to_source=np.array([[CELL, 0, 0], [0, CELL, 0]], np.float64)),
            fresh=fresh,
        )


class Theatre:
    """Plays a film to a page in real time; results come `late_s` after their frames, every `hop` frames."""

    def __init__(
        self, page: LivePage, film: Film, *, late_s: float = 0.0, hop: int = 1, things: list[int] | None = None
    ) -> None:
        self.monitor = Monitor(ScriptedSource([]), stall_s=1e9)
        self.monitor.enter("RUNNING")
        self.queries: tuple[str, ...] = ()
        page.attend(About(monitor=self.monitor, spec=SPEC, source="film", answer=self.answer), tapped=True)
        self._play = (page, film, late_s, hop, things)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def answer(self, request: Request) -> Reply:
        self.queries = (*(t for t in self.queries if t not in request.remove), *request.add)
        return Reply(ok=True, queries=self.queries)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        page, film, late_s, hop, things = self._play
        begun, index, told = time.monotonic(), 0, 0
        while not self._stop.is_set():
            now = time.monotonic() - begun
            if now < index / film.fps:
                self._stop.wait(index / film.fps - now)
                continue
            page.see(film.frame(index))
            self.monitor.latency.add("age", late_s)
            while told / film.fps + late_s <= now and told <= index:
                page.write(film.perception(told, things))
                told += hop
            index += 1


@contextmanager
def served(address: str = "127.0.0.1:0", **changes: Any) -> Iterator[LivePage]:
    page = LivePage(parse_address(address), **changes)
    try:
        yield page
    finally:
        page.close()


class Caller:
    """A viewer in Python, for `asyncio.run(Caller.…)`."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames = 0

    async def hear(self, *, ack: bool = True, timeout_s: float = 10.0) -> tuple[dict[str, Any], bytes]:
        message = await asyncio.wait_for(self.connection.recv(), timeout_s)
        assert isinstance(message, bytes)
        head, payload = unpack(message)
        if head["t"] == "frame":
            self.frames += 1
            if ack:
                await self.connection.send(f'{{"t":"ack","frames":{self.frames}}}')
        return head, payload

    async def hear_until(self, test: Callable[[dict[str, Any]], bool], **options: Any) -> tuple[dict[str, Any], bytes]:
        while True:
            head, payload = await self.hear(**options)
            if test(head):
                return head, payload


def dial(page: LivePage, path: str = "/live", **options: Any) -> connect:
    host = f"127.0.0.1:{page.address.port}"
    return connect(f"ws://{host}{path}", compression=None, max_size=None, proxy=None, **options)
