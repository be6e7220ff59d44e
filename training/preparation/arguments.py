"""The arguments of `prepare.py`."""

from __future__ import annotations

import argparse
from pathlib import Path

from henasy_stream._arguments import Parser
from training.preparation.chunking import SHORT_SIDES
from training.preparation.encoding import CODECS


def parser() -> Parser:
    """One subcommand for each step; `own` does all of them."""
    top = Parser(prog="prepare.py", description="Make annotations and videos ready for training.")
    commands = top.add_subparsers(dest="command", required=True)

    chunks = commands.add_parser("chunks", help="cut and resize videos")
    chunks.add_argument("videos", type=Path, help="folder of video files")
    chunks.add_argument("out", type=Path, help="root of the chunks")
    _add_chunking(chunks)

    nouns = commands.add_parser("nouns", help="which nouns each narration names")
    _add_narrations(nouns)
    _add_nouns(nouns)

    verbs = commands.add_parser("verbs", help="the -ing action phrases of each narration")
    _add_narrations(verbs)
    _add_phrases(verbs)
    _add_workers(verbs)

    boxes = commands.add_parser("boxes", help="hands and objects in the clips")
    _add_narrations(boxes)
    boxes.add_argument("--videos", type=Path, required=True, help="root of the chunks or whole files")
    boxes.add_argument("--chunk-seconds", type=float, help="where it is not that of the layout found")
    _add_detector(boxes, required=True)

    own = commands.add_parser("own", help="a folder of videos and one csv into a folder to train on")
    own.add_argument("videos", type=Path, help="folder of video files")
    own.add_argument("narrations", type=Path, help="csv with the columns video, start, end, narration")
    own.add_argument("out", type=Path, help="folder to make")
    own.add_argument("--heldout", type=float, default=0.2, metavar="SHARE", help="of the videos (default 0.2)")
    own.add_argument("--seed", type=int, default=0, help="draws the held-out videos (default 0)")
    _add_chunking(own)
    _add_nouns(own)
    _add_phrases(own)
    _add_detector(own, required=False)

    example = commands.add_parser("example", help="videos of the synthetic world to try `own` on")
    example.add_argument("out", type=Path)
    example.add_argument("--videos", type=int, default=4)
    example.add_argument("--seconds", type=float, default=12.0)
    example.add_argument("--seed", type=int, default=0)

    doctor = commands.add_parser("doctor", help="what of a data root is there, missing or contradictory")
    doctor.add_argument("root", type=Path)
    doctor.add_argument("--probe", type=from_one, default=24, help="video files to open for each list of clips")

    for command in commands.choices.values():
        command.add_argument("--json", type=Path, help="write the report to this file as well")
    return top


def from_one(text: str) -> int:
    """A whole number from 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _add_workers(command: argparse.ArgumentParser) -> None:
    command.add_argument("--workers", type=from_one, default=1, help="at a time (default 1)")


def _add_chunking(command: argparse.ArgumentParser) -> None:
    command.add_argument("--layout", default="lavila", help=f"{', '.join(SHORT_SIDES)} (default lavila)")
    command.add_argument("--chunk-seconds", type=int, default=0, help="default: the layout's (300, 15, 600)")
    command.add_argument("--short-side", type=int, default=0, help="pixels; default: the layout's (288, 288, 256)")
    command.add_argument("--codec", default="mpeg4", help=f"{', '.join(CODECS)} (default mpeg4; h264 is GPL's x264)")
    _add_workers(command)


def _add_narrations(command: argparse.ArgumentParser) -> None:
    command.add_argument("narrations", type=Path, help="egoclip.csv, one of LaViLa's pickles, or one's own csv")
    command.add_argument("--out", type=Path, required=True, help="folder of the results")


def _add_nouns(command: argparse.ArgumentParser) -> None:
    command.add_argument("--taxonomy", type=Path, help="narration_noun_taxonomy.csv; without it a list is made")
    command.add_argument(
        "--min-count", type=from_one, default=1, help="without a taxonomy: how often a noun must occur"
    )


def _add_phrases(command: argparse.ArgumentParser) -> None:
    command.add_argument("--llm", type=Path, help="folder of a causal language model; without it the parser is used")
    command.add_argument("--cache", type=Path, help="file of known phrases (default: in the user's cache)")


def _add_detector(command: argparse.ArgumentParser, *, required: bool) -> None:
    kinds = command.add_mutually_exclusive_group(required=required)
    kinds.add_argument("--detections", type=Path, help="csv of boxes that another program has found")
    kinds.add_argument("--hands", type=Path, help="RTMDet for hands as ONNX")
    command.add_argument("--objects", type=Path, help="RTMDet for objects as ONNX, beside --hands")
    command.add_argument("--min-score", type=float, default=0.3, help="of a box of a model (default 0.3)")
    command.add_argument(
        "--skip-labels", type=int, nargs="*", default=[0], help="of --objects (default 0, COCO's person)"
    )
