from __future__ import annotations

from collections.abc import Sequence

import pytest

from henasy_stream.errors import UserError
from training.preparation.llm import LanguageModel, prompt_for, read_answer

pytest.importorskip("spacy")

from training.preparation.verbs import verb_phrases

TEXTS = ["#C C opens the drawer and takes a knife", "#C C looks around", "#C C opens the drawer and takes a knife"]


class Talker:
    """A model that answers from a table, and what it was asked."""

    name = "talker/1"

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers, self.asked = {prompt_for(text): answer for text, answer in answers.items()}, 0

    def complete(self, prompts: Sequence[str]) -> list[str]:
        self.asked += len(prompts)
        return [self.answers.get(prompt, "I cannot help with that.") for prompt in prompts]


@pytest.mark.parametrize(
    ("answer", "phrases"),
    [
        (' ["opening the drawer", "taking a knife"]\nSentence: next', ("opening the drawer", "taking a knife")),
        ("Sure! Here it is: ['Opening a jar.']", ("opening a jar",)),
        ("[]", ()),
        ('["holding it", "holding it"]', ("holding it",)),
        ("opening the drawer", None),
        ('["opens the drawer"]', None),
        ('["opening the drawer", 3]', None),
        ("['opening', __import__('os').getcwd()]", None),
        ("[" * 5000, None),
        ('["holding ' + "x" * 200 + '"]', None),
        (str(["doing it"] * 9), None),
        ('["opening the drawer', None),
        ('[""]', None),
    ],
)
def test_only_a_list_of_ing_phrases_is_an_answer(answer, phrases):
    assert read_answer(answer) == phrases


def test_the_parser_reads_what_is_not_known_yet(tmp_path):
    seen: list[int] = []
    phrases, report = verb_phrases(TEXTS, cache=tmp_path / "c.sqlite", progress=seen.append)
    assert phrases[TEXTS[0]] == ("opening the drawer", "taking a knife")
    assert (report.texts, report.cached, report.parsed, report.empty) == (2, 0, 2, 0)
    assert sum(seen) == 2
    again, report = verb_phrases([*TEXTS, "#C C does not move"], cache=tmp_path / "c.sqlite")
    assert again[TEXTS[0]] == phrases[TEXTS[0]]
    assert (report.texts, report.cached, report.parsed, report.empty) == (3, 2, 1, 1)


def test_malformed_answers_are_counted_and_read_by_the_parser(tmp_path):
    talker = Talker({TEXTS[0]: '["opening a drawer", "taking out a knife"]'})
    phrases, report = verb_phrases(TEXTS, cache=tmp_path / "c.sqlite", model=talker)
    assert phrases == {TEXTS[0]: ("opening a drawer", "taking out a knife"), TEXTS[1]: ("looking around",)}
    assert (report.asked, report.malformed, report.parsed) == (2, 1, 1)
    _, report = verb_phrases(TEXTS, cache=tmp_path / "c.sqlite", model=talker)
    assert (talker.asked, report.cached) == (2, 2)


def test_an_interrupted_run_keeps_its_finished_batches(tmp_path):
    class Breaking(Talker):
        def complete(self, prompts: Sequence[str]) -> list[str]:
            if self.asked:
                raise KeyboardInterrupt
            return super().complete(prompts)

    with pytest.raises(KeyboardInterrupt):
        verb_phrases(TEXTS, cache=tmp_path / "c.sqlite", model=Breaking({}), model_batch=1)
    _, report = verb_phrases(TEXTS, cache=tmp_path / "c.sqlite", model=Talker({}))
    assert (report.cached, report.asked) == (1, 1)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """A Llama of a few thousand random parameters with a word tokenizer, as transformers saves it."""
    transformers = pytest.importorskip("transformers")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers

    path = tmp_path_factory.mktemp("llm") / "tiny"
    words = ["<eos>", "<unk>", *["[", "]", "opening", "the", "drawer", ",", '"', "'", "takes", "knife"]]
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", unk_token="<unk>")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=256, eos_token_id=0, bos_token_id=0,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(path, safe_serialization=True)
    fast.save_pretrained(path)
    return path


def test_a_saved_model_is_run_locally_and_the_same_every_time(tiny_model, tmp_path):
    model = LanguageModel(tiny_model, max_new_tokens=8)
    prompts = [prompt_for(text) for text in TEXTS]
    answers = model.complete(prompts)
    assert len(answers) == 3
    assert answers[0] == answers[2] == model.complete(prompts[:1])[0]
    phrases, report = verb_phrases(TEXTS, cache=tmp_path / "c.sqlite", model=model)
    assert (report.asked, report.malformed) == (2, 2)
    assert phrases[TEXTS[1]] == ("looking around",)


@pytest.mark.parametrize("content", [None, "{}", '{"model_type": "llama"}', "no json"])
def test_a_folder_that_is_no_model_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError) as caught:
        LanguageModel(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
