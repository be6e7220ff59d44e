"""Parameters and services while the node lives."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 here: rclpy cannot be imported")
pytest.importorskip("henasy_msgs", reason="henasy_msgs is not built or not sourced")

from diagnostic_msgs.msg import DiagnosticStatus
from henasy_msgs.srv import SetPhrases, SetQueries
from probe import NODE, get_parameter, seen, set_parameter, until


def test_parameters(probe, camera, start):
    process = start("presence:=1", "lost_s:=3", "max_rate:=0", autostart=False)
    probe.reach("unconfigured")
    assert set_parameter(probe, "presence", 0) == (True, "")  # an integer for a double
    successful, reason = set_parameter(probe, "presence", "high")
    assert not successful
    assert "presence: 'high' does not fit, give a number" in reason
    assert not set_parameter(probe, "presence", 1.5)[0]
    assert not set_parameter(probe, "rotate", 45)[0]
    assert not set_parameter(probe, "queries", ["q" * 10_000])[0]
    assert not set_parameter(probe, "queries", 5)[0]
    assert set_parameter(probe, "queries", ["cup"])[0]
    assert probe.transition("configure")
    assert probe.transition("activate")
    tracks = probe.hear(f"{NODE}/tracks")
    assert [answer.text for answer in seen(tracks).queries] == ["cup"]
    successful, reason = set_parameter(probe, "weights", "lavila")
    assert not successful
    assert "is read when the node is configured" in reason
    assert set_parameter(probe, "queries", ["hand", "knife"])[0]
    until(lambda: [answer.text for answer in tracks[-1].queries] == ["hand", "knife"], "the new queries")
    assert set_parameter(probe, "max_rate", 2) == (True, "")
    time.sleep(2.0)
    values = probe.values()
    before = int(values["frames dropped"])
    until(lambda: int(probe.values()["frames dropped"]) > before + 10, "drops")
    assert process.alive


def test_a_parameter_of_the_wrong_type_from_the_start_does_not_kill_the_node(probe, start, camera):
    process = start("presence:=high", "rotate:=45", "debug_image_quality:=900", "presense:=0.5")
    process.says("configure: .*presence: 'high' does not fit")
    process.says("the value of 'presense' is not used, there is no such parameter; did you mean presence.")
    probe.reach("unconfigured")
    until(lambda: probe.level("connections") == DiagnosticStatus.ERROR, "an error in the diagnostics")
    assert "rotate" in probe.told("connections")
    for name, value in (("presence", 0.5), ("rotate", 0), ("debug_image_quality", 50)):
        assert set_parameter(probe, name, value) == (True, "")
    assert probe.transition("configure")
    assert probe.transition("activate")
    seen(probe.hear(f"{NODE}/tracks"))


def test_queries_and_phrases_by_service(probe, camera, start):
    start()
    tracks, captions = probe.hear(f"{NODE}/tracks"), probe.hear(f"{NODE}/caption", reliable=True)
    seen(tracks)

    def ask(action: int, *queries: str) -> Any:
        request = SetQueries.Request(action=action, queries=list(queries))
        return probe.call(SetQueries, f"{NODE}/set_queries", request)

    answer = ask(SetQueries.Request.SET, "cup", "my blue cup")
    assert (answer.success, answer.message, list(answer.queries)) == (True, "", ["cup", "my blue cup"])
    assert answer.applied_from_frame > 0
    until(lambda: [a.text for a in tracks[-1].queries] == ["cup", "my blue cup"], "the answers")
    first = next(m for m in tracks if m.queries)
    assert first.info.frame_index >= answer.applied_from_frame
    assert list(ask(SetQueries.Request.ADD, "hand").queries) == ["cup", "my blue cup", "hand"]
    assert list(ask(SetQueries.Request.REMOVE, "cup").queries) == ["my blue cup", "hand"]
    assert list(ask(SetQueries.Request.GET).queries) == ["my blue cup", "hand"]
    until(lambda: list(get_parameter(probe, "queries").string_array_value) == ["my blue cup", "hand"], "the parameter")
    for wrong, says in (
        ((SetQueries.Request.SET, "q" * 10_000), "1 to 200 letters"),
        ((SetQueries.Request.REMOVE, "fork"), "no query 'fork' to remove"),
        ((SetQueries.Request.GET, "cup"), "leave queries empty"),
        ((77, "cup"), "action 77"),
        ((SetQueries.Request.SET, *map(str, range(40))), "at most 32"),
    ):
        answer = ask(*wrong)
        assert not answer.success
        assert says in answer.message
    assert list(ask(SetQueries.Request.GET).queries) == ["my blue cup", "hand"]

    session = captions[-1].info.session
    request = SetPhrases.Request(phrases=["a hand takes a cup", "nothing happens"])
    answer = probe.call(SetPhrases, f"{NODE}/set_phrases", request)
    assert (answer.success, answer.count) == (True, 2)
    until(lambda: captions[-1].info.session != session, "a caption of the new phrases")
    assert captions[-1].text in request.phrases
    answer = probe.call(SetPhrases, f"{NODE}/set_phrases", SetPhrases.Request(verbs=["take"]))
    assert not answer.success
    assert "give both" in answer.message
