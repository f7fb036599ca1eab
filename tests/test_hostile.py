"""Inputs that are damaged, lie or attack: each ends in its mask or in one line, with nothing half-written.

The table of them is in `hostile_files`. Native libraries write to the file descriptor of standard error, which is why
that is what is looked at.
"""

import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import onnx
import pytest
import tifffile
from onnx import TensorProto, helper, numpy_helper

from hostile_files import REFUSED, WHOLE, Builder, png, slice8
from segmenting import SIZE, expected, marked, tree
from tiny_model import write_model
from tumorseg.cli.app import run
from tumorseg.cli.arguments import expand
from tumorseg.files import digest_file
from tumorseg.inference.inputs import find_inputs

SECONDS = 180
"""After which a test counts as one that waits for ever, on however busy a machine."""

MOST_BYTES = 1.5e9
CLEAR = Path("/proc/self/clear_refs")

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes, links and limits as POSIX has them")
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("run") / "model", image_size=SIZE // 32 * 32 + 32)


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """A test that waits for ever fails instead."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"not done within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def segment(capfd: Captured, *words: str | Path) -> tuple[int, str]:
    """Exit code and standard error of the verb, run in this process; no more memory than promised."""
    capfd.readouterr()
    before = memory("VmRSS")
    if CLEAR.exists():
        CLEAR.write_text("5")  # the peak of what other tests did in this process is forgotten
    code = run(expand(["segment", *map(str, words)]))
    said = capfd.readouterr()
    assert "Traceback" not in said.err
    assert memory("VmHWM") - before < MOST_BYTES
    return code, said.err


def memory(what: str) -> int:
    """Bytes of this process now (VmRSS) or at most (VmHWM); 0 where no system says."""
    if not CLEAR.exists():
        return 0
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def refused_in_one_line(code: int, said: str) -> bool:
    return code == 2 and said.startswith("tumorseg: error: ") and said.count("\n") == 1 and "; " in said


@pytest.mark.parametrize("builder", [pytest.param(builder, id=name) for name, builder in WHOLE.items()])
def test_what_is_odd_and_yet_a_scan_gets_its_mask(
    builder: Builder, tmp_path: Path, model: Path, capfd: Captured
) -> None:
    (tmp_path / "in").mkdir()
    path = builder(tmp_path / "in")
    code, said = segment(capfd, path, "--output", tmp_path / "out", "--model", model, "--format", "png")
    assert code == 0, said
    assert all(line.startswith("warning: ") for line in said.splitlines()), said
    pictures = sorted((tmp_path / "out").rglob("*.png"))
    from tumorseg.formats.png import read_mask_png

    mask = np.concatenate([read_mask_png(picture) for picture in pictures])
    truth = expected(len(mask))
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.9


@pytest.mark.parametrize("builder", [pytest.param(builder, id=name) for name, builder in REFUSED.items()])
def test_what_is_no_scan_ends_in_one_line_and_leaves_nothing(
    builder: Builder, tmp_path: Path, model: Path, capfd: Captured
) -> None:
    (tmp_path / "in").mkdir()
    path = builder(tmp_path / "in")
    before = tree(tmp_path)
    code, said = segment(capfd, path, "--output", tmp_path / "out", "--model", model)
    assert refused_in_one_line(code, said), said
    assert str(path).replace("\n", " ") in said
    assert not (tmp_path / "out").exists()
    assert tree(tmp_path) == before


def test_the_odd_and_the_refused_are_many() -> None:
    assert len(WHOLE) > 50
    assert len(REFUSED) > 150


def test_one_hostile_file_does_not_stop_the_others(tmp_path: Path, model: Path, capfd: Captured) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.png").write_bytes(png(slice8()))
    (folder / ("a" * 250 + ".png")).write_bytes(png(slice8()))
    (folder / "cut.png").write_bytes(png(slice8())[:100])
    (folder / "a.tif").symlink_to(folder / "b.tif")
    (folder / "b.tif").symlink_to(folder / "a.tif")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.nii")
    code, said = segment(capfd, folder, "--output", tmp_path / "out", "--model", model)
    assert code == 3, said
    assert tree(tmp_path / "out") == ["good_mask.png", "summary.csv", "summary.json"]
    failures = json.loads((tmp_path / "out" / "summary.json").read_text())["failures"]
    assert len(failures) == 5


# --- outputs ---


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "x.png"
    path.parent.mkdir()
    path.write_bytes(png(slice8()))
    return path


def test_masks_may_lie_beside_their_scans(scan: Path, model: Path, capfd: Captured) -> None:
    assert segment(capfd, scan.parent, "--output", scan.parent, "--model", model)[0] == 0
    assert tree(scan.parent) == ["summary.csv", "summary.json", "x.png", "x_mask.png"]
    assert segment(capfd, scan.parent, "--output", scan.parent, "--model", model, "--resume")[0] == 0


def test_an_output_within_the_input_is_no_input_the_next_time(scan: Path, model: Path, capfd: Captured) -> None:
    out = scan.parent / "out"
    for _ in range(2):
        assert segment(capfd, scan.parent, "--output", out, "--model", model, "--overwrite")[0] == 0
        assert tree(out) == ["summary.csv", "summary.json", "x_mask.png"]


@pytest.mark.parametrize("kind", ["a file", "below a file", "a link to nothing", "a pipe", "a device"])
def test_an_output_that_cannot_be_is_refused_before_anything_is_computed(
    kind: str, scan: Path, tmp_path: Path, model: Path, capfd: Captured
) -> None:
    out = tmp_path / "out"
    if kind in ("a file", "below a file"):
        out.write_bytes(b"mine")
    elif kind == "a link to nothing":
        out.symlink_to(tmp_path / "none" / "deeper")
    elif kind == "a pipe":
        os.mkfifo(out)
    else:
        out = Path("/dev/null")
    place = out / "deeper" if kind == "below a file" else out
    code, said = segment(capfd, scan, "--output", place, "--model", model)
    assert refused_in_one_line(code, said), said
    assert not out.is_dir()
    assert kind not in ("a file", "below a file") or out.read_bytes() == b"mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads and writes everywhere")
def test_what_may_not_be_read_is_said(scan: Path, tmp_path: Path, model: Path, capfd: Captured) -> None:
    scan.chmod(0)
    code, said = segment(capfd, scan, "--output", tmp_path / "out", "--model", model)
    assert refused_in_one_line(code, said), said


def test_two_folders_with_files_of_one_name_keep_them_apart(tmp_path: Path, model: Path, capfd: Captured) -> None:
    for name in ("one", "two", "One"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "x.png").write_bytes(png(slice8()))
    folders = [tmp_path / "one", tmp_path / "two"]
    targets = [str(target) for each in find_inputs(folders).scans for target in each.targets]
    assert sorted(targets) == ["one/x_mask.png", "two/x_mask.png"]
    code, said = segment(capfd, *folders, "--output", tmp_path / "out", "--model", model)
    assert code == 0, said
    assert len(tree(tmp_path / "out")) == 4


# --- through the installed command ---


def command(*words: str | Path, **options: object) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", "tumorseg", "segment", *map(str, words)],
        capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL, **options,  # type: ignore[call-overload]
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def test_the_command_takes_a_name_that_begins_with_a_dash(scan: Path, tmp_path: Path, model: Path) -> None:
    scan.rename(scan.with_name("-x.png"))
    done = command("--output", tmp_path / "out", "--model", model, "--", "-x.png", cwd=scan.parent)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "-x_mask.png").is_file()


def test_memory_that_the_machine_does_not_give_is_one_line(tmp_path: Path, model: Path) -> None:
    """A scan that is as large as is allowed, where the process may have less."""
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (7, 8000, 8000), }".ljust(117) + b"\n"
    with open(tmp_path / "x.npy", "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
        file.truncate(128 + 7 * 8000 * 8000 * 8)
    limit = 3 * 2**29
    done = command(
        tmp_path / "x.npy", "--output", tmp_path / "out", "--model", model,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*_mask*"))


# --- models ---


def graph_with(*nodes: onnx.NodeProto, opsets: tuple[str, ...] = ("",)) -> onnx.ModelProto:
    """A graph from image to logits."""
    shape = ["slices", 3, "height", "width"]
    graph = helper.make_graph(
        list(nodes),
        "hostile",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(each, 17) for each in opsets], ir_version=8)


def replaced(folder: Path, content: bytes | onnx.ModelProto) -> Path:
    """A model package whose digest vouches for other bytes."""
    if isinstance(content, onnx.ModelProto):
        content = content.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    return respecified(folder, files={"model.onnx": digest_file(folder / "model.onnx")})


def respecified(folder: Path, **values: object) -> Path:
    spec = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(spec | values))
    return folder


def external(folder: Path) -> Path:
    """Weights that are read from a file that nobody vouches for."""
    (folder.parent / "secret.bin").write_bytes(bytes(36))
    model = onnx.load(str(folder / "model.onnx"))
    stored = model.graph.initializer[0]
    weights = numpy_helper.to_array(stored)
    (folder / "weights.bin").write_bytes(weights.tobytes())
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", "offset": "0", "length": str(weights.nbytes)}.items():
        entry = stored.external_data.add()
        entry.key, entry.value = key, value
    return replaced(folder, model)


def outside(folder: Path) -> Path:
    """The same, of a file above the model's folder."""
    model = onnx.load(str(external(folder) / "model.onnx"), load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../secret.bin"
    return replaced(folder, model)


def piped(folder: Path) -> Path:
    (folder / "model.onnx").unlink()
    os.mkfifo(folder / "model.onnx")
    return folder


def pickled(folder: Path) -> Path:
    import pickle

    return replaced(folder, pickle.dumps({"weights": [1, 2, 3]}))


def linked(folder: Path) -> Path:
    (folder / "model.json").unlink()
    (folder / "model.json").symlink_to("/dev/zero")
    return folder


def wrong_digest(folder: Path) -> Path:
    with open(folder / "model.onnx", "ab") as file:
        file.write(b"\0")
    return folder


MODELS = {
    "a wrong digest": wrong_digest,
    "a pickle for a graph": pickled,
    "a ZIP for a graph": lambda folder: replaced(folder, b"PK\x03\x04" + bytes(100)),
    "weights in another file": external,
    "weights above its folder": outside,
    "an operator of its own": lambda folder: replaced(
        folder, graph_with(helper.make_node("Steal", ["image"], ["logits"], domain="evil"), opsets=("", "evil"))
    ),
    "a graph that goes in a circle": lambda folder: replaced(
        folder,
        graph_with(helper.make_node("Add", ["image", "logits"], ["a"]), helper.make_node("Relu", ["a"], ["logits"])),
    ),
    "a pipe for a graph": piped,
    "a device for a model.json": linked,
    "a name that points out of it": lambda folder: respecified(folder, files={"../../etc/passwd": "0" * 64}),
    "a pickle among its files": lambda folder: respecified(folder, files={"weights.pkl": "0" * 64}),
    "a threshold that is no number": lambda folder: respecified(folder, threshold=float("nan")),
    "a temperature of 0": lambda folder: respecified(folder, temperature=0),
    "an image of 10^9 pixels a side": lambda folder: respecified(folder, image_size=10**9),
    "no channels": lambda folder: respecified(folder, channels=[]),
    "a fast way whose graph is not vouched for": lambda folder: respecified(
        folder, fast={"graph": "../x.onnx", "loss": 0, "patients": 1}
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_that_is_not_what_it_says_is_refused_in_one_line(
    kind: str, scan: Path, tmp_path: Path, capfd: Captured
) -> None:
    folder = MODELS[kind](write_model(tmp_path / "model"))
    fast = ["--fast"] if "fast" in kind else []
    code, said = segment(capfd, scan, "--output", tmp_path / "out", "--model", folder, *fast)
    assert refused_in_one_line(code, said), said
    assert str(folder) in said
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_a_zip_leaves_nothing_in_the_temporary_folder(
    tmp_path: Path, model: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    for member, mode in (("x.png", stat.S_IFREG), ("../x.png", stat.S_IFREG), ("x.png", stat.S_IFLNK)):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            info = zipfile.ZipInfo(member)
            info.external_attr = (mode | 0o644) << 16
            archive.writestr(info, png(slice8()))
        segment(capfd, tmp_path / "x.zip", "--output", tmp_path / "out", "--model", model, "--overwrite")
        assert not tree(scratch)
    shutil.rmtree(tmp_path / "out")


def test_a_scan_of_one_pixel_and_one_of_many_channels_end_as_they_should(
    tmp_path: Path, model: Path, capfd: Captured
) -> None:
    tifffile.imwrite(tmp_path / "one.tif", np.uint8([[9]]))
    np.save(tmp_path / "many.npy", marked()[..., None].repeat(5, axis=-1))
    assert segment(capfd, tmp_path / "one.tif", "--output", tmp_path / "a", "--model", model)[0] == 0
    code, said = segment(capfd, tmp_path / "many.npy", "--output", tmp_path / "b", "--model", model)
    assert refused_in_one_line(code, said)
    assert "--channels" in said
