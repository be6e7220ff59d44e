"""Lower, partition, convert and build networks with Torch-TensorRT on a machine without a GPU.

Runs in an environment of its own: `make proof`.  Reads one line of JSON, {"weights": name or path, "precision": "fp32"
or "fp16", "steps": how many, "build": architecture or null, "scatter": bool}, and writes a line for each graph.

Torch-TensorRT asks for a GPU when it is imported, and its libraries need CUDA's.  Neither is used by what is looked at
here, which is all Python and TensorRT for RTX, so a stand-in answers and the libraries are hidden.  What is built is
thrown away.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch  # noqa: E402 - imports start from the root
from torch import Tensor, nn  # noqa: E402

from export.graphs import Form, forms, nested, quiet  # noqa: E402
from export.parity import HALF_TOLERANCE, TOLERANCE, Parity, pictures  # noqa: E402
from export.recorded import Step, record_causal, record_text, record_window  # noqa: E402
from henasy_stream.backends.torch_backend import read_network  # noqa: E402
from henasy_stream.loading import weights_file  # noqa: E402
from henasy_stream.model import grouping  # noqa: E402
from henasy_stream.model.exported import NEXT  # noqa: E402
from henasy_stream.model.tokenizer import ClipTokenizer  # noqa: E402

_TEXTS = ("cup", "a hand picks up the red cup", "")
_MOST_TEXTS = 256
_STAND_IN = SimpleNamespace(major=8, minor=6, name="no GPU", total_memory=0)


def import_without_gpu() -> Any:
    """The module `torch_tensorrt`."""
    torch.cuda.get_device_capability = lambda device=None: (8, 6)  # type: ignore[assignment]
    torch.cuda.get_device_properties = lambda device=None: _STAND_IN  # type: ignore[assignment]
    torch.cuda.current_device = lambda: 0
    if not hasattr(torch._C, "_CudaDeviceProperties"):
        torch._C._CudaDeviceProperties = SimpleNamespace  # type: ignore[misc, assignment]
    isfile = os.path.isfile
    os.path.isfile = lambda path: not Path(str(path)).name.startswith("libtorchtrt") and isfile(path)
    logging.disable(logging.WARNING)
    try:
        import torch_tensorrt
    finally:
        os.path.isfile = isfile
    return torch_tensorrt


def scattered(logits: Tensor, noise: Tensor | None = None) -> grouping.Assignment:
    """As `grouping.assign`, written as most would: the control that Torch-TensorRT must not take in one piece."""
    soft = logits.softmax(-2)
    choice = soft.max(-2, keepdim=True).indices
    return grouping.Assignment(soft=soft, hard=torch.zeros_like(soft).scatter_(-2, choice, 1.0))


def look_at(form: Form, steps: list[Step], context: int, tolerance: float, architecture: str | None) -> dict[str, Any]:
    """Coverage, graphs, differences and layers of a form, or where it stopped as `error`."""
    from torch_tensorrt.dynamo import CompilationSettings, partitioning
    from torch_tensorrt.dynamo._compiler import get_decompositions, post_lowering, pre_export_lowering
    from torch_tensorrt.dynamo.conversion._ConverterRegistry import DYNAMO_CONVERTERS

    settings = CompilationSettings(decompose_attention=True, min_block_size=1)
    found: dict[str, Any] = {"graph": form.name, "decompose_attention": True}
    with quiet(), torch.no_grad():
        program = torch.export.export(form.module, (), kwargs=nested(form.inputs), dynamic_shapes=_sizes(form, context))
        program = pre_export_lowering(program, settings).run_decompositions(get_decompositions(False, True, False))
        lowered = post_lowering(program.module(), settings)
        parity = Parity(tolerance=tolerance)
        for step in steps:
            given = {name: torch.from_numpy(value).to(form.inputs[name].dtype) for name, value in step.inputs.items()}
            wanted, outputs = form(given), lowered(**nested(given))
            parity.see(_arrays(outputs), _arrays(wanted), step.margin)
        DYNAMO_CONVERTERS.set_compilation_settings(settings)
        supported, total = partitioning.get_graph_converter_support(lowered, set())
        parts, support = partitioning.global_partition(lowered, min_block_size=1)
    pieces = [name for name, _ in parts.named_children() if "_run_on_acc" in name]
    rest = sum(node.op == "call_function" for node in parts.graph.nodes if not _picks(node))
    found |= {"supported": supported, "operators": total, "subgraphs": len(pieces), "left_to_torch": rest}
    found |= {"unsupported": sorted(str(name) for name in support.unsupported_operators)}
    found |= {"steps": parity.steps, "worst": parity.worst, "flips": parity.flips, "equal": parity.holds}
    if len(pieces) != 1 or rest:
        return found | {"error": "it falls apart"}
    return found | _convert(getattr(parts, pieces[0]), settings, architecture)


def _convert(graph: nn.Module, settings: Any, architecture: str | None) -> dict[str, Any]:
    import tensorrt_rtx as trt
    from torch_tensorrt.dynamo import partitioning
    from torch_tensorrt.dynamo.conversion._conversion import infer_module_output_dtypes
    from torch_tensorrt.dynamo.conversion._TRTInterpreter import TRTInterpreter

    started = time.perf_counter()
    inputs, outputs = partitioning.construct_submodule_inputs(graph), infer_module_output_dtypes(graph)
    converter = TRTInterpreter(graph, inputs, output_dtypes=outputs, compilation_settings=settings)
    try:
        converter._construct_trt_network_def()  # `run` would go on to load the engine, which needs a GPU
    except Exception as error:  # noqa: BLE001 - the converters have no common class for them
        return {"error": " ".join(str(error).split())[:300]}
    network = converter.ctx.net
    found = {"layers": network.num_layers}
    if architecture is not None:
        config = converter.builder.create_builder_config()
        for profile in converter.optimization_profiles or ():
            config.add_optimization_profile(profile)
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, architecture), 0)
        engine = converter.builder.build_serialized_network(network, config)
        if engine is None:
            return found | {"error": f"not built for {architecture}"}
        found |= {"architecture": architecture, "megabytes": round(engine.nbytes / 1e6, 1)}
    return found | {"seconds": round(time.perf_counter() - started, 1)}


def _sizes(form: Form, context: int) -> dict[str, Any] | None:
    """Sizes that may change, within bounds: an engine has a largest input."""
    if not form.sizes:
        return None
    most = {"texts": _MOST_TEXTS, "tokens": context}
    return {
        name: {axis: torch.export.Dim(size, min=2, max=most[size]) for axis, size in axes.items()}
        for name, axes in form.sizes.items()
    }


def _picks(node: torch.fx.Node) -> bool:
    return "getitem" in str(node.target)


def _arrays(named: dict[str, Tensor]) -> dict[str, Any]:
    return {name: value.float().numpy() for name, value in named.items() if not name.startswith(NEXT)}


def main() -> None:
    """One line of JSON for each graph."""
    asked = json.loads(sys.stdin.readline())
    version = import_without_gpu().__version__
    model, config, model_id = read_network(weights_file(asked["weights"], lambda _: None))
    half = asked["precision"] == "fp16"
    reference = {form.name: form for form in forms(model, config)}
    width = config.vision.num_frames
    frames = pictures(config.vision.image_size, width + asked["steps"] - 1)
    steps = {"text": list(record_text(reference["text"], ClipTokenizer(config.text.context)(list(_TEXTS))))}
    if "causal" in reference:
        steps["causal"] = list(record_causal(reference["causal"], frames, width))
    else:
        steps["window"] = list(record_window(reference["window"], frames, width))
    if half:
        del reference["text"]  # it stays as it is
        model, config, _ = read_network(weights_file(asked["weights"], lambda _: None))
        reference = {form.name: form for form in forms(model.half(), config) if form.name in reference}
    if asked["scatter"]:
        grouping.assign = scattered  # type: ignore[assignment]
        reference.pop("text", None)
    for name, form in reference.items():
        about = {"bundle": model_id, "precision": asked["precision"], "version": version}
        tolerance = HALF_TOLERANCE if half else TOLERANCE
        found = look_at(form, steps[name], config.text.context, tolerance, asked["build"])
        print(json.dumps(about | found), flush=True)


if __name__ == "__main__":
    main()
