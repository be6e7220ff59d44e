"""What a narration says, freed of the marks that Ego4D's annotators put around it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PERSON = (
    r"(?:camera wearer|man|men|woman|women|lady|ladies|person|persons|people|boy|boys|girl|girls|guy|guys|child|"
    r"children|kid|kids|baby|individual|individuals|someone|somebody|player|friend|he|she|it|they|we|i|hand|hands)"
)
_PLURAL = re.compile(
    r"(?:men|women|ladies|persons|people|boys|girls|guys|children|kids|individuals|they|we|i|hands)\b", re.I
)
_ONE = (
    rf"(?:C\b(?!')|(?:(?:a|an|the|another|one|two|his|her|left|right|other|both|young|old|camera)\s+)*{_PERSON}\b"
    r"(?:\s+[A-Z]\b(?!'))?|[A-Z]\b(?!'))"
)
_SUBJECT = re.compile(rf"\s*({_ONE}(?:\s*(?:,|and|&)\s*{_ONE})*)\s+", re.I)
_MARK = re.compile(r"^\s*(?:#\s*(?:c|o|unsure|summary)\b)+\s*[:,]?\s*", re.I)
_UNSURE = re.compile(r"(?:\b(?:a|an|the)\s+)?#\s*unsure\b", re.I)


@dataclass(frozen=True, kw_only=True, slots=True)
class Narration:
    """subject: who acts, "" if none of the usual words for a person stands there.  rest: what is done.

    plural: whether the subject is.  other: marked "#O", so that the rest begins with whoever else acts.
    """

    subject: str
    rest: str
    plural: bool
    other: bool


def read_narration(text: str) -> Narration:
    """Who does what: "#O A man X drops the #unsure." → subject "A man X", rest "drops something"."""
    other = text.lstrip().lower().startswith("#o")
    text = _MARK.sub("", text.replace("\n", " ")).strip()
    text = _UNSURE.sub("something", text)
    text = re.sub(r"#\s*\w+\s*", "", text)
    text = re.sub(r"\s+", " ", text).strip(" .;,")
    found = _SUBJECT.match(text)
    if not found:
        return Narration(subject="", rest=text, plural=False, other=other)
    subject = found[1]
    several = bool(re.search(r",|\band\b|&", subject)) or bool(_PLURAL.search(subject))
    return Narration(subject=subject, rest=text[found.end() :], plural=several, other=other)
