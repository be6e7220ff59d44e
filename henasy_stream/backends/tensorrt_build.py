"""Builds engines in a process of its own, whose memory is free afterwards and whose crash is a line like any other.

The process reads one line of JSON, answers with lines of JSON, and leaves when its standard input is closed, so that it
does not outlive who started it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from henasy_stream.backends.tensorrt_api import build_engine
from henasy_stream.backends.tensorrt_flavour import load_flavour
from henasy_stream.backends.tensorrt_progress import Phases
from henasy_stream.errors import UserError


def build_apart(
    flavour: str, onnx: Path, out: Path, capability: str, progress: Callable[[float, str], None], lock: int
) -> None:
    """`tensorrt_api.build_engine` in another process.

    Args:
        flavour: name of the module.
        onnx: the graph.
        out: the file to write.
        capability: of the GPU that the engine is for, as in "8.7".
        progress: told the share that is done, and of what.
        lock: descriptor that the process keeps, so that a lock on it lasts as long as it does.

    Raises:
        UserError: the graph is refused, or the builder died.
        OSError: the file could not be written.
    """
    asked = json.dumps({"flavour": flavour, "onnx": str(onnx), "out": str(out), "capability": capability})
    with tempfile.TemporaryFile() as wrong:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=wrong,
            text=True,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C is for who waits; the pipe tells the builder
        )
        assert process.stdin is not None
        assert process.stdout is not None
        ended = None
        try:
            process.stdin.write(asked + "\n")
            process.stdin.flush()
            for line in process.stdout:
                told = json.loads(line)
                if "share" in told:
                    progress(told["share"], told["phase"])
                else:
                    ended = told
            process.wait()
        finally:  # interrupted, or done
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
        if ended is None:
            wrong.seek(0)
            raise UserError(f"the engine's builder {_death(process.returncode, wrong.read().decode(errors='replace'))}")
    _raise(ended)


def _raise(ended: dict[str, Any]) -> None:
    if "errno" in ended:
        raise OSError(ended["errno"], ended["error"])
    if "error" in ended:
        raise UserError(ended["error"])


def _death(code: int, said: str) -> str:
    if code == -signal.SIGKILL:
        return "was killed, most likely for lack of memory; close other programs, or add swap"
    if code < 0:
        return f"crashed with {signal.Signals(-code).name}; update the driver and TensorRT"
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), f"ended with code {code}")
    return f"failed: {last[:200]}"


def main() -> None:
    """The process."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    ended: dict[str, Any]
    try:
        phases = Phases(lambda share, phase: _say({"share": round(share, 4), "phase": phase}))
        build_engine(
            load_flavour(asked["flavour"]), Path(asked["onnx"]), Path(asked["out"]), asked["capability"], phases
        )
        ended = {"built": True}
    except UserError as error:
        ended = {"error": str(error)}
    except OSError as error:
        ended = {"error": error.strerror or str(error), "errno": error.errno}
    _say(ended)
    os._exit(0)  # libraries of drivers may hang when they are taken down


def _say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


def _leave_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
