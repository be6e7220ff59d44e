"""`python -m tests.life.subscriber ADDRESS TOPIC FILE`: writes the `seq` of every message that arrives, one a line."""

from __future__ import annotations

import sys

from henasy_stream.client import subscribe


def main() -> None:
    address, topic, file = sys.argv[1:]
    with open(file, "w", buffering=1) as out, subscribe(address, [topic], latest=False, timeout_s=60) as messages:  # noqa: PTH123
        for message in messages:
            print(message.seq, file=out)


if __name__ == "__main__":
    main()
