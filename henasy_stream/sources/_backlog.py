"""Pictures that waited in a connection's buffers, and are older than the moment of their arrival says."""

from __future__ import annotations

from collections import deque
from statistics import median

_PAUSE_S = 0.5
_PAUSE_PERIODS = 3
_WAITED_PERIODS = 0.7
_KEPT, _ENOUGH = 15, 5


class Backlog:
    """Finds the burst that follows a pause: the process was stopped, or the network stalled, and the sender went on.

    Stamped by their arrival, such pictures would pass for new ones, and the stream would seem to show in a second what
    took ten.  All are late until one had to be waited for, or as many came as fit into the pause.  Where the sender
    paused as well, this costs the first picture after the pause.
    """

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=_KEPT)
        self._behind_s = 0.0

    def is_late(self, gap_s: float, waited_s: float) -> bool:
        """Whether a picture had waited in a buffer.

        Args:
            gap_s: seconds since the picture before it was taken.
            waited_s: seconds that taking it took; on a busy machine that is less than `gap_s`.
        """
        period_s = median(self._gaps) if len(self._gaps) >= _ENOUGH else float("inf")
        if self._behind_s > 0:
            if waited_s < _WAITED_PERIODS * period_s:
                self._behind_s -= period_s - gap_s
                return self._behind_s > 0
            self._behind_s = 0.0
        elif gap_s > max(_PAUSE_S, _PAUSE_PERIODS * period_s):
            self._behind_s = gap_s
            return True
        self._gaps.append(gap_s)
        return False
