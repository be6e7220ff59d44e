"""Runs the network with PyTorch, on the CPU or a GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from henasy_stream.backends.base import NetworkState
from henasy_stream.backends.token_batches import by_length
from henasy_stream.backends.torch_stem import StemMemory
from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError
from henasy_stream.model.causal import CausalHenasy, build_henasy
from henasy_stream.model.causal_state import CausalState
from henasy_stream.model.checkpoints import load_strictly, load_weights
from henasy_stream.model.henasy import Henasy, HenasyOutput
from henasy_stream.model.lavila import DualEncoder, inflate_temporal
from henasy_stream.model.timesformer import ConvStem, TimeSformer
from henasy_stream.model.tokenizer import ClipTokenizer
from henasy_stream.types import FloatArray, ModelSpec, NetworkOutput, SavedNetworkState, UInt8Array

_SMALL_WIDTH = 256
"""Narrower layers are too short for threads: on a busy machine their barriers cost a hundred times the work."""


def spec_of(model_id: str, config: HenasyConfig, *, entities: bool) -> ModelSpec:
    """What the rest of the program must know about weights of this config."""
    words = config.vocabulary
    return ModelSpec(
        model_id=model_id,
        image_size=config.vision.image_size,
        num_frames=config.vision.num_frames,
        span_s=config.preprocess.span_s,
        embed_dim=config.embed_dim,
        capabilities=frozenset({"caption", "queries", "entities"} if entities else {"caption", "queries"}),
        resize=config.preprocess.resize,
        mean=config.preprocess.mean,
        std=config.preprocess.std,
        num_entities=config.num_entities if entities else 0,
        grid=config.mask_grid if entities else 0,
        attention=config.attention,
        temperature=config.temperature,
        background=words.background,
        nouns=words.nouns,
        verbs=words.verbs,
        phrases=words.phrases,
        queries=config.queries,
        synthetic=words.synthetic,
    )


def read_network(path: str | Path, *, num_frames: int | None = None) -> tuple[Henasy | DualEncoder, HenasyConfig, str]:
    """HENASY or a converted LaViLa dual encoder from our own safetensors, its config and its name.

    Args:
        path: ends in `.safetensors`, its `.json` beside it.
        num_frames: length of the temporal embedding, resampled as LaViLa does for its evaluation when it differs.

    Raises:
        UserError: the file is missing, damaged or of another shape.
    """
    state, config, metadata = load_weights(path)
    if config.text.vocab_size <= ClipTokenizer.end_id:
        raise UserError(
            f"{path} knows {config.text.vocab_size} text tokens, CLIP's tokenizer has {ClipTokenizer.end_id + 1}; "
            "train with text.vocab_size at its default"
        )
    kind = Henasy if any(name.startswith("entity_encoder.") for name in state) else DualEncoder
    temporal = "towers.visual.temporal_embed" if kind is Henasy else "visual.temporal_embed"
    if config.attention == "causal" and num_frames not in (None, config.vision.num_frames):
        raise UserError(f"{path} is causal and sees {config.vision.num_frames} frames; leave num_frames out")
    if num_frames is not None and temporal in state and state[temporal].ndim == 3:
        state[temporal] = inflate_temporal(state[temporal], num_frames)
        config = dataclasses.replace(config, vision=dataclasses.replace(config.vision, num_frames=num_frames))
    try:
        with torch.device("meta"):  # nothing is initialised only to be overwritten
            model = (
                build_henasy(config) if kind is Henasy else DualEncoder(config.vision, config.text, config.embed_dim)
            )
    except ValueError as error:
        raise UserError(f"{Path(path).with_suffix('.json')}: {error}") from None
    load_strictly(model, state, path)
    return model.eval(), config, str(metadata.get("model_id", Path(path).stem))


class TorchBackend:
    """One model in evaluation mode.  A LaViLa dual encoder gives the video embedding only."""

    def __init__(self, model: Henasy | DualEncoder, config: HenasyConfig, model_id: str, device: str = "auto") -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.name = f"torch-{device}"
        self.spec = spec_of(model_id, config, entities=isinstance(model, Henasy))
        self._device = torch.device(device)
        self._model = model.eval().requires_grad_(False).to(self._device)
        self._threads = 1 if config.vision.width < _SMALL_WIDTH else torch.get_num_threads()
        self._stem = _stem_memory(self._model, self._device)
        self._tokenizer = ClipTokenizer(config.text.context)
        self._mean = torch.tensor(config.preprocess.mean, device=self._device).view(1, 3, 1, 1)
        self._scale = 1 / torch.tensor(config.preprocess.std, device=self._device).view(1, 3, 1, 1)

    @classmethod
    def from_file(cls, path: str | Path, *, device: str = "auto") -> TorchBackend:
        """Load our own safetensors: HENASY, or a converted LaViLa dual encoder.

        Raises:
            UserError: the file is missing, damaged or of another shape.
        """
        model, config, model_id = read_network(path)
        return cls(model, config, model_id, device)

    def _normalise(self, clip: UInt8Array) -> Tensor:
        video = torch.from_numpy(np.array(clip, order="C")).to(self._device).permute(0, 3, 1, 2).float()
        return ((video - self._mean) * self._scale).unsqueeze(0)

    @torch.inference_mode()
    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        """(T, S, S, 3) uint8 RGB, oldest first → embeddings and masks, see `NetworkOutput`."""
        with _intra_op_threads(self._threads):
            video = self._normalise(clip)
            if isinstance(self._model, DualEncoder):
                return NetworkOutput(video_embedding=_unit(self._model.encode_video(video))[0])
            if self._stem is None:
                return self._output(self._model(video))
            tower = self._model.towers.visual(video, self._stem(clip, video[0]))
            return self._output(self._model.assemble(tower, len(clip)))

    def initial_state(self) -> CausalState:
        """See `Backend.initial_state`; its rings stay on the device."""
        return self._causal.initial_state()

    @torch.inference_mode()
    def step(self, state: NetworkState, image: UInt8Array) -> tuple[CausalState, NetworkOutput]:
        """(S, S, 3) uint8 RGB and all that came before → embeddings and masks of this sample, see `NetworkOutput`."""
        if isinstance(state, SavedNetworkState):
            dtype = self._causal.entity_encoder.entity_tokens.dtype  # another backend's memory may be half as wide
            state = CausalState.from_host(state, self._device, dtype)
        assert isinstance(state, CausalState)
        with _intra_op_threads(self._threads):
            state, out = self._causal.step(state, self._normalise(image[None]))
            return state, self._output(out.newest())

    @property
    def _causal(self) -> CausalHenasy:
        assert isinstance(self._model, CausalHenasy), f"{self.spec.model_id} is no causal network"
        return self._model

    def _output(self, out: HenasyOutput) -> NetworkOutput:
        side = self.spec.grid
        return NetworkOutput(
            video_embedding=_unit(out.video)[0],
            entity_embeddings=_unit(out.entities)[0],
            entity_probability=out.probability[0].unflatten(1, (side, side)).float().cpu().numpy(),  # type: ignore[no-untyped-call]
            entity_attention=None if out.attention is None else out.attention[0].float().cpu().numpy(),
        )

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """(N, D) float32, L2-normalised; long lists run in batches of texts of similar length."""
        if not texts:
            return np.zeros((0, self.spec.embed_dim), np.float32)
        found = np.empty((len(texts), self.spec.embed_dim), np.float32)
        with _intra_op_threads(self._threads):
            for rows, tokens in by_length(self._tokenizer(list(texts))):
                found[rows] = _unit(self._model.encode_text(torch.from_numpy(tokens).to(self._device)))
        return found


def _stem_memory(model: Henasy | DualEncoder, device: torch.device) -> StemMemory | None:
    """Where it is worth it (docs/performance.md): for convolutions on a CPU; not measured on a GPU."""
    if isinstance(model, Henasy) and type(model) is not CausalHenasy and device.type == "cpu":
        tower = model.towers.visual
        if isinstance(tower, TimeSformer) and isinstance(tower.patch_embed, ConvStem):
            return StemMemory(tower.patch_embed, 2 * tower.config.num_frames)
    return None


@contextmanager
def _intra_op_threads(count: int) -> Iterator[None]:
    """Changes torch's setting, which belongs to the whole process, for the time of a call."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _unit(x: Tensor) -> FloatArray:
    return F.normalize(x.float(), dim=-1).cpu().numpy()
