"""Writes docs/export.md: prose from export/page.md, tables from what was measured: `python export/page.py`.

A line `{{KIND FILE}}` of the prose stands for a table of docs/results/FILE.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from henasy_stream._arguments import Parser  # noqa: E402 - imports start from the root
from henasy_stream.errors import UserError  # noqa: E402

PROSE, PAGE, RESULTS = ROOT / "export" / "page.md", ROOT / "docs" / "export.md", ROOT / "docs" / "results"
CAREFUL = "<!-- Written by `python export/page.py` from export/page.md and docs/results: change those. -->\n"
Row = dict[str, Any]
_NAMES = {"world_demo": "`demo`", "world_causal": "`demo-causal`", "random-base": "base", "random-base-causal": "base"}
_SCORES = {
    "inter": "narration, among those of other clips",
    "intra": "narration, among those of one clip",
    "noun_miou": "mean IoU of nouns",
    "hand_miou": "mean IoU of hands",
    "fg_ari": "adjusted Rand index",
}
_DIRECTIVE = re.compile(r"^\{\{(\w+) ([\w.-]+)\}\}$", re.MULTILINE)


def page(prose: str, results: Path) -> str:
    """The whole page.

    Raises:
        UserError: the prose asks for a table that nobody makes.
    """

    def table(match: re.Match[str]) -> str:
        kind, name = match.groups()
        if kind not in TABLES:
            raise UserError(f"{PROSE}: no table {kind!r}, only {', '.join(TABLES)}")
        path = results / name
        if not path.is_file():
            return f"*Not run yet: `docs/results/{name}` does not exist.*"
        return TABLES[kind](json.loads(path.read_text(encoding="utf-8")))

    return CAREFUL + _DIRECTIVE.sub(table, prose)


def parity(found: dict[str, Row]) -> str:
    """How far each graph of each bundle is from the reference."""
    rows, seen = [], set()
    for bundle, about in found.items():
        model, precision = bundle.rsplit(" ", 1)
        for name, graph in about["graphs"].items():
            what = (_name(model), name, "fp32" if name == "text" else precision)
            if name == "text" and what in seen:
                continue
            seen.add(what)
            worst = _largest(graph["worst"])
            free = _largest(graph["rollout"])
            rows.append(
                [*what, graph["megabytes"], _count(graph["operators"]), graph["steps"], worst, graph["flips"], free]
            )
    heads = ("weights", "graph", "precision", "MB", "operators", "steps", "largest difference", "flips", "free run")
    return _markdown(heads, rows, left=3)


def assignments(found: dict[str, Row]) -> str:
    """What half precision does to the assignments."""
    rows = [
        [_name(bundle.rsplit(" ", 1)[0]), _small(half["error"]), _count(half["tokens"]), half["flips"], _share(half)]
        for bundle, about in found.items()
        if (half := about["half"]) is not None
    ]
    heads = ("weights", "error of a similarity, of their range", "tokens", "in another group", "share")
    return _markdown(heads, rows, left=1)


def scores(found: dict[str, Row]) -> str:
    """Scores of a quantised bundle before and after."""
    rows = []
    for bundle, about in found.items():
        said = about.get("scores", about)  # or nothing but scores
        if "before" not in said:
            continue
        model, precision = bundle.rsplit(" ", 1)
        for name, before in said["before"].items():
            rows.append(
                [_name(model), precision, _SCORES.get(name, name), f"{before:.3f}", f"{said['after'][name]:.3f}"]
            )
        if precision == "int8":
            slow, fast = said["clip_ms"]
            rows.append([_name(model), precision, "CPU time of a clip", f"{slow:.1f} ms", f"{fast:.1f} ms"])
    return _markdown(("weights", "precision", "score on held-out clips", "fp32", "quantised"), rows, left=3)


def _by_number(found: Sequence[Row]) -> list[str]:
    """Architectures, each once, SM75 before SM120."""
    return sorted({row.get("architecture", "") for row in found}, key=lambda name: (len(name), name))


def builds(found: Sequence[Row]) -> str:
    """What TensorRT built, and what it refused."""
    rows: dict[tuple[str, ...], list[Row]] = {}
    skipped = [row["skipped"] for row in found if "skipped" in row]
    for row in found:
        if "skipped" not in row:
            key = (_name(row["bundle"]), row["graph"].removesuffix(".onnx"), row.get("precision", "–"))
            rows.setdefault(key, []).append(row)
    lines = []
    for key, some in rows.items():
        built = [row for row in some if "error" not in row]
        refused = [row for row in some if "error" in row]
        said, no = (", ".join(_by_number(some)) or "–" for some in (built, refused))
        layers, size = (_range([row[name] for row in built]) for name in ("layers", "megabytes"))
        lines.append([*key, said, no, layers, size, _range([row["seconds"] for row in built])])
    heads = ("weights", "graph", "precision", "built for", "refused for", "layers", "MB", "seconds")
    return _told(skipped) + _markdown(heads, lines, left=5)


def runtimes(found: Sequence[Row]) -> str:
    """Other runtimes on the same steps."""
    rows = []
    for row in found:
        if "skipped" in row:
            continue
        worst, free = _largest(row.get("worst") or {}), _largest(row.get("rollout") or {})
        runtime = f"{row['runtime']} {row['version'].split('-')[0]}"
        what = [_name(row["bundle"]), row["precision"], row["graph"], row["case"], runtime]
        rows.append([*what, row.get("steps", "–"), worst, row.get("flips", "–"), free, "yes" if row["holds"] else "NO"])
    heads = (
        "weights",
        "precision",
        "graph",
        "case",
        "runtime",
        "steps",
        "largest difference",
        "flips",
        "free run",
        "as wanted",
    )
    return _told([row["skipped"] for row in found if "skipped" in row]) + _markdown(heads, rows, left=5)


def coverage(found: Sequence[Row]) -> str:
    """How much of a network Torch-TensorRT takes."""
    rows = []
    for row in found:
        if "skipped" in row:
            continue
        what = "control (a scatter)" if row["control"] else row["graph"]
        share = f"{row['supported']} of {row['operators']}"
        equal = _largest(row.get("worst") or {}) if row["equal"] else "NO"
        rows.append(
            [_name(row["bundle"]), row["precision"], what, share, row["subgraphs"], equal, row.get("layers", "–")]
        )
    heads = (
        "weights",
        "precision",
        "graph",
        "operators taken",
        "TensorRT graphs",
        "lowered graph differs by",
        "layers built",
    )
    return _told([row["skipped"] for row in found if "skipped" in row]) + _markdown(heads, rows, left=4)


TABLES: dict[str, Callable[[Any], str]] = {
    kind.__name__: kind for kind in (parity, assignments, scores, builds, runtimes, coverage)
}


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[Any]], *, left: int) -> str:
    if not rows:
        return "*Not run yet.*"

    def lines() -> Iterator[Sequence[str]]:
        yield heads
        yield ["---" if index < left else "---:" for index in range(len(heads))]
        yield from ([str(cell) for cell in row] for row in rows)

    return "\n".join(f"| {' | '.join(line)} |" for line in lines())


def _told(skipped: Sequence[str]) -> str:
    return "".join(f"*Skipped: {reason}.*\n\n" for reason in skipped)


def _name(model: str) -> str:
    return _NAMES.get(model, model)


def _largest(by_name: dict[str, float]) -> str:
    return _small(max(by_name.values())) if by_name else "–"


def _small(value: float) -> str:
    return f"{value:.1e}"


def _count(value: int) -> str:
    return f"{value:,}"


def _share(half: Row) -> str:
    return f"{half['flips'] / max(1, half['tokens']):.2%}"


def _range(values: Sequence[float]) -> str:
    if not values:
        return "–"
    low, high = min(values), max(values)
    return f"{low:,g}" if low == high else f"{low:,g} to {high:,g}"


def main(argv: Sequence[str]) -> int:
    """0 written, 1 `--check` found it out of step, 2 a mistake."""
    parser = Parser(prog="page.py", description="Write docs/export.md from its prose and what was measured.")
    parser.add_argument("--check", action="store_true", help="write nothing; say whether the page is in step")
    try:
        options = parser.parse_args(argv)
        made = page(PROSE.read_text(encoding="utf-8"), RESULTS)
    except UserError as error:
        print(f"page: {error}", file=sys.stderr)
        return 2
    if options.check:
        return int(PAGE.read_text(encoding="utf-8") != made)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
