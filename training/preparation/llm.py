"""A local language model that lists the actions of a narration, as the paper asks Llama-2 to."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from henasy_stream.errors import UserError
from training.preparation.actions import MAX_PHRASES

PROMPT = """List what is done in the sentence as a Python list of strings. Each string begins with a verb in its -ing \
form and keeps the words that belong to it. Leave out who does it. Answer with the list alone.
Sentence: #C C opens the drawer and takes a knife
List: ["opening the drawer", "taking a knife"]
Sentence: {}
List:"""
PROMPT_VERSION = 1
"""Part of the cache's key: change it together with `PROMPT`."""
_MAX_ANSWER = 2000
_MAX_PHRASE = 120


class Completer(Protocol):
    """name: the model with its version, for the cache's key."""

    name: str

    def complete(self, prompts: Sequence[str]) -> list[str]:
        """The text that follows each prompt."""
        ...


def prompt_for(text: str) -> str:
    """The question about one narration."""
    return PROMPT.format(" ".join(text.split()))


def read_answer(answer: str) -> tuple[str, ...] | None:
    """The phrases of the first list in the answer; None unless that is a list of short "-ing" phrases."""
    answer = answer[:_MAX_ANSWER]
    start = answer.find("[")
    stop = answer.find("]", start)
    if start < 0 or stop < 0:
        return None
    try:
        value = ast.literal_eval(answer[start : stop + 1])
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    if not isinstance(value, list) or len(value) > MAX_PHRASES:
        return None
    phrases = []
    for phrase in value:
        words = phrase.split() if isinstance(phrase, str) else []
        if not words or len(phrase) > _MAX_PHRASE or not words[0].lower().endswith("ing"):
            return None
        phrases.append(" ".join([words[0].lower(), *words[1:]]).rstrip("."))
    return tuple(dict.fromkeys(phrases))


class LanguageModel:
    """A causal language model in a folder as transformers saves it; nothing is downloaded or unpickled.

    Raises:
        UserError: transformers is missing or the folder holds no such model.
    """

    def __init__(self, path: Path, *, max_new_tokens: int = 96) -> None:
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise UserError('--llm needs transformers: pip install "henasy-stream[train]"') from error
        if not (path / "config.json").is_file():
            raise UserError(f"--llm {path}: no config.json there; give the folder of a model saved by transformers")
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True, padding_side="left")
            model: Any = AutoModelForCausalLM.from_pretrained(
                path, local_files_only=True, use_safetensors=True, dtype="auto"
            )
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"--llm {path}: {str(error).splitlines()[0]}") from error
        self._torch = torch
        self._model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._max_new_tokens = max_new_tokens
        weights = sorted(path.glob("*.safetensors"))
        self.name = f"{path.resolve().name}/{sum(file.stat().st_size for file in weights)}/prompt{PROMPT_VERSION}"

    def complete(self, prompts: Sequence[str]) -> list[str]:
        """Greedy, so that the same narration always gives the same phrases."""
        if self._tokenizer.chat_template:
            prompts = [
                self._tokenizer.apply_chat_template(
                    [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
                )
                for prompt in prompts
            ]
        inputs = self._tokenizer(list(prompts), return_tensors="pt", padding=True, return_token_type_ids=False)
        inputs = inputs.to(self._model.device)
        with self._torch.inference_mode():
            tokens = self._model.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=self._max_new_tokens,
                pad_token_id=self._tokenizer.pad_token_id,
            )
        return list(self._tokenizer.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
