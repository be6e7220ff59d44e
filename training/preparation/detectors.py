"""Where boxes of hands and objects come from: an ONNX detector, or a table of what any other detector has found."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from henasy_stream.errors import UserError
from training.data.tables import read_table

Float = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """boxes: (N, 4) x0 y0 x1 y1 in 0..1 of the picture.  scores: (N,).  is_hand: (N,) bool, else an object."""

    boxes: Float
    scores: Float
    is_hand: npt.NDArray[np.bool_]

    @staticmethod
    def of(boxes: Sequence[Sequence[float]], scores: Sequence[float], is_hand: Sequence[bool]) -> Detections:
        """From plain lists; boxes are clipped to the picture, those without an area are left out."""
        array = np.clip(np.asarray(boxes, np.float32).reshape(-1, 4), 0.0, 1.0)
        kept = (array[:, 0] < array[:, 2]) & (array[:, 1] < array[:, 3])
        return Detections(
            boxes=array[kept], scores=np.asarray(scores, np.float32)[kept], is_hand=np.asarray(is_hand, np.bool_)[kept]
        )


class Detector(Protocol):
    """name: what made the boxes, written beside them."""

    name: str

    def detect(self, image: UInt8, video: str, time: float) -> Detections:
        """What is to be seen in a frame, (H, W, 3) RGB, that is `time` seconds after the start of its video."""
        ...


class TableDetector:
    """Boxes that another program has found, from a csv.

    Columns: video, time (seconds), width, height (of the picture that the boxes are for, pixels), kind (hand or
    object), x0, y0, x1, y1 (pixels), score.  A frame takes the boxes of the nearest time.

    Args:
        path: the csv.
        tolerance: seconds; frames further than that from any time of the table have no boxes.

    Raises:
        UserError: a column is missing or a cell makes no sense.
    """

    COLUMNS = ("video", "time", "width", "height", "kind", "x0", "y0", "x1", "y1", "score")

    def __init__(self, path: Path, tolerance: float = 0.1) -> None:
        self.name = path.name
        self._tolerance = tolerance
        found: dict[str, dict[float, list[tuple[list[float], float, bool]]]] = defaultdict(lambda: defaultdict(list))
        for row in read_table(path, self.COLUMNS, separator=","):
            numbers = {name: row.number_or_nan(name) for name in self.COLUMNS if name not in ("video", "kind")}
            wrong = [name for name, value in numbers.items() if not math.isfinite(value)]
            wrong += [name for name in ("width", "height") if numbers[name] <= 0]
            if wrong:
                raise row.error(wrong[0], f"{numbers[wrong[0]]:g} makes no sense there")
            time, width, height, *box, score = numbers.values()
            kind = row.text("kind").strip()
            if kind not in ("hand", "object"):
                raise row.error("kind", f"{kind!r}; it must be hand or object")
            scaled = [value / side for value, side in zip(box, (width, height, width, height), strict=True)]
            found[row.text("video")][time].append((scaled, score, kind == "hand"))
        self._times = {video: np.array(sorted(by_time)) for video, by_time in found.items()}
        self._found = found

    def detect(self, image: UInt8, video: str, time: float) -> Detections:
        """The boxes at the nearest time of the table; the picture is not looked at."""
        times = self._times.get(video, np.empty(0))
        nearest = int(np.argmin(np.abs(times - time))) if len(times) else -1
        if nearest < 0 or abs(times[nearest] - time) > self._tolerance:
            return Detections.of([], [], [])
        rows = self._found[video][float(times[nearest])]
        return Detections.of([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])


class OnnxDetector:
    """RTMDet (Apache-2.0) as MMDeploy exports it to ONNX, run by ONNX Runtime.

    Input (1, 3, S, S): BGR less the mean over the deviation of ImageNet in 0..255, letterboxed to the upper left.
    Outputs: `dets` (1, N, 5) x0 y0 x1 y1 score in input pixels, after suppression, and `labels` (1, N).

    Args:
        path: the model.
        min_score: boxes below are left out.
        skipped: labels that are left out.

    Raises:
        UserError: ONNX Runtime is missing, the file is no model or has other outputs.
    """

    _MEAN = np.array((103.53, 116.28, 123.675), np.float32)
    _DEVIATION = np.array((57.375, 57.12, 58.395), np.float32)
    _PADDING = 114

    def __init__(self, path: Path, *, min_score: float = 0.3, skipped: Sequence[int] = ()) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UserError('detectors need ONNX Runtime: pip install "henasy-stream[train]"') from None
        if not path.is_file():
            raise UserError(f"{path}: no such file; give an RTMDet model exported to ONNX")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), options, providers=onnxruntime.get_available_providers()
            )
        except Exception as error:  # noqa: BLE001 - its error types have no common base but Exception
            raise UserError(f"{path}: not a model that ONNX Runtime can load ({str(error).splitlines()[0]})") from None
        names = {output.name for output in self._session.get_outputs()}
        if not {"dets", "labels"} <= names:
            raise UserError(f"{path}: outputs are {', '.join(sorted(names))}; expected dets and labels, as of MMDeploy")
        entry = self._session.get_inputs()[0]
        self._input, side = entry.name, entry.shape[-1]
        self._side = side if isinstance(side, int) else 640
        self._min_score, self._skipped = min_score, np.array(skipped, np.int64)
        self.name = path.name

    def boxes(self, image: UInt8) -> tuple[Float, Float]:
        """(N, 4) boxes in 0..1 of the picture and (N,) scores."""
        height, width = image.shape[:2]
        scale = self._side / max(height, width)
        small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))))
        square = np.full((self._side, self._side, 3), self._PADDING, np.float32)
        square[: small.shape[0], : small.shape[1]] = small[..., ::-1]
        tensor = ((square - self._MEAN) / self._DEVIATION).transpose(2, 0, 1)[None]
        dets, labels = self._session.run(["dets", "labels"], {self._input: np.ascontiguousarray(tensor)})
        dets, labels = dets.reshape(-1, 5), labels.reshape(-1)
        dets = dets[(dets[:, 4] >= self._min_score) & ~np.isin(labels, self._skipped)]
        sides = np.array([small.shape[1], small.shape[0]] * 2, np.float32)
        return np.asarray(dets[:, :4] / sides, np.float32), np.asarray(dets[:, 4], np.float32)


class HandObjectDetector:
    """A model for hands and, where wanted, one for objects."""

    def __init__(self, hands: OnnxDetector, objects: OnnxDetector | None = None) -> None:
        self._models = [(hands, True), *([(objects, False)] if objects else [])]
        self.name = "+".join(model.name for model, _ in self._models)

    def detect(self, image: UInt8, video: str, time: float) -> Detections:
        """What the models see; video and time play no part."""
        found = [(*model.boxes(image), is_hand) for model, is_hand in self._models]
        return Detections.of(
            np.concatenate([boxes for boxes, _, _ in found]).tolist(),
            np.concatenate([scores for _, scores, _ in found]).tolist(),
            [is_hand for boxes, _, is_hand in found for _ in boxes],
        )
