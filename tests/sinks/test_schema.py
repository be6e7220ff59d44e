"""The JSON Schemas and the documentation are those of the types."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from henasy_stream.sinks import messages, schema, wire
from henasy_stream.sinks.incoming import Entities, entities_from_line
from tests.sinks.synthetic import ADDED, SCHEMAS, VALIDATORS, example

ROOT = Path(__file__).parents[2]
NAMED_BY_TYPE = {"model_id", "text", "tracks", "relations", "entities"}


class TestSchema:
    def test_files_are_those_of_the_types(self, tmp_path: Path) -> None:
        assert schema.main(["--out", str(ROOT / "docs/schema/v1"), "--check"]) == 0
        assert schema.main(["--out", str(tmp_path), "--check"]) == 1
        assert schema.main(["--out", str(tmp_path)]) == 0
        assert schema.main(["--out", str(tmp_path), "--check"]) == 0
        (tmp_path / "tracks.json").write_text("{}")
        assert schema.main(["--out", str(tmp_path), "--check"]) == 1

    def test_every_key_says_what_it_is_or_has_a_type_that_does(self) -> None:
        for name, document in SCHEMAS.items():
            jsonschema.Draft202012Validator.check_schema(document)
            for key, value in document["properties"].items():
                assert {"description", "$ref"} & value.keys() or key in NAMED_BY_TYPE, (
                    name,
                    key,
                )

    @pytest.mark.parametrize(
        ("topic", "change"),
        [
            ("tracks", {"tracks": None}),
            ("tracks", {"width": 0}),
            ("tracks", {"seq": -1}),
            ("tracks", {"stamp_ns": None}),
            ("caption", {"score": 1.5}),
            ("caption", {"clock": "wall"}),
            ("status", {"state": "ASLEEP"}),
            ("masks", {"affine": [1, 0, 0, 0, 1, 0]}),
            ("meta", {"schema": 2}),
        ],
    )
    def test_schema_and_reader_refuse_the_same(self, topic: str, change: dict[str, Any]) -> None:
        message = example(messages.PREFIX + topic)
        body = {**json.loads(wire.to_json_line(message)), **change}
        with pytest.raises(jsonschema.ValidationError):
            VALIDATORS[message.topic].validate(body)
        with pytest.raises(wire.MessageError):
            wire.from_wire([message.topic.encode(), msgspec.msgpack.encode(body)])

    @pytest.mark.parametrize("topic", messages.TOPICS)
    def test_no_key_of_version_1_may_be_missing(self, topic: str) -> None:
        body = json.loads(wire.to_json_line(example(topic)))
        del body["topic"]
        for key in body.keys() - set(ADDED.get(topic, ())):
            left = {k: v for k, v in body.items() if k != key}
            with pytest.raises(wire.MessageError, match=key):
                wire.from_wire([topic.encode(), msgspec.msgpack.encode(left)])


class TestDocumentation:
    TEXT = ROOT / "docs/messages.md"

    def examples(self) -> dict[str, dict[str, Any]]:
        blocks = re.findall(r"```json\n(.*?)```", self.TEXT.read_text("utf-8"), re.S)
        return {block["topic"]: block for block in map(json.loads, blocks)}

    def test_has_one_example_of_each_topic_that_fits_its_schema(self) -> None:
        examples = self.examples()
        assert set(examples) == {*messages.TOPICS, Entities.topic}
        taken_in = examples.pop(Entities.topic)
        jsonschema.validate(taken_in, SCHEMAS["entities.json"])
        assert len(entities_from_line(json.dumps(taken_in).encode()).entities) == 2
        for topic, body in examples.items():
            VALIDATORS[topic].validate(body)
            name = topic.rpartition("/")[2] + ("_with_queries" if topic in ADDED else "") + ".json"
            assert body == json.loads((ROOT / "tests/golden/messages" / name).read_text("utf-8"))

    def test_names_every_key(self) -> None:
        text = self.TEXT.read_text("utf-8")
        for document in SCHEMAS.values():
            for part in (document, *document["$defs"].values()):
                for key in part["properties"]:
                    assert f"`{key}" in text or f'"{key}"' in text, key
