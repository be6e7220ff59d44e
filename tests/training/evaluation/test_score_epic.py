"""`evaluate.py ek100-mir` and `ek100-cls` on tables, relevancy and chunks in EPIC's own layout."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.training.evaluation.planted import Planted, planted
from tests.training.videos import write_frames
from training.evaluation.ek100_cls import score_ek100_cls
from training.evaluation.ek100_mir import score_ek100_mir
from training.evaluation.embedding import Vectors, Videos

HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
)
FPS = 4
VIDEOS = ("P01_01", "P01_02", "P02_07")
ROWS = [
    # video, clip of 2.5 s, narration, verb, noun
    ("P01_01", 0, "open door", 3, 3),
    ("P01_01", 1, "close door", 4, 3),
    ("P01_02", 2, "open the door", 3, 3),
    ("P01_02", 7, "take knife", 0, 4),
    ("P02_07", 5, "take fork", 0, 12),
]
DIMENSIONS = 8


def table(path: Path, rows: list[tuple[str, int, str, int, int]]) -> Path:
    lines = [
        f"{video}_{i},{video[:3]},{video},00:00:01.00,00:00:{2.5 * clip:05.2f},00:00:{2.5 * clip + 2.6:05.2f},0,9,"
        f'{text},v,{verb},n,{noun},"[\'n\']","[{noun}]"'
        for i, (video, clip, text, verb, noun) in enumerate(rows)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def number(video: str, clip: int) -> int:
    """What the first pictures of a clip spell, in tens."""
    return VIDEOS.index(video) * 12 + clip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annotations as their repository has them, and chunks of 15 s named as AVION names them."""
    root = tmp_path_factory.mktemp("epic")
    for place, video in enumerate(VIDEOS):
        for chunk in range(2):
            path = root / "videos" / video[:3] / f"{video}.MP4" / f"{15 * chunk}.MP4"
            write_frames(path, 15 * FPS, fps=FPS, first=120 * place + 60 * chunk)
    table(root / "annotations" / "EPIC_100_validation.csv", ROWS)
    train = [("P09_01", 0, "grab knife", 0, 4), ("P09_01", 1, "cut", 7, 12), ("P09_01", 2, "take tap", 0, 0)]
    table(root / "annotations" / "EPIC_100_train.csv", train)
    retrieval = root / "annotations" / "retrieval_annotations"
    table(retrieval / "EPIC_100_retrieval_test.csv", ROWS)
    sentences = [f"{ROWS[i][0]}_{i},{ROWS[i][2]}" for i in (0, 1, 3, 4)]
    (retrieval / "EPIC_100_retrieval_test_sentence.csv").write_text("\n".join(["narration_id,narration", *sentences]))
    write_relevance(root / "annotations", RELEVANCE)
    return root


RELEVANCE = np.array(
    [[1, 0.5, 0, 0], [0.5, 1, 0, 0], [1, 0.5, 0, 0], [0, 0, 1, 0.5], [0, 0, 0.5, 1]],
    np.float64,
)


def write_relevance(annotations: Path, relevance: np.ndarray) -> Path:
    path = annotations / "retrieval_annotations" / "relevancy" / "caption_relevancy_EPIC_100_retrieval_test.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(relevance))
    return path


def embedder(root: Path, said: dict[str, Vectors], seen: dict[int, Vectors]) -> Planted:
    return planted(
        root / "annotations" / "EPIC_100_train.csv", lambda number: seen[number // 10], lambda text: said[text]
    )


def basis(*weights: tuple[int, float]) -> Vectors:
    vector = np.zeros(DIMENSIONS, np.float32)
    for place, weight in weights:
        vector[place] = weight
    return vector


SAID = {
    "open door": basis((0, 1)),
    "close door": basis((1, 1)),
    "take knife": basis((2, 1)),
    "take fork": basis((3, 1)),
}
SEEN = {
    number("P01_01", 0): basis((0, 0.9), (1, 0.3), (2, 0.2), (3, 0.1)),
    number("P01_01", 1): basis((0, 0.9), (1, 0.6), (2, 0.2), (3, 0.1)),  # its own sentence comes second
    number("P01_02", 2): basis((0, 0.8), (1, 0.1), (2, 0.7), (3, 0.2)),
    number("P01_02", 7): basis((2, 0.9), (3, 0.5), (0, 0.2), (1, 0.1)),
    number("P02_07", 5): basis((3, 0.9), (2, 0.5), (1, 0.2), (0, 0.1)),
}


def by_hand(similarity: np.ndarray, relevance: np.ndarray) -> tuple[float, float]:
    """mAP and nDCG of the rows, query by query, as golden/README.md describes them."""
    maps, ndcgs = [], []
    for s, r in zip(similarity, relevance, strict=True):
        ranked = r[np.argsort(-s)]
        precision = np.cumsum(ranked) / np.arange(1, len(r) + 1)
        maps.append(precision[ranked == 1].sum() / (r == 1).sum())
        k = np.count_nonzero(r)
        discount = 1 / np.log2(np.arange(2, k + 2))
        ndcgs.append((ranked[:k] * discount).sum() / (np.sort(r)[::-1][:k] * discount).sum())
    return 100 * float(np.mean(maps)), 100 * float(np.mean(ndcgs))


def test_retrieval_of_planted_vectors(root):
    result = score_ek100_mir(embedder(root, SAID, SEEN), root / "annotations", Videos(root=root / "videos"))
    video = np.stack([SEEN[number(video, clip)] for video, clip, *_ in ROWS])
    similarity = (video / np.linalg.norm(video, axis=1, keepdims=True))[:, :4]
    map_v, ndcg_v = by_hand(similarity, RELEVANCE)
    map_t, ndcg_t = by_hand(similarity.T, RELEVANCE.T)
    expected = {
        "map_v2t": map_v, "map_t2v": map_t, "map_avg": (map_v + map_t) / 2,
        "ndcg_v2t": ndcg_v, "ndcg_t2v": ndcg_t, "ndcg_avg": (ndcg_v + ndcg_t) / 2,
    }  # fmt: skip
    assert result.scores == pytest.approx(expected)
    assert result.scores["map_v2t"] < 100
    assert result.published["HENASY"]["map_avg"] == 31.3
    assert (result.total, result.scored) == (5, 5)


def test_frames_are_those_of_the_published_rule(root):
    """Of 2.6 s at four frames a second: the end is rounded up, so a clip has eleven frames, not ten."""
    watching = embedder(root, SAID, SEEN)
    score_ek100_mir(watching, root / "annotations", Videos(root=root / "videos"))
    assert watching.looked[0] == [1, 3, 6, 9]
    assert watching.looked[3] == [10 * number("P01_02", 7) + place for place in (1, 3, 6, 9)]


def test_the_command_prints_and_writes_all_checksums(root, evaluate, lavila_checkpoint, capsys):
    arguments = ("--videos", root / "videos", "--weights", lavila_checkpoint)
    found = evaluate("ek100-mir", root / "annotations", *arguments)
    assert found["about"]["kind"] == "lavila"
    shown = capsys.readouterr().out
    for name, digest in found["files"].items():
        (path,) = (root / "annotations").rglob(name)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
        assert digest in shown
    assert len(found["files"]) == 3
    assert "35.1" in shown
    assert all(0 <= value <= 100 for value in found["scores"].values())


def test_what_cannot_be_read_leaves_with_the_sentences_that_only_it_fits(root, tmp_path):
    videos = tmp_path / "videos"
    for path in (root / "videos").rglob("*.MP4"):
        if path.is_file():
            copy = videos / path.relative_to(root / "videos")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(b"" if "P02_07" in str(path) else path.read_bytes())
    result = score_ek100_mir(embedder(root, SAID, SEEN), root / "annotations", Videos(root=videos))
    assert (result.total, result.scored) == (5, 4)
    assert "P02_07" in result.unreadable[0]
    assert "3 of 4 sentences" in result.notes
    assert not any(np.isnan(value) for value in result.scores.values())


def test_a_score_that_does_not_exist_is_nan_and_says_why(root, tmp_path, evaluate, henasy_weights, capsys):
    annotations = tmp_path / "annotations"
    for path in (root / "annotations").rglob("*.csv"):
        copy = annotations / path.relative_to(root / "annotations")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    write_relevance(annotations, np.minimum(RELEVANCE, np.array([[1], [1], [1], [1], [0.9]])))
    arguments = ("--videos", root / "videos", "--weights", henasy_weights)
    found = evaluate("ek100-mir", annotations, *arguments)
    assert found["scores"]["map_v2t"] is None
    assert found["scores"]["map_avg"] is None
    assert found["scores"]["ndcg_avg"] > 0
    shown = capsys.readouterr().out
    assert "mAP of videos is NaN by the official rule: 1 of them have nothing of relevance 1" in shown
    assert "mAP of sentences is NaN by the official rule: 1" in shown


def test_classes_are_the_mean_of_their_narrations(root):
    third = 1 / np.sqrt(2)
    said = SAID | {
        "open the door": basis((0, third), (4, third)),  # the class "open door" leans to dimension 4
        "grab knife": basis((5, 1)),
        "cut": basis((6, 1)),
        "take tap": basis((7, 1)),
    }
    seen = {
        number("P01_01", 0): basis((0, 1)),  # right: class (3, 3)
        number("P01_01", 1): basis((0, 0.75), (1, 0.7)),  # right only because the mean is shorter along 0
        number("P01_02", 2): basis((6, 1)),  # taken for "cut", which is in the training table only
        number("P01_02", 7): basis((5, 1)),  # right through the other narration of "take knife"
        number("P02_07", 5): basis((2, 1.4), (3, 0.9)),  # takes the fork for the knife: the verb is right
    }
    result = score_ek100_cls(embedder(root, said, seen), root / "annotations", Videos(root=root / "videos"))
    assert result.scores["verb_top1"] == result.scores["action_top1"] + 20 == pytest.approx(80)
    assert result.scores["noun_top1"] == pytest.approx(60)
    assert result.scores["action_top5"] == 100
    assert result.notes == ["6 actions; 8 narrations"]
    assert result.published["LaViLa (B)"] == {"action_top1": 16.4, "action_top5": 34.4}


def test_templates_are_filled_in(root):
    asked = embedder(root, {}, SEEN)
    with pytest.raises(KeyError):
        score_ek100_cls(asked, root / "annotations", Videos(root=root / "videos"), template="ego")
    assert {"#C C take fork", "#C take fork"} <= set(asked.asked)


def test_classification_by_the_command(root, evaluate, henasy_weights, refuse, tmp_path):
    arguments = ("--videos", root / "videos", "--weights", henasy_weights)
    found = evaluate("ek100-cls", root / "annotations", *arguments, "--template", "ego")
    assert found["about"]["template"] == "ego"
    assert found["scores"]["action_top1"] in (0, 20, 40, 60, 80, 100)
    assert set(found["files"]) == {"EPIC_100_train.csv", "EPIC_100_validation.csv"}
    assert "no EPIC_100_train.csv there or below" in refuse("ek100-cls", tmp_path, *arguments)
    bad = root / "annotations" / "EPIC_100_validation.csv"
    table(tmp_path / "EPIC_100_train.csv", [("P09_01", 0, "x", 97, 4)])
    (tmp_path / bad.name).write_bytes(bad.read_bytes())
    assert "row 2, column verb_class: 97 is not in the taxonomy" in refuse("ek100-cls", tmp_path, *arguments)
