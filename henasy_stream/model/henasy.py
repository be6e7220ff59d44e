"""HENASY assembled: towers, entity encoder, entity decoder, and the heads into the text space.

Shapes: B batch, T frames, K patches of a frame, G groups, E entities, D entity width, J width of the joint embedding.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from henasy_stream.config import HenasyConfig
from henasy_stream.model.entity_decoder import EntityDecoder
from henasy_stream.model.entity_encoder import EntityEncoder, patches_of
from henasy_stream.model.grouping import Assignment, at_least_float32
from henasy_stream.model.lavila import DualEncoder
from henasy_stream.model.timesformer import VisionOutput


class HenasyOutput(NamedTuple):
    """What one forward pass saw.

    video: (B, J), mean of the decoded entities in the text space (Eq. 6); entities: (B, E, J); not L2-normalised.
    per_frame: (B, T, E, D), entity tokens of each frame; boot: patch → segment assignment (B, T, G, K), None without
    bootstrapping; entity: segment → entity assignment; probability: (B, T, K, E), of the entity given the patch
    (4*K half-patches with `fine_masks`);
    patches: (B, T*K, Dg), final patch tokens of the global encoder, before its last norm; cls: (B, Dg), its video token
    after that norm.  attention: (B, E, E), how much each entity attended to each other in the decoder, or None.
    """

    video: Tensor
    entities: Tensor
    per_frame: Tensor
    boot: Assignment | None
    entity: Assignment
    probability: Tensor
    patches: Tensor
    cls: Tensor
    attention: Tensor | None


class Henasy(nn.Module):
    """The whole network.  `towers` are LaViLa's, frozen in the paper; the rest is trained.

    The video embedding and the decoder's entities pass one shared LayerNorm and linear into the text space, so that
    nouns, verbs and sentences are compared with both.
    """

    def __init__(self, config: HenasyConfig) -> None:
        super().__init__()
        self.config = config
        self.towers = DualEncoder(config.vision, config.text, config.embed_dim)
        self.entity_encoder = EntityEncoder(config)
        self.entity_decoder = EntityDecoder(config)
        self.text_space = nn.Sequential(
            nn.LayerNorm(config.entity_width), nn.Linear(config.entity_width, config.embed_dim)
        )

    def encode_text(self, token_ids: Tensor) -> Tensor:
        """(B, L) int64 → (B, J), not L2-normalised."""
        return self.towers.encode_text(token_ids)

    def final_patches(self, video: Tensor) -> Tensor:
        """(B, T, 3, S, S) → (B, T*K, Dg), the global encoder's patch tokens before its last norm, and nothing else."""
        return patches_of(self.towers.visual(video).hidden[-1])

    def forward(self, video: Tensor) -> HenasyOutput:
        """Run one window.

        Args:
            video: (B, T, 3, H, W), normalised as `config.preprocess` says.

        Raises:
            ValueError: more frames than the weights know, or another picture size.
        """
        return self.assemble(self.towers.visual(video), video.shape[1])

    def assemble(self, seen_by_tower: VisionOutput, frames: int) -> HenasyOutput:
        """All that comes after the global encoder; `frames` is T."""
        seen = self.entity_encoder(seen_by_tower.hidden, frames, seen_by_tower.fine)
        patches = patches_of(seen_by_tower.hidden[-1])
        decoded, attention = self.entity_decoder(seen.pooled, patches)
        entities = self.text_space(decoded)
        return HenasyOutput(
            video=entities.mean(1),
            entities=entities,
            per_frame=seen.per_frame,
            boot=seen.boot,
            entity=seen.entity,
            probability=seen.probability,
            patches=patches,
            cls=seen_by_tower.cls,
            attention=attention,
        )


def saliency(probability: Tensor) -> Tensor:
    """The paper's picture of an entity: softmax over the patches of a frame, (B, T, K, E) → (B, T, K, E) (Eq. 13)."""
    return at_least_float32(probability).softmax(2)
