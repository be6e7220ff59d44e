"""Writes the messages' JSON Schemas from their types: `python -m henasy_stream.sinks.schema --out docs/schema/v1`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from henasy_stream._arguments import Parser
from henasy_stream.errors import UserError
from henasy_stream.sinks.incoming import Entities
from henasy_stream.sinks.messages import PREFIX, TYPES, Message


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema (2020-12) by file name.  One schema fits a body and a line of a record."""
    kinds: list[type[Message | Entities]] = [*TYPES.values(), Entities]
    return {f"{kind.topic[len(PREFIX) :]}.json": _schema(kind) for kind in kinds}


def _schema(kind: type[Message | Entities]) -> dict[str, Any]:
    schema = msgspec.json.schema(kind)
    body = schema["$defs"].pop(kind.__name__)
    body["properties"]["topic"] = {"description": "In a record only.", "const": kind.topic}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": kind.topic}
    return {**head, **{k: v for k, v in body.items() if k != "title"}, "$defs": schema["$defs"]}


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = Parser(prog="python -m henasy_stream.sinks.schema", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the schemas are")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file there differs")
    try:
        options = parser.parse_args(arguments)
    except UserError as error:
        print(f"schema: {error}", file=sys.stderr)
        return 2
    texts = {options.out / name: _text(schema) for name, schema in schemas().items()}
    if options.check:
        stale = [path for path, text in texts.items() if not path.is_file() or path.read_text("utf-8") != text]
        for path in stale:
            print(f"{path} differs from the types; run without --check", file=sys.stderr)
        return 1 if stale else 0
    options.out.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
