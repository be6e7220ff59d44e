from __future__ import annotations

from henasy_stream.runtime.outputs import Outputs, TopicCounter
from henasy_stream.sinks.messages import Meta, Status
from tests.stream.fake import paint


class Sink:
    def __init__(self, error: Exception | None = None) -> None:
        self.seen: list[object] = []
        self.closed = 0
        self._error = error

    def write(self, perception: object) -> None:
        if self._error:
            raise self._error
        self.seen.append(perception)

    def close(self) -> None:
        self.closed += 1


def test_one_that_fails_is_told_once_counted_and_the_others_go_on():
    told: list[str] = []
    outputs = Outputs(told.append)
    good, bad = Sink(), Sink(OSError(28, "No space left on device"))
    outputs.add("video", bad)
    outputs.add("record", good)
    frame = paint([], 0.0)
    for _ in range(3):
        outputs.write(frame)  # type: ignore[arg-type]
    outputs.close()
    assert good.seen == [frame] * 3
    assert outputs.failures == {"video": 3}
    assert len(told) == 1
    assert told[0].startswith("video: ")
    assert "No space left" in told[0]
    assert (good.closed, bad.closed) == (1, 1)


def test_closing_again_does_nothing():
    outputs, sink = Outputs(lambda line: None), Sink()
    outputs.add("record", sink)
    outputs.close()
    outputs.close()
    assert sink.closed == 1


def test_messages_are_counted_by_the_last_word_of_their_topic():
    counter = TopicCounter()
    counter.counts.update({Status.topic: 2, Meta.topic: 1})
    assert list(counter.by_name.items()) == [("meta", 1), ("status", 2)]
