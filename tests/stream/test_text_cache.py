from __future__ import annotations

import logging
import threading

import numpy as np
import pytest

from henasy_stream.stream.filling import Filling
from henasy_stream.stream.text_cache import TextCache
from tests.stream.fake import PHRASES, FakeBackend, text_vector

VECTORS = np.stack([text_vector(text) for text in PHRASES])


def embed(backend, texts=PHRASES, progress=None):
    return Filling(backend, TextCache(backend), texts, progress).run()


def files(tmp_path):
    return sorted((tmp_path / "cache" / "texts").iterdir())


def test_ten_thousand_texts_are_embedded_once():
    texts = [f"does thing number {i} with a cup" for i in range(10_000)]
    seen = []
    backend = FakeBackend()
    first = embed(backend, texts, lambda done, total: seen.append((done, total)))
    assert backend.texts == 10_000 + 1
    assert seen[-1] == (10_000, 10_000)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    again = FakeBackend()
    np.testing.assert_array_equal(embed(again, texts), first)
    assert again.texts == 1  # the probe
    embed(again, [*texts[:50], "something new"])
    assert again.texts == 3  # the probe and what is new


def test_an_interrupted_embedding_goes_on():
    class Interrupted(FakeBackend):
        def embed_texts(self, texts):
            if self.texts > 5:
                raise KeyboardInterrupt
            return super().embed_texts(texts)

    with pytest.raises(KeyboardInterrupt):
        embed(Interrupted())
    backend = FakeBackend()
    np.testing.assert_array_equal(embed(backend), VECTORS)
    assert backend.texts < len(PHRASES)


def test_what_is_wanted_comes_first():
    backend = FakeBackend()
    filling = Filling(backend, TextCache(backend), PHRASES)
    filling.wanted = np.array([7, 9])
    filling.work()
    filling.work()
    assert np.flatnonzero(filling.ready)[:1] == [7]
    assert filling.ready[9]
    assert not filling.complete
    np.testing.assert_array_equal(filling.run(), VECTORS)
    filling.work()  # nothing left to do
    assert filling.complete


def test_weights_have_files_of_their_own(tmp_path):
    embed(FakeBackend())
    embed(FakeBackend(model_id="other/one: 2"))
    embed(FakeBackend(model_id="other/one; 2"))
    assert len(files(tmp_path)) == 3


@pytest.mark.parametrize("damage", [b"", b"not a database, and longer than its header " * 9, None])
def test_a_damaged_file_is_written_again(tmp_path, damage, caplog):
    embed(FakeBackend())
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    np.testing.assert_array_equal(embed(FakeBackend()), VECTORS)
    assert "damaged" in caplog.text
    again = FakeBackend()
    embed(again)
    assert again.texts == 1


def test_retrained_weights_under_an_old_name_are_noticed():
    class Retrained(FakeBackend):
        def embed_texts(self, texts):
            return -super().embed_texts(texts)

    np.testing.assert_array_equal(embed(FakeBackend()), VECTORS)
    np.testing.assert_array_equal(embed(Retrained()), -VECTORS)
    np.testing.assert_array_equal(embed(Retrained(), PHRASES[3:]), -VECTORS[3:])


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HENASY_CACHE", str(tmp_path / "file"))
    np.testing.assert_array_equal(embed(FakeBackend()), VECTORS)
    assert caplog.text.count("HENASY_CACHE") == 1


def test_several_processes_may_write(caplog):
    """Threads here, each with its own connection, as processes have."""
    groups = [[f"text {i} of {k}" for i in range(40)] for k in range(4)]
    TextCache(FakeBackend())
    threads = [threading.Thread(target=embed, args=(FakeBackend(), group)) for group in groups]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    backend = FakeBackend()
    for group in groups:
        embed(backend, group)
    assert backend.texts == len(groups)  # probes
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
