"""The command line of the live node: `python -m henasy_stream.live`."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from henasy_stream import __version__
from henasy_stream._arguments import Parser
from henasy_stream.errors import UserError, debugging
from henasy_stream.runtime.options import LiveOptions, choices, merge, suggestion

DESCRIPTION = """\
Watches an egocentric video stream; publishes which things there are, where they are, and what is being done.

examples:
  live --source world                                the synthetic world, in a window
  live --source world --view                         the same on the live page, in a browser
  live --camera 0 --queries "cup, knife"             a camera; two things of your own to look for
  live --source video.mp4 --annotate out.mp4 --record out.jsonl --headless
  live --source rtsp://host/stream --publish zmq://127.0.0.1:5560 --config node.yaml
  live --source video.mp4 --weights lavila           captions of real video (downloads LaViLa's public weights)
"""

EPILOG = """\
Ctrl-C or SIGTERM ends cleanly: the action going on is closed, files are finished, a summary is printed. A second
Ctrl-C ends at once and may leave files unfinished.

exit codes:
  0    the source ended, --max-frames was reached, the window was closed, or it was told to stop
  1    not one frame could be processed, or an output is incomplete; one line says why
  2    a mistake in the arguments, the options file, the weights or the source; one line says what to do
  130  ended by Ctrl-C before the first frame, or by a second Ctrl-C

environment:
  HENASY_CACHE   where downloads, converted weights, engines and embedded phrases are kept (the user's cache folder)
  HENASY_DEBUG   1: errors come with their traceback
"""

_COMMANDS = ("config", "list-cameras", "json", "write-config")
"""Arguments that are no options of the node."""


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=27, width=min(shutil.get_terminal_size().columns, 116))


def build_parser() -> Parser:
    """One argument for each field of `LiveOptions`; what was not given is absent from the result."""
    parser = Parser(
        prog="live",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=_Help,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        add_help=False,
        usage="live (--camera N | --source URI) [options]",
    )
    add = parser.add_argument_group("source").add_argument
    add("--camera", metavar="N|DEVICE", help="camera number or device; /dev/v4l/by-id/… stays the same across reboots")
    add(
        "--source",
        metavar="URI",
        help="video file, image folder or pattern ('frames/*.png?fps=10'), rtsp:// or http:// stream, ROS 2 bag "
        "('bag:recording/?topic=/camera/image_raw'), or "
        "'world' ('world?seed=7&size=1280x720&fps=30&rotate=90')",
    )
    add("--list-cameras", action="store_true", help="print the cameras there are, with names and formats, and exit")
    add("--camera-size", metavar="WxH", help="frame size to ask the camera for, e.g. 1280x720")
    add("--camera-fps", metavar="FPS", type=float, help="frame rate to ask the camera for")
    add(
        "--rotate",
        type=int,
        choices=choices("rotate"),
        metavar="DEG",
        help="degrees clockwise that set the picture upright: 0, 90, 180 or 270 (0)",
    )

    add = parser.add_argument_group("model").add_argument
    add(
        "--weights",
        metavar="NAME|FILE",
        help="'demo' (default; knows the synthetic world only), 'demo-causal' (the same), 'lavila' (downloads), a "
        "LaViLa .pth, a .safetensors, or a bundle, the folder that export.py has made",
    )
    add(
        "--backend",
        choices=choices("backend"),
        metavar="NAME",
        help="what executes the network: onnxruntime (bundles), torch, tensorrt (bundles; builds an engine first), "
        "torch-tensorrt, or auto, the first that works (auto)",
    )
    add(
        "--queries",
        metavar='"A, B"',
        help="free texts to find, track and name (scored only, if the weights have no entities)",
    )
    add("--phrases", metavar="FILE", help="captions to choose from, one a line, in place of the weights' own")
    add(
        "--verbs",
        metavar="FILE",
        help="with --nouns: captions are all pairs; one a line, EPIC's or Ego4D's csv, or 'everyday' for ours",
    )
    add("--nouns", metavar="FILE", help="see --verbs")
    add(
        "--resize",
        choices=choices("resize"),
        metavar="MODE",
        help="how a frame becomes the model's square: crop, squash or letterbox (as trained)",
    )
    add(
        "--span",
        metavar="S",
        type=float,
        help="seconds from the first to the last frame of a window (as trained)",
    )
    add("--presence", metavar="P", type=float, help="least probability of an entity, 0 to 1 (0.5)")
    add(
        "--entities",
        metavar="ADDRESS",
        help="boxes of your own detector in place of the weights' entities: jsonl:FILE, bag:PATH, or "
        "zmq://127.0.0.1:5561",
    )
    add("--entities-remote", action="store_true", help="take them from another machine as well")

    add(
        "--control",
        metavar="ADDRESS",
        help="let queries be changed while it runs, e.g. zmq://127.0.0.1:5562 (docs/queries.md)",
    )
    add("--control-remote", action="store_true", help="allow an address that other machines can reach")

    add = parser.add_argument_group("output").add_argument
    add(
        "--publish",
        metavar="ADDRESS",
        action="append",
        help="publish over ZeroMQ, e.g. zmq://127.0.0.1:5560 (docs/messages.md), or to ROS 2 without ROS: ros2, or "
        "'ros2://robot1?domain=7' (docs/dds.md); may be given several times",
    )
    add("--publish-remote", action="store_true", help="allow an address that other machines can reach")
    add("--publish-masks", action="store_true", help="publish the entity masks over ZeroMQ as well")
    add("--publish-frames", action="store_true", help="publish the frames over ZeroMQ as well, as JPEG")
    add("--wait-subscriber", metavar="N", type=int, help="start when N subscribers are connected (0)")
    add("--record", metavar="FILE", help="write every message into a file, .jsonl or .mcap (docs/bags.md)")
    add("--record-frames", action="store_true", help="into the .mcap write the frames as well, as JPEG")
    add("--annotate", metavar="FILE", help="write a video with masks, labels and captions (.mp4, .webm)")
    add("--headless", action="store_true", help="open no window; without a display none is opened anyway")
    add("--view", action="store_true", help="serve the live page and open it in a browser, in place of the window")
    add(
        "--view-address",
        metavar="ADDRESS",
        help="where the page listens (127.0.0.1:8420); one that other machines can reach asks for a token",
    )

    add = parser.add_argument_group("pace and limits").add_argument
    add("--max-fps", metavar="FPS", type=float, help="process at most so many frames a second")
    add("--max-frames", metavar="N", type=int, help="stop after N frames of the source")

    add = parser.add_argument_group("general").add_argument
    add("--config", metavar="FILE", type=Path, help="YAML file of these options (max-fps: 10); the command line wins")
    add("--write-config", metavar="FILE", type=Path, help="write a file of all options for --config, and exit")
    add("--json", action="store_true", help="with --list-cameras: print JSON")
    add("--version", action="version", version=f"henasy-stream {__version__}", help="print the version")
    add("-h", "--help", action="help", help="print this and exit")
    return parser


def parse(argv: Sequence[str]) -> LiveOptions:
    """The options of a command line and of the file that it may name.  Raises UserError."""
    return _options(_arguments(build_parser(), argv))


def _arguments(parser: Parser, argv: Sequence[str]) -> dict[str, Any]:
    """What was given, by name with dashes.  Raises UserError."""
    known, unknown = parser.parse_known_args(argv)
    if unknown:
        name = unknown[0].split("=")[0]
        hint = suggestion(name, parser.options()) if name.startswith("-") else ""
        what = "unknown option" if name.startswith("-") else "cannot tell what this belongs to:"
        raise UserError(f"{what} {name!r}{hint} (see live --help)")
    return {name.replace("_", "-"): value for name, value in vars(known).items()}


def _options(given: Mapping[str, Any]) -> LiveOptions:
    values = {name: value for name, value in given.items() if name not in _COMMANDS}
    return merge(values, given.get("config"))


def _obey(argv: Sequence[str]) -> int:
    parser = build_parser()
    given = _arguments(parser, argv)
    if "list-cameras" in given:
        from henasy_stream.runtime.camera_list import list_cameras

        return list_cameras(as_json="json" in given)
    if "json" in given:
        raise UserError("--json: nothing to print; add --list-cameras (messages as JSON: --record FILE)")
    options = _options(given)
    if "write-config" in given:
        from henasy_stream.runtime.config_file import write_config

        write_config(given["write-config"], parser, options)
        return 0
    # Late, so that --help and mistakes are answered before NumPy and OpenCV are loaded.
    from henasy_stream.runtime.log import occupy_standard_files
    from henasy_stream.runtime.node import run

    occupy_standard_files()
    return run(options)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the node; the exit code is one of those that `--help` lists."""
    try:
        return _obey(sys.argv[1:] if argv is None else argv)
    except (KeyboardInterrupt, Exception) as error:
        if debugging():
            raise
        if isinstance(error, UserError):
            return _end(2, str(error))
        if isinstance(error, KeyboardInterrupt):
            return _end(130, "interrupted before the first frame")
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return _end(1, f"internal error, {what}; run it again with HENASY_DEBUG=1 and report what it prints")


def _end(code: int, line: str) -> int:
    print(f"live: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
