"""Does the network compute the same on this GPU in every form, and how fast?  `python export/verify_on_gpu.py`.

Needs torch and this package, nothing else; what else is installed is tried as well: TensorRT, TensorRT for RTX,
Torch-TensorRT, ONNX Runtime for CUDA.  Each form runs in a process of its own, is held against the golden step of a
bundle, and is timed: whole steps, from pictures in memory to results in memory, and the device's part by CUDA events.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import numpy as np  # noqa: E402 - imports start from the root
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from henasy_stream._arguments import Parser  # noqa: E402
from henasy_stream.errors import UserError, debugging  # noqa: E402

PACKAGES = (
    "henasy-stream",
    "torch",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-ep-nv-tensorrt-rtx",
    "tensorrt",
    "tensorrt-rtx",
    "torch-tensorrt",
    "torch-tensorrt-rtx",
    "triton",
    "numpy",
)
WARM_UP = 10
LIMIT_S = 3600.0


def measure(form: str, weights: str, device: str, steps: int) -> dict[str, Any]:
    """One form, in this process: its largest difference from the golden step, and its milliseconds.

    Raises:
        UserError: it lacks something, or computes something else.
    """
    from export.gpu_forms import FORMS, Asked
    from henasy_stream.backends.probe import Golden
    from henasy_stream.loading import bundle_folder, check_weights, has_weights, weights_file

    check_weights(weights)
    bundle = bundle_folder(weights)
    if bundle is None:
        raise UserError(f"{weights} is no bundle: python export/export.py --weights {weights} --out bundle/")
    path = weights_file(weights, lambda _: None) if has_weights(weights) else None
    ready = FORMS[form](Asked(name=weights, weights=path, bundle=bundle, device=device))
    golden, backend = Golden.read(bundle), ready.backend
    golden.run(backend)
    state = backend.initial_state() if backend.spec.attention == "causal" else None

    def step() -> Any:
        nonlocal state
        if state is None:
            return backend.run_window(golden.pictures)
        state, found = backend.step(state, golden.pictures)
        return found

    found = backend.step(backend.initial_state(), golden.pictures)[1] if state is not None else step()
    apart = {name: np.abs(getattr(found, name) - wanted).max() for name, wanted in golden.outputs.items()}
    measured: dict[str, Any] = {
        "backend": backend.name,
        "difference": {name: float(f"{value:.2e}") for name, value in apart.items()},
        "step_ms": _spread(_wall_clock(step, steps)),
    }
    if device == "cuda" and ready.launch is not None:
        measured["device_ms"] = _spread(_events(ready.launch, ready.stream, steps))
    return measured


def _wall_clock(step: Callable[[], object], steps: int) -> list[float]:
    taken = []
    for _ in range(WARM_UP + steps):
        began = time.perf_counter()
        step()
        taken.append(1000 * (time.perf_counter() - began))
    return taken[WARM_UP:]


def _events(launch: Callable[[], object], handle: int | None, steps: int) -> list[float]:
    """Milliseconds of the device, each step by itself."""
    import torch

    stream = torch.cuda.current_stream() if handle is None else torch.cuda.ExternalStream(handle)
    pairs = []
    for _ in range(WARM_UP + steps):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record(stream)
        launch()
        end.record(stream)
        end.synchronize()
        pairs.append((begin, end))
    return [begin.elapsed_time(end) for begin, end in pairs[WARM_UP:]]


def _spread(taken: Sequence[float]) -> dict[str, float]:
    return {"median": round(float(np.median(taken)), 3), "p99": round(float(np.percentile(taken, 99)), 3)}


def measure_apart(form: str, weights: str, device: str, steps: int) -> dict[str, Any]:
    """`measure` in a process of its own; why there is no number is under "reason"."""
    command = [sys.executable, __file__, "--worker", form, "--weights", weights, "--device", device]
    try:
        done = subprocess.run(
            [*command, "--steps", str(steps)], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"form": form, "reason": f"no result within {LIMIT_S:.0f} s"}
    if done.returncode < 0:
        return {"form": form, "reason": f"crashed with {signal.Signals(-done.returncode).name}"}
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return {"form": form, **found}
    last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason given")
    return {"form": form, "reason": last.strip()[:200]}


def describe(device: str) -> dict[str, Any]:
    """Card, driver, CUDA and versions.

    Raises:
        UserError: torch is missing, or sees no GPU although one is asked for.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError(f"this needs PyTorch ({error}): pip install torch") from None
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("torch sees no NVIDIA GPU; --device cpu runs what a CPU can")
    there = {name: version for name in PACKAGES if (version := _version(name))}
    system = f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}"
    about: dict[str, Any] = {"system": system, "versions": there, "card": f"none: {_processor()}"}
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        about["card"] = (
            f"{card.name}, {card.total_memory / 2**30:.0f} GiB, compute capability {card.major}.{card.minor}"
        )
        about |= {"cuda": torch.version.cuda, "driver": _driver()}
    return about


def _driver() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        from henasy_stream.backends.tensorrt_device import open_driver

        return f"for CUDA {open_driver().gpu().driver}"
    asked = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split("\n")[0].strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def markdown(report: dict[str, Any]) -> str:
    """The report as a table for people."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    card = f"{report['card']}" + (f"; driver {report['driver']}, CUDA {report['cuda']}" if "cuda" in report else "")
    lines = [f"`{report['command']}`, {report['weights']}, {report['steps']} steps each.", ""]
    lines += [f"Card: {card}. {report['system']}. {versions}.", ""]
    lines += ["| form | step, median ms | p99 | device, median ms | p99 | largest difference |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows(report)]) + "\n"


def rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Of the table: a form that did not run has its reason in place of numbers."""
    found = []
    for one in report["forms"]:
        if "reason" in one:
            found.append((one["form"], f"did not run: {one['reason'].replace('|', '/')}", "", "", "", ""))
            continue
        wall, device = one["step_ms"], one.get("device_ms")
        on_device = ("–", "–") if device is None else (f"{device['median']:.2f}", f"{device['p99']:.2f}")
        worst = max(one["difference"].values())
        found.append((one["form"], f"{wall['median']:.2f}", f"{wall['p99']:.2f}", *on_device, f"{worst:.1e}"))
    return found


def _said(one: dict[str, Any]) -> str:
    return f"did not run: {one['reason']}" if "reason" in one else f"{one['step_ms']['median']} ms"


def _worker(options: Any) -> int:
    try:
        found = measure(options.worker, options.weights, options.device, options.steps)
    except Exception as error:  # a form fails in any way it likes, and the others go on
        if debugging():
            raise
        said = " ".join(str(error).split())[:200]
        found = {"reason": said if isinstance(error, UserError) else f"{type(error).__name__}: {said}"}
    print(json.dumps(found), flush=True)
    os._exit(0)  # libraries of drivers may hang when they are taken down


def build_parser() -> Parser:
    """The arguments."""
    parser = Parser(prog="verify_on_gpu.py", description="The network in every form that this machine can run.")
    parser.add_argument("--weights", default="demo", help="'demo' (default), 'demo-causal' or a bundle's folder")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=300, help="timed steps of each form (default 300)")
    parser.add_argument("--forms", nargs="+", metavar="FORM", help="only these (see --list)")
    parser.add_argument("--list", action="store_true", help="print the names of the forms and exit")
    parser.add_argument("--out", type=Path, default=Path("verify_on_gpu"), help="writes OUT.json and OUT.md")
    parser.add_argument("--worker", metavar="FORM", help="measure one form in this process")
    return parser


def main(argv: Sequence[str]) -> int:
    """0 every form that ran is the network, 1 one is not or none ran, 2 a mistake, 130 interrupted."""
    console = Console(stderr=True, highlight=False)
    try:
        options = build_parser().parse_args(argv)
        if options.worker is not None:
            return _worker(options)
        about = describe(options.device)
        try:
            from export.gpu_forms import FORMS
        except ImportError as error:
            raise UserError(f"{error.name} is not installed: pip install 'henasy-stream[torch]'") from None
        if options.list:
            print("\n".join(FORMS))
            return 0
        names = options.forms or list(FORMS)
        if unknown := [name for name in names if name not in FORMS]:
            raise UserError(f"--forms {unknown[0]!r}: there are {', '.join(FORMS)}")
        if options.steps < 1:
            raise UserError(f"--steps {options.steps}: time at least one")
        forms = []
        for name in names:
            with console.status(f"{name} …"):
                forms.append(measure_apart(name, options.weights, options.device, options.steps))
            console.print(f"{name}: {_said(forms[-1])}", markup=False, soft_wrap=True)
        command = f"python export/verify_on_gpu.py --weights {options.weights} --device {options.device}"
        report = {**about, "command": command, "weights": options.weights, "steps": options.steps, "forms": forms}
        for suffix, text in ((".json", json.dumps(report, indent=1) + "\n"), (".md", markdown(report))):
            options.out.with_suffix(suffix).write_text(text)
    except (UserError, OSError) as error:
        print(f"verify_on_gpu: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("verify_on_gpu: interrupted; nothing was written", file=sys.stderr)
        return 130
    ran = [one for one in forms if "reason" not in one]
    table = Table(title=f"{options.weights} on {report['card']}")
    for title in ("form", "step ms", "p99", "device ms", "p99", "difference"):
        table.add_column(title, justify="left" if title == "form" else "right")
    for row in rows({"forms": ran}):
        table.add_row(*row)
    Console().print(table)
    print(f"written: {options.out.with_suffix('.json')}, {options.out.with_suffix('.md')}")
    wrong = [one for one in forms if "computes something else" in one.get("reason", "")]
    return 0 if ran and not wrong else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
