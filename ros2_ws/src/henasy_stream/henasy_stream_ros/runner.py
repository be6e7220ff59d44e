"""The node's life without ROS: configure, activate, deactivate, clean up, and what may change in between.

The node maps its transitions and services to a `Runner`; everything here is tested without ROS.
"""

from __future__ import annotations

import gc
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol

from henasy_stream.control import Reply, Request, wanted
from henasy_stream.errors import UserError
from henasy_stream.loading import Model
from henasy_stream.runtime.control import QueryDesk
from henasy_stream.runtime.loop import Pace, run_loop
from henasy_stream.runtime.monitor import Monitor
from henasy_stream.runtime.outputs import Output, Outputs, one_line
from henasy_stream.runtime.stopping import StopOnSignal
from henasy_stream.sinks.builder import MessageBuilder, NodeStatus
from henasy_stream.sinks.publisher import Publisher, Sink
from henasy_stream.sources.base import Source
from henasy_stream.sources.entities import EntityFeed
from henasy_stream.stream.engine import Engine
from henasy_stream_ros.engines import Phrases, open_engine, open_model, phrases_of
from henasy_stream_ros.parameters import Settings

JOIN_S = 10.0
"""So long a deactivation waits for the step that runs."""

State = Literal["unconfigured", "inactive", "active"]


class Log(Protocol):
    """Where lines for people go; ROS's loggers are such."""

    def info(self, message: str) -> None:
        """What is good to know."""
        ...

    def warning(self, message: str) -> None:
        """What may need a look."""
        ...

    def error(self, message: str) -> None:
        """What does not work."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Ends:
    """Where frames come from and where results go, for one activation.

    wrap: what stands between the engine's perceptions and the messages, such as the way back from rectified pixels.
    """

    source: Source
    sinks: Sequence[Sink]
    outputs: Mapping[str, Output]
    feed: EntityFeed | None = None
    wrap: Callable[[Output], Output] = lambda output: output


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    ends: Ends
    monitor: Monitor
    stop: StopOnSignal
    desk: QueryDesk
    thread: threading.Thread


class Runner:
    """Holds the model while configured and the worker's thread while active.

    `state` may be read by any thread.  Transitions are the executor's; `ask` and `set_phrases` wait for the worker and
    belong into another thread.
    """

    def __init__(self, log: Log) -> None:
        self.failure = ""
        self._log = log
        self._lock = threading.Lock()
        self._settings: Settings | None = None
        self._model: Model | None = None
        self._engine: Engine | None = None
        self._run: _Run | None = None

    @property
    def state(self) -> State:
        """As of the last transition that went through."""
        if self._engine is None:
            return "unconfigured"
        return "inactive" if self._run is None else "active"

    @property
    def engine(self) -> Engine:
        """The engine; only while configured."""
        assert self._engine is not None, "not configured"
        return self._engine

    @property
    def queries(self) -> tuple[str, ...]:
        """What is looked for; only while configured."""
        return self.engine.queries

    def configure(self, settings: Settings) -> None:
        """Loads the model, embeds texts, warms up.

        Raises:
            UserError: something is not there or does not fit; nothing is held then.
        """
        with self._lock:
            model = open_model(settings, self._log.info)
            engine = open_engine(model, settings, settings.queries, phrases_of(settings))
            try:
                seconds = engine.warm_up()
            except BaseException:
                engine.close()
                raise
            self._settings, self._model, self._engine, self.failure = settings, model, engine, ""
        self._log.info(f"{model.spec.model_id} on {model.name}, warmed up in {seconds:.2f} s")
        if model.spec.synthetic and not settings.source.startswith("world"):
            self._log.warning("these weights know the synthetic world only: labels and captions of others mean nothing")

    def activate(self, ends: Ends) -> None:
        """Starts the worker; each activation is a session of its own, whose track ids count afresh.

        Raises:
            UserError: the worker of the last one still runs.
        """
        with self._lock:
            self._start(ends)

    def deactivate(self) -> None:
        """Ends the worker; the action going on is closed.  Sources and outputs stay open: who made them closes them.

        Raises:
            UserError: the step that runs does not end.
        """
        with self._lock:
            self._stop("deactivated")

    def cleanup(self) -> None:
        """Frees the model."""
        with self._lock:
            if self._run is not None:
                self._stop("cleaned up")
            if self._engine is not None:
                self._engine.close()
            self._engine = self._model = self._settings = None
            self.failure = ""
        gc.collect()  # engines and sessions hold each other in circles

    def status(self) -> NodeStatus | None:
        """How the run is; None without one."""
        run = self._run
        if run is None:
            return None
        status = run.monitor.status()
        if self.failure:
            return replace(status, state="STALLED", reason=self.failure)
        return status

    def ask(self, request: Request) -> Reply:
        """Changes the queries; returns when the worker has taken them, or with no frame after two seconds.

        Raises:
            UserError: the request makes no sense, or the node is not configured.
        """
        with self._lock:
            engine, run = self._engine, self._run
            if engine is None:
                raise UserError("the node is not configured: set the parameter queries, or configure it first")
            if run is None:
                texts = wanted(request, engine.queries)
                if request.get is None:
                    engine.set_queries(texts)
                return Reply(ok=True, queries=texts)
        return run.desk.answer(request)

    def set_phrases(self, phrases: Phrases) -> int:
        """Chooses captions from other phrases, in a new session; returns how many there are.

        Raises:
            UserError: the node is not configured, or the worker does not end.
        """
        with self._lock:
            if self._model is None or self._settings is None or self._engine is None:
                raise UserError("the node is not configured")
            old, run = self._engine, self._run
            # Embedded while the old run still goes on.
            engine = open_engine(self._model, self._settings, old.queries, phrases)
            if run is not None:
                self._stop("other phrases")
            self._engine = engine
            old.close()
            if run is not None:
                self._start(run.ends)
            return len(engine.phrases)

    def _start(self, ends: Ends) -> None:
        assert self._run is None, "already active"
        engine, settings = self.engine, self._settings
        assert settings is not None
        monitor, stop, desk = Monitor(ends.source), StopOnSignal(), QueryDesk(engine)
        builder = MessageBuilder(engine.spec, engine.vocabulary, source=ends.source.uri, embeddings=settings.embeddings)
        publisher = Publisher(builder, ends.sinks)
        outputs = Outputs(self._log.warning)
        outputs.add("messages", ends.wrap(publisher))
        for name, output in ends.outputs.items():
            outputs.add(name, output)
        self.failure = ""
        work = partial(self._work, engine, ends, monitor, stop, desk, outputs, publisher)
        thread = threading.Thread(target=work, name="henasy-worker", daemon=True)
        self._run = _Run(ends=ends, monitor=monitor, stop=stop, desk=desk, thread=thread)
        monitor.enter("RUNNING")
        thread.start()

    def _stop(self, reason: str) -> None:
        run = self._run
        if run is None:
            return
        run.stop.request(reason)
        run.desk.close()
        run.thread.join(JOIN_S)
        if run.thread.is_alive():
            raise UserError(f"the step that runs has not ended within {JOIN_S:g} s")
        self._run = None

    def _work(
        self,
        engine: Engine,
        ends: Ends,
        monitor: Monitor,
        stop: StopOnSignal,
        desk: QueryDesk,
        outputs: Outputs,
        publisher: Publisher,
    ) -> None:
        note = self._log.warning
        try:
            final = run_loop(ends.source, engine, outputs, monitor, stop, note, Pace(), ends.feed, desk)
            if final is not None:
                outputs.attempt("messages", partial(ends.wrap(publisher).write, final))
            monitor.enter("STOPPING", stop.reason)
            self._log.info(f"the stream has ended: {stop.reason}")
        except Exception as error:  # noqa: BLE001 - told; the node stays and may be activated again
            failure = f"the worker died: {type(error).__name__}: {one_line(error)}"
            self._log.error(f"{failure}\n{traceback.format_exc()}")
            self.failure = failure
        finally:
            desk.close()


def attempted(log: Log, what: str, action: Callable[[], object]) -> bool:
    """Runs a part of a transition; False, and the reason in the log, when it raises.

    A user's mistake is one line; anything else comes with its traceback.
    """
    try:
        action()
    except UserError as error:
        log.error(f"{what}: {error}")
        return False
    except Exception as error:  # noqa: BLE001 - rclpy has swallowed what callbacks raise
        log.error(f"{what}: {type(error).__name__}: {one_line(error)}\n{traceback.format_exc()}")
        return False
    return True
