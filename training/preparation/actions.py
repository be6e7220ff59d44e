"""Action phrases of a narration by its parse: "#C C opens the drawer and takes a knife" → two "-ing" phrases.

The rule-based stand-in for the language model that the paper asks for a list of the "-ing" phrases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from training.preparation.inflection import base_of_third_person, gerund
from training.preparation.narration import Narration, read_narration

MAX_PHRASES = 8
"""Phrases of a narration beyond this are dropped; Ego4D's narrations have at most three or four."""

_ASPECT = frozenset({"start", "begin", "continue", "keep", "try", "attempt", "proceed", "resume"})
_INTRANSITIVE = frozenset({
    "bend", "come", "cough", "crouch", "dance", "go", "jump", "kneel", "laugh", "lean", "lie", "look", "nod", "pause",
    "rest", "rise", "run", "sing", "sit", "sleep", "smile", "sneeze", "speak", "squat", "stand", "step", "stoop",
    "stretch", "swim", "talk", "turn", "wait", "walk", "yawn",
})  # fmt: skip
_WITH_GERUND = frozenset({"while", "after", "before", "when"})
_LEFT_OF_VERB = frozenset({"cc", "punct", "mark", "advmod", "aux", "auxpass", "nsubj", "neg", "prep", "preconj"})


@dataclass(frozen=True, slots=True)
class _Action:
    """token: index of the verb.  stop: where the words that belong to it end."""

    token: int
    stop: int


def sentence_for_parser(narration: Narration) -> str:
    """The narration with a subject that no parser misreads ("C" and "man X" look like names of things)."""
    if not narration.rest:
        return ""
    first = narration.rest.split(" ", 1)[0].lower()
    if narration.subject:
        return f"{'They' if narration.plural else 'She'} {narration.rest}"
    subject = "She is" if first.endswith("ing") else "The" if narration.other else "They"
    return f"{subject} {narration.rest[0].lower()}{narration.rest[1:]}"


def action_phrases(texts: Iterable[str], parser: Any, *, workers: int = 1) -> Iterator[tuple[str, ...]]:
    """The action phrases of each narration, in the order in which they are said.

    Args:
        texts: narrations as annotated, marks such as "#C" included.
        parser: a spaCy pipeline with tags and dependencies.
        workers: processes that parse.
    """
    sentences = (sentence_for_parser(read_narration(text)) for text in texts)
    for document in parser.pipe(sentences, batch_size=256, n_process=workers):
        yield tuple(_phrases(document))[:MAX_PHRASES]


def _phrases(document: Any) -> list[str]:
    verbs = [token for token in document if _is_action(token) or _misread(document, token)]
    forced = _first_word(document)
    if forced is not None and all(token.i != forced.i for token in verbs):
        verbs = [forced, *(token for token in verbs if token.i > forced.i)]
    actions = _spans(document, verbs)
    out: list[str] = []
    for k, action in enumerate(actions):
        if any(child.dep_ == "neg" for child in document[action.token].children):
            continue
        words = _words(document, action, actions[k + 1 :])
        phrase = " ".join([_gerund(document[action.token]), *words])
        if phrase not in out:
            out.append(phrase)
    return out


def _is_action(token: Any) -> bool:
    if token.pos_ != "VERB":
        return False
    if any(child.dep_ == "xcomp" and child.pos_ == "VERB" for child in token.children) and token.lemma_ in _ASPECT:
        return False
    dep = token.dep_
    if dep in ("ROOT", "parataxis"):
        return True
    if dep == "conj":
        return _is_action(token.head) or token.head.lemma_ in _ASPECT or token.head.i < 2
    if dep == "xcomp":
        return bool(token.head.lemma_ in _ASPECT) and (token.head.dep_ == "ROOT" or _chained(token.head))
    if dep == "pcomp":
        return token.tag_ == "VBG" and token.head.lower_ in _WITH_GERUND
    if dep == "advcl":
        return token.tag_ == "VBG" or any(child.lower_ in ("while", "as") for child in token.children)
    if dep == "acl":
        # "stands in the kitchen holding a cup": a parse often hangs the second action on the nearest noun.
        verb = token.head.head.head
        return token.tag_ == "VBG" and token.head.dep_ == "pobj" and verb.lemma_ in _INTRANSITIVE
    return False


def _misread(document: Any, token: Any) -> bool:
    """Whether a verb was taken for a noun: "picks a cloth and folds it"."""
    if token.tag_ != "NNS" or token.dep_ != "conj" or not 0 < token.i < len(document) - 1:
        return False
    return document[token.i - 1].dep_ == "cc" and document[token.i + 1].tag_ in ("DT", "PRP", "PRP$")


def _chained(token: Any) -> bool:
    return bool(token.dep_ == "conj" and token.head.pos_ == "VERB")


def _first_word(document: Any) -> Any | None:
    """The word after the subject where the parse finds no verb there: it is one all the same ("C saws wood")."""
    if not document or document[0].pos_ != "PRON":
        return None
    for token in document[1:]:
        if token.pos_ in ("ADV", "PUNCT", "PART", "CCONJ", "SCONJ") and token.dep_ != "ROOT":
            continue
        return None if token.pos_ in ("VERB", "AUX") or not token.is_alpha else token
    return None


def _spans(document: Any, verbs: Sequence[Any]) -> list[_Action]:
    """Each action reaches to where the words that belong to the next one begin."""
    starts = [_left_edge(document, token) for token in verbs]
    stops = [*starts[1:], len(document)][: len(starts)]
    return [_Action(token.i, stop) for token, stop in zip(verbs, stops, strict=True)]


def _left_edge(document: Any, verb: Any) -> int:
    edge = verb.i
    own = {token.i for token in verb.lefts}
    while edge > 0:
        token = document[edge - 1]
        before_noun = token.i in own or token.head.i in own
        joins = token.dep_ in ("cc", "punct", "preconj", "aux", "mark") or token.lower_ in (
            "then",
            "while",
            *_WITH_GERUND,
        )
        aspect = token.lemma_ in _ASPECT and token.pos_ == "VERB"
        if not (joins or aspect or (before_noun and token.dep_ in (*_LEFT_OF_VERB, "det", "compound"))):
            break
        edge -= 1
    return edge


def _words(document: Any, action: _Action, later: Sequence[_Action]) -> list[str]:
    tokens = document[action.token + 1 : action.stop]
    words = _text(tokens)
    verb = document[action.token]
    bare = all(token.dep_ in ("prt", "advmod", "cc", "punct") for token in tokens)
    if bare and later and _base(verb) not in _INTRANSITIVE and document[later[0].token].dep_ == "conj":
        # "washes and rinses the plate": the object is said once, after the last verb.
        for other in later:
            shared = _shared_object(document, other)
            if shared:
                return words + shared
    return words


def _shared_object(document: Any, action: _Action) -> list[str]:
    objects = [child for child in document[action.token].children if child.dep_ == "dobj"]
    if not objects:
        return []
    return _text(document[objects[0].left_edge.i : action.stop])


def _text(tokens: Any) -> list[str]:
    text = tokens.text.strip(" ,.;:-")
    words = text.split()
    while words and words[-1].lower().strip(",") in ("and", "then", "or", "but", "while", "also"):
        words.pop()
    return words


def _base(token: Any) -> str:
    if token.tag_ in ("VBZ", "NNS", "NNPS"):
        return base_of_third_person(token.text)
    if token.tag_ in ("VBD", "VBN", "VBG"):
        return str(token.lemma_).lower()
    return base_of_third_person(token.text) if token.pos_ != "VERB" else str(token.lower_)


def _gerund(token: Any) -> str:
    return str(token.lower_) if token.tag_ == "VBG" else gerund(_base(token))
