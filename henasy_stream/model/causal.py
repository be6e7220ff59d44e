"""HENASY in causal form: it advances frame by frame, and a frame costs about 1/T of a window.

All video, group and entity tokens are per frame.  At frame t, in time attention a patch sees its own place in
t-T+1 … t and the prefix of t, a prefix token the prefix of t and all patches of the band; in space attention both see
frame t only.  Groups, decoder and pooling read the band; slots are carried over through a gate.  `step` equals
`unrolled`, and both equal the slow oracle in the tests.

Shapes: B batch, n frames of a call, T frames of the band (`vision.num_frames`), F = n * B frames, frame by frame,
K patches of a frame, G groups, E entities, D entity width, Dg width of the global encoder, J joint width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from henasy_stream.config import HenasyConfig
from henasy_stream.model.attention import CrossAttentionBlock, SpaceTimeBlock
from henasy_stream.model.band_attention import Memory, cross_attention, cross_block, space_time
from henasy_stream.model.causal_memory import ClipMemory, FrameMemory, RingMemory
from henasy_stream.model.causal_output import CausalOutput
from henasy_stream.model.causal_state import CausalState, looking_back, ring_shapes
from henasy_stream.model.entity_decoder import EntityDecoderBlock, mean_looks
from henasy_stream.model.entity_encoder import patches_of
from henasy_stream.model.grouping import Assignment
from henasy_stream.model.henasy import Henasy, HenasyOutput
from henasy_stream.model.slot_carry import SlotCarry


class _Encoded(NamedTuple):
    """Of F frames: segments (F, G, D), cells (F, 1, G, cells), patches (F, K, Dg), cls (F, Dg)."""

    segments: Tensor
    boot: Assignment | None
    cells: Tensor | None
    patches: Tensor
    cls: Tensor


class _Assembled(NamedTuple):
    """Of the B streams at one frame: slots and their mean over the band, both (B, E, D)."""

    slots: Tensor
    pooled: Tensor
    entity: Assignment


class CausalHenasy(Henasy):
    """The causal network.  Its weights are those of `Henasy` without the temporal embedding, and beside them
    `lags`, one table (layers, T, width) for each kind of layer that looks back, and `carry`, the slots' gate.
    """

    def __init__(self, config: HenasyConfig) -> None:
        super().__init__(config)
        del self.towers.visual.temporal_embed  # time is relative here
        vision, layers = config.vision, looking_back(config)
        scale = 0.02 if vision.stem == "patch" else 0.4  # beside the stem's scale, as for the other embeddings
        widths = {kind: vision.width if kind == "visual" else config.entity_width for kind in layers}
        self.lags = nn.ParameterDict(
            {
                kind: nn.Parameter(torch.randn(count, vision.num_frames, widths[kind]) * scale)
                for kind, count in layers.items()
                if count
            }
        )
        self.carry = SlotCarry(config.entity_width, config.entity_heads)

    def initial_state(self, batch: int = 1) -> CausalState:
        """The state of `batch` streams that have seen nothing, of the weights' type and on their device."""
        like = self.entity_encoder.entity_tokens
        with torch.inference_mode(False):  # rings are written to in whatever mode a step is run
            rings = {site: like.new_zeros(shape) for site, shape in ring_shapes(self.config, batch).items()}
        return CausalState(rings=rings)

    @torch.no_grad()
    def step(self, state: CausalState, frames: Tensor) -> tuple[CausalState, CausalOutput]:
        """Advance by some frames; how a stream is cut into calls makes no difference.

        Args:
            state: consumed, its rings live on in the next.
            frames: (B, n, 3, S, S), float, normalised, n >= 1.

        Raises:
            ValueError: frames of another size, or a state of another network or number of streams.
        """
        self._check(frames)
        wanted = ring_shapes(self.config, len(frames))
        given = {site: tuple(ring.shape) for site, ring in state.rings.items()}
        if given != wanted:
            wrong = sorted(site for site in wanted.keys() | given.keys() if wanted.get(site) != given.get(site))
            raise ValueError(f"the state does not fit this network and {len(frames)} streams: {', '.join(wrong[:3])}")
        rings, width, count = dict(state.rings), self.config.vision.num_frames, frames.shape[1]

        def memory(ahead: int) -> RingMemory:
            return RingMemory(rings, frames=state.frames + ahead, filled=min(state.filled + ahead, width))

        last = rings["slots"][(state.frames - 1) % width] if state.filled else None
        out = self._run(frames, memory(0), memory, last)
        state = CausalState(rings=rings, frames=state.frames + count, filled=min(state.filled + count, width))
        return state, out

    def unrolled(self, video: Tensor) -> CausalOutput:
        """A whole clip (B, n, 3, S, S) from its first frame on; differentiable, n may exceed T.

        What does not depend on the carried slots runs for all frames at once.

        Raises:
            ValueError: frames of another size.
        """
        self._check(video)
        width = self.config.vision.num_frames
        frame = FrameMemory(width)
        return self._run(video, ClipMemory(width, len(video)), lambda _: frame, None)

    def forward(self, video: Tensor) -> HenasyOutput:
        """As `Henasy` for clips of any length: the embeddings are those of the newest frame and its band."""
        return self.unrolled(video).newest()

    def final_patches(self, video: Tensor) -> Tensor:
        """As `Henasy`'s, for clips of any length."""
        self._check(video)
        hidden, _ = self.encode_frames(
            video.transpose(0, 1).flatten(0, 1), ClipMemory(self.config.vision.num_frames, len(video))
        )
        return patches_of(hidden[-1]).unflatten(0, (-1, len(video))).transpose(0, 1).flatten(1, 2)  # type: ignore[no-untyped-call]

    def _check(self, video: Tensor) -> None:
        size = self.config.vision.image_size
        if video.shape[2:] != (3, size, size) or not video.shape[1]:
            found = "×".join(map(str, video.shape[1:]))
            raise ValueError(f"frames of {found} do not fit a model for n×3×{size}×{size}")

    def advance(self, frame: Tensor, memory: Memory, last: Tensor, began: Tensor) -> CausalOutput:
        """One frame (B, 1, 3, S, S) with a memory of any kind, for exported graphs, which do not branch.

        Args:
            frame: float, normalised.
            memory: of the frames before; is shown this one.
            last: (B, E, D) slots of the frame before, anything finite where there was none.
            began: (B, 1, 1), 1 when there was one, 0 otherwise.
        """
        return self._run(frame, memory, lambda _: memory, last, began)

    def _run(
        self,
        video: Tensor,
        clip: Memory,
        frame: Callable[[int], Memory],
        last: Tensor | None,
        began: Tensor | None = None,
    ) -> CausalOutput:
        """All of it; `clip` remembers for layers that take all frames, `frame(i)` for those that take frame i."""
        count = video.shape[1]
        encoded = self._encode(video.transpose(0, 1).flatten(0, 1), clip)
        assembled: list[_Assembled] = []
        for index, segments in enumerate(encoded.segments.unflatten(0, (count, -1)).unbind()):  # type: ignore[no-untyped-call]
            carried = None if last is None else self.carry(last)
            if carried is not None and began is not None:
                carried = carried * began
            assembled.append(self.assemble_frame(segments, carried, frame(index)))
            last = assembled[-1].slots
        pooled = torch.cat([found.pooled for found in assembled])
        decoded, attention = self.decode(pooled, encoded.patches, clip)
        entities = self.text_space(decoded)
        entity = Assignment(*(torch.cat(parts) for parts in zip(*(found.entity for found in assembled), strict=True)))
        probability = self.probability(entity, encoded.cells)

        def by_clip(x: Tensor) -> Tensor:
            return x.unflatten(0, (count, -1)).transpose(0, 1)  # type: ignore[no-untyped-call]

        def assignment(found: Assignment) -> Assignment:
            return Assignment(by_clip(found.soft.squeeze(1)), by_clip(found.hard.squeeze(1)))

        return CausalOutput(
            video=by_clip(entities.mean(1)),
            entities=by_clip(entities),
            per_frame=by_clip(torch.cat([found.slots for found in assembled])),
            boot=None if encoded.boot is None else assignment(encoded.boot),
            entity=assignment(entity),
            probability=by_clip(probability.squeeze(1)),
            patches=by_clip(encoded.patches),
            cls=by_clip(encoded.cls),
            attention=None if attention is None else by_clip(attention),
        )

    def encode_frames(self, images: Tensor, memory: Memory) -> tuple[list[Tensor], Tensor | None]:
        """Frames (F, 3, S, S) → the global encoder's tokens (F, 1 + K, Dg) before and after each block, and its stem's
        finer features.
        """
        tower = self.towers.visual
        patches, fine = tower.patch_embed(images)
        cls = tower.cls_token.expand(images.shape[0], -1, -1)
        hidden = [tower.ln_pre(torch.cat([cls, patches], 1) + tower.pos_embed)]
        for index, block in enumerate(tower.blocks):
            hidden.append(space_time(block, self.lags["visual"][index], hidden[-1], 1, memory, f"visual.{index}"))
        return hidden, fine

    def _encode(self, images: Tensor, memory: Memory) -> _Encoded:
        """Frames (F, 3, S, S) → segments."""
        hidden, fine = self.encode_frames(images, memory)
        last = hidden[-1]
        return _Encoded(*self.segment(hidden, fine, memory), patches_of(last), self.towers.visual.norm(last[:, 0]))

    def segment(
        self, hidden: list[Tensor], fine: Tensor | None, memory: Memory
    ) -> tuple[Tensor, Assignment | None, Tensor | None]:
        """What `encode_frames` gives → segments (F, G, D), their assignment, and cells (F, 1, G, cells)."""
        encoder = self.entity_encoder
        depth = encoder.bootstrap_layers or len(hidden) - 1
        seen = encoder.patch_projection(patches_of(hidden[depth]))  # (F, K, D)
        if not encoder.bootstrap_layers:
            return seen, None, None
        groups = encoder.group_tokens.expand(seen.shape[0], -1, -1)
        for index, cross in enumerate(cast(Iterable[CrossAttentionBlock], encoder.bootstrap)):
            table, site = self.lags["bootstrap"][index], f"bootstrap.{index}"
            groups = cross_block(cross, table, groups, patches_of(hidden[index]), memory, site)
        segments, boot = encoder.segment_grouping(groups, seen[:, None])
        cells = boot.soft
        if encoder.fine_key is not None and fine is not None:
            cells = encoder.fine(groups, seen[:, None], fine[:, None])
        return segments.squeeze(1), boot, cells

    def assemble_frame(self, segments: Tensor, carried: Tensor | None, memory: Memory) -> _Assembled:
        """Segments (B, G, D) of one frame, and what is carried over from the frame before, if there was one."""
        encoder = self.entity_encoder
        queries = encoder.entity_tokens.expand(segments.shape[0], -1, -1)
        if carried is not None:
            queries = queries + carried
        tokens, entities = torch.cat([queries, segments], 1), queries.shape[1]
        for index, block in enumerate(cast(Iterable[SpaceTimeBlock], encoder.grouping_blocks)):
            tokens = space_time(block, self.lags["grouping"][index], tokens, entities, memory, f"grouping.{index}")
        queries, segments = torch.split(tokens, [entities, tokens.shape[1] - entities], 1)
        grouped = encoder.entity_grouping(queries, segments[:, None])
        slots = grouped.tokens.squeeze(1)
        for index, block in enumerate(cast(Iterable[SpaceTimeBlock], encoder.refine_blocks)):
            slots = space_time(block, self.lags["refine"][index], slots, 0, memory, f"refine.{index}")
        (band,) = memory.bands("slots", slots)
        seen = torch.ones_like(band.lags)[:, None] if band.seen is None else band.seen
        weight = seen.to(slots.dtype) / seen.sum(0)
        return _Assembled(slots, (band.content * weight[..., None, None]).sum(0), grouped.assignment)

    def probability(self, entity: Assignment, cells: Tensor | None) -> Tensor:
        """Of the entity given the cell of a frame, (F, 1, cells, E), from segments' and cells' assignments."""
        found = entity.soft.transpose(-1, -2)
        return found if cells is None else torch.matmul(cells.transpose(-1, -2), found)

    def decode(self, entities: Tensor, patches: Tensor, memory: Memory) -> tuple[Tensor, Tensor | None]:
        """Pooled entities (F, E, D) read the band of final patches (F, K, Dg): as `EntityDecoder`."""
        if self.entity_decoder.kind == "average":
            return entities, None
        looks = []
        for index, block in enumerate(cast(Iterable[EntityDecoderBlock], self.entity_decoder.blocks)):
            table, site = self.lags["decoder"][index], f"decoder.{index}"
            query, shown = block.norm_entities(entities), block.norm_patches(patches)
            entities = entities + cross_attention(block.cross, table, query, shown, memory, site)
            entities, seen = block.attention(entities, entities.shape[1])
            looks.append(seen)
        return entities, mean_looks(looks)


def build_henasy(config: HenasyConfig) -> Henasy:
    """The network that `config.attention` names."""
    return CausalHenasy(config) if config.attention == "causal" else Henasy(config)
