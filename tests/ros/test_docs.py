"""docs/dds.md and the interfaces say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from henasy_stream.control import MAX_QUERIES, MAX_TEXT
from henasy_stream.ros.topics import TOPICS
from tests.ros.definitions import SERVICES

PAGE = Path(__file__).parents[2] / "docs/dds.md"


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_topic_is_in_the_table(topic):
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|") and f"`{topic.name}`" in line]
    assert len(rows) == 1
    package, _, name = topic.type.split("/")
    assert package in rows[0]
    assert name in rows[0]
    assert ("Latched" in rows[0]) == topic.latched


def test_the_depths_are_told():
    text = " ".join(PAGE.read_text("utf-8").split())
    depths = {topic.depth for topic in TOPICS if not topic.latched}
    assert depths == {10, 5}
    assert "keep last 10 (images 5), volatile; latched ones are transient local and keep 1" in text


def test_the_limits_of_queries_are_those_of_the_node():
    text = (SERVICES / "SetQueries.srv").read_text("utf-8")
    assert f"At most {MAX_QUERIES} at one time, each 1 to {MAX_TEXT} letters" in text
