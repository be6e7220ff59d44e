"""The managed node: transitions, subscriptions, services and timers, each handed to what is free of ROS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from henasy_msgs.srv import SetPhrases, SetQueries
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from henasy_stream.control import Reply, Request
from henasy_stream.errors import UserError
from henasy_stream.ros import fields
from henasy_stream.ros.topics import DIAGNOSTICS, LABEL_INFO, NODE, VISION_INFO
from henasy_stream.runtime.outputs import Output, one_line
from henasy_stream.sinks.builder import vocabulary_hash
from henasy_stream.sinks.messages import Vocabulary
from henasy_stream_ros import jetson
from henasy_stream_ros.announce import DebugOutput, MaskOutput, MessageSink
from henasy_stream_ros.connections import Connections
from henasy_stream_ros.declare import declare, unknown
from henasy_stream_ros.diagnostics import Health, diagnostics
from henasy_stream_ros.engines import asked_phrases
from henasy_stream_ros.parameters import BY_NAME, change, check_together, settings
from henasy_stream_ros.ports import RosPorts
from henasy_stream_ros.runner import Runner, attempted

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)
_BACK_S = 0.1
"""A clock that goes back by more starts the stream afresh."""


class HenasyNode(LifecycleNode):
    """Watches images; publishes tracks, captions, masks."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(NODE, **kwargs)
        self._log = self.get_logger()
        values, self._wrong = declare(self)
        self._settings = settings(values)
        for remark in unknown(getattr(self, "_parameter_overrides", {})):
            self._log.warning(remark)
        self.runner = Runner(self._log)
        self._ports = RosPorts(self)
        self._connections = Connections(self, self._ports)
        self._sink = MessageSink(self._ports)
        self._debug: DebugOutput | None = None
        # Embedding texts may take a while and must not hold up the executor.
        self._helper = ThreadPoolExecutor(1, "henasy-texts")
        self.add_on_set_parameters_callback(self._on_parameters)
        # A group of their own: while they wait, all else of theirs waits too.
        apart = MutuallyExclusiveCallbackGroup()
        self.create_service(SetQueries, "~/set_queries", self._on_set_queries, callback_group=apart)
        self.create_service(SetPhrases, "~/set_phrases", self._on_set_phrases, callback_group=apart)
        self._answer_wrong_transitions()
        self.create_timer(1.0, self._on_second)
        back = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-_BACK_S), on_clock_change=True)
        self._jumps = self.get_clock().create_jump_callback(back, post_callback=self._on_jump)
        if self._settings.autostart:
            self._start = self.create_timer(0.0, self._autostart)

    # -- transitions --

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model, warms it up, subscribes."""
        return SUCCESS if attempted(self._log, "configure", self._configure) else FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Starts the worker; images are taken from now on."""
        enabled = super().on_activate(state)  # first, or the first results meet publishers that are silent
        if enabled == SUCCESS and attempted(self._log, "activate", self._activate):
            return SUCCESS
        super().on_deactivate(state)
        return FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends the worker, closes the action going on; the subscription stays and is not listened to."""
        done = attempted(self._log, "deactivate", self._deactivate)
        silent = super().on_deactivate(state)
        return silent if done else ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees the model."""
        return SUCCESS if attempted(self._log, "cleanup", self._cleanup) else ERROR

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends all."""
        attempted(self._log, "shutdown", self._cleanup)
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, with nothing held; finalized when even that fails."""
        super().on_deactivate(state)
        return SUCCESS if attempted(self._log, "after an error", self._cleanup) else FAILURE

    def close(self) -> None:
        """Ends the worker and the helper; the node can be destroyed then."""
        attempted(self._log, "stop", self._cleanup)
        self._helper.shutdown(wait=False, cancel_futures=True)

    def _configure(self) -> None:
        if self._wrong:
            raise UserError("; ".join(self._wrong.values()))
        check_together(self._settings)
        self.runner.configure(self._settings)
        try:
            self._connections.open(self._settings)
        except BaseException:
            self.runner.cleanup()
            raise

    def _activate(self) -> None:
        current, engine = self._settings, self.runner.engine
        rectifier = self._connections.rectifier
        self._debug = DebugOutput(self._ports, rate=current.debug_image_rate, quality=current.debug_image_quality)
        outputs: dict[str, Output] = {"masks": MaskOutput(self._ports, rectifier), "debug image": self._debug}
        self._connections.start(self.runner, [self._sink], outputs)
        header = fields.header_fields(time.time_ns(), "")
        self._ports.publish(LABEL_INFO, fields.label_info_fields(engine.vocabulary, header))
        words = Vocabulary(nouns=tuple(engine.vocabulary), verbs=engine.spec.verbs)
        info = fields.vision_info_fields(engine.spec.model_id, vocabulary_hash(words), header)
        self._ports.publish(VISION_INFO, info)
        self._log.info(f"active: {self._connections.described}")

    def _deactivate(self) -> None:
        self.runner.deactivate()
        self._connections.stop()
        self._debug = None

    def _cleanup(self) -> None:
        self._deactivate()
        self._connections.close()
        self.runner.cleanup()

    def _answer_wrong_transitions(self) -> None:
        """Where rclpy raises, and leaves whoever asked for a transition that there is not without an answer."""
        service = getattr(self, "_service_change_state", None)
        if service is None:
            return
        change_state = service.callback

        def answer(request: Any, response: Any) -> Any:
            if attempted(self._log, "transition", partial(change_state, request, response)):
                return response
            response.success = False
            return response

        service.callback = answer

    def _autostart(self) -> None:
        self._start.cancel()
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    # -- what may change --

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        configured = self.runner.state != "unconfigured"
        new, mended = self._settings, set()
        try:
            for parameter in parameters:
                if parameter.name in BY_NAME:
                    new = change(new, parameter.name, parameter.value, configured=configured)
                    mended.add(parameter.name)
        except UserError as error:
            return SetParametersResult(successful=False, reason=str(error))
        old, self._settings = self._settings, new
        self._wrong = {name: text for name, text in self._wrong.items() if name not in mended}
        self._connections.apply(new)
        if self._debug is not None:
            self._debug.rate, self._debug.quality = new.debug_image_rate, new.debug_image_quality
        if configured and new.queries != old.queries and new.queries != self.runner.queries:
            self._helper.submit(self._look_for, new.queries)
        return SetParametersResult(successful=True)

    def _look_for(self, queries: tuple[str, ...]) -> None:
        attempted(self._log, "queries", partial(self.runner.ask, Request(set_queries=queries)))

    async def _on_set_queries(self, request: SetQueries.Request, response: SetQueries.Response) -> SetQueries.Response:
        def work() -> Reply:
            kind = SetQueries.Request
            texts = tuple(request.queries)
            asked = {
                kind.SET: Request(set_queries=texts),
                kind.ADD: Request(add=texts),
                kind.REMOVE: Request(remove=texts),
                kind.GET: Request(get="queries"),
            }.get(request.action)
            if asked is None:
                raise UserError(f"action {request.action}: give SET 0, ADD 1, REMOVE 2 or GET 3")
            if request.action == kind.GET and texts:
                raise UserError("action GET changes nothing: leave queries empty")
            return self.runner.ask(asked)

        done, reply, problem = await _Helped(self._helper, work)
        response.success, response.message = done, problem
        if done:
            response.queries = list(reply.queries)
            frame = reply.applied_from_frame
            response.applied_from_frame = response.WITH_FIRST_FRAME if frame is None else frame
            if request.action != SetQueries.Request.GET:
                self._settings = replace(self._settings, queries=reply.queries)
                self.set_parameters([Parameter("queries", value=list(reply.queries) or [""])])
        return response

    async def _on_set_phrases(self, request: SetPhrases.Request, response: SetPhrases.Response) -> SetPhrases.Response:
        def work() -> int:
            return self.runner.set_phrases(asked_phrases(request.phrases, request.verbs, request.nouns))

        done, count, problem = await _Helped(self._helper, work)
        response.success, response.message = done, problem
        response.count = count if done else 0
        return response

    # -- what comes by itself --

    def _on_second(self) -> None:
        attempted(self._log, "diagnostics", self._tell)

    def _tell(self) -> None:
        active = self.runner.state == "active"
        problems = tuple(self._wrong.values())
        if active:
            problems += self._connections.look()
        health = Health(
            lifecycle=self.runner.state,
            topic=self._connections.described,
            status=self.runner.status(),
            values={"results (1/s)": f"{self._sink.rate.per_second():.1f}", **self._connections.values},
            problems=problems,
            machine=jetson.machine(),
        )
        found = diagnostics(health, self.get_fully_qualified_name())
        now = self.get_clock().now().to_msg()
        header = {"stamp": {"sec": now.sec, "nanosec": now.nanosec}, "frame_id": ""}
        self._ports.publish(DIAGNOSTICS, {"header": header, "status": found})

    def _on_jump(self, jump: TimeJump) -> None:
        back_s = -jump.delta.nanoseconds / 1e9
        self._connections.jumped(f"ROS time went back by {back_s:.3f} s" if back_s > 0 else "ROS time began anew")


class _Helped:
    """Awaits work in another thread: (True, result, "") or (False, None, why not)."""

    def __init__(self, helper: ThreadPoolExecutor, work: Callable[[], Any]) -> None:
        self._work = work
        self._done = threading.Event()
        self._result: tuple[bool, Any, str] = (False, None, "the node is stopping")
        helper.submit(self._run)

    def _run(self) -> None:
        try:
            self._result = True, self._work(), ""
        except UserError as error:
            self._result = False, None, str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            self._result = False, None, f"{type(error).__name__}: {one_line(error)}"
        self._done.set()

    def __await__(self) -> Generator[None, None, tuple[bool, Any, str]]:
        # rclpy asks again at once; a short sleep keeps that from taking a whole core.
        while not self._done.wait(0.005):
            yield
        return self._result
