"""The installed command: its help, its exit codes, and what it says to whoever gets something wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from tumorseg.cli.app import app, data_app, run
from tumorseg.cli.arguments import expand
from tumorseg.cli.console import aligned, duration

COMMAND = Path(sys.executable).with_name("tumorseg")


def tumorseg(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the installed command as a shell would."""
    words = [str(COMMAND), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=120)


def verbs() -> list[list[str]]:
    """Every verb, as its words."""
    first = [[command.name or ""] for command in app.registered_commands]
    return [[], *first, ["data"], *(["data", command.name or ""] for command in data_app.registered_commands)]


# --- help ---


@pytest.mark.parametrize("verb", verbs(), ids=lambda words: " ".join(words) or "tumorseg")
def test_help_fits_a_screen_and_ends_with_an_example(
    verb: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*verb, "--help"]) == 0
    text = capsys.readouterr().out.rstrip()
    assert len(text.splitlines()) <= 50
    assert max(map(len, text.splitlines())) <= 80
    last = text.split("\n\n")[-1].split()
    assert last[:2] == ["Example:", "tumorseg"]
    assert last[2 : 2 + len(verb)] == verb or len(verb) < 2


def test_no_verb_shows_the_help() -> None:
    done = tumorseg()
    assert done.returncode == 0
    assert "Usage: tumorseg" in done.stdout


def test_the_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert tumorseg("--version").stdout == f"tumorseg {version('tumorseg')}\n"


def test_python_m_tumorseg_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "tumorseg", "--version"], capture_output=True, text=True)
    assert done.stdout == tumorseg("--version").stdout


def test_recipes_are_listed_shown_and_given_to_programs() -> None:
    listed = tumorseg("recipes")
    assert listed.stdout.startswith("default  ")
    assert "learn" not in listed.stderr
    shown = tumorseg("recipes", "default").stdout
    assert "  encoder: " in shown
    assert json.loads(tumorseg("recipes", "default", "--json").stdout)["name"] == "default"
    names = [entry["name"] for entry in json.loads(tumorseg("recipes", "--json").stdout)]
    assert names[0] == "default"
    assert "demo" in names


# --- the command line that people type ---


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        ("train --set a=1 b.c=2 --data d", "train --set a=1 --set b.c=2 --data d"),
        ("train --set=a=1 b=2", "train --set=a=1 --set b=2"),
        ("segment --channels pre=a flair=b x.tif", "segment --channels pre=a --channels flair=b x.tif"),
        ("segment --channels flair=b x.tif y=z.tif", "segment --channels flair=b x.tif y=z.tif"),
        ("train --set lr=-1 --set b=2 c=3", "train --set lr=-1 --set b=2 --set c=3"),
        ("train --set --help", "train --set --help"),
        ("train --data d -v", "-v train --data d"),
        ("segment -q -- -v a=b", "-q segment -- -v a=b"),
        ("recipes", "recipes"),
    ],
)
def test_several_values_follow_one_option(typed: str, parsed: str) -> None:
    assert expand(typed.split()) == parsed.split()


@given(st.lists(st.sampled_from(["--set", "--channels", "a=1", "b=2", "x.tif", "--data", "-v", "--", "--set=c=3"])))
def test_what_is_expanded_once_stays(words: list[str]) -> None:
    once = expand(words)
    assert expand(once) == once
    assert [word for word in once if "=" in word] == [word for word in words if "=" in word]


def test_columns_line_up() -> None:
    assert aligned([("a", "b", "c"), ("long", "x", "")]) == "a     b  c\nlong  x"


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")])
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


# --- what a user can get wrong ---


def one_line(done: subprocess.CompletedProcess[str], *fragments: str | Path, code: int = 2) -> None:
    """The run ended with `code`, and the last line on stderr is the only error and holds every fragment."""
    shown = f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.returncode == code, shown
    assert "Traceback" not in done.stdout + done.stderr, shown
    *messages, last = done.stderr.splitlines()
    assert last.startswith("tumorseg: error: "), shown
    assert not [line for line in messages if "error" in line.lower() or "warning" in line.lower()], shown
    for fragment in fragments:
        assert str(fragment) in last, shown


def tree(folder: Path) -> dict[str, int]:
    """Every file and folder below, with its size."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.exists()}


@pytest.fixture
def scans(phantom: Path, tmp_path: Path) -> Path:
    """A copy of the synthetic data set that a test may spoil."""
    return shutil.copytree(phantom, tmp_path / "scans" / "kaggle_3m")


def first_pair(scans: Path) -> tuple[Path, Path]:
    """An image and its mask; the mask shows tumour."""
    masks = sorted(scans.glob("*/*_mask.tif"))
    mask = next(path for path in masks if tifffile.imread(path).any())
    return mask.with_name(mask.name.replace("_mask", "")), mask


@pytest.mark.parametrize(
    "arguments",
    [["trian"], ["data", "chek", "."], ["train", "--dta", "."], ["train"], ["recipes", "a", "b"], ["--colour"]],
    ids=" ".join,
)
def test_a_mistyped_command_is_one_line_that_names_the_help(arguments: list[str]) -> None:
    one_line(tumorseg(*arguments), "; see: tumorseg", "--help")


def test_a_value_that_is_not_offered_is_named_beside_those_that_are() -> None:
    done = tumorseg("segment", ".", "--output", "o", "--format", "dcm")
    one_line(done, "'--format': 'dcm' is not", "'nifti', 'dicom-seg', 'png'", "tumorseg segment --help")


def truncate(image: Path, mask: Path) -> Path:
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    return image


def empty(image: Path, mask: Path) -> Path:
    image.write_bytes(b"")
    return image


def sixteen_bit(image: Path, mask: Path) -> Path:
    tifffile.imwrite(image, tifffile.imread(image).astype(np.uint16) * 256, photometric="rgb")
    return image


def four_channels(image: Path, mask: Path) -> Path:
    pixels = tifffile.imread(image)
    tifffile.imwrite(image, np.concatenate([pixels, pixels[..., :1]], axis=-1), photometric="rgb")
    return image


def other_size(image: Path, mask: Path) -> Path:
    tifffile.imwrite(image, tifffile.imread(image)[:-8], photometric="rgb")
    return image


def grey_mask(image: Path, mask: Path) -> Path:
    pixels = tifffile.imread(mask)
    pixels[0, :3] = (1, 100, 200)
    tifffile.imwrite(mask, pixels)
    return mask


def no_mask(image: Path, mask: Path) -> Path:
    mask.unlink()
    return image


SPOILERS = [truncate, empty, sixteen_bit, four_channels, other_size, grey_mask, no_mask]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_train_names_the_file_that_is_spoilt(spoil: Callable[[Path, Path], Path], scans: Path, tmp_path: Path) -> None:
    culprit = spoil(*first_pair(scans))
    before = tree(tmp_path)
    done = tumorseg("train", "--data", scans, "--output", tmp_path / "run")
    one_line(done, culprit.stem.removesuffix("_mask"))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_data_check_finds_the_file_that_is_spoilt(spoil: Callable[[Path, Path], Path], scans: Path) -> None:
    culprit = spoil(*first_pair(scans))
    done = tumorseg("data", "check", scans)
    assert done.returncode == 1, done.stdout + done.stderr
    assert culprit.stem.removesuffix("_mask") in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "verb", [["train", "--output", "run", "--data"], ["data", "check"]], ids=lambda words: " ".join(words[:2])
)
@pytest.mark.parametrize("folder", ["empty", "missing", "file"])
def test_a_folder_without_scans_is_an_error(verb: list[str], folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("not a folder")
    before = tree(tmp_path)
    one_line(tumorseg(*verb, folder, cwd=tmp_path), folder)
    assert tree(tmp_path) == before


def test_an_output_that_exists_is_refused(phantom: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("do not touch")
    before = tree(tmp_path)
    one_line(tumorseg("train", "--data", phantom, "--output", tmp_path / "run"), tmp_path / "run", "exists")
    one_line(tumorseg("data", "phantom", tmp_path / "run" / "thesis.txt"), "thesis.txt")
    one_line(tumorseg("demo", "--output", tmp_path / "run"), tmp_path / "run", "exists")
    assert tree(tmp_path) == before


def test_an_output_that_cannot_be_written_is_refused_at_once(phantom: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file is no place for a folder")
    before = tree(tmp_path)
    output = tmp_path / "file" / "run"
    one_line(tumorseg("train", "--data", phantom, "--output", output), output)
    one_line(tumorseg("data", "phantom", output), output)
    one_line(tumorseg("demo", "--output", output), output)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--recipe", "defualt"], ["defualt", "did you mean 'default'"]),
        (["--recipe", "missing.yaml"], ["missing.yaml"]),
        (["--set", "epoch=3"], ["epoch", "did you mean 'epochs'"]),
        (["--set", "network.encodr=resnet34"], ["network.encodr", "did you mean 'network.encoder'"]),
        (["--set", "epochs=many"], ["epochs", "many"]),
        (["--set", "epochs=3", "batch_size=half"], ["batch_size", "half"]),
        (["--set", "epochs"], ["epochs", "key=value"]),
        (["--set", "network.name=unett"], ["unett", "unet"]),
        (["--set", "network.encoder=resnet3"], ["resnet3"]),
        (["--set", "loss=dise"], ["dise", "dice"]),
        (["--fold", "0"], ["--folds"]),
        (["--fold", "5", "--folds", "5"], ["fold"]),
        (["--fold", "0", "--folds", "9"], ["patients"]),
        (["--device", "tpu"], ["tpu"]),
        (["--resume"], ["resume"]),
        (["--init", "nowhere"], ["nowhere"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_a_wrong_choice_names_itself_and_what_is_valid(
    options: list[str], fragments: list[str], phantom: Path, tmp_path: Path
) -> None:
    before = tree(tmp_path)
    done = tumorseg("train", "--data", phantom, "--output", tmp_path / "run", *options, cwd=tmp_path)
    one_line(done, *fragments)
    assert tree(tmp_path) == before


def test_fewer_patients_than_parts_of_the_split_is_an_error(scans: Path, tmp_path: Path) -> None:
    for folder in sorted(path for path in scans.iterdir() if path.is_dir())[2:]:
        shutil.rmtree(folder)
    before = tree(tmp_path)
    one_line(tumorseg("train", "--data", scans, "--output", tmp_path / "run"), "2 patients")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["empty", "missing", "data"])
def test_a_model_that_is_none_is_an_error(kind: str, phantom: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    model = phantom if kind == "data" else tmp_path / kind
    before = tree(tmp_path)
    image = first_pair(phantom)[0]
    one_line(tumorseg("segment", image, "--model", model, "--output", tmp_path / "masks"), model.name)
    one_line(tumorseg("evaluate", model), model.name)
    assert tree(tmp_path) == before


# --- how a run ends ---


def test_a_reader_that_leaves_early_ends_the_run_quietly() -> None:
    shell = f"'{COMMAND}' recipes default | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert done.returncode in (0, 141)
    assert done.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_half_written(number: signal.Signals, tmp_path: Path) -> None:
    words = [str(COMMAND), "data", "phantom", str(tmp_path), "--patients", "200"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    with process:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.rglob("*_mask.tif"))) < 20 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1] == "tumorseg: error: interrupted; nothing is left half-written"
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_one_line_that_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> tuple[str, ...]:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("tumorseg.recipe_file.recipe_names", broken)
    assert run(["recipes"]) == 70
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "ZeroDivisionError: division by zero" in said
    assert "please report" in said
    assert run(["-v", "recipes"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "the disk is full"),
        (PermissionError(13, "Permission denied", "/some/file"), "/some/file: Permission denied"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "pip install 'tumorseg[train]'"),
        (MemoryError(), "out of memory"),
    ],
)
def test_what_the_machine_lacks_is_one_line(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> tuple[str, ...]:
        raise error

    monkeypatch.setattr("tumorseg.recipe_file.recipe_names", broken)
    assert run(["recipes"]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
