"""What lies beside the graphs of a bundle, and what comes of it when it is missing, changed or another's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import henasy_stream as hs
from export import graphs
from export.bundle import Written, write_bundle
from henasy_stream.backends.bundle import EMBEDDINGS, INITIAL, open_bundle, read_manifest, sum_of, vocabulary_hash
from henasy_stream.backends.onnx_text import read_embeddings
from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
from henasy_stream.backends.token_batches import Int64Array
from henasy_stream.backends.torch_backend import TorchBackend
from henasy_stream.errors import UserError
from henasy_stream.stream.texts import prepare_texts
from henasy_stream.types import FloatArray

STAYS = 1e-5


def sign(folder: Path, *names: str, **changes: object) -> None:
    """Makes the manifest agree with files that were changed, as whoever forges a bundle would."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | changes
    for name in names:
        found = sum_of(folder / name)
        manifest["files"][name] = {"size": found.size, "sha256": found.sha256}
    path.write_text(json.dumps(manifest))


def copy_of(written: Written, tmp_path: Path, name: str = "copy") -> Path:
    return Path(shutil.copytree(written.folder, tmp_path / name))


def test_a_stream_starts_without_embedding_a_text(
    bundles: dict[str, Written], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HENASY_CACHE", str(tmp_path))  # nothing is known from before
    backend = OnnxRuntimeBackend.from_bundle(bundles["window"].folder)
    asked: list[Int64Array] = []

    def embed(tokens: Int64Array) -> FloatArray:
        asked.append(tokens)
        return np.zeros((len(tokens), 8), np.float32)

    monkeypatch.setattr(backend.text, "embed_tokens", embed)
    texts = prepare_texts(backend, None)
    assert texts.bank.filling.complete
    assert asked == []
    backend.embed_texts(["a word that is new"])
    assert len(asked) == 1


def test_known_and_new_texts_come_back_in_their_order(bundles: dict[str, Written], weights: dict[str, Path]) -> None:
    onnx, torch_ = OnnxRuntimeBackend.from_bundle(bundles["window"].folder), TorchBackend.from_file(weights["window"])
    texts = ["a red spoon", "cup", "", "knife", "cup", "the longest of all of these texts by far"]
    np.testing.assert_allclose(onnx.embed_texts(texts), torch_.embed_texts(texts), atol=STAYS)
    assert {"cup", "knife", "picking up the cup", "hand"} <= read_embeddings(
        open_bundle(bundles["window"].folder)
    ).keys()


def test_embeddings_of_another_vocabulary_are_refused(bundles: dict[str, Written], tmp_path: Path) -> None:
    folder = copy_of(bundles["window"], tmp_path)
    with np.load(folder / EMBEDDINGS) as arrays:
        kept = dict(arrays)
    np.savez(folder / EMBEDDINGS, **kept | {"vocabulary_hash": np.array("0" * 64)})
    sign(folder, EMBEDDINGS)
    with pytest.raises(UserError, match=r"embeddings\.npz was made of another vocabulary"):
        OnnxRuntimeBackend.from_bundle(folder)
    for wrong in ({"vectors": kept["vectors"][:, :-1]}, {"vectors": np.full_like(kept["vectors"], np.nan)}):
        np.savez(folder / EMBEDDINGS, **kept | wrong)
        sign(folder, EMBEDDINGS)
        with pytest.raises(UserError, match=r"embeddings\.npz holds no embeddings"):
            OnnxRuntimeBackend.from_bundle(folder)
    np.savez(folder / EMBEDDINGS, texts=np.array(["cup"]))
    sign(folder, EMBEDDINGS)
    with pytest.raises(UserError, match=r"embeddings\.npz holds no embeddings"):
        OnnxRuntimeBackend.from_bundle(folder)


def test_a_vocabulary_that_was_edited_is_refused(bundles: dict[str, Written], tmp_path: Path) -> None:
    folder = copy_of(bundles["window"], tmp_path)
    spec = json.loads((folder / "manifest.json").read_text())["spec"]
    sign(folder, spec=spec | {"nouns": ["cup", "sword"]})
    with pytest.raises(UserError, match="the vocabulary is not the one that was exported"):
        open_bundle(folder)
    sign(folder, vocabulary_hash=vocabulary_hash(read_manifest(folder).spec))  # the embeddings still tell
    with pytest.raises(UserError, match="was made of another vocabulary"):
        OnnxRuntimeBackend.from_bundle(folder)


def test_pickles_are_not_opened(bundles: dict[str, Written], tmp_path: Path) -> None:
    folder = copy_of(bundles["window"], tmp_path)
    np.savez(folder / EMBEDDINGS, texts=np.array(["cup", 1], object), vectors=np.zeros(2), vocabulary_hash=np.array(""))
    sign(folder, EMBEDDINGS)
    with pytest.raises(UserError, match=r"embeddings\.npz holds no embeddings \(Object arrays cannot be loaded"):
        OnnxRuntimeBackend.from_bundle(folder)


def test_the_memory_starts_as_the_bundle_says(bundles: dict[str, Written], tmp_path: Path) -> None:
    folder = copy_of(bundles["causal"], tmp_path)
    with np.load(folder / INITIAL) as arrays:
        kept = dict(arrays)
    name = next(iter(kept))
    np.savez(folder / INITIAL, **kept | {name: np.ones_like(kept[name])})
    sign(folder, INITIAL)
    assert OnnxRuntimeBackend.from_bundle(folder).initial_state().to_host().arrays[name.removeprefix("state.")].all()
    for wrong in ({name: kept[name].astype(np.float16)}, {name: kept[name][1:]}):
        np.savez(folder / INITIAL, **kept | wrong)
        sign(folder, INITIAL)
        with pytest.raises(UserError, match=rf"initial\.npz: {name} is"):
            OnnxRuntimeBackend.from_bundle(folder)
    np.savez(folder / INITIAL, sound=np.zeros(1))
    sign(folder, INITIAL)
    with pytest.raises(UserError, match=r"initial\.npz holds no state"):
        OnnxRuntimeBackend.from_bundle(folder)


def test_no_file_tells_of_this_machine(bundles: dict[str, Written]) -> None:
    here = str(Path(__file__).parents[2]).encode()
    for written in bundles.values():
        for path in written.folder.iterdir():
            assert here not in path.read_bytes(), path


@pytest.mark.slow
def test_the_same_weights_give_the_same_files(
    bundles: dict[str, Written], weights: dict[str, Path], tmp_path: Path
) -> None:
    again = write_bundle(weights["window"], tmp_path / "again", steps=12)
    assert (again.folder / "manifest.json").read_text() == (bundles["window"].folder / "manifest.json").read_text()


@pytest.mark.slow
def test_a_text_tower_is_shared_with_a_bundle_beside(
    bundles: dict[str, Written], weights: dict[str, Path], tmp_path: Path
) -> None:
    copy_of(bundles["window"], tmp_path, "lender")
    # Both networks were made from one seed, but drew other numbers: the tower of one is not the other's.
    with pytest.raises(UserError, match=r"text: of \d+ steps, \d+ are not the network's"):
        write_bundle(weights["causal"], tmp_path / "borrower", steps=8, text_of="lender")
    assert [path.name for path in tmp_path.iterdir()] == ["lender"]
    folder = write_bundle(weights["window"], tmp_path / "borrower", steps=8, text_of="lender").folder
    assert not (folder / "text.onnx").exists()
    np.testing.assert_allclose(
        OnnxRuntimeBackend.from_bundle(folder).embed_texts(["a new text"]),
        TorchBackend.from_file(weights["window"]).embed_texts(["a new text"]),
        atol=STAYS,
    )
    (tmp_path / "lender" / "text.onnx").unlink()
    with pytest.raises(UserError, match=r"lender/text\.onnx is missing"):
        open_bundle(folder)
    with pytest.raises(UserError, match=r"nowhere/manifest\.json"):
        write_bundle(weights["window"], tmp_path / "other", steps=8, text_of="nowhere")


def test_large_weights_lie_beside_their_graph(
    weights: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "LARGEST_BYTES", 10_000)
    written = write_bundle(weights["lavila"], tmp_path / "large", steps=8)
    graph = written.manifest.graphs["window"]
    assert graph.data == "window.onnx.data"
    assert (written.folder / graph.data).stat().st_size > 10_000
    assert hs.load(written.folder).name == "onnxruntime-cpu"
    data = written.folder / graph.data
    content = bytearray(data.read_bytes())
    content[50] ^= 1
    data.write_bytes(content)
    with pytest.raises(UserError, match=r"window\.onnx\.data is not the file that was exported"):
        hs.load(written.folder)
    data.unlink()
    with pytest.raises(UserError, match=r"window\.onnx\.data is missing"):
        hs.load(written.folder)
