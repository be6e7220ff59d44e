"""CLIP's byte-pair tokenizer, as LaViLa uses it.  Needs no torch.

The merges are CLIP's public ones in `data/`; the splitting into words and the merging run in Hugging Face `tokenizers`.
"""

from __future__ import annotations

import functools
import gzip
import html
import re
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Literal

import numpy as np
import numpy.typing as npt

_MERGES = 48894
_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORD = r"(?i)<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class ClipTokenizer:
    """Texts to rows of token ids: start token, text, end token, zeros.

    Args:
        context: length of a row.
    """

    start_id = 49406
    end_id = 49407

    def __init__(self, context: int = 77) -> None:
        if context < 2:
            raise ValueError(f"context {context} has no room for a start and an end token")
        self.context = context

    def __call__(
        self, texts: Sequence[str], *, truncate: Literal["keep_end", "lavila"] = "keep_end"
    ) -> npt.NDArray[np.int64]:
        """Tokenize a batch of texts.

        Args:
            texts: any strings; a literal `<|endoftext|>` in one becomes a real end token.
            truncate: what an over-long text loses.  "keep_end" cuts the text and keeps the end token; "lavila" cuts the
                row and the end token with it, after which LaViLa's text tower gives all such texts the same embedding.

        Returns:
            (len(texts), context) int64.
        """
        if isinstance(texts, str):
            raise TypeError("texts is a single string; pass a list of strings")
        rows = np.zeros((len(texts), self.context), np.int64)
        for row, text in zip(rows, texts, strict=True):
            ids = [self.start_id, *self.encode(text), self.end_id]
            if len(ids) > self.context:
                del ids[self.context :]
                if truncate == "keep_end":
                    ids[-1] = self.end_id
            row[: len(ids)] = ids
        return rows

    def encode(self, text: str) -> list[int]:
        """The ids of one text of any length, without start and end token."""
        split, merge = _load()
        return [token for word in split(clean(text)) for token in merge(word)]


def clean(text: str) -> str:
    """Mend broken Unicode, unescape HTML twice, collapse white space, lower the case."""
    # Printable ASCII without "&" passes all of ftfy and html unchanged; most text is such and spares the import.
    if not (text.isascii() and text.isprintable()) or "&" in text:
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text).strip().lower()


@functools.cache
def _load() -> tuple[Callable[[str], list[str]], Callable[[str], tuple[int, ...]]]:
    """The two halves of the tokenizer: text to words in CLIP's byte alphabet, word to ids."""
    from tokenizers import Regex, models, pre_tokenizers

    packed = resources.files("henasy_stream.model").joinpath("data/bpe_simple_vocab_16e6.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode().split("\n")[1 : 1 + _MERGES]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines)]
    alphabet = _byte_alphabet()
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), *(left + right for left, right in merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    model = models.BPE(vocab=vocabulary, merges=merges, end_of_word_suffix="</w>")
    splitter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )

    def split(text: str) -> list[str]:
        return [word for word, _ in splitter.pre_tokenize_str(text)]

    @functools.lru_cache(maxsize=1 << 16)
    def merge(word: str) -> tuple[int, ...]:
        if word in (_START, _END):
            return (ClipTokenizer.start_id if word == _START else ClipTokenizer.end_id,)
        return tuple(token.id for token in model.tokenize(word))

    return split, merge


def _byte_alphabet() -> list[str]:
    """One printable character per byte, in the order of CLIP's vocabulary: printable bytes first, then the rest."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(byte) for byte in printable] + [chr(0x100 + index) for index in range(256 - len(printable))]
