"""The model in the box, and what people may call a model."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tiny_model import write_model
from tumorseg.cli.app import run
from tumorseg.errors import ModelError
from tumorseg.inference.catalogue import DEFAULT_MODEL, default_model, find_model, model_names
from tumorseg.inference.installed import installed_models
from tumorseg.inference.model import read_model

MOST_BYTES = 16 * 2**20


def test_the_model_in_the_box_is_whole_small_and_says_its_licence() -> None:
    folder = default_model()
    model = read_model(folder)  # which checks every digest
    assert model.spec.name == DEFAULT_MODEL
    assert model.spec.data_licence == "CC BY-NC-SA 4.0"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES
    assert [path.name for path in model.graphs] == ["model.onnx"]
    assert "creativecommons.org/licenses/by-nc-sa/4.0" in (folder / "LICENSE").read_text()


def test_the_model_in_the_box_is_stored_in_16_bits_and_computed_in_32() -> None:
    graph = onnx.load(str(default_model() / "model.onnx")).graph
    large = [stored for stored in graph.initializer if np.prod(stored.dims) >= 1024]
    assert large
    assert {stored.data_type for stored in large} == {TensorProto.FLOAT16}
    halves = {stored.name for stored in large}
    readers = [node for node in graph.node if halves & set(node.input)]
    assert {node.op_type for node in readers} == {"Cast"}
    assert {attribute.i for node in readers for attribute in node.attribute} == {TensorProto.FLOAT}


def test_scores_are_in_the_card_and_never_in_model_json() -> None:
    (model,) = [entry for entry in installed_models() if entry.name == DEFAULT_MODEL]
    assert model.card is not None
    assert model.scores
    for score in model.scores:
        low, high = score["ci95"]
        assert 0 <= low <= score["dice_patient"] <= high <= 1
    text = (default_model() / "model.json").read_text()
    assert "dice" not in text
    card = model.card.read_text(encoding="utf-8")
    for said in ("not a medical device", "CC BY-NC-SA 4.0", "non-commercial", "Buda", "## How it fails"):
        assert said in card


def test_models_lists_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == list(model_names())
    (default,) = [entry for entry in listed if entry["default"]]
    assert default["licence"] and default["what"] and default["bytes"] > 0 and default["training_patients"] > 0
    assert Path(default["path"]) == default_model()
    assert Path(default["scores_from"]).is_file()
    assert run(["models"]) == 0
    assert DEFAULT_MODEL in capsys.readouterr().out


def test_a_name_a_run_a_folder_and_a_file_are_all_models(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "run" / "model")
    for source in (tmp_path / "run", folder, folder / "model.json", str(folder)):
        assert read_model(source).spec.name == "tiny"
    assert read_model(DEFAULT_MODEL).folder == default_model()


def test_a_model_at_the_path_comes_first_and_other_folders_hide_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT_MODEL).mkdir()
    (tmp_path / DEFAULT_MODEL / "data.csv").touch()
    assert find_model(DEFAULT_MODEL) == default_model()
    write_model(tmp_path / DEFAULT_MODEL)
    assert find_model(DEFAULT_MODEL) == Path(DEFAULT_MODEL)
    assert read_model(DEFAULT_MODEL).spec.name == "tiny"


@pytest.mark.parametrize("name", ["nosuch", "lgg/", "../models", "", "x" * 5000, "\0"])
def test_what_is_no_model_is_one_line_that_names_those_that_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as caught:
        read_model(name)
    assert "\n" not in str(caught.value)
    assert caught.value.next_step


def test_a_model_in_the_box_with_a_changed_file_is_refused(tmp_path: Path) -> None:
    for path in default_model().iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = bytearray((tmp_path / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="SHA-256"):
        read_model(tmp_path)
