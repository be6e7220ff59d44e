import hashlib
import html
import json
import subprocess
import sys
from pathlib import Path

import ftfy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from henasy_stream.model import tokenizer as module
from henasy_stream.model.tokenizer import ClipTokenizer, clean

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "clip_tokenizer_cases.json").read_text("utf-8"))
DATA = Path(module.__file__).parent / "data"


def test_merges_are_the_published_file():
    digest = hashlib.sha256((DATA / "bpe_simple_vocab_16e6.txt.gz").read_bytes()).hexdigest()
    assert digest == GOLDEN["bpe_file_sha256"]
    assert (DATA / "bpe_simple_vocab_16e6.txt.gz.sha256").read_text().split()[0] == digest


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: repr(case["text"][:24]))
def test_ids_equal_clip(case):
    rows = ClipTokenizer(GOLDEN["context_length"])([case["text"]], truncate="lavila")
    assert rows.dtype == np.int64
    assert rows[0].tolist() == case["ids"]
    assert rows[0].argmax() == case["clip_argmax_position"]


def test_the_default_keeps_the_end_token():
    cases = [case for case in GOLDEN["cases"] if case["truncated"]]
    assert cases
    rows = ClipTokenizer()([case["text"] for case in cases])
    for row, case in zip(rows, cases, strict=True):
        assert row[:-1].tolist() == case["ids"][:-1]
        assert row[-1] == ClipTokenizer.end_id
    whole = [case for case in GOLDEN["cases"] if not case["truncated"]]
    assert ClipTokenizer()([case["text"] for case in whole]).tolist() == [case["ids"] for case in whole]


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60), context=st.integers(2, 20))
def test_every_row_is_start_text_end_zeros(text, context):
    row = ClipTokenizer(context)([text])[0]
    assert row.shape == (context,)
    assert row[0] == ClipTokenizer.start_id
    end = int(row.argmax())
    assert row[end] == ClipTokenizer.end_id
    assert (row >= 0).all()
    if not any(special in clean(text) for special in ("<|endoftext|>", "<|startoftext|>")):
        assert not row[end + 1 :].any()


@given(text=st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=80))
def test_ascii_needs_no_mending(text):
    mended = html.unescape(html.unescape(ftfy.fix_text(text)))
    assert clean(text) == " ".join(mended.split()).lower()


def test_a_literal_end_token_counts_only_where_clip_sees_it():
    tokenizer = ClipTokenizer()
    assert ClipTokenizer.end_id in tokenizer.encode("cup <|endoftext|> knife")
    assert ClipTokenizer.end_id not in tokenizer.encode("!<|endoftext|>")


def test_a_single_string_is_refused():
    with pytest.raises(TypeError, match="single string"):
        ClipTokenizer()("cut an onion")


def test_a_context_without_room_is_refused():
    with pytest.raises(ValueError, match="context 1"):
        ClipTokenizer(1)


def test_no_texts_give_no_rows():
    assert ClipTokenizer(8)([]).shape == (0, 8)


def test_tokenizing_imports_no_torch():
    code = (
        "import sys; from henasy_stream.model.tokenizer import ClipTokenizer; ClipTokenizer()(['cuts', 'é &amp;']);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(module.__file__).parents[2])
