"""The demo: the whole way through the installed command, on synthetic heads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DICE_POOLED = 0.8
"""What the demo's net must pass on patients it has not seen; no single threshold on FLAIR reaches 0.6 there."""


@pytest.mark.slow
def test_the_demo_learns_and_leaves_a_report_that_opens(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("tumorseg")
    output = tmp_path / "demo"
    done = subprocess.run([command, "demo", "--output", output], capture_output=True, text=True, timeout=1800)
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
