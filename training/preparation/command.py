"""The command line of `prepare.py`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from henasy_stream.cache import cache_folder
from henasy_stream.errors import UserError, debugging
from training.preparation.arguments import parser
from training.preparation.chunking import ChunkReport, ChunkSettings, chunk_videos, total_seconds
from training.preparation.doctor import Finding, examine
from training.preparation.own import OwnReport, OwnSettings, prepare_own
from training.preparation.progress import Outcome, Stage
from training.preparation.steps import clips_by_file, detector_of, make_boxes, make_nouns, make_verbs, model_of
from training.preparation.video_files import find_videos

_STYLES = {"ok": "green", "absent": "dim", "missing": "yellow", "mismatch": "red", "error": "red"}


def _chunk_settings(options: argparse.Namespace) -> ChunkSettings:
    return ChunkSettings(
        layout=options.layout, seconds=options.chunk_seconds, short_side=options.short_side, codec=options.codec
    )


def _chunks(options: argparse.Namespace, stage: Stage) -> Outcome:
    settings = _chunk_settings(options)
    videos = find_videos(options.videos)
    tell = stage("videos", total_seconds(videos))
    report = chunk_videos(videos, options.out, settings, workers=options.workers, progress=tell)
    return _chunk_facts(report), report.errors


def _chunk_facts(report: ChunkReport) -> dict[str, Any]:
    done = report.done.values()
    return {
        "videos": len(done), "kept from before": report.kept, "chunks": sum(len(entry.chunks) for entry in done),
        "seconds": round(sum(entry.seconds for entry in done), 1), "frames": sum(entry.frames for entry in done),
        "ending early": [entry.video for entry in done if entry.ends_early], "unreadable": len(report.errors),
    }  # fmt: skip


def _own(options: argparse.Namespace, stage: Stage) -> Outcome:
    settings = OwnSettings(
        chunks=_chunk_settings(options), heldout=options.heldout, seed=options.seed, taxonomy=options.taxonomy,
        min_count=options.min_count, workers=options.workers,
    )  # fmt: skip
    cache = options.cache or cache_folder() / "phrases.sqlite"
    report = prepare_own(
        options.videos, options.narrations, options.out, settings, cache=cache, detector=detector_of(options),
        model=model_of(options.llm), stage=stage,
    )  # fmt: skip
    unreadable = report.boxes.unreadable if report.boxes else {}
    return _own_facts(report), {**report.chunks.errors, **clips_by_file(unreadable)}


def _own_facts(report: OwnReport) -> dict[str, Any]:
    boxes = asdict(report.boxes) if report.boxes else "none: no --hands, no --detections"
    return {
        "clips": report.clips, "held out": f"{report.heldout_clips} clips of {', '.join(report.heldout) or 'no video'}",
        "videos": _chunk_facts(report.chunks), "phrases": asdict(report.verbs), "nouns": report.nouns,
        "clips without a noun": report.without_noun, "boxes": boxes, "left out or mended": list(report.remarks),
    }  # fmt: skip


def _example(options: argparse.Namespace, stage: Stage) -> Outcome:
    from training.preparation.example import write_example

    tell = stage("seconds of video", options.videos * options.seconds)
    write_example(options.out, videos=options.videos, seconds=options.seconds, seed=options.seed, progress=tell)
    return {"videos": str(options.out / "videos"), "narrations": str(options.out / "narrations.csv"),
            "boxes": str(options.out / "boxes.csv")}, {}  # fmt: skip


_COMMANDS: dict[str, Callable[[argparse.Namespace, Stage], Outcome]] = {
    "chunks": _chunks,
    "nouns": make_nouns,
    "verbs": make_verbs,
    "boxes": make_boxes,
    "own": _own,
    "example": _example,
}


def _show_facts(console: Console, facts: dict[str, Any]) -> None:
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if isinstance(value, dict):
            text = "; ".join(f"{key} {entry}" for key, entry in value.items() if not isinstance(entry, dict | list))
        elif isinstance(value, list):
            text = "\n".join(map(str, value)) or "nothing"
        else:
            text = f"{value:,}" if isinstance(value, int) else str(value)
        table.add_row(name, text or "none")
    console.print(table)


def _show_findings(console: Console, findings: Sequence[Finding]) -> None:
    table = Table(title="data root")
    for column in ("data", "state", "found", "remarks"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        if finding.status == "absent":
            continue
        state = f"[{_STYLES[finding.status]}]{finding.status}[/]"
        table.add_row(finding.item, state, finding.found, "\n".join(finding.remarks))
    absent = [finding.item for finding in findings if finding.status == "absent"]
    table.caption = f"absent: {', '.join(absent)}" if absent else None
    console.print(table)


def _doctor(options: argparse.Namespace, console: Console) -> tuple[dict[str, Any], int]:
    findings = examine(options.root, probe=options.probe)
    _show_findings(console, findings)
    bad = any(finding.status in ("missing", "mismatch", "error") for finding in findings)
    return {"findings": [asdict(finding) for finding in findings]}, int(bad)


def _run(options: argparse.Namespace) -> int:
    console = Console()
    if options.command == "doctor":
        facts, code = _doctor(options, console)
    else:
        bars = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=Console(stderr=True), disable=not sys.stderr.isatty(),
        )  # fmt: skip

        def stage(name: str, total: float) -> Callable[[float], None]:
            task = bars.add_task(name, total=total or None)
            return lambda amount: bars.advance(task, amount)

        with bars:
            facts, unreadable = _COMMANDS[options.command](options, stage)
        _show_facts(console, facts)
        for path, reason in unreadable.items():
            print(f"prepare: {path}: {reason}", file=sys.stderr)
        facts, code = {**facts, "unreadable_files": unreadable}, int(bool(unreadable))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return code


def prepare_main(argv: Sequence[str]) -> int:
    """0 done, 1 something could not be read or is missing, 2 a mistake in the arguments, 130 interrupted."""
    try:
        return _run(parser().parse_args(argv))
    except (UserError, OSError) as error:
        if debugging():
            raise
        print(f"prepare: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("prepare: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
