from __future__ import annotations

import pytest

from henasy_stream.cache import cache_folder
from henasy_stream.errors import UserError


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("HENASY_CACHE", str(tmp_path / "a" / "b"))
    assert cache_folder() == tmp_path / "a" / "b"
    assert cache_folder().is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("HENASY_CACHE", str(tmp_path / "file" / "x"))
    with pytest.raises(UserError, match="set HENASY_CACHE"):
        cache_folder()
