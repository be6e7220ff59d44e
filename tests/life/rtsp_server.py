"""`python -m tests.life.rtsp_server FOLDER PORT`: serves the H.264 files of a folder, round and round, over RTSP."""

from __future__ import annotations

import asyncio
import sys

from aio_rtsp_toolkit import server

if __name__ == "__main__":
    asyncio.run(server.serve(sys.argv[1], "127.0.0.1", int(sys.argv[2])))
