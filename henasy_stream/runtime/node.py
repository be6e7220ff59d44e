"""Puts source, model, engine and outputs together as the options say, runs them, and reports."""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from henasy_stream.config import StreamConfig
from henasy_stream.errors import UserError
from henasy_stream.runtime.building import Building
from henasy_stream.runtime.loop import Pace, run_loop
from henasy_stream.runtime.monitor import Heartbeat, Monitor
from henasy_stream.runtime.options import LiveOptions
from henasy_stream.runtime.outputs import Outputs, TopicCounter, one_line
from henasy_stream.runtime.publishing import Publishers, check_publish, open_publishers
from henasy_stream.runtime.recording import check_record, open_record
from henasy_stream.runtime.report import FirstFrame, Progress, Reporter, Summary, introduce
from henasy_stream.runtime.service import ServiceManager
from henasy_stream.runtime.stopping import StopOnSignal
from henasy_stream.sinks.builder import MessageBuilder

if TYPE_CHECKING:
    from henasy_stream.loading import Model
    from henasy_stream.runtime.control import ControlSocket, QueryDesk
    from henasy_stream.sinks.publisher import Publisher, Sink
    from henasy_stream.sinks.video import VideoSink
    from henasy_stream.sources.base import CameraOptions, Source
    from henasy_stream.sources.entities import EntityFeed
    from henasy_stream.stream.engine import Engine
    from henasy_stream.stream.outside import OutsideBook
    from henasy_stream.stream.phrases import VerbNounPairs
    from henasy_stream.web.page import LivePage


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a node is made of, before any output file is opened."""

    source: Source
    model: Model
    queries: tuple[str, ...]
    phrases: tuple[str, ...] | VerbNounPairs | None
    publishers: Publishers
    builder: MessageBuilder
    control: ControlSocket | None
    entities: EntityFeed | None
    page: LivePage | None


def run(options: LiveOptions, reporter: Reporter | None = None) -> int:
    """Runs the node to its end; returns the exit code.

    What can be wrong is looked at in the order of what it costs to find out, and no output file is opened, so none that
    is there is replaced, before all the rest is known to work.

    Raises:
        UserError: the options name something that is not there or does not fit.
    """
    reporter = reporter or Reporter()
    _need_opencv()
    with ExitStack() as stack:
        service = ServiceManager()
        stack.callback(service.close)
        if service.watches:
            faulthandler.enable()  # the watchdog ends a loop that hangs with SIGABRT: where it hung goes into the log
        service.status("starting")
        parts = _assemble(options, reporter, service, stack)
        return _run(options, reporter, parts, service, stack)


def _assemble(options: LiveOptions, reporter: Reporter, service: ServiceManager, stack: ExitStack) -> Parts:
    from henasy_stream.loading import check_weights, load
    from henasy_stream.sources import open_source

    uri, camera = options.uri, _camera_options(options)
    check_weights(options.weights)
    queries, phrases = options.query_texts, _phrases(options)
    _check_outputs(options, uri)
    entities = _open_entities(options, stack)
    source = stack.enter_context(open_source(uri, camera=camera))
    publishers = open_publishers(options, stack, reporter.warn)
    control = _open_control(options, stack)
    page = _open_page(options, stack, reporter)
    builder = MessageBuilder(source=source.uri, masks=options.publish_masks, frame=options.publish_frames)
    with Building(reporter, source, builder, publishers.sinks, service) as building:
        tell = partial(reporter.say, "weights")
        model = load(options.weights, options.backend, report=tell, building=building)
    if options.resize is not None:
        model = replace(model, spec=replace(model.spec, resize=options.resize))
    return Parts(
        source=source,
        model=model,
        queries=queries,
        phrases=phrases,
        publishers=publishers,
        builder=builder,
        control=control,
        entities=entities,
        page=page,
    )


def _run(options: LiveOptions, reporter: Reporter, parts: Parts, service: ServiceManager, stack: ExitStack) -> int:
    from henasy_stream.stream.engine import Engine

    monitor, counter, stop = Monitor(parts.source), TopicCounter(), StopOnSignal()
    outputs = Outputs(reporter.warn)
    stack.callback(outputs.close)
    # The video first: its checks are the stricter ones, and the record is replaced the moment it is opened.
    video = _open_pictures(options, reporter, parts, outputs, monitor, stop)
    record, recorded_pictures = open_record(options, reporter.warn)
    publisher = _open_messages(options, parts, record, counter)
    introduce(reporter, options, parts.source, parts.model)
    outputs.add("first frame", FirstFrame(reporter))
    beats = None
    if publisher is not None:
        outputs.add("messages", publisher)
        for number, ros_pictures in enumerate(parts.publishers.pictures(parts.model.spec, options.rotate)):
            outputs.add(f"pictures for ROS 2 ({number})", ros_pictures)
        if recorded_pictures is not None:
            outputs.add("record", recorded_pictures)
        beats = Heartbeat(partial(_beat, publisher, monitor), reporter.warn)
        stack.callback(beats.close)
    kept = [sink for sink in (record, video) if sink is not None]
    progress = Progress(reporter)
    stack.callback(progress.close)
    engine = Engine(
        parts.model,
        _stream_config(options),
        queries=parts.queries,
        phrases=parts.phrases,
        progress=progress,
        background=True,
    )
    stack.callback(engine.close)
    if publisher is not None:
        publisher.set_model(engine.spec, engine.vocabulary)  # what label_index counts
    try:
        monitor.window_took(engine.warm_up())
    except Exception as error:  # noqa: BLE001 - the loop meets it again and counts it
        reporter.warn(f"warming up failed ({type(error).__name__}: {one_line(error)})")
    stack.enter_context(stop)
    desk = _serve_queries(parts, engine, stack)
    if parts.page is not None:
        from henasy_stream.runtime.viewing import show_node

        show_node(options, reporter, parts.page, parts.source, engine.spec, monitor, desk)
        outputs.add("page", parts.page)
    service.ready()
    advanced = partial(service.advanced, monitor.line)
    _wait_for_subscribers(options, reporter, parts.publishers, stop, advanced)
    started = time.monotonic()
    monitor.enter("RUNNING")
    pace = Pace(max_frames=options.max_frames, max_fps=options.max_fps)
    final = run_loop(parts.source, engine, outputs, monitor, stop, reporter.warn, pace, parts.entities, desk, advanced)
    service.stopping(stop.reason)
    progress.close()  # or the bar stands below the summary
    seconds = time.monotonic() - started
    if beats is not None:
        beats.close()  # first, or it tells of the end before the last caption
    if publisher is not None and final is not None:
        outputs.attempt("messages", partial(publisher.write, final))
    monitor.enter("STOPPING", stop.reason)
    if publisher is not None:
        outputs.attempt("messages", partial(_beat, publisher, monitor))
    status = replace(monitor.status(), messages_not_sent=0 if publisher is None else publisher.not_sent)
    outputs.close()
    reporter.summarise(
        Summary(
            ended=stop.reason,
            seconds=seconds,
            status=status,
            windows=monitor.windows,
            failed=monitor.failed,
            boxes=_box_counts(parts.entities, monitor.boxes),
            messages=counter.by_name,
            lost=outputs.failures,
            files=[sink.path for sink in kept],
        )
    )
    incomplete = bool(outputs.failures) or any(sink.problem is not None for sink in kept)
    return 1 if incomplete or (monitor.failed and not monitor.steps) else 0


def _beat(publisher: Publisher, monitor: Monitor) -> None:
    publisher.status(monitor.status())


def _open_entities(options: LiveOptions, stack: ExitStack) -> EntityFeed | None:
    if options.entities is None:
        if options.entities_remote:
            raise UserError("--entities-remote: no entities come from outside; add --entities zmq://HOST:PORT")
        return None
    from henasy_stream.sources.entities import open_entities

    feed = open_entities(options.entities, allow_remote=options.entities_remote)
    stack.callback(feed.close)
    return feed


def _open_control(options: LiveOptions, stack: ExitStack) -> ControlSocket | None:
    if options.control is None:
        if options.control_remote:
            raise UserError("--control-remote: nothing is controlled; add --control zmq://127.0.0.1:5562")
        return None
    from henasy_stream.runtime.control import ControlSocket

    control = ControlSocket(options.control, allow_remote=options.control_remote)
    stack.callback(control.close)
    return control


def _open_page(options: LiveOptions, stack: ExitStack, reporter: Reporter) -> LivePage | None:
    if not options.view:
        if options.view_address is not None:
            raise UserError("--view-address: no page is served; add --view")
        return None
    from henasy_stream.runtime.viewing import open_page

    page = open_page(options, reporter.warn)
    stack.callback(page.close)
    return page


def _serve_queries(parts: Parts, engine: Engine, stack: ExitStack) -> QueryDesk | None:
    if parts.control is None and parts.page is None:
        return None
    from henasy_stream.runtime.control import QueryDesk

    desk = QueryDesk(engine)
    if parts.control is not None:
        parts.control.serve(desk.answer)
    stack.callback(desk.close)
    return desk


def _box_counts(feed: EntityFeed | None, book: OutsideBook | None) -> dict[str, int]:
    if feed is None or book is None:
        return {}
    counts = {"in": book.received, "used": book.used, "late": book.late, "ahead": book.ahead}
    wrong = {"outside the frame": book.beyond, "malformed": feed.malformed}
    return counts | {name: count for name, count in wrong.items() if count}


def _need_opencv() -> None:
    try:
        from henasy_stream.sources._opencv import one_thread
    except ImportError as error:
        raise UserError(
            f"OpenCV cannot be loaded ({error}); on Debian or Ubuntu: apt-get install libgl1 libglib2.0-0"
        ) from error
    one_thread()


def _camera_options(options: LiveOptions) -> CameraOptions | None:
    from henasy_stream.sources import CameraOptions

    if options.camera_size is None and options.camera_fps is None:
        return None
    return CameraOptions(size=options.camera_pixels, fps=options.camera_fps)


def _stream_config(options: LiveOptions) -> StreamConfig:
    entities: Literal["own", "outside"] = "own" if options.entities is None else "outside"
    config = StreamConfig(span_s=options.span, rotate=options.rotate, entities=entities)
    return config if options.presence is None else replace(config, presence=options.presence)


def _phrases(options: LiveOptions) -> tuple[str, ...] | VerbNounPairs | None:
    from henasy_stream.stream.phrases import VerbNounPairs, load_phrases
    from henasy_stream.stream.word_lists import load_words

    if (options.verbs is None) != (options.nouns is None):
        given, missing = ("verbs", "nouns") if options.nouns is None else ("nouns", "verbs")
        raise UserError(f"--{given}: captions are made of verbs and nouns; add --{missing} FILE, or 'everyday'")
    if options.verbs is None or options.nouns is None:
        return None if options.phrases is None else load_phrases(Path(options.phrases).expanduser())
    if options.phrases is not None:
        raise UserError("--phrases and --verbs: captions are chosen from one bank; leave one of them out")
    verbs, nouns = (Path(name).expanduser() for name in (options.verbs, options.nouns))
    return VerbNounPairs(verbs=load_words(verbs, "verbs"), nouns=load_words(nouns, "nouns"))


def _check_outputs(options: LiveOptions, uri: str) -> None:
    """Looks for options that make no sense together, and for an output that would overwrite what is read."""
    from henasy_stream.sources.uri import local_path

    check_publish(options)
    check_record(options)
    taken = {local_path(uri).resolve(): "the source"}
    for name in ("record", "annotate"):
        value = getattr(options, name)
        if value is not None:
            path = Path(value).expanduser().resolve()
            if path in taken:
                raise UserError(f"--{name} {value}: is {taken[path]} as well; name another file")
            if not path.parent.is_dir():
                raise UserError(f"--{name} {value}: the folder {path.parent} does not exist; create it first")
            taken[path] = f"--{name}"


def _open_messages(options: LiveOptions, parts: Parts, record: Sink | None, counter: TopicCounter) -> Publisher | None:
    if not options.publish_addresses and record is None:
        return None
    from henasy_stream.sinks.publisher import Publisher

    parts.builder.set_model(parts.model.spec)
    sinks = [sink for sink in (*parts.publishers.sinks, record, counter) if sink is not None]
    return Publisher(parts.builder, sinks)


def _open_pictures(
    options: LiveOptions, reporter: Reporter, parts: Parts, outputs: Outputs, monitor: Monitor, stop: StopOnSignal
) -> VideoSink | None:
    from henasy_stream.runtime.pictures import ClosingStops, Pictures
    from henasy_stream.sinks.video import VideoSink
    from henasy_stream.sinks.window import WindowSink

    pictures = Pictures(parts.model.spec, options.rotate, monitor.latency, outputs)
    video = None
    if options.annotate is not None:
        video = VideoSink(Path(options.annotate).expanduser(), on_problem=reporter.warn)
        pictures.add("annotate", video)
    shows = not options.headless and not options.view
    if shows:
        shows, why = WindowSink.available()
        if shows:
            # OpenCV's wheel brings Qt without fonts, and Qt says so at length.
            os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
            pictures.add("window", ClosingStops(WindowSink(), stop))
        else:
            reporter.say("window", f"none: {why}; going on without (--view shows it in a browser)")
    if video is not None or shows:
        outputs.add("pictures", pictures)
    return video


def _wait_for_subscribers(
    options: LiveOptions, reporter: Reporter, publishers: Publishers, stop: StopOnSignal, advanced: Callable[[], None]
) -> None:
    if not options.wait_subscriber:
        return
    reporter.say("publish", f"waiting for {options.wait_subscriber} subscribers")
    while not stop.requested and not publishers.wait_subscribers(options.wait_subscriber, timeout_s=0.5):
        advanced()
