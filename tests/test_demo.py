"""The demo, through the installed command: a first look without torch, and the whole way with it."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tumorseg.cli.app import run
from tumorseg.datasets.example import write_example
from tumorseg.datasets.lgg import read_lgg
from tumorseg.formats.tiff import read_mask_tiff
from tumorseg.metrics.overlap import dice

DICE_POOLED = 0.8
"""What the net of --train must pass on patients it has not seen; no single threshold on FLAIR reaches 0.6 there."""

DICE_EXAMPLE = 0.7
COMMAND = Path(sys.executable).with_name("tumorseg")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    output = tmp_path_factory.mktemp("demo") / "tumorseg-demo"
    done = subprocess.run([COMMAND, "demo", "--output", output], capture_output=True, text=True, timeout=600)
    return output, done


def test_the_model_in_the_box_finds_the_example_and_warns_of_nothing(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    output, done = demo
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(output / "report.html")
    assert "warning" not in done.stderr
    (scan,) = read_lgg(output / "scans")
    assert scan.reference is not None
    masks = sorted((output / "masks").rglob("*_mask.tif"), key=lambda path: int(path.stem.split("_")[-2]))
    mask = np.concatenate([read_mask_tiff(path) for path in masks])
    assert dice(mask > 0, scan.reference > 0) >= DICE_EXAMPLE
    with open(output / "masks" / "summary.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["status"] == "segmented"
    assert row["warnings"] == ""


def test_the_demo_leaves_a_mask_and_an_overlay_for_every_slice(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    output, _ = demo
    slices = [path for path in (output / "scans").rglob("*.tif") if "_mask" not in path.stem]
    assert len(slices) == len(list((output / "masks").rglob("*_mask.tif")))
    pictures = list((output / "masks").rglob("*_overlay.png"))
    assert len(pictures) == len(slices)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_the_page_of_the_demo_opens_offline(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    page = (demo[0] / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    outside = [link for link in re.findall(r'(?:src|href)="([^"]*)"', page) if not link.startswith(("#", "data:"))]
    assert outside == []
    assert "<script" not in page
    assert "Research use only" in page
    assert "CC BY-NC-SA 4.0" in page


def test_the_example_is_always_the_same(tmp_path: Path) -> None:
    first, second = (write_example(tmp_path / name) for name in ("a", "b"))
    files = sorted(path.name for path in first.iterdir())
    assert files == sorted(path.name for path in second.iterdir())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)


def test_the_demo_loads_nothing_of_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys; from tumorseg.cli.app import run; "
        f"code = run(['demo', '--output', {str(tmp_path / 'out')!r}]); "
        "extra = {'torch', 'lightning', 'timm', 'monai', 'sklearn', 'onnx', 'safetensors', 'matplotlib', 'pandas'}; "
        "sys.stderr.write(f'LOADED {code} {sorted(extra & set(sys.modules))}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stderr.rpartition("LOADED ")[2] == "0 []"


def test_the_demo_runs_where_torch_is_not_installed(tmp_path: Path) -> None:
    blocked = "'torch', 'lightning', 'onnx', 'safetensors', 'timm', 'monai', 'sklearn', 'segmentation_models_pytorch'"
    code = (
        f"import sys; sys.modules.update(dict.fromkeys([{blocked}])); "  # importing None raises ModuleNotFoundError
        f"from tumorseg.cli.app import run; sys.exit(run(['demo', '--output', {str(tmp_path / 'out')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()


def test_data_without_train_is_refused_with_the_way_to_segment_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", "--data", "mine", "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--train" in line
    assert "tumorseg segment mine" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_demo_learns_and_leaves_a_report_that_opens(tmp_path: Path) -> None:
    output = tmp_path / "demo"
    done = subprocess.run(
        [COMMAND, "demo", "--train", "--output", output], capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for step in ("1 of 4", "2 of 4", "3 of 4", "4 of 4"):
        assert step in done.stderr

    report = output / "report.html"
    assert done.stdout.strip() == str(report)
    page = report.read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert 'src="http' not in page
    assert (output / "predictions.png").read_bytes().startswith(b"\x89PNG")

    (evaluation,) = (output / "run" / "evaluation").glob("*-test")
    metrics = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["dice_pooled"] >= DICE_POOLED
