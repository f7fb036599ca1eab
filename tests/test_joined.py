"""Several networks as one graph: it gives the mean of their probabilities, in torch as in ONNX, and in 8 bits too."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tiny_model import flair_kernel, lopsided_kernel, write_model
from tumorseg.errors import ModelError
from tumorseg.files import digest_file
from tumorseg.inference.model import Model, read_model, write_spec
from tumorseg.inference.predictor import Predictor
from tumorseg.scan import Scan

onnx = pytest.importorskip("onnx")

from tumorseg.inference.onnx_runtime import OnnxRuntime  # noqa: E402
from tumorseg.training.export import OPSET  # noqa: E402
from tumorseg.training.joined import Joined, join_members, write_joined  # noqa: E402
from tumorseg.training.quantised import write_quantised  # noqa: E402


def ensemble(folder: Path, *kernels: NDArray[np.float32], opset: int = OPSET, **fields: Any) -> Model:
    """A model of several tiny networks."""
    for index, kernel in enumerate(kernels):
        path = write_model(folder / str(index), kernel=kernel, **fields) / "model.onnx"
        graph = onnx.load(str(path))
        graph.opset_import[0].version = opset
        onnx.save(graph, str(folder / f"member-{index}.onnx"))
    names = tuple(f"member-{index}.onnx" for index in range(len(kernels)))
    spec = read_model(folder / "0").spec.model_copy(
        update={"members": names, "files": {name: digest_file(folder / name) for name in names}}
    )
    write_spec(folder, spec)
    return read_model(folder)


def scan() -> Scan:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    return Scan("s", "p", ("pre", "flair", "post"), lambda: pixels)


CLASSES: dict[str, Any] = {"classes": ("one", "two")}


@pytest.mark.parametrize("temperature", [1.0, 1.7, 0.01])
@pytest.mark.parametrize("several", [False, True])
def test_one_graph_gives_the_probabilities_of_its_members(tmp_path: Path, temperature: float, several: bool) -> None:
    draw = np.random.default_rng(3).normal
    kernels = [flair_kernel(), lopsided_kernel()]
    if several:
        kernels = [draw(0, 2, (3, 3, 3, 3)).astype(np.float32) for _ in range(2)]
    fields: dict[str, Any] = {"temperature": temperature, "test_time_flips": ("horizontal",), "blend": 0.2}
    apart = ensemble(tmp_path / "apart", *kernels, **fields, **(CLASSES if several else {}))
    (tmp_path / "joined").mkdir()
    one = join_members(apart, tmp_path / "joined")
    assert one.spec.members == () and one.spec.temperature == 1 and set(one.spec.files) == {"model.onnx"}
    write_spec(one.folder, one.spec)
    ours = Predictor(read_model(one.folder)).segment(scan())
    theirs = Predictor(apart).segment(scan())
    assert theirs.probability.astype(np.float32).std() > 0.01
    np.testing.assert_allclose(ours.probability.astype(np.float32), theirs.probability.astype(np.float32), atol=6e-4)
    assert (ours.mask != theirs.mask).mean() < 1e-3
    assert ours.measurements["flip_disagreement"] == pytest.approx(theirs.measurements["flip_disagreement"], abs=2e-3)


class Constant(torch.nn.Module):
    """Gives the same logits everywhere, so that answers are known."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.logits[None, :, None, None] + 0 * image[:, :1]


def test_the_logits_are_log_odds_of_the_mean_in_torch() -> None:
    image = torch.zeros(1, 3, 4, 4)
    one = Joined([Constant(0.0), Constant(4.0)], temperature=2.0)(image)
    expected = (0.5 + 1 / (1 + np.exp(-2))) / 2
    assert one.shape == (1, 1, 4, 4)
    assert torch.sigmoid(one).numpy() == pytest.approx(expected, abs=1e-6)
    two = torch.softmax(Joined([Constant(0.0, 0.0), Constant(0.0, np.log(3))], temperature=1.0)(image), dim=1)
    assert two[0, :, 0, 0].numpy() == pytest.approx([0.375, 0.625], abs=1e-6)


@pytest.mark.parametrize("extreme", [1e4, -1e4, 40.0])
def test_networks_that_are_certain_give_finite_logits(extreme: float, tmp_path: Path) -> None:
    bias = np.full(1, extreme, np.float32)
    model = ensemble(tmp_path / "m", flair_kernel() * 0, flair_kernel() * 0, bias=bias)
    write_joined(tmp_path / "one.onnx", model.graphs, model.spec)
    image = np.zeros((1, 3, 32, 32), np.float32)
    graph = OnnxRuntime(tmp_path / "one.onnx")(image)
    network = Joined([Constant(extreme), Constant(extreme)], temperature=1.0)(torch.from_numpy(image)).numpy()
    for logits in (graph, network):
        assert np.isfinite(logits).all() and (np.sign(logits) == np.sign(extreme)).all()


def test_in_8_bits_what_joins_the_members_stays_in_float32(tmp_path: Path) -> None:
    model = ensemble(tmp_path / "m", flair_kernel(), lopsided_kernel())
    write_joined(tmp_path / "one.onnx", model.graphs, model.spec)
    frames = list(np.random.default_rng(1).uniform(0, 1, (4, 3, 32, 32)).astype(np.float32))
    write_quantised(tmp_path / "one.onnx", tmp_path / "fast.onnx", frames)
    graph = onnx.load(str(tmp_path / "fast.onnx")).graph
    coded = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    joining = {name for node in graph.node if node.op_type in ("Sigmoid", "Mean", "Log", "Sub") for name in node.output}
    assert joining and not joining & coded


def test_a_graph_of_another_opset_is_refused_by_name(tmp_path: Path) -> None:
    model = ensemble(tmp_path / "m", flair_kernel(), flair_kernel(), opset=OPSET - 1)
    with pytest.raises(ModelError, match=r"member-0\.onnx"):
        write_joined(tmp_path / "one.onnx", model.graphs, model.spec)
    assert not (tmp_path / "one.onnx").exists()


def test_an_ensemble_rehearses_as_one_graph_and_stays_as_it_is(tmp_path: Path) -> None:
    from tumorseg.training.fast_way import Trial, with_fast_way

    judged = ensemble(tmp_path / "judged", flair_kernel(), flair_kernel() * 1.1, test_time_flips=("horizontal",))
    (tmp_path / "ships").mkdir()
    ships = join_members(judged, tmp_path / "ships")
    whole = Predictor(judged).segment(scan()).mask
    with_reference = replace(scan(), read_reference=lambda: whole)
    before = sorted(path.name for path in judged.folder.iterdir())
    trial = Trial(judged, [with_reference], [with_reference])
    spec = with_fast_way(
        ships, ships.graphs[0], [with_reference], [with_reference], trained_on=True, rehearsals=[trial]
    )
    assert spec.fast is not None and spec.fast.graph == "fast.onnx" and not spec.fast.trained_on
    assert set(spec.files) == {"model.onnx", "fast.onnx"}
    assert sorted(path.name for path in judged.folder.iterdir()) == before
