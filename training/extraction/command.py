"""The command line of `extract.py`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from henasy_stream._arguments import Parser
from henasy_stream.errors import UserError, debugging
from training.data.chunks import LAYOUTS, VideoStore
from training.data.ego4d import ClipSpan, Query, read_moments, read_nlq
from training.data.records import Skips
from training.data.tables import checksum
from training.distributed import Ranks, ranks_of_environment
from training.evaluation.embedding import open_embedder
from training.evaluation.shards import MANIFEST, ShardedMap
from training.extraction.features import QUERIES, Extractor, Texts, Wanted, key_of
from training.extraction.windows import Windows
from training.preparation.arguments import from_one
from training.progress import progress_bar


def _parser() -> Parser:
    top = Parser(
        prog="extract.py",
        description="Features of Ego4D's clips, one <clip_uid>.pt each, (windows, width) float32.  torchrun's "
        "workers share the clips; the same command, with any number of workers, goes on where one stopped.",
    )
    tasks = top.add_subparsers(dest="task", required=True)
    for task, told in (("nlq", "natural-language queries (VSLNet): clips and query texts"), ("mq", "moments (VSGN)")):
        command = tasks.add_parser(task, help=told)
        command.add_argument("--annotations", type=Path, nargs="+", required=True, metavar="JSON", help="Ego4D's files")
        command.add_argument("--videos", type=Path, required=True, help="root of the chunks or whole files")
        command.add_argument("--layout", choices=("auto", *LAYOUTS), default="auto", help="default: from the names")
        command.add_argument("--chunk-seconds", type=float, help="where it is not that of the layout")
        command.add_argument(
            "--weights", required=True, help="HENASY's .safetensors, a LaViLa .pth, 'lavila' (downloads) or 'demo'"
        )
        command.add_argument("--out", type=Path, required=True, help="folder of the features")
        command.add_argument("--rate", type=_above_zero, default=1.87, help="windows a second (default 1.87)")
        command.add_argument("--seconds", type=_above_zero, help="of a window (default: as long as the step)")
        command.add_argument("--frames", type=from_one, default=4, help="of a window (default 4)")
        command.add_argument("--batch", type=from_one, default=32, help="windows of a forward pass (default 32)")
        command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
        command.add_argument(
            "--max-unreadable", type=float, default=0.02, help="share of clips above which it stops (default 0.02)"
        )
    return top


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def read_items(task: str, paths: Sequence[Path]) -> tuple[list[Wanted], list[Skips]]:
    """The clips of all files, each once, and for NLQ their queries; UserError when there are no clips."""
    spans: dict[str, ClipSpan] = {}
    texts: dict[str, None] = {}
    remarks: list[Skips] = []
    for path in paths:
        found, labels, skips = read_nlq(path) if task == "nlq" else read_moments(path)
        remarks.append(skips)
        texts |= dict.fromkeys(label.text for label in labels if isinstance(label, Query))
        for span in found:
            if spans.setdefault(span.clip, span) != span:
                raise UserError(f"{path}: clip {span.clip} lies elsewhere than {spans[span.clip]} said before")
    if not spans:
        raise UserError(f"{', '.join(map(str, paths))}: no clips; give Ego4D's annotations of the task {task}")
    if QUERIES in spans:
        raise UserError(f"{paths[0]}: a clip is called {QUERIES}, as the file of the queries is")
    return [*spans.values(), *([Texts(texts=tuple(texts))] if texts else [])], remarks


def _open_map(options: argparse.Namespace, ranks: Ranks, report: Callable[[str], None]) -> ShardedMap[Wanted]:
    items, remarks = read_items(options.task, options.annotations)
    spans = [item for item in items if isinstance(item, ClipSpan)]
    for line in (line for skips in remarks for line in skips.lines()):
        report(line)
    store = VideoStore.open(
        options.videos,
        [span.video for span in spans],
        layout=options.layout,
        chunk_s=options.chunk_seconds,
        report=report,
    )
    embedder = open_embedder(
        options.weights, device=options.device, batch=options.batch, num_frames=options.frames, report=report
    )
    windows = Windows(rate=options.rate, seconds=options.seconds or 1 / options.rate, frames=options.frames)
    report(f"{len(spans):,} clips, {sum(map(windows.count, spans)):,} windows")
    extractor = Extractor(embedder=embedder, store=store, windows=windows)
    return ShardedMap(
        out=options.out,
        items=items,
        key=key_of,
        compute=extractor,
        fits=extractor.fits,
        settings={
            "stride_seconds": 1 / windows.rate,
            "window_seconds": windows.seconds,
            "frames": windows.frames,
            "dim": embedder.config.embed_dim,
            "weights_sha256": checksum(embedder.path),
        },
        about={
            "model": {"name": embedder.name, "kind": embedder.kind},
            "annotations": {path.name: checksum(path) for path in options.annotations},
            "videos": store.note,
        },
        ranks=ranks,
        max_unreadable=options.max_unreadable,
        tell=lambda line: _tell(f"extract: {line}"),
    )


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _run(options: argparse.Namespace) -> int:
    ranks = ranks_of_environment()
    work = _open_map(options, ranks, (lambda line: None) if ranks.rank else _tell)
    started = time.perf_counter()
    with progress_bar(Console(stderr=True, quiet=ranks.rank > 0)) as bar:
        task = bar.add_task("files", total=-(-len(work.items) // ranks.size), note="")
        made = work.run(seen=lambda key: bar.advance(task))
    if ranks.rank:
        return 0  # the first says how it went; another's failure would have torchrun end it before it can
    _tell(f"{len(made.files):,} files in {options.out} after {time.perf_counter() - started:.0f} s")
    if made.unreadable:
        clips = sum(isinstance(item, ClipSpan) for item in work.items)
        _tell(
            f"extract: {len(made.unreadable):,} of {clips:,} clips can't be read and have no file; "
            f"{options.out / MANIFEST} says why, the same command tries them again"
        )
    return int(bool(made.unreadable))


def extract_main(argv: Sequence[str]) -> int:
    """0 done, 1 some clips can't be read, 2 a mistake in the arguments, 130 interrupted."""
    try:
        return _run(_parser().parse_args(argv))
    except (UserError, OSError) as error:
        if debugging():
            raise
        _tell(f"extract: {error}")
        return 2
    except KeyboardInterrupt:
        _tell("extract: interrupted; the same command goes on where it stopped")
        return 130
