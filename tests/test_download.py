"""Downloads against a server on this machine that cuts, resumes, lies and refuses."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from henasy_stream.download import LAVILA_TSF_B, Release, fetch
from henasy_stream.errors import UserError

CONTENT = bytes(range(256)) * 9000  # 2.3 MB: more than two of the downloader's reads
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `content` with ranges; `cut_after` bytes of each answer are sent before the connection is closed."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.cut_after: int | None = None
        self.dies = False  # after the first answer
        self.errors: list[int] = []
        self.ranges = True
        self.requested: list[str | None] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def release(self) -> Release:
        base = f"http://127.0.0.1:{self.server_address[1]}/weights"
        return Release(name="test weights", base_url=base, file_name="w.pth", md5_prefix=MD5[:6], licence="MIT")


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requested.append(wanted)
        if self.server.errors:
            self.send_error(self.server.errors.pop(0))
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if start >= len(self.server.content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.server.content)}")
            self.end_headers()
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut_after])
        if self.server.dies:
            self.server.cut_after = 0

    def log_message(self, format: str, *args: object) -> None:
        pass


def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(monkeypatch):
    no_proxy(monkeypatch)
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def get(server, tmp_path):
    """Fetches without real pauses; returns the file and what the user was told."""

    def run(release: Release | None = None) -> tuple[Path, list[str]]:
        told: list[str] = []
        path = fetch(release or server.release, tmp_path, report=told.append, sleep=lambda seconds: None)
        return path, told

    return run


def test_downloads_once_and_tells_size_and_licence(server, get):
    path, told = get()
    assert path.read_bytes() == CONTENT
    assert any("licence: MIT" in line for line in told)
    assert any("of 2 MB (100 %)" in line for line in told)
    assert get()[1] == []
    assert len(server.requested) == 1


def test_a_cut_connection_goes_on_where_it_stopped(server, get):
    server.cut_after = 1_000_000
    path, _ = get()
    assert path.read_bytes() == CONTENT
    assert server.requested == [None, "bytes=1000000-", "bytes=2000000-"]


def test_an_interrupted_run_is_resumed_by_the_next(server, get, tmp_path):
    (tmp_path / "w.pth.part").write_bytes(CONTENT[:777])
    path, _ = get()
    assert path.read_bytes() == CONTENT
    assert server.requested == ["bytes=777-"]


def test_a_run_that_ended_before_the_check_only_checks(server, get, tmp_path):
    (tmp_path / "w.pth.part").write_bytes(CONTENT)
    assert get()[0].read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(server, get, tmp_path):
    (tmp_path / "w.pth.part").write_bytes(CONTENT + b"more")
    assert get()[0].read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(server, get, tmp_path):
    server.ranges = False
    (tmp_path / "w.pth.part").write_bytes(b"x" * 777)
    assert get()[0].read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(server, get):
    server.errors = [503]
    assert get()[0].read_bytes() == CONTENT


def test_a_dead_connection_keeps_what_came(server, get, tmp_path):
    server.cut_after = 500
    server.dies = True
    with pytest.raises(UserError, match=r"run the same command again to go on from there") as error:
        get()
    assert "\n" not in str(error.value)
    assert (tmp_path / "w.pth.part").stat().st_size == 500


def test_a_wrong_checksum_removes_the_file(server, get, tmp_path):
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(UserError, match=f"published is {MD5[:6]}") as error:
        get()
    assert "\n" not in str(error.value)
    assert not (tmp_path / "w.pth").exists()
    assert not (tmp_path / "w.pth.part").exists()


def test_a_later_download_must_equal_the_first(server, get, tmp_path):
    path, _ = get()
    note = json.loads((tmp_path / "w.pth.json").read_text())
    assert note["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert note["bytes"] == len(CONTENT)
    path.unlink()
    note["sha256"] = "0" * 64
    (tmp_path / "w.pth.json").write_text(json.dumps(note))
    with pytest.raises(UserError, match="differs from the file that was first downloaded"):
        get()
    assert not path.exists()


def test_a_missing_file_names_the_manual_command(server, get):
    server.errors = [404]
    with pytest.raises(UserError, match=r"404.*curl -L -C - -O http://127.*w\.pth") as error:
        get()
    assert "\n" not in str(error.value)


def test_without_a_network_the_manual_command_is_one_line(server, get):
    gone = replace(server.release, base_url="http://127.0.0.1:9/weights")
    with pytest.raises(UserError, match=r"cannot reach 127\.0\.0\.1 .*curl .*--weights w\.pth") as error:
        get(gone)
    assert "\n" not in str(error.value)


def test_a_proxy_from_the_environment_is_used(server, get, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    away = replace(server.release, base_url="http://weights.invalid/x")
    assert get(away)[0].read_bytes() == CONTENT


def test_no_room_says_how_much_is_needed(server, get, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    with pytest.raises(UserError, match=r"2 MB are needed and 1 MB are free"):
        get()


def test_the_public_release_names_its_own_checksum():
    assert f"md5sum_{LAVILA_TSF_B.md5_prefix}." in LAVILA_TSF_B.url
    assert LAVILA_TSF_B.url.startswith("https://dl.fbaipublicfiles.com/lavila/")
