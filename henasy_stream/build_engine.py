"""`python -m henasy_stream.build_engine` (or `henasy build-engine`): builds what TensorRT executes, and keeps it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from henasy_stream._arguments import Parser
from henasy_stream._building import build_bar
from henasy_stream.errors import UserError, debugging
from henasy_stream.runtime.log import open_console

EPILOG = """\
An engine fits one GPU generation, one version of TensorRT and one graph. It is kept, with a fingerprint, where
`live --backend tensorrt` looks for it; what fits is not built again. Precision is the bundle's: for half precision give
one that export.py has made with --precision fp16.

exit codes: 0 built, or there already; 1 not built; 2 a mistake in the arguments, or no TensorRT or GPU; 130 interrupted
"""


def build_parser() -> Parser:
    """The arguments."""
    import argparse

    parser = Parser(
        prog="build-engine",
        description="Builds a TensorRT engine of a bundle for the GPU of this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--weights", default="demo", metavar="NAME|BUNDLE", help="'demo' (default) or a bundle's folder"
    )
    parser.add_argument(
        "--flavour",
        choices=("auto", "tensorrt", "tensorrt_rtx"),
        default="auto",
        help="which of the two builds (auto: TensorRT where it is installed, else TensorRT for RTX)",
    )
    parser.add_argument(
        "--compute-capability",
        metavar="M.N",
        help="build for a GPU that is not here, e.g. 8.6 (TensorRT for RTX only; needs no GPU)",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where engines are kept (engines/ in HENASY_CACHE)")
    parser.add_argument("--force", action="store_true", help="build it although it is there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Builds it; the exit code is one of those that `--help` lists."""
    code = 2
    try:
        options = build_parser().parse_args(sys.argv[1:] if argv is None else argv)
        from henasy_stream.backends.tensorrt_engines import ensure_engine, plan_engine
        from henasy_stream.loading import bundle_folder, check_weights

        console = open_console()
        check_weights(options.weights)
        bundle = bundle_folder(options.weights)
        plan = plan_engine(options.weights, bundle, options.flavour, options.compute_capability, options.out)
        code = 1
        say = partial(console.print, markup=False)
        say(plan.about)
        with build_bar(say) as bar:
            path, built = ensure_engine(plan, say, bar, force=options.force)
    except UserError as error:
        if debugging():
            raise
        return _end(code, _explained(error))
    except KeyboardInterrupt:
        return _end(130, "interrupted; no engine was written")
    say(f"{'built' if built else 'is there already'}: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def _explained(error: UserError) -> str:
    from henasy_stream.backends.tensorrt_device import NoGpuError

    elsewhere = "; TensorRT for RTX builds for a GPU elsewhere with --compute-capability 8.6"
    return f"{error}{elsewhere}" if isinstance(error, NoGpuError) else str(error)


def _end(code: int, line: str) -> int:
    print(f"build-engine: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
