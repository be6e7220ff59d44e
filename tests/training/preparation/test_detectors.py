from __future__ import annotations

import numpy as np
import pytest

from henasy_stream.errors import UserError
from training.preparation.detectors import HandObjectDetector, OnnxDetector, TableDetector


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("v,0,96,64,hand,1,1,9,9", "row 2: 9 cells"),
        ("v,0,96,64,foot,1,1,9,9,1", "column kind: 'foot'"),
        ("v,0,0,64,hand,1,1,9,9,1", "column width"),
        ("v,nan,96,64,hand,1,1,9,9,1", "column time"),
        ("v,0,96,64,hand,1,x,9,9,1", "column y0: 'x' is not a number"),
    ],
)
def test_a_table_of_boxes_is_checked(tmp_path, row, message):
    path = tmp_path / "b.csv"
    path.write_text(",".join(TableDetector.COLUMNS) + "\n" + row + "\n")
    with pytest.raises(UserError, match=message):
        TableDetector(path)


def test_frames_far_from_any_time_of_the_table_have_no_boxes(tmp_path):
    path = tmp_path / "b.csv"
    path.write_text(",".join(TableDetector.COLUMNS) + "\nv,1.0,96,64,hand,9.6,0,96,64,0.5\n")
    detector = TableDetector(path)
    image = np.zeros((64, 96, 3), np.uint8)
    np.testing.assert_allclose(detector.detect(image, "v", 1.05).boxes, [[0.1, 0, 1, 1]])
    assert len(detector.detect(image, "v", 1.2).boxes) == len(detector.detect(image, "w", 1.0).boxes) == 0


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, array: np.ndarray) -> bytes:
    kind = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}[array.dtype]
    dims = b"".join(_number(1, side) for side in array.shape)
    return dims + _number(2, kind) + _bytes(8, name) + _bytes(9, array.tobytes())


def _value(name: str, kind: int, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, side)) for side in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, dims)))


def _node(kind: str, inputs: list[str], output: str) -> bytes:
    return b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, kind)


def detector_bytes(
    dets: np.ndarray, labels: np.ndarray, side: int, outputs: tuple[str, str] = ("dets", "labels")
) -> bytes:
    """An ONNX model, byte by byte: `dets` (N, 5) with the mean of the input added to the scores, `labels` (N,)."""
    boxes, kinds = dets[None].astype(np.float32), labels[None].astype(np.int64)
    mask = np.zeros_like(boxes)
    mask[..., 4] = 1
    graph = b"".join(
        [
            _bytes(1, _node("ReduceMean", ["input"], "mean")),
            _bytes(1, _node("Reshape", ["mean", "one"], "scalar")),
            _bytes(1, _node("Mul", ["mask", "scalar"], "added")),
            _bytes(1, _node("Add", ["boxes", "added"], outputs[0])),
            _bytes(1, _node("Identity", ["kinds"], outputs[1])),
            _bytes(2, "tiny"),
            _bytes(5, _tensor("boxes", boxes)),
            _bytes(5, _tensor("mask", mask)),
            _bytes(5, _tensor("kinds", kinds)),
            _bytes(5, _tensor("one", np.array([1], np.int64))),
            _bytes(11, _value("input", 1, (1, 3, side, side))),
            _bytes(12, _value(outputs[0], 1, boxes.shape)),
            _bytes(12, _value(outputs[1], 7, kinds.shape)),
        ]
    )
    return _number(1, 8) + _bytes(8, _number(2, 13)) + _bytes(7, graph)


class TestOnnx:
    @pytest.fixture(autouse=True)
    def _runtime(self):
        pytest.importorskip("onnxruntime")

    def model(self, path, dets, labels, **options):
        path.write_bytes(detector_bytes(np.array(dets, np.float32), np.array(labels), 32, **options))
        return path

    def test_pictures_go_in_letterboxed_and_normalised_and_boxes_come_out_in_the_picture(self, tmp_path):
        path = self.model(tmp_path / "m.onnx", [[8, 4, 16, 8, 0.5], [0, 0, 32, 16, 0.2]], [0, 0])
        image = np.zeros((40, 80, 3), np.uint8)
        image[..., 0], image[..., 1], image[..., 2] = 200, 100, 50
        boxes, scores = OnnxDetector(path, min_score=-9).boxes(image)
        np.testing.assert_allclose(boxes, np.array([[0.25, 0.25, 0.5, 0.5], [0, 0, 1, 1]]))
        square = np.full((3, 32, 32), 114.0)
        square[:, :16] = np.array([50, 100, 200])[:, None, None]
        mean, deviation = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])
        shift = ((square - mean[:, None, None]) / deviation[:, None, None]).mean()
        np.testing.assert_allclose(scores, np.array([0.5, 0.2]) + shift, atol=1e-4)

    def test_weak_boxes_and_skipped_labels_are_left_out(self, tmp_path):
        hands = self.model(tmp_path / "h.onnx", [[0, 0, 8, 8, 5.0], [0, 0, 8, 8, -5.0]], [0, 0])
        objects = self.model(tmp_path / "o.onnx", [[0, 0, 9, 9, 5.0], [1, 1, 8, 8, 4.0]], [0, 41])
        detector = HandObjectDetector(OnnxDetector(hands), OnnxDetector(objects, skipped=[0]))
        seen = detector.detect(np.full((32, 32, 3), 114, np.uint8), "v", 0.0)
        assert seen.is_hand.tolist() == [True, False]
        np.testing.assert_allclose(seen.boxes[1], np.array([1, 1, 8, 8]) / 32)
        assert detector.name == "h.onnx+o.onnx"

    def test_models_of_another_kind_are_refused(self, tmp_path):
        other = self.model(tmp_path / "x.onnx", [[0, 0, 1, 1, 1]], [0], outputs=("boxes_out", "labels"))
        with pytest.raises(UserError, match=r"x\.onnx: outputs are boxes_out, labels; expected dets and labels"):
            OnnxDetector(other)
        (tmp_path / "no.onnx").write_text("no model")
        with pytest.raises(UserError, match=r"no\.onnx: not a model"):
            OnnxDetector(tmp_path / "no.onnx")
        with pytest.raises(UserError, match="no such file"):
            OnnxDetector(tmp_path / "absent.onnx")
