from __future__ import annotations

import numpy as np
import pytest

from henasy_stream.errors import UserError
from henasy_stream.stream.captions import find_mentions
from henasy_stream.stream.phrases import default_phrases, embed_cached, load_phrases
from tests.stream.fake import NOUNS, PHRASES, FakeBackend, text_vector


def write(folder, content):
    path = folder / "bank.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_blank_lines_comments_and_repetitions_are_left_out(tmp_path):
    text = "\ufeff# things\n\nwashes a cup\r\n  washes   a cup \n"
    text += "#C C cuts an onion\n#O a man waves\n#comment\nрежет лук 🧅\n"
    assert load_phrases(write(tmp_path, text)) == (
        "washes a cup",
        "#C C cuts an onion",
        "#O a man waves",
        "режет лук 🧅",
    )


@pytest.mark.parametrize("content", ["", "\n\n", "# only this\n"])
def test_an_empty_bank_is_the_users_mistake(tmp_path, content):
    with pytest.raises(UserError, match=r"bank\.txt holds no phrase"):
        load_phrases(write(tmp_path, content))


def test_undecodable_bytes_name_the_line(tmp_path):
    with pytest.raises(UserError, match=r"bank\.txt, line 3, is not UTF-8") as error:
        load_phrases(write(tmp_path, b"one\ntwo\ncaf\xe9\n"))
    assert "\n" not in str(error.value)


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing"):
        load_phrases(tmp_path / "nothing")
    with pytest.raises(UserError, match="cannot read"):
        load_phrases(tmp_path)


def test_ten_thousand_lines_are_embedded_once(tmp_path):
    texts = load_phrases(write(tmp_path, "\n".join(f"does thing number {i} with a cup" for i in range(10_000))))
    assert len(texts) == 10_000
    seen = []
    backend = FakeBackend()
    first = embed_cached(backend, texts, lambda done, total: seen.append((done, total)))
    assert backend.texts == 10_000
    assert seen[-1] == (10_000, 10_000)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    again = FakeBackend()
    np.testing.assert_array_equal(embed_cached(again, texts), first)
    assert again.texts == 1  # the probe
    assert find_mentions(texts, NOUNS).sum() == 10_000


def files(tmp_path):
    return sorted((tmp_path / "cache" / "texts").iterdir())


def test_the_cache_is_keyed_by_weights_and_texts(tmp_path):
    embed_cached(FakeBackend(), PHRASES)
    embed_cached(FakeBackend(model_id="other/one: 2"), PHRASES)
    embed_cached(FakeBackend(), PHRASES[:3])
    assert len(files(tmp_path)) == 3
    assert all(path.suffix == ".npz" for path in files(tmp_path))


@pytest.mark.parametrize("damage", [b"", b"not a zip", None])
def test_a_damaged_file_is_written_again(tmp_path, damage, caplog):
    embed_cached(FakeBackend(), PHRASES)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    np.testing.assert_array_equal(embed_cached(FakeBackend(), PHRASES), np.stack([text_vector(t) for t in PHRASES]))
    assert "damaged" in caplog.text
    assert path.read_bytes() == whole


def test_retrained_weights_under_an_old_name_are_noticed():
    class Retrained(FakeBackend):
        def embed_texts(self, texts):
            return -super().embed_texts(texts)

    old = embed_cached(FakeBackend(), PHRASES)
    np.testing.assert_array_equal(embed_cached(Retrained(), PHRASES), -old)


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HENASY_CACHE", str(tmp_path / "file"))
    assert embed_cached(FakeBackend(), PHRASES).shape == (len(PHRASES), 32)
    assert "HENASY_CACHE" in caplog.text


def test_no_half_written_file_stays(tmp_path, monkeypatch):
    def full(file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    embed_cached(FakeBackend(), PHRASES)
    assert files(tmp_path) == []


def test_default_banks():
    spec = FakeBackend().spec
    assert default_phrases(spec) == PHRASES
    assert len(default_phrases(FakeBackend(capabilities=("caption",)).spec)) == len(PHRASES)
    from dataclasses import replace

    pairs = default_phrases(replace(spec, phrases=(), verbs=("push", "lift")))
    assert pairs[:2] == ("push cup", "push knife")
    assert len(pairs) == 2 * len(NOUNS)
    everyday = default_phrases(replace(spec, phrases=(), nouns=(), verbs=()))
    assert len(everyday) > 100
    assert "washes a cup" in everyday
