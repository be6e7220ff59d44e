"""From a network to ONNX graphs whose inputs and outputs have names, and what those are.

Static batch 1: such graphs are a third smaller, and a stream has one camera.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from export.operators import refused
from henasy_stream.backends.bundle import DType, Graph, Port
from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError
from henasy_stream.model.causal import CausalHenasy
from henasy_stream.model.exported import NEXT, STATE, CausalGraph, TextGraph, WindowGraph, empty_state
from henasy_stream.model.henasy import Henasy
from henasy_stream.model.lavila import DualEncoder
from henasy_stream.model.tokenizer import ClipTokenizer

OPSET = 20
_LARGEST_BYTES = 2_000_000_000
"""Protocol buffers end at 2 GiB; the operators need some of it."""
_RANGES = {
    "frames": (0.0, 255.0),
    "frame": (0.0, 255.0),
    "tokens": (0.0, float(ClipTokenizer.end_id)),
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
            found: dict[str, Tensor] = self.module(**_nested(inputs))
        return found


def forms(model: Henasy | DualEncoder, config: HenasyConfig) -> Iterator[Form]:
    """The step of a network, "window" or "causal", and its "text" tower."""
    vision = config.vision
    picture = (vision.image_size, vision.image_size, 3)
    if isinstance(model, CausalHenasy):
        inputs = {"frame": torch.zeros(1, *picture, dtype=torch.uint8), "filled": torch.zeros(1, dtype=torch.int64)}
        inputs |= {f"{STATE}{site}": rows for site, rows in empty_state(model).items()}
        yield Form(name="causal", module=CausalGraph(model).eval(), inputs=inputs, sizes={})
    else:
        frames = torch.zeros(1, vision.num_frames, *picture, dtype=torch.uint8)
        module = WindowGraph(model, config.preprocess).eval()
        yield Form(name="window", module=module, inputs={"frames": frames}, sizes={})
    tokens = torch.zeros(3, min(7, config.text.context), dtype=torch.int64)
    tokens[:, -1] = 1  # an end token somewhere
    towers = model.towers if isinstance(model, Henasy) else model
    yield Form(
        name="text",
        module=TextGraph(towers).eval(),
        inputs={"tokens": tokens},
        sizes={"tokens": {0: "texts", 1: "tokens"}},
    )


def write_onnx(form: Form, path: Path) -> Graph:
    """Writes the graph of a form; what it says of itself, without parity.

    Raises:
        UserError: the packages that export are not installed, the weights are too large for one file, or the network
            has an operator that TensorRT 10 lacks.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch needs it
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: pip install 'henasy-stream[export]'") from None
    size = sum(value.nbytes for value in form.module.state_dict().values())
    if size > _LARGEST_BYTES:
        told = f"the weights of {form.name} take {size / 1e9:.1f} GB, and an ONNX file holds {_LARGEST_BYTES / 1e9:.1f}"
        raise UserError(f"{told}; export it with --precision fp16")
    outputs = form(form.inputs)
    with _quiet():
        program = torch.onnx.export(
            form.module,
            (),
            kwargs=_nested(form.inputs),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(form.inputs),
            output_names=list(outputs),
            dynamic_shapes=_dynamic(form),
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)
    onnx.checker.check_model(str(path), full_check=True)  # by its path, which large graphs need
    graph = onnx.load(str(path))
    operators = Counter(node.op_type for node in graph.graph.node)
    if unknown := refused(operators, graph.opset_import[0].version, graph.ir_version):
        raise UserError(f"{form.name}: TensorRT 10 does not take {', '.join(unknown)}; build the network without")
    state = {name: NEXT + name.removeprefix(STATE) for name in form.inputs if name.startswith(STATE)}
    return Graph(
        file=path.name,
        opset=OPSET,
        inputs=tuple(_port(name, value, form.sizes.get(name, {})) for name, value in form.inputs.items()),
        outputs=tuple(_port(name, value, _grown(form)) for name, value in outputs.items()),
        state=state,
        operators=dict(sorted(operators.items())),
    )


def _nested(inputs: dict[str, Tensor]) -> dict[str, object]:
    """Names as the module takes them: the memory is one argument."""
    state = {name.removeprefix(STATE): value for name, value in inputs.items() if name.startswith(STATE)}
    plain: dict[str, object] = {name: value for name, value in inputs.items() if not name.startswith(STATE)}
    return plain | {"state": state} if state else plain


def _dynamic(form: Form) -> dict[str, object] | None:
    if not form.sizes:
        return None
    return {
        name: {axis: torch.export.Dim(size, min=1) for axis, size in form.sizes[name].items()} for name in form.sizes
    }


def _grown(form: Form) -> dict[int, str]:
    """The first axis of an output is that of the input whose first axis may change."""
    return {0: next(axes[0] for axes in form.sizes.values())} if form.sizes else {}


def _port(name: str, value: Tensor, sizes: dict[int, str]) -> Port:
    low, high = _RANGES.get(name, (None, None))
    shape = tuple(sizes.get(axis, size) for axis, size in enumerate(value.shape))
    return Port(name=name, dtype=_DTYPES[value.dtype], shape=shape, low=low, high=high)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
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
