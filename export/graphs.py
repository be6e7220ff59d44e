"""From a network to ONNX graphs whose inputs and outputs have names, and what those are.

Static batch 1 unless asked otherwise: such graphs are a third smaller, and a stream has one camera.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from export.operators import LATEST_OPSET, refused
from henasy_stream.backends.bundle import DType, Graph, Port
from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError
from henasy_stream.model.causal import CausalHenasy
from henasy_stream.model.exported import NEXT, STATE, CausalGraph, TextGraph, WindowGraph, empty_state
from henasy_stream.model.exported_parts import parts
from henasy_stream.model.henasy import Henasy
from henasy_stream.model.lavila import DualEncoder
from henasy_stream.model.tokenizer import ClipTokenizer

OPSET = LATEST_OPSET
LEAST_OPSET = 18
"""Below it PyTorch writes no graphs."""
LARGEST_BYTES = 2_000_000_000
"""Larger weights go into a file beside the graph: protocol buffers end at 2 GiB, and the operators need some of it."""
BATCH = "batch"
T = TypeVar("T")
_RANGES = {
    "frames": (0.0, 255.0),
    "frame": (0.0, 255.0),
    "tokens": (0.0, float(ClipTokenizer.end_id)),
    "filled": (0.0, None),
    "video_embedding": (-1.0, 1.0),
    "entity_embeddings": (-1.0, 1.0),
    "entity_probability": (0.0, 1.0),
    "entity_attention": (0.0, 1.0),
    "text_embedding": (-1.0, 1.0),
}
_DTYPES: dict[torch.dtype, DType] = {
    torch.uint8: "uint8",
    torch.int64: "int64",
    torch.float16: "float16",
    torch.float32: "float32",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """A function of named tensors, with inputs to trace it by.

    sizes: names of the axes that may change, by input and axis.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    sizes: dict[str, dict[int, str]]

    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the reference says."""
        with torch.no_grad():
            found: dict[str, Tensor] = self.module(**nested(inputs))
        return found


def forms(model: Henasy | DualEncoder, config: HenasyConfig, *, batch: bool = False) -> Iterator[Form]:
    """The step of a network, "window" or "causal", and its "text" tower; with `batch`, for any number of streams."""
    vision = config.vision
    picture = (vision.image_size, vision.image_size, 3)
    if isinstance(model, CausalHenasy):
        inputs = {"frame": torch.zeros(1, *picture, dtype=torch.uint8), "filled": torch.zeros(1, dtype=torch.int64)}
        inputs |= {f"{STATE}{site}": rows for site, rows in empty_state(model).items()}
        sizes = {name: {1 if name.startswith(STATE) else 0: BATCH} for name in inputs} if batch else {}
        yield Form(name="causal", module=CausalGraph(model).eval(), inputs=inputs, sizes=sizes)
    else:
        frames = torch.zeros(1, vision.num_frames, *picture, dtype=torch.uint8)
        module = WindowGraph(model, config.preprocess).eval()
        yield Form(
            name="window", module=module, inputs={"frames": frames}, sizes={"frames": {0: BATCH}} if batch else {}
        )
    tokens = torch.zeros(3, min(7, config.text.context), dtype=torch.int64)
    tokens[:, -1] = 1  # an end token somewhere
    towers = model.towers if isinstance(model, Henasy) else model
    yield Form(
        name="text",
        module=TextGraph(towers).eval(),
        inputs={"tokens": tokens},
        sizes={"tokens": {0: "texts", 1: "tokens"}},
    )


def part_forms(model: Henasy | DualEncoder, config: HenasyConfig, *, batch: bool = False) -> Iterator[Form]:
    """Each part of the step by itself, in order, with inputs to trace it by that the parts before it give."""
    known = dict(next(forms(model, config)).inputs)
    for part in parts(model, config):
        inputs = {
            name: value
            for taken in (*part.takes, *(f"{STATE}{kind}" for kind in part.layers))
            for name, value in known.items()
            if name == taken or name.startswith(f"{taken}.")
        }
        sizes = {name: {1 if name.startswith(STATE) else 0: BATCH} for name in inputs} if batch else {}
        form = Form(name=part.name, module=part.module.eval(), inputs=inputs, sizes=sizes)
        known |= form(inputs)
        yield form


def write_onnx(form: Form, path: Path, opset: int = OPSET) -> Graph:
    """Writes the graph of a form; what it says of itself, without parity.

    Raises:
        UserError: the packages that export are not installed, or TensorRT 10 knows no such opset or lacks an operator
            of the network.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch needs it
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: pip install 'henasy-stream[export]'") from None
    given = several(form)
    outputs = form(given)
    with quiet():
        program = torch.onnx.export(
            form.module,
            (),
            kwargs=nested(given),
            dynamo=True,
            opset_version=opset,
            input_names=list(form.inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic_shapes(form),
            verbose=False,
        )
    assert program is not None
    aside = sum(value.nbytes for value in form.module.state_dict().values()) > LARGEST_BYTES
    program.save(str(path), external_data=aside)
    operators = _tidy(path, form)
    onnx.checker.check_model(str(path), full_check=True)  # by its path, which large graphs need
    state = {name: NEXT + name.removeprefix(STATE) for name in form.inputs if name.startswith(STATE)}
    return Graph(
        file=path.name,
        data=f"{path.name}.data" if aside else None,
        opset=opset,
        inputs=tuple(_port(name, value, form.sizes.get(name, {})) for name, value in given.items()),
        outputs=tuple(_port(name, value, _grown(form, name)) for name, value in outputs.items()),
        state=state,
        operators=operators,
    )


def _tidy(path: Path, form: Form) -> dict[str, int]:
    """Takes out what only tells where an operator came from, files of this machine included; counts the operators.

    Raises:
        UserError: TensorRT 10 does not take the graph.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    model.graph.ClearField("value_info")
    model.graph.ClearField("metadata_props")
    for told in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        told.ClearField("metadata_props")
    onnx.save(model, str(path))
    for told in model.graph.input:
        fixed = [axis for axis in form.sizes.get(told.name, {}) if told.type.tensor_type.shape.dim[axis].dim_value]
        assert not fixed, f"{path.stem}: {told.name} has one size only on axes {fixed}"
    operators = Counter(node.op_type for node in model.graph.node)
    if unknown := refused(operators, model.opset_import[0].version, model.ir_version):
        raise UserError(f"{path.stem}: TensorRT 10 does not take {', '.join(unknown)}; build the network without")
    return dict(sorted(operators.items()))


def several(form: Form) -> dict[str, Tensor]:
    """Inputs with more than one of what may change in number: a trace takes one for a constant."""
    given = dict(form.inputs)
    for name, axes in form.sizes.items():
        for axis in axes:
            if given[name].shape[axis] == 1:
                given[name] = given[name].repeat_interleave(2, axis)
    return given


def nested(inputs: Mapping[str, T]) -> dict[str, object]:
    """Names as the module takes them: those with a dot are keys of one argument."""
    nested: dict[str, Any] = {}
    for name, value in inputs.items():
        argument, dot, key = name.partition(".")
        if dot:
            nested.setdefault(argument, {})[key] = value
        else:
            nested[name] = value
    return nested


def dynamic_shapes(form: Form) -> dict[str, object] | None:
    """The axes that may change, as torch.export wants them told."""
    if not form.sizes:
        return None
    sizes = sorted({size for axes in form.sizes.values() for size in axes.values()})
    dims = {size: torch.export.Dim(size, min=1) for size in sizes}
    return nested({name: {axis: dims[size] for axis, size in form.sizes.get(name, {}).items()} for name in form.inputs})


def _grown(form: Form, output: str) -> dict[int, str]:
    """The axes of an output that change with those of the inputs: a state's are its own, the first of all others."""
    if output.startswith(NEXT):
        return form.sizes.get(STATE + output.removeprefix(NEXT), {})
    return {0: next(iter(form.sizes.values()))[0]} if form.sizes else {}


def _port(name: str, value: Tensor, sizes: dict[int, str]) -> Port:
    low, high = _RANGES.get(name, (None, None))
    shape = tuple(sizes.get(axis, size) for axis, size in enumerate(value.shape))
    return Port(name=name, dtype=_DTYPES[value.dtype], shape=shape, low=low, high=high)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The exporter tells of packages that nobody needs, and how far it is."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
