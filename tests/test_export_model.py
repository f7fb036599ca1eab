"""Exports: what ships computes what was trained, says what it takes, and carries its card and licence."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from small_recipe import SMALL
from tiny_model import lopsided_kernel, write_model
from tumorseg.cli.app import run as command
from tumorseg.datasets.phantom import SEQUENCES
from tumorseg.errors import ModelError
from tumorseg.files import digest_file
from tumorseg.inference.model import Model, read_model, write_spec
from tumorseg.inference.predictor import Predictor
from tumorseg.networks.state_file import read_state
from tumorseg.postprocess import postprocess
from tumorseg.scan import Scan
from tumorseg.training.contract import raw_contract
from tumorseg.training.export import OPSET
from tumorseg.training.half import halve_weights
from tumorseg.training.joined import join_members
from tumorseg.training.parity import (
    Parity,
    enough,
    measure_parity,
    phantom_scans,
    raw_graph_way,
    refuse_disparity,
)
from tumorseg.training.raw_graph import write_raw_graph
from tumorseg.training.release import RAW_NAME, export_run


@pytest.fixture(scope="module")
def trained(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on synthetic heads that has learned a little."""
    run = tmp_path_factory.mktemp("runs") / "small"
    words = ["train", "--data", str(phantom), "--output", str(run), "--device", "cpu", "--set", *SMALL]
    subprocess.run([sys.executable, "-m", "tumorseg", *words], check=True, capture_output=True, timeout=600)
    return run


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Parity, ...]]:
    output = tmp_path_factory.mktemp("exports") / "onnx"
    return output, export_run(trained, "onnx", output, name="small-net")


def modern(folder: Path) -> Model:
    """A tiny model whose graph is of the opset that training writes."""
    path = folder / "model.onnx"
    graph = onnx.load(str(path))
    graph.opset_import[0].version = OPSET
    onnx.save(graph, str(path))
    spec = read_model_unchecked(folder)
    write_spec(folder, spec.model_copy(update={"files": {"model.onnx": digest_file(path)}}))
    return read_model(folder)


def read_model_unchecked(folder: Path) -> Any:
    from tumorseg.inference.model import ModelSpec

    return ModelSpec.model_validate(json.loads((folder / "model.json").read_text()))


def noise(channels: tuple[str, ...] = SEQUENCES, *, side: int = 64, dtype: Any = np.uint8) -> Scan:
    pixels = np.random.default_rng(5).integers(0, 200, (3, side, side, len(channels))).astype(dtype)
    pixels[1] //= 3
    return Scan("noise", "noise", channels, lambda: pixels)


# --- half weights ---


def graph_of(weights: NDArray[np.float32], path: Path) -> Path:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, weights.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, weights.shape[1]])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8), str(path))
    return path


def test_half_weights_round_the_weights_and_nothing_else(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    halve_weights(graph_of(weights, tmp_path / "full.onnx"), tmp_path / "half.onnx")
    x = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    (y,) = onnxruntime.InferenceSession(tmp_path / "half.onnx").run(None, {"x": x})
    rounded = weights.astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(y, x @ rounded, rtol=1e-5, atol=1e-5)
    assert (tmp_path / "half.onnx").stat().st_size < 0.6 * (tmp_path / "full.onnx").stat().st_size


def test_a_weight_beyond_16_bits_keeps_its_tensor_in_32(tmp_path: Path) -> None:
    weights = np.ones((64, 64), np.float32)
    weights[0, 0] = 70_000
    halve_weights(graph_of(weights, tmp_path / "full.onnx"), tmp_path / "half.onnx")
    (stored,) = onnx.load(str(tmp_path / "half.onnx")).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(stored), weights)


# --- the graph for raw slices ---


@pytest.mark.parametrize("normalization", ["volume-percentile", "slice-percentile", "full-range", "imagenet"])
@pytest.mark.parametrize("flips", [(), ("horizontal",), ("horizontal", "vertical")])
def test_the_raw_graph_computes_what_the_predictor_computes(
    normalization: str, flips: tuple[str, ...], tmp_path: Path
) -> None:
    folder = write_model(
        tmp_path / "m",
        kernel=lopsided_kernel(),
        normalization=normalization,
        test_time_flips=flips,
        temperature=1.7,
    )
    agrees(modern(folder), noise(), tmp_path)


def test_the_raw_graph_knows_several_classes(tmp_path: Path) -> None:
    kernel = np.random.default_rng(3).normal(0, 2, (3, 3, 3, 3)).astype(np.float32)
    fields: Mapping[str, Any] = {"classes": ("one", "two"), "test_time_flips": ("vertical",)}
    agrees(modern(write_model(tmp_path / "m", kernel=kernel, **fields)), noise(), tmp_path)


def test_what_the_raw_graph_gives_is_blended_after_it(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", kernel=lopsided_kernel(), test_time_flips=("horizontal",), blend=0.3)
    model = modern(folder)
    agrees(model, noise(), tmp_path)
    shares = "0.7 of a slice's probability is its own, 0.15 that of each slice beside it"
    assert raw_contract(model.spec)["blend"].startswith(shares)


def test_the_raw_graph_averages_the_members_of_an_ensemble(tmp_path: Path) -> None:
    first, second = (
        modern(write_model(tmp_path / name, kernel=kernel))
        for name, kernel in (("a", lopsided_kernel()), ("b", lopsided_kernel()[..., ::-1].copy()))
    )
    names = ("member-0.onnx", "member-1.onnx")
    for name, member in zip(names, (first, second), strict=True):
        shutil.copyfile(member.folder / "model.onnx", first.folder / name)
    files = {name: digest_file(first.folder / name) for name in names}
    write_spec(first.folder, first.spec.model_copy(update={"members": names, "files": files}))
    agrees(read_model(first.folder), noise(), tmp_path)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_the_raw_graph_takes_what_scanners_store_on_grids_of_their_own(dtype: Any, tmp_path: Path) -> None:
    pixels = (noise(side=96, dtype=np.float32).pixels * 7 - 300).astype(dtype)
    model = modern(write_model(tmp_path / "m", kernel=lopsided_kernel(), bias=np.zeros(1, np.float32), crop="head"))
    agrees(model, Scan("s", "s", SEQUENCES, lambda: pixels), tmp_path)


def agrees(model: Model, scan: Scan, folder: Path) -> None:
    one = join_members(model, folder) if model.spec.members else model
    write_raw_graph(folder / "raw.onnx", one.graphs[0], one.spec)
    ours = Predictor(model).probabilities(scan).astype(np.float32)
    raw = raw_graph_way(folder / "raw.onnx", one.spec)(scan).astype(np.float32)
    assert ours.std() > 0.01
    np.testing.assert_allclose(raw, ours, atol=2e-3)


def test_a_filter_has_no_place_in_a_graph_and_says_so(tmp_path: Path) -> None:
    model = modern(write_model(tmp_path / "m", filters=("median",)))
    with pytest.raises(ModelError, match="--network-only"):
        write_raw_graph(tmp_path / "raw.onnx", model.graphs[0], model.spec)
    assert not (tmp_path / "raw.onnx").exists()


# --- parity ---


def test_parity_counts_the_pixels_that_differ(tmp_path: Path) -> None:
    spec = read_model(write_model(tmp_path / "m")).spec
    scan = noise()
    first = np.full((3, 64, 64), 0.9, np.float16)
    second = first.copy()
    second[2, :2, :5] = 0.1
    (found,) = measure_parity({"a": lambda _: first, "b": lambda _: second}, [("a", "b")], [scan, scan], spec)
    assert (found.slices, found.pixels, found.different, found.worst_slice) == (6, 6 * 64 * 64, 20, 10)
    assert found.probability == pytest.approx(0.8, abs=1e-3)
    with pytest.raises(ModelError, match="not what was trained"):
        refuse_disparity([found])


def test_scans_for_the_comparison_come_from_all_over_the_list() -> None:
    pixels = np.zeros((2, 32, 32, 1), np.uint8)
    scans = [Scan(str(index), str(index), ("flair",), lambda: pixels) for index in range(9)]
    assert [scan.id for scan in enough(scans, 5)] == ["0", "3", "6"]
    assert len(enough(scans, 10**6)) == len(scans)


# --- exports of a run ---


def test_an_export_holds_graphs_that_agree_with_torch(exported: tuple[Path, tuple[Parity, ...]]) -> None:
    output, parity = exported
    assert {path.name for path in output.iterdir()} == {"model.onnx", RAW_NAME, "model.json", "MODEL_CARD.md"}
    assert [(each.of, each.to) for each in parity] == [
        ("torch", "the graph (float16 weights)"),
        ("float32 weights", "the graph (float16 weights)"),
        ("the graph (float16 weights)", "the graph for raw slices"),
    ]
    assert all(each.share <= 1e-4 and each.slices >= 8 for each in parity)
    model = read_model(output)
    assert model.spec.name == "small-net"
    assert set(model.spec.files) == {"model.onnx", RAW_NAME}


def test_an_exported_model_segments_as_its_run_does(exported: tuple[Path, tuple[Parity, ...]], trained: Path) -> None:
    (scan,) = phantom_scans(SEQUENCES, patients=1, slices=4)
    ours, theirs = (Predictor(read_model(source)).segment(scan) for source in (trained, exported[0]))
    assert np.abs(ours.probability - theirs.probability).max() < 0.01
    # Masks of so unsure a network may differ by a component of just the size that is kept: the rules must agree.
    spec = read_model(trained).spec
    by_the_run = postprocess(theirs.probability, threshold=spec.threshold, cleaning=spec.postprocessing)
    assert np.array_equal(theirs.mask, by_the_run)


def test_the_graphs_say_what_they_take_and_give(exported: tuple[Path, tuple[Parity, ...]]) -> None:
    said = {
        name: onnxruntime.InferenceSession(exported[0] / name).get_modelmeta().custom_metadata_map
        for name in ("model.onnx", RAW_NAME)
    }
    for contract in said.values():
        assert contract["channels"] == "pre, flair, post"
        assert contract["use"] == "research only, not a medical device"
        assert float(contract["threshold"].partition(":")[0]) == read_model(exported[0]).spec.threshold
    assert "percentile" in said[RAW_NAME]["constants"]
    assert "sigmoid" in said["model.onnx"]["probability"]


def test_a_network_that_is_not_the_graph_fails_the_export_and_leaves_nothing(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tumorseg.training.export import write_safetensors

    run = tmp_path / "run"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("checkpoints", "tensorboard"))
    weights = run / "model" / "weights.safetensors"
    state = read_state(weights)
    last = [name for name in state if name.endswith("bias")][-1]
    state[last] = state[last] + 20  # every pixel is tumour
    write_safetensors(weights, state)
    spec = read_model_unchecked(run / "model")
    write_spec(run / "model", spec.model_copy(update={"files": {**spec.files, weights.name: digest_file(weights)}}))
    assert command(["export", str(run), "--to", "onnx", "--output", str(tmp_path / "out")]) == 2
    assert "not what was trained" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_where_the_data_is_gone_synthetic_heads_stand_in_and_it_is_said(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("checkpoints", "tensorboard"))
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps({**environment, "data": str(tmp_path / "gone")}))
    export_run(run, "onnx", tmp_path / "out", raw=False, weights="float32")
    assert "synthetic heads" in caplog.text
    assert "synthetic slices" in (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert not (tmp_path / "out" / RAW_NAME).exists()


def test_safetensors_hold_the_weights_bit_for_bit_and_train_on(trained: Path, tmp_path: Path) -> None:
    assert command(["export", str(trained), "--to", "safetensors", "--output", str(tmp_path / "out")]) == 0
    before = read_state(trained / "model" / "weights.safetensors")
    after = read_state(tmp_path / "out" / "weights.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert read_model(tmp_path / "out").spec.files.keys() == {"weights.safetensors"}
    with pytest.raises(ModelError, match=r"model\.onnx"):
        Predictor(read_model(tmp_path / "out"))


# --- cards ---


def front_matter(folder: Path) -> dict[str, Any]:
    _, front, _ = (folder / "MODEL_CARD.md").read_text(encoding="utf-8").split("---\n", 2)
    loaded: dict[str, Any] = yaml.safe_load(front)
    return loaded


def test_a_model_that_was_not_judged_says_so(exported: tuple[Path, tuple[Parity, ...]]) -> None:
    assert front_matter(exported[0])["scores"] in ([], None)
    assert "Not judged" in (exported[0] / "MODEL_CARD.md").read_text()


def test_a_card_cites_an_evaluation_with_its_interval_and_says_whose_it_is(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("checkpoints", "tensorboard"))
    judged = run / "evaluation" / "set-test"
    judged.mkdir(parents=True)
    model = read_model(run).spec.model_dump(mode="json")
    metrics = {
        "dice_patient": {"mean": 0.8999, "median": 0.9, "ci95": [0.81239, 0.93331], "n": 13},
        "dice_pooled": 0.91,
        "precision": 0.9,
        "recall": 0.8,
        "empty_slice_fpr": 0.031,
        "protocol": {
            "part": "test",
            "dataset": "set",
            "run": "run",
            "model": {"name": model["name"], "threshold": model["threshold"]},
            "test_readings": 2,
        },
    }
    (judged / "metrics.json").write_text(json.dumps(metrics))
    (judged / "patients.csv").write_text("patient,dice\na,0.5\nb,0.95\n")
    export_run(run, "safetensors", tmp_path / "own")
    (score,) = front_matter(tmp_path / "own")["scores"]
    # Cut, not rounded: no digit flatters.
    assert (score["dice_patient"], score["ci95"], score["patients"]) == (0.899, [0.812, 0.934], 13)
    assert score["of_these_weights"] is True
    text = (tmp_path / "own" / "MODEL_CARD.md").read_text()
    assert "0.812 to 0.934" in text
    assert "Dice below 0.7 in 1 of 2 patients; the lowest is 0.500" in text
    assert "looked at its test patients 2 times" in text
    assert "dice" not in (tmp_path / "own" / "model.json").read_text()

    metrics["protocol"]["model"]["threshold"] = 0.123  # type: ignore[index]
    (judged / "metrics.json").write_text(json.dumps(metrics))
    export_run(run, "safetensors", tmp_path / "other", evaluations=[judged])
    assert front_matter(tmp_path / "other")["scores"][0]["of_these_weights"] is False
    assert "not of these weights" in (tmp_path / "other" / "MODEL_CARD.md").read_text()
    words = ["export", str(run), "--to", "safetensors", "--output", str(tmp_path / "two")]
    assert command([*words, "--evaluation", str(judged), "--evaluation", str(judged)]) == 0
    assert len(front_matter(tmp_path / "two")["scores"]) == 2


# --- what a user can get wrong ---


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch", "--to", "onnx"], "nosuch"),
        (["lgg", "--to", "onnx"], "no run folder"),
        (["{run}", "--to", "pickle"], "pickle"),
        (["{run}", "--to", "onnx", "--data", "{tmp}/nosuch"], "nosuch"),
        (["{run}", "--to", "onnx", "--evaluation", "{tmp}"], "no evaluation"),
        (["{run}/model", "--to", "onnx"], "no run folder"),
    ],
)
def test_a_wrong_export_is_one_line_and_writes_nothing(
    words: list[str], said: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [word.format(run=trained, tmp=tmp_path) for word in words]
    assert command(["export", *filled, "--output", str(tmp_path / "out")]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_holds_something_is_not_touched(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert command(["export", str(trained), "--to", "onnx", "--output", str(tmp_path)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_run_of_an_older_version_is_fitted_anew_without_training(trained: Path, tmp_path: Path) -> None:
    fitted = read_model(trained).spec
    old = tmp_path / "old"
    shutil.copytree(trained, old)
    write_spec(old / "model", fitted.model_copy(update={"temperature": 1.0, "threshold": 0.8, "usual": None}))
    before = (old / "model" / "model.json").read_bytes()
    export_run(old, "onnx", tmp_path / "new", raw=False, refit=True)
    again = read_model(tmp_path / "new").spec
    for name in ("temperature", "threshold", "postprocessing", "usual"):
        assert getattr(again, name) == getattr(fitted, name), name
    assert (old / "model" / "model.json").read_bytes() == before


def test_refitting_needs_the_data_of_the_run(trained: Path, tmp_path: Path) -> None:
    from tumorseg.datasets.phantom import write_phantom

    write_phantom(tmp_path / "others", patients=4, slices=2, seed=99)
    with pytest.raises(ModelError, match="no patients of the run"):
        export_run(trained, "onnx", tmp_path / "new", refit=True, data=tmp_path / "others")
    assert not (tmp_path / "new").exists()
