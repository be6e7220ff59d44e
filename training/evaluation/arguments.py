"""The arguments of `evaluate.py`."""

from __future__ import annotations

import argparse
from pathlib import Path

from henasy_stream._arguments import Parser
from training.data.chunks import LAYOUTS
from training.evaluation.templates import TEMPLATES
from training.preparation.arguments import from_one

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "henasy_stream" / "weights" / "demo.safetensors"


def parser() -> Parser:
    """One subcommand for each table of the paper; those of the synthetic world and `own` beside them."""
    top = Parser(prog="evaluate.py", description="Scores of a model or of a record.")
    commands = top.add_subparsers(dest="command", required=True)

    world = commands.add_parser("world", help="held-out clips of the synthetic world")
    world.add_argument("--weights", type=Path, default=DEMO, help="default: the weights that ship with the package")
    world.add_argument(
        "--split",
        choices=("heldout", "pairs", "validation"),
        help="one split only; by default heldout and, beside it, pairs (verb-noun pairs never trained)",
    )
    world.add_argument("--clips", type=int, default=2000, help="clips of a split (default 2000)")
    world.add_argument("--pools", type=Path, default=ROOT / ".cache" / "pools", help="where rendered clips are kept")
    world.add_argument("--seed", type=int, default=0, help="draws the distractors")
    stream = commands.add_parser("stream", help="records of `live --source world?… --record FILE`, and their mean")
    stream.add_argument("records", type=Path, nargs="+")

    tracking = commands.add_parser("tracking", help="do ids hold, beside simpler trackers, on hard streams")
    tracking.add_argument("--weights", default="demo", help="default: the weights that ship with the package")
    tracking.add_argument("--streams", type=from_one, default=20, help="how many (default 20)")
    tracking.add_argument("--seconds", type=from_one, default=60, help="length of a stream (default 60)")
    tracking.add_argument("--seed", type=int, default=111, help="of the first stream (default 111)")
    tracking.add_argument(
        "--troubled",
        type=int,
        default=5,
        help="on how many of them frames are dropped and the frame rate changes (default 5)",
    )

    segmentation = commands.add_parser("segmentation", help="captions as segments of action, on plain and hard streams")
    segmentation.add_argument("--weights", default="demo", help="default: the weights that ship with the package")
    segmentation.add_argument("--streams", type=from_one, default=10, help="how many of each kind (default 10)")
    segmentation.add_argument("--seconds", type=from_one, default=60, help="length of a stream (default 60)")
    segmentation.add_argument("--seed", type=int, default=201, help="of the first stream (default 201)")

    relations = commands.add_parser("relations", help="who touches what, on plain and hard streams and with true boxes")
    relations.add_argument("--weights", default="demo", help="default: the weights that ship with the package")
    relations.add_argument("--streams", type=from_one, default=10, help="how many of each kind (default 10)")
    relations.add_argument("--seconds", type=from_one, default=60, help="length of a stream (default 60)")
    relations.add_argument("--seed", type=int, default=901, help="of the first stream (default 901)")
    relations.add_argument(
        "--ablation",
        type=from_one,
        metavar="N",
        help="what contacts can be told from instead, each fitted on N streams of the validation split",
    )

    queries = commands.add_parser("queries", help="answers to queries, on streams of the synthetic world")
    queries.add_argument("--weights", default="demo", help="default: the weights that ship with the package")
    queries.add_argument("--streams", type=from_one, default=20, help="how many (default 20)")
    queries.add_argument("--seconds", type=from_one, default=60, help="length of a stream (default 60)")
    queries.add_argument("--seed", type=int, default=301, help="of the first stream (default 301)")

    egomcq = commands.add_parser("egomcq", help="which of five clips does a narration tell of")
    egomcq.add_argument("annotations", type=Path, help="egomcq.json")
    egomcq.add_argument(
        "--score",
        choices=("cosine", "dot"),
        default="cosine",
        help="dot: the product without normalisation, by which LaViLa ranks (default cosine)",
    )
    _add_frames(egomcq)
    _add_videos(egomcq)
    _add_model(egomcq)
    _add_shards(egomcq)

    retrieval = commands.add_parser("ek100-mir", help="EPIC-KITCHENS-100 multi-instance retrieval, test split")
    retrieval.add_argument("annotations", type=Path, help="folder of epic-kitchens-100-annotations")
    _add_frames(retrieval)
    _add_videos(retrieval)
    _add_model(retrieval)
    _add_shards(retrieval)

    epic = commands.add_parser("ek100-cls", help="EPIC-KITCHENS-100 zero-shot action recognition, validation split")
    epic.add_argument("annotations", type=Path, help="folder of epic-kitchens-100-annotations")
    _add_template(epic)
    _add_frames(epic)
    _add_videos(epic)
    _add_model(epic)
    _add_shards(epic)

    egtea = commands.add_parser("egtea", help="EGTEA Gaze+ zero-shot action recognition, test clips of split 1")
    egtea.add_argument("annotations", type=Path, help="folder of action_idx.txt and test_split1.txt")
    _add_template(egtea)
    _add_frames(egtea, usual=16)
    _add_videos(egtea)
    _add_model(egtea)
    _add_shards(egtea)

    grounding = commands.add_parser("grounding", help="does the entity that a noun chooses lie where the thing lies")
    grounding.add_argument("annotations", type=Path, help="JSON of boxes or masks, see training/data/grounding.py")
    grounding.add_argument("--seed", type=int, default=0, help="draws the random entity of the trivial answer")
    _add_videos(grounding)
    _add_model(grounding)

    own = commands.add_parser("own", help="the held-out videos of one's own folder")
    own.add_argument("folder", type=Path, help="made by prepare.py own")
    own.add_argument("--seed", type=int, default=0, help="draws the distractors and the random entity")
    _add_model(own)

    for command in commands.choices.values():
        command.add_argument("--json", type=Path, help="write the scores to this file as well")
    return top


def _add_videos(command: argparse.ArgumentParser) -> None:
    command.add_argument("--videos", type=Path, required=True, help="root of the chunks or whole files")
    command.add_argument("--layout", choices=("auto", *LAYOUTS), default="auto", help="default: told from the names")
    command.add_argument("--chunk-seconds", type=float, help="where it is not that of the layout")


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--weights",
        required=True,
        help="HENASY's .safetensors, a LaViLa .pth, 'lavila' (downloads) or 'demo' (knows the synthetic world only)",
    )
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    command.add_argument("--batch", type=from_one, default=16, help="clips of a forward pass (default 16)")
    command.add_argument("--workers", type=int, default=0, help="processes that decode (default 0: this one)")


def _add_shards(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--shards",
        type=Path,
        help="a folder for the clips' embeddings, through which torchrun's workers share the work; goes on where one "
        "stopped",
    )


def _add_frames(command: argparse.ArgumentParser, usual: int | None = None) -> None:
    told = f"default {usual}" if usual else "default: as the weights were trained"
    command.add_argument("--frames", type=from_one, default=usual, help=f"of a clip ({told})")


def _add_template(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--template",
        choices=tuple(TEMPLATES),
        default="plain",
        help="what class names are filled into: plain is '{}', ego is '#C C {}' and '#C {}' (default plain)",
    )
