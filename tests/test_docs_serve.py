"""What docs/serve.md and docs/dicomweb.md tell people to type, run as printed against servers of this machine."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tumorseg.inference.catalogue as catalogue
from dicom_files import write_series
from dicomweb_server import dicomweb_server
from segmenting import marked, write_nifti
from tiny_model import write_model
from tumorseg.cli.app import run
from tumorseg.cli.arguments import expand

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"```(sh|python)\n(.*?)```", re.DOTALL)
PRINTED = "http://127.0.0.1:8000"


def blocks(page: str, kind: str, having: str = "") -> list[str]:
    """The blocks of one language on a page that hold some word."""
    found = BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))
    return [text for language, text in found if language == kind and having in text]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server as the page starts it, but for its port and its model."""
    pytest.importorskip("fastapi", reason="the extra [web] is not installed")
    here = tmp_path_factory.mktemp("server")
    (started,) = [line for block in blocks("serve.md", "sh") for line in block.splitlines() if "tumorseg serve" in line]
    words = [*shlex.split(started)[1:], "--port", "0", "--model", str(write_model(here / "tiny"))]
    process = subprocess.Popen(
        [sys.executable, "-m", "tumorseg", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), process.communicate()[1]
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the page names."""
    monkeypatch.chdir(tmp_path)
    for name in ("scan", "flair", "t1c"):
        write_nifti(tmp_path / f"{name}.nii.gz", marked())
    (tmp_path / "token").write_text("0123456789abcdef0123456789abcdef\n")
    return tmp_path


@pytest.mark.parametrize("block", blocks("serve.md", "sh", "curl"), ids=lambda block: block.splitlines()[1][:40])
def test_the_curl_lines_work_as_printed(block: str, served: str, here: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    assert PRINTED in block
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", block.replace(PRINTED, served)],
        cwd=here,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for name in re.findall(r"--output (\S+)", block):
        assert (here / name).stat().st_size > 0


def test_a_token_is_written_as_printed(here: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    (block,) = blocks("serve.md", "sh", "openssl")
    subprocess.run(["bash", "-euc", block], cwd=here, check=True)
    assert len((here / "token").read_text().strip()) == 64
    assert (here / "token").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("block", blocks("serve.md", "python"), ids=["segment", "submit"])
def test_the_python_lines_work_as_printed(block: str, served: str, here: Path) -> None:
    exec(compile(block.replace(PRINTED, served), "serve.md", "exec"), {})
    saved = re.findall(r'save\("([^"]+)"\)', block)
    assert saved
    assert all((here / name).stat().st_size > 0 for name in saved)


def test_the_page_names_every_setting() -> None:
    from typer.main import get_command

    from tumorseg.cli.app import app

    text = (DOCS / "serve.md").read_text(encoding="utf-8")
    for verb, page in (("serve", text), ("dicomweb", (DOCS / "dicomweb.md").read_text(encoding="utf-8"))):
        command = get_command(app).commands[verb]  # type: ignore[attr-defined]
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        missing = sorted(options - set(re.findall(r"--[a-z-]+", page)) - {"--help", "--device", "--model"})
        assert not missing, f"{verb}: {missing}"


def test_the_lines_about_archives_work_as_printed(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(here / "tiny")
    monkeypatch.setattr(catalogue, "default_model", lambda: model)
    lines = [
        line for block in blocks("dicomweb.md", "sh") for line in block.splitlines() if line.startswith("tumorseg")
    ]
    assert len(lines) >= 4
    with dicomweb_server() as server:
        for number, name in ((3, "Ax T2 FLAIR"), (4, "AX T1 3D Gd")):
            uids = {"StudyInstanceUID": "1.2.840.1", "SeriesInstanceUID": f"1.2.840.1.{number}"}
            server.add(*write_series(here / name, marked(), SeriesDescription=name, **uids))
        for line in lines:
            words = shlex.split(line.replace("https://pacs.example/dicom-web", server.url))[1:]
            assert run(expand(words)) == 0, f"{line}: {capsys.readouterr().err}"
        assert len(server.segmentations()) == 2
    assert (here / "mask" / "mask.dcm").is_file()
