from __future__ import annotations

import pytest

from henasy_stream.errors import UserError
from training.preparation.cache import TextCache


def test_what_was_put_is_found_later_and_only_by_its_engine(tmp_path):
    texts = {f"text {k}": (f"doing {k}", "über") for k in range(1200)}
    with TextCache(tmp_path / "c" / "x.sqlite", "a-1") as cache:
        cache.put(texts)
    with TextCache(tmp_path / "c" / "x.sqlite", "a-1") as cache:
        assert cache.get([*texts, "unknown"]) == texts
    with TextCache(tmp_path / "c" / "x.sqlite", "a-2") as cache:
        assert cache.get(list(texts)) == {}


def test_a_file_that_is_no_cache_is_named(tmp_path):
    path = tmp_path / "x.sqlite"
    path.write_text("not a data base, but long enough to look like one" * 10)
    with pytest.raises(UserError, match=r"x\.sqlite.*delete"):
        TextCache(path, "a")
