"""The process of one check: `python -m henasy_stream.checks MODULE.FUNCTION [ARGUMENT]`; findings as JSON on stdout."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys


def main(function: str, *arguments: str) -> None:
    """Runs the check and leaves at once: libraries that are broken crash or hang when they are taken down."""
    module, _, name = function.partition(".")
    check = getattr(importlib.import_module(f"henasy_stream.checks.{module}"), name)
    found = [dataclasses.asdict(finding) for finding in check(*arguments)]
    print("\n" + json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
