"""Ensembles: several graphs that answer together, trained by one command and resumed where they stopped."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from small_recipe import SMALL
from tiny_model import flair_kernel, write_model
from tumorseg.errors import ModelError
from tumorseg.files import digest_file
from tumorseg.inference.model import read_model
from tumorseg.inference.predictor import Predictor
from tumorseg.scan import Scan
from tumorseg.training.release import export_run


def scan() -> Scan:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    return Scan("s", "p", ("pre", "flair", "post"), lambda: pixels)


def test_an_ensemble_gives_the_mean_of_its_members_probabilities(tmp_path: Path) -> None:
    one = write_model(tmp_path / "one")
    two = write_model(tmp_path / "two", kernel=flair_kernel() * 0.5)
    both = tmp_path / "both"
    both.mkdir()
    for index, folder in enumerate((one, two)):
        shutil.copyfile(folder / "model.onnx", both / f"member-{index}.onnx")
    names = ("member-0.onnx", "member-1.onnx")
    files = {name: digest_file(both / name) for name in names}
    spec = read_model(one).spec.model_copy(update={"members": names, "files": files})
    (both / "model.json").write_text(spec.model_dump_json())
    apart = [Predictor(read_model(folder)).probabilities(scan()).astype(np.float32) for folder in (one, two)]
    together = Predictor(read_model(both)).probabilities(scan()).astype(np.float32)
    np.testing.assert_allclose(together, np.mean(apart, axis=0), atol=1e-3)
    assert not np.allclose(apart[0], apart[1], atol=0.05)
    (both / "model.json").write_text(spec.model_copy(update={"files": {names[0]: files[names[0]]}}).model_dump_json())
    with pytest.raises(ModelError, match="member-1"):
        Predictor(read_model(both))


@pytest.mark.slow
def test_an_ensemble_is_trained_evaluated_exported_and_resumed_by_member(phantom: Path, tmp_path: Path) -> None:
    run = tmp_path / "two"
    words = ["train", "--data", str(phantom), "--output", str(run), "--device", "cpu"]
    settings = ["--set", *SMALL, "epochs=1", "ensemble=2"]
    done = subprocess.run(
        [sys.executable, "-m", "tumorseg", *words, *settings], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    spec = read_model(run).spec
    assert spec.members == ("member-0.onnx", "member-1.onnx")
    digests = [digest_file(run / "members" / str(index) / "model" / "model.onnx") for index in range(2)]
    assert digests[0] != digests[1] and [spec.files[name] for name in spec.members] == digests
    # As if it had been stopped after the first member.
    shutil.rmtree(run / "model")
    shutil.rmtree(run / "members" / "1")
    again = subprocess.run(
        [sys.executable, "-m", "tumorseg", *words, "--resume"], capture_output=True, text=True, timeout=600
    )
    assert again.returncode == 0, again.stderr
    assert read_model(run).spec.files == spec.files
    judged = subprocess.run(
        [sys.executable, "-m", "tumorseg", "evaluate", str(run)], capture_output=True, text=True, timeout=600
    )
    assert judged.returncode == 0, judged.stderr
    pack = tmp_path / "pack"
    words = ["export", str(run), "--to", "onnx", "--fast", "--weights", "float32", "--output", str(pack)]
    done = subprocess.run([sys.executable, "-m", "tumorseg", *words], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    joined = read_model(pack).spec
    assert joined.members == () and "model.onnx" in joined.files
    card = (pack / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "2 networks together" in card and "member by member" in card
    ours, theirs = (Predictor(read_model(source)).probabilities(scan()) for source in (pack, run))
    assert np.abs(ours.astype(np.float32) - theirs.astype(np.float32)).max() < 0.01
    export_run(run, "safetensors", tmp_path / "weights")
    written = {path.name for path in (tmp_path / "weights").iterdir()}
    assert {"member-0.safetensors", "member-1.safetensors"} <= written
