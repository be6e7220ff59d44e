"""What losses know of a clip besides its frames: nouns, verbs and verb phrases.

**Boxes.**  A detector tells hands from objects and no more, and nothing says which of two objects a narration means.
So hands are named by the dictionary's entry for them, objects have no name.  No loss of the paper reads names of boxes;
the losses beyond it that do (`noun_entity_box`, `slot_grounding`, `tower_nouns`) learn hands from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from training.data.clip_table import ClipTable, Ragged
from training.data.egoclip import VERBS
from training.data.hand_object import PADDING, narration_nouns
from training.data.own import OwnData
from training.preparation.nouns import MAX_NOUNS, find_nouns, word_rows
from training.preparation.row_files import load_rows

HAND = "hand"


class ClipLabels(Protocol):
    """Labels of the clips of a table, by row."""

    @property
    def table(self) -> ClipTable:
        """The clips."""

    @property
    def dictionary(self) -> tuple[str, ...]:
        """The nouns."""

    @property
    def hand(self) -> int:
        """The place of "hand" in the dictionary, below 0 where it has none."""

    @property
    def verb_words(self) -> tuple[str, ...]:
        """Verbs by class, empty where the classes have no words here."""

    @property
    def num_verbs(self) -> int:
        """How many classes of verbs."""

    @property
    def captions(self) -> tuple[str, ...]:
        """Phrases among which a stream finds its captions; empty for those that the package brings."""

    @property
    def widths(self) -> tuple[int, int, int]:
        """The most nouns, tags and verbs that a clip may have, the same on every rank."""

    def nouns(self, row: int, text: str) -> Sequence[int]:
        """Nouns that an entity must name, of the narration `text` of this row."""

    def tags(self, row: int) -> Sequence[int]:
        """Nouns that make it a positive of other clips."""

    def verbs(self, row: int) -> Sequence[int]:
        """Verbs that make it a positive of other clips."""

    def phrases(self, row: int) -> Sequence[str]:
        """Its verb phrases."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedPhrases:
    """What `prepare.py verbs` has written for a table: (N, W) places in `words`, -1 where a clip has fewer."""

    places: npt.NDArray[np.int32]
    words: tuple[str, ...]

    @staticmethod
    def read(folder: Path, table: ClipTable) -> PreparedPhrases:
        """UserError where the files are missing, damaged, or made for other narrations."""
        places, words = load_rows(folder, "verbs", table)
        return PreparedPhrases(places=places, words=words)

    def of(self, row: int) -> tuple[str, ...]:
        """The phrases of a clip."""
        return tuple(self.words[place] for place in self.places[row] if place != PADDING)

    @cached_property
    def verbs(self) -> dict[str, int]:
        """Class by verb, the first word of a phrase."""
        return {verb: place for place, verb in enumerate(dict.fromkeys(phrase.split()[0] for phrase in self.words))}


@dataclass(frozen=True, kw_only=True, eq=False)
class EgoClipLabels:
    """Labels of EgoClip, or of LaViLa's lists, which bring no tags.

    Positives share tags as EgoVLP counts them: all of `tag_noun` and `tag_verb`.  Nouns to be named are those of
    HelpingHands: tagged, said in the narration, and not hands or people.  Where a list has no tags, the nouns of
    the taxonomy that a narration says and the verbs of its phrases take their place; without phrases a clip is nobody
    else's positive.
    """

    table: ClipTable
    taxonomy: tuple[tuple[str, ...], ...]
    prepared: PreparedPhrases | None = None

    @cached_property
    def tagged(self) -> bool:
        """Whether the annotations bring tags."""
        return len(self.table.nouns.values) > 0

    @cached_property
    def dictionary(self) -> tuple[str, ...]:
        """The first word of each group of the taxonomy."""
        return tuple(group[0].replace("_", " ") if group else "" for group in self.taxonomy)

    @cached_property
    def hand(self) -> int:
        """The taxonomy's row for hands."""
        return next((row for row, group in enumerate(self.taxonomy) if HAND in group), PADDING)

    @cached_property
    def verb_words(self) -> tuple[str, ...]:
        """Verbs of the phrases where they are the classes; EgoClip's classes are numbers."""
        return () if self.tagged or self.prepared is None else tuple(self.prepared.verbs)

    @cached_property
    def num_verbs(self) -> int:
        """118 for EgoClip."""
        return VERBS if self.tagged else max(1, len(self.verb_words))

    @property
    def captions(self) -> tuple[str, ...]:
        """Those that the package brings: Ego4D's own taxonomy is among them."""
        return ()

    @cached_property
    def widths(self) -> tuple[int, int, int]:
        """See `ClipLabels`."""
        if self.tagged:
            return MAX_NOUNS, _widest(self.table.nouns), _widest(self.table.verbs)
        return MAX_NOUNS, MAX_NOUNS, 1 if self.prepared is None else max(1, self.prepared.places.shape[1])

    @cached_property
    def _words(self) -> dict[str, int]:
        return word_rows(self.taxonomy)

    def nouns(self, row: int, text: str) -> Sequence[int]:
        """By HelpingHands' rule where there are tags, else all that the narration says."""
        if not self.tagged:
            return find_nouns(text, self._words)
        found = narration_nouns(text, self._tags(row), self.taxonomy, limit=MAX_NOUNS)
        return [int(noun) for noun in found if noun != PADDING]

    def tags(self, row: int) -> Sequence[int]:
        """All nouns tagged."""
        return self._tags(row) if self.tagged else find_nouns(self.table[row].text, self._words)

    def _tags(self, row: int) -> list[int]:
        tags: list[int] = self.table.nouns[row].tolist()
        return tags

    def verbs(self, row: int) -> Sequence[int]:
        """All verbs tagged, or those of the phrases."""
        if self.tagged:
            found: list[int] = self.table.verbs[row].tolist()
            return found
        if self.prepared is None:
            return ()
        return sorted({self.prepared.verbs[phrase.split()[0]] for phrase in self.prepared.of(row)})

    def phrases(self, row: int) -> Sequence[str]:
        """Those prepared."""
        return () if self.prepared is None else self.prepared.of(row)


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnLabels:
    """Labels of one split of one's own data; `rows` are its rows of `own.clips`."""

    own: OwnData
    rows: npt.NDArray[np.int64]

    @cached_property
    def table(self) -> ClipTable:
        """The clips of the split."""
        return self.own.clips.select(self.rows)

    @cached_property
    def dictionary(self) -> tuple[str, ...]:
        """The nouns of the narrations, and the hand."""
        return tuple(dict.fromkeys((*self.own.nouns, HAND)))

    @property
    def hand(self) -> int:
        """The place of "hand"."""
        return self.dictionary.index(HAND)

    @property
    def verb_words(self) -> tuple[str, ...]:
        """Verbs of the phrases."""
        return self.own.verbs

    @property
    def num_verbs(self) -> int:
        """Verbs of the phrases."""
        return max(1, len(self.own.verbs))

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """All phrases of the split."""
        return tuple(dict.fromkeys(phrase for row in self.rows for phrase in self.own.phrases[int(row)]))

    @cached_property
    def widths(self) -> tuple[int, int, int]:
        """See `ClipLabels`."""
        nouns = _widest(self.table.nouns)
        return nouns, nouns, _widest(self.table.verbs)

    def nouns(self, row: int, text: str) -> Sequence[int]:
        """Those in `clips.csv`."""
        return self.tags(row)

    def tags(self, row: int) -> Sequence[int]:
        """Those in `clips.csv`."""
        tags: list[int] = self.table.nouns[row].tolist()
        return tags

    def verbs(self, row: int) -> Sequence[int]:
        """Those in `clips.csv`."""
        verbs: list[int] = self.table.verbs[row].tolist()
        return verbs

    def phrases(self, row: int) -> Sequence[str]:
        """Those in `clips.csv`."""
        return self.own.phrases[int(self.rows[row])]


def _widest(rows: Ragged) -> int:
    return max(1, int(np.diff(rows.bounds).max(initial=0)))
