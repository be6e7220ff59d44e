"""Write the card of the demo weights from measured scores: `python training/card.py docs/results/demo`.

The folder holds what `evaluate.py --json` wrote: `seed*.json` (world), `stream*.json`, `ablation-*.json` (world), and
of the causal weights `causal.json` (world) and `causal-stream*.json`.
Every number of the card comes from these files.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

from henasy_stream._arguments import Parser  # noqa: E402 - imports start from the root
from henasy_stream.errors import UserError  # noqa: E402
from training.losses import PAPER_LOSSES  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "henasy_stream" / "weights" / "demo.md"
WEIGHTS = CARD.with_suffix(".json")

ROWS = (
    ("inter", "five-way choice, other verb and noun", 0.97),
    ("intra", "five-way choice, same verb or same noun", 0.88),
    ("verb", "verb of 8", 0.78),
    ("noun", "noun of 12", 0.92),
    ("noun_miou", "narrated object, IoU of the slot that its name chooses", 0.45),
    ("best_slot_miou", "the same for the best slot", None),
    ("chosen_over_best", "chosen slot over best slot", 0.90),
    ("hand_miou", "hands by name, IoU", 0.40),
    ("fg_ari", "FG-ARI per frame", 0.45),
    ("trivial_whole_frame", "trivial: whole frame, IoU", None),
    ("trivial_centre_box", "trivial: centre box, IoU", None),
    ("trivial_random_entity", "trivial: random entity, IoU", None),
    ("dead_slots", "slots that are nowhere the largest, of 8", None),
    ("background_share", "share of the frame that the largest slot takes", None),
)
STREAM_ROWS = (
    ("narrated_iou", "IoU of the narrated object's published box"),
    ("narrated_tracked", "hops with that IoU ≥ 0.35"),
    ("caption_both", "windows whose caption has verb and noun right"),
    ("caption_both_inside", "the same, windows within one action"),
    ("object_recall", "visible objects and hands that a track covers (IoU ≥ 0.35)"),
    ("named_recall", "the same, by a track of the right name"),
    ("precision", "tracks that cover something (IoU ≥ 0.35)"),
)
NODE = """`python -m henasy_stream.live --source 'world?seed=7&size=…' --max-frames 1800 --record r.jsonl`, then
`python training/evaluate.py stream r.jsonl`: what was published, in source pixels.  Aims: IoU ≥ 0.35, captions ≥ 0.65
on seed 7, and the same within 0.03 at 640×480 and rotated.  `ten-worlds`: the mean over the seeds 1 to
10 with `size=1280x720&fps=2`, 120 frames, the ones that the node samples anyway.
"""
KNOWN = """## What it knows

The synthetic world (`henasy_stream/sources/world.py`) and nothing else: twelve nouns and the hand, eight verbs, seen
from above by a moving head.  **Labels and captions on real video mean nothing**; the program says so when it starts.
Texts with words that no narration of the world uses are embedded, but nothing was learned for them.

Trained from scratch, with boxes that carry their class, as a detector would give them (the paper's recipe has boxes
without classes).  Both towers learn first, the text tower from sentences, the video tower from named boxes of single
frames; the text tower is frozen then (the paper takes both from LaViLa and freezes both).
"""


CAUSAL = """## The causal weights

`demo-causal`: the same network in causal form (docs/streaming.md), which goes on where the shipped seed ended, on
longer clips, the text tower shared.  Aim: within 0.02 of the window network.  Made by

    python training/pretrain.py --recipe {recipe}
    python training/ship.py runs/{recipe}-s{seed}/weights.safetensors demo-causal

{steps} steps of {batch} clips in {minutes} minutes on {device}, a thread, on a machine with other work; one seed.
"""


def seed_of(config: Path) -> int:
    """The seed of the run that made some weights, from the config beside them."""
    seed: int = json.loads(config.read_text())["metadata"]["seed"]
    return seed


def _read(folder: Path, pattern: str) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob(pattern))}


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join(["---"] * len(header)) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def render(folder: Path, shipped_seed: int) -> str:
    """The card as Markdown.

    Raises:
        FileNotFoundError: the folder holds no scores, or none of the seed that ships.
    """
    seeds = _read(folder, "seed*.json")
    if not seeds:
        raise FileNotFoundError(f"{folder} holds no seed*.json; write them with evaluate.py world --json")
    about = [scores["about"] for scores in seeds.values()]
    shipped = next((s for s in seeds.values() if s["about"]["seed"] == shipped_seed), None)
    if shipped is None:
        raise FileNotFoundError(f"{folder} holds no scores of seed {shipped_seed}, the one that ships")
    first = shipped["about"]
    extras = ", ".join(f"`{name}`" for name in first["losses"] if name not in PAPER_LOSSES)
    runs = ", ".join(f"seed {a['seed']}: {a['minutes']} min" for a in about)
    parts = [
        "# Demo weights\n",
        f"Shipped: seed {first['seed']}, of the {len(seeds)} the best on the streams of the worlds 1 to 6.  Made by\n",
        f"    python training/pretrain.py --recipe {first['recipe']} --seed {first['seed']}\n",
        f"{first['steps']} steps of {first['batch']} clips on {first['device']} ({runs}; several runs side by side).\n",
        KNOWN,
        f"Losses beyond the paper's (`training/losses_extra.py`, off in the paper's recipe): {extras}.\n",
        "## Scores on held-out clips\n",
        "`python training/evaluate.py world`: objects, tables and wearers that training never showed, "
        f"{shipped['heldout']['clips']} clips a split.  Mean ± standard deviation over {len(seeds)} "
        f"seed{'s' if len(seeds) > 1 else ''}; decisions used a validation split; the "
        "held-out one was looked at after each of three versions of the recipe.\n",
        _table(
            ("score", "aim", "held out", "unseen verb-noun pairs", "shipped seed"),
            [
                (
                    text,
                    "–" if aim is None else f"≥ {aim:.2f}",
                    _spread([s["heldout"][name] for s in seeds.values()]),
                    _spread([s["pairs"][name] for s in seeds.values()]),
                    f"{shipped['heldout'][name]:.3f}",
                )
                for name, text, aim in ROWS
            ],
        ),
    ]
    streams = _read(folder, "stream*.json")
    if streams:
        parts += ["## Scores of the running node\n", NODE, _streams(streams)]
    causal = _read(folder, "causal.json").get("causal")
    if causal is not None:
        parts += [CAUSAL.format(**causal["about"]), _beside(shipped, causal)]
        parts += [_streams(found)] if (found := _read(folder, "causal-stream*.json")) else []
    ablations = _read(folder, "ablation-*.json")
    if ablations:
        columns = ("inter", "intra", "verb", "noun", "noun_miou", "best_slot_miou", "hand_miou", "fg_ari")
        steps = next(iter(ablations.values()))["about"]["steps"]
        parts += [
            "## What each loss beyond the paper's does\n",
            f"`python training/ablation.py --table demo`: the recipe cut short ({steps} steps, after 400 of the video "
            "tower), one seed a row, validation split: leads, not results.\n",
            _table(
                ("row", *columns),
                [
                    (name.removeprefix("ablation-"), *(f"{s['validation'][column]:.3f}" for column in columns))
                    for name, s in ablations.items()
                ],
            ),
        ]
    return "\n".join(parts)


def _streams(streams: dict[str, dict[str, Any]]) -> str:
    return _table(
        ("score", *(name.removeprefix("causal-").removeprefix("stream-") for name in streams)),
        [(text, *(f"{s['stream'][name]:.3f}" for s in streams.values())) for name, text in STREAM_ROWS],
    )


def _beside(window: dict[str, Any], causal: dict[str, Any]) -> str:
    """Both kinds of attention on the same clips; a causal network has seen nothing before a clip's first frame."""
    splits = (("heldout", "held out"), ("pairs", "unseen pairs"))
    return _table(
        ("score", *(f"{kind}, {title}" for _, title in splits for kind in ("window", "causal"))),
        [
            (text, *(f"{scores[split][name]:.3f}" for split, _ in splits for scores in (window, causal)))
            for name, text, _ in ROWS
            if not name.startswith("trivial")
        ],
    )


def main(argv: Sequence[str]) -> int:
    """0 written, 2 no scores."""
    parser = Parser(prog="card.py", description="Write the card of the demo weights from measured scores.")
    parser.add_argument("results", type=Path, nargs="?", default=ROOT / "docs" / "results" / "demo")
    parser.add_argument("--out", type=Path, default=CARD)
    try:
        options = parser.parse_args(argv)
        options.out.write_text(render(options.results, seed_of(WEIGHTS)))
    except (UserError, FileNotFoundError) as error:
        print(f"card: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
