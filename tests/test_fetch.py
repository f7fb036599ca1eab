"""A fetched data set is whole and verified or not there: whatever the server, the archive or the disk does."""

import hashlib
import io
import json
import logging
import resource
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faulty_server import FaultyServer, faulty_server
from matlab_files import write_folds, write_set
from tumorseg.answer import Patience
from tumorseg.cli.app import run
from tumorseg.datasets import fetch_lgg, fetch_place
from tumorseg.datasets.check_patient import examine
from tumorseg.datasets.fetch import SETS, fetch_data
from tumorseg.datasets.fetch_place import workshop
from tumorseg.datasets.figshare import read_figshare
from tumorseg.datasets.lgg import list_lgg
from tumorseg.datasets.phantom import write_phantom
from tumorseg.errors import DataError, DownloadError, OutputError, UnsafeArchive

COMMAND = Path(sys.executable).with_name("tumorseg")
HASTE = Patience(timeout=2, attempts=3, first_wait=0.01, longest_wait=5)
KNOWN = "TCGA_CS_4941_19960909"

Files = dict[str, bytes]


@pytest.fixture(scope="session")
def lgg_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A synthetic set as Kaggle lays it out, by places."""
    folder = tmp_path_factory.mktemp("few")
    write_phantom(folder, patients=2, slices=3, seed=5)
    return files_in(folder)


@pytest.fixture(scope="session")
def lgg_zip(lgg_files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It, packed as Kaggle packs it: twice."""
    nested = {f"lgg-mri-segmentation/{place}": content for place, content in lgg_files.items()}
    return packed(tmp_path_factory.mktemp("kaggle") / "archive.zip", nested | lgg_files)


@pytest.fixture(scope="session")
def figshare_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """20 slices and their folds."""
    folder = write_set(tmp_path_factory.mktemp("mat"))
    write_folds(folder / "cvind.mat", [(number - 1) // 2 // 4 % 3 + 1 for number in range(1, 21)])
    return files_in(folder)


@pytest.fixture(scope="session")
def figshare_parts(figshare_files: Files) -> Files:
    """They, as figshare publishes them."""
    slices = {name: content for name, content in figshare_files.items() if name != "cvind.mat"}
    first = {name: content for name, content in slices.items() if int(name.removesuffix(".mat")) <= 10}
    return {
        "brainTumorDataPublic_1-10.zip": zipped(first),
        "brainTumorDataPublic_11-20.zip": zipped({name: slices[name] for name in slices.keys() - first.keys()}),
        "cvind.mat": figshare_files["cvind.mat"],
        "README.txt": b"Read me",
    }


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultyServer]:
    """A server, and nobody's Kaggle account."""
    monkeypatch.setenv("no_proxy", "*")
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "no-kaggle"))
    with faulty_server() as running:
        yield running


@pytest.fixture
def kaggle(server: FaultyServer, lgg_zip: Path) -> FaultyServer:
    server.files["/lgg.zip"] = lgg_zip.read_bytes()
    return server


@pytest.fixture
def figshare(server: FaultyServer, figshare_parts: Files) -> FaultyServer:
    entries = []
    for name, content in figshare_parts.items():
        server.files[f"/files/{name}"] = content
        entries.append(
            {
                "name": name,
                "size": len(content),
                "computed_md5": hashlib.md5(content).hexdigest(),
                "download_url": server.address(f"/files/{name}"),
            }
        )
    server.files["/v2/articles/1"] = json.dumps({"files": entries}).encode()
    return server


def files_in(folder: Path) -> Files:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "fetched.json"
    }


def packed(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, content in files.items():
            archive.writestr(place, content)
    return path


def zipped(files: Files) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, content in files.items():
            archive.writestr(place, content)
    return stream.getvalue()


def command(*arguments: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    """The installed command, in a hurry."""
    words = [str(COMMAND), "data", "fetch", *map(str, arguments), "--timeout", "2", "--attempts", "3"]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, **more)  # type: ignore[call-overload, no-any-return]


def is_whole_or_one_line(done: subprocess.CompletedProcess[str], folder: Path, expected: Files) -> bool:
    """Whether the run ended well; asserts that it ended well with a whole set or else with one line and no folder."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("tumorseg: error:")]
    assert "Traceback" not in done.stderr
    if done.returncode == 0:
        assert files_in(folder) == expected and not errors
        assert not any(path.name.endswith(".partial") for path in folder.parent.iterdir())
    else:
        assert done.returncode == 2, done.stderr
        assert len(errors) == 1 and done.stderr.splitlines()[-1] == errors[0]
        assert not folder.exists()
    return done.returncode == 0


# --- every fault, through the installed command ---


@pytest.mark.parametrize(
    ("manners", "ends_well"),
    [
        ([], True),
        (["stall"], True),
        (["break", "break", "no-range"], True),
        (["corrupt"], True),
        (["429 1", "500"], True),
        (["changed"], True),
        (["break"] * 99, False),
        (["corrupt"] * 99, False),
        (["404"] * 99, False),
    ],
    ids=lambda value: ",".join(value[:3]) or "well" if isinstance(value, list) else "",
)
def test_each_fault_of_kaggle_ends_in_a_whole_set_or_one_line(
    manners: list[str], ends_well: bool, kaggle: FaultyServer, lgg_files: Files, tmp_path: Path
) -> None:
    kaggle.manners["/lgg.zip"] = list(manners)
    folder = tmp_path / "lgg"
    done = command("lgg", folder, "--from", kaggle.address("/lgg.zip"))
    assert is_whole_or_one_line(done, folder, lgg_files) == ends_well
    assert "CC BY-NC-SA 4.0" in done.stderr.splitlines()[0]
    if ends_well:
        assert done.stdout == f"{folder}\n"
        assert f"next: tumorseg data check {folder}" in done.stderr
    else:
        assert "https://www.kaggle.com/datasets/mateuszbuda/lgg-mri-segmentation" in done.stderr
        assert f"tumorseg data fetch lgg {folder} --from FILE" in done.stderr


@pytest.mark.parametrize(
    ("manner", "times", "ends_well"), [("corrupt", 1, True), ("corrupt", 99, False), ("break", 99, False)]
)
def test_each_fault_of_figshare_ends_in_a_whole_set_or_one_line(
    manner: str, times: int, ends_well: bool, figshare: FaultyServer, figshare_files: Files, tmp_path: Path
) -> None:
    figshare.manners["/files/brainTumorDataPublic_11-20.zip"] = [manner] * times
    folder = tmp_path / "figshare"
    done = command("figshare", folder, "--from", figshare.address("/v2/articles/1"))
    assert is_whole_or_one_line(done, folder, figshare_files) == ends_well
    assert "CC BY 4.0" in done.stderr.splitlines()[0]
    assert not figshare.requests_for("/files/README.txt")
    if not ends_well:
        assert "https://figshare.com/articles/dataset/brain_tumor_dataset/1512427" in done.stderr


def test_a_killed_download_is_gone_on_with(kaggle: FaultyServer, lgg_files: Files, tmp_path: Path) -> None:
    folder, partial = tmp_path / "lgg", tmp_path / ".lgg.partial/files/lgg-mri-segmentation.zip.partial"
    kaggle.manners["/lgg.zip"] = ["stall"]
    half = len(kaggle.files["/lgg.zip"]) // 2
    words = [str(COMMAND), "data", "fetch", "lgg", str(folder), "--from", kaggle.address("/lgg.zip")]
    running = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        until(lambda: partial.exists() and partial.stat().st_size == half)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert not folder.exists()
    done = command("lgg", folder, "--from", kaggle.address("/lgg.zip"))
    assert is_whole_or_one_line(done, folder, lgg_files)
    assert "going on after" in done.stderr
    assert kaggle.requests_for("/lgg.zip")[-1]["Range"] == f"bytes={half}-"


def test_a_full_disk_leaves_no_folder_and_another_run_ends_well(
    kaggle: FaultyServer, lgg_files: Files, tmp_path: Path
) -> None:
    folder = tmp_path / "lgg"
    most = len(kaggle.files["/lgg.zip"]) // 2

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    done = command("lgg", folder, "--from", kaggle.address("/lgg.zip"), preexec_fn=little_room)
    assert not is_whole_or_one_line(done, folder, lgg_files)
    assert "free some space" in done.stderr
    assert is_whole_or_one_line(command("lgg", folder, "--from", kaggle.address("/lgg.zip")), folder, lgg_files)


def test_an_interrupted_download_is_kept_and_said(kaggle: FaultyServer, tmp_path: Path) -> None:
    kaggle.manners["/lgg.zip"] = ["stall"]
    partial = tmp_path / ".lgg.partial/files/lgg-mri-segmentation.zip.partial"
    words = [str(COMMAND), "data", "fetch", "lgg", str(tmp_path / "lgg"), "--from", kaggle.address("/lgg.zip")]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    until(lambda: partial.exists() and partial.stat().st_size > 0)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130 and "run the same again to go on" in said
    assert partial.exists() and not (tmp_path / "lgg").exists()


def until(true: Callable[[], bool]) -> None:
    for _ in range(1200):
        if true():
            return
        time.sleep(0.05)
    pytest.fail("it never came to that")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["brats", "new"], "choose from lgg, figshare"),
        (["lgg", "new", "--from", "missing.zip"], "missing.zip does not exist"),
        (["lgg", "new", "--from", "ftp://host/lgg.zip"], "no address of the web"),
        (["lgg", "new", "--from", "http://me:secret@host/lgg.zip"], "user name"),
        (["lgg", "new", "--from", "text.zip"], "is not a ZIP"),
        (["figshare", "new", "--from", "empty"], "no slices named"),
        (["lgg", "new", "--from", "empty"], "holds 0 ZIP files"),
        (["lgg", "text.zip"], "text.zip is a file"),
        (["lgg", "text.zip/new"], "cannot write"),
        (["lgg", "."], "not the whole lgg set"),
        (["lgg", "new", "--timeout", "0"], "--timeout 0.0 is out of range"),
        (["lgg", "new", "--attempts", "0"], "--attempts 0 is out of range"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_on_the_command_line_is_one_line(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.zip").write_text("no archive")
    (tmp_path / "empty").mkdir()
    assert run(["data", "fetch", *words]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("tumorseg: error:") and says in last and "secret" not in last
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "text.zip"]


# --- archives ---


def test_an_archive_downloaded_by_hand_needs_no_network(lgg_zip: Path, lgg_files: Files, tmp_path: Path) -> None:
    assert files_in(fetch_data("lgg", tmp_path / "lgg", source=lgg_zip)) == lgg_files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lgg"]
    assert lgg_zip.is_file()


@pytest.mark.parametrize("layout", ["folder", "one archive"])
def test_figshare_files_downloaded_by_hand_need_no_network(
    layout: str, figshare_parts: Files, figshare_files: Files, tmp_path: Path
) -> None:
    if layout == "folder":
        source = tmp_path / "downloads"
        source.mkdir()
        for name, content in figshare_parts.items():
            (source / name).write_bytes(content)
    else:
        source = packed(tmp_path / "1512427.zip", figshare_parts)
    folder = fetch_data("figshare", tmp_path / "figshare", source=source)
    assert files_in(folder) == figshare_files
    assert len(read_figshare(folder).scans) == 20


@pytest.mark.parametrize("lacks", ["brainTumorDataPublic_11-20.zip", "cvind.mat"])
def test_a_part_of_the_figshare_set_is_not_taken_for_the_whole(
    lacks: str, figshare_parts: Files, tmp_path: Path
) -> None:
    source = packed(tmp_path / "part.zip", {name: file for name, file in figshare_parts.items() if name != lacks})
    with pytest.raises(DataError, match="missing"):
        fetch_data("figshare", tmp_path / "figshare", source=source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part.zip"]


def outward(archive: zipfile.ZipFile) -> None:
    archive.writestr("../outside.tif", b"x")


def link(archive: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("kaggle_3m/TCGA_XX_0001/TCGA_XX_0001_1.tif")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(member, "/etc/hostname")


def bomb(archive: zipfile.ZipFile) -> None:
    for number in range(1, 4):
        archive.writestr(f"kaggle_3m/TCGA_XX_0001/TCGA_XX_0001_{number}.tif", bytes(40 * 2**20))


@pytest.mark.parametrize(
    ("evil", "says"), [(outward, "points out of it"), (link, "is a link"), (bomb, "which no scans do")]
)
def test_an_evil_archive_writes_nothing(
    evil: Callable[[zipfile.ZipFile], None], says: str, lgg_files: Files, tmp_path: Path
) -> None:
    path = tmp_path / "in" / "archive.zip"
    path.parent.mkdir()
    if evil is not bomb:
        packed(path, lgg_files)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        evil(archive)
    with pytest.raises(UnsafeArchive, match=says):
        fetch_data("lgg", tmp_path / "out" / "lgg", source=path)
    assert not any((tmp_path / "out").iterdir())


def test_only_what_belongs_to_the_set_is_unpacked(lgg_files: Files, tmp_path: Path) -> None:
    more = {
        "kaggle_3m/run.sh": b"rm",
        "setup.py": b"x",
        "__MACOSX/kaggle_3m/._data.csv": b"x",
        "kaggle_3m/a/b_1.tif": b"",
    }
    source = packed(tmp_path / "a.zip", lgg_files | more)
    assert files_in(fetch_data("lgg", tmp_path / "lgg", source=source)) == lgg_files


def test_a_patient_that_is_not_as_published_is_named(lgg_files: Files, tmp_path: Path) -> None:
    first = min(lgg_files).split("/")[1]
    renamed = {place.replace(first, KNOWN): content for place, content in lgg_files.items()}
    with pytest.raises(DataError, match=f"{KNOWN}: not the pixels that were published"):
        fetch_data("lgg", tmp_path / "lgg", source=packed(tmp_path / "a.zip", renamed))
    assert not (tmp_path / "lgg").exists()


def test_an_image_without_its_mask_is_no_whole_set(lgg_files: Files, tmp_path: Path) -> None:
    lost = next(place for place in lgg_files if place.endswith("_mask.tif"))
    source = packed(tmp_path / "a.zip", {place: file for place, file in lgg_files.items() if place != lost})
    with pytest.raises(DataError, match="has no mask beside it") as raised:
        fetch_data("lgg", tmp_path / "lgg", source=source)
    assert ".partial" not in str(raised.value) and not (tmp_path / "lgg").exists()


# --- the published address ---


def published_at(monkeypatch: pytest.MonkeyPatch, name: str, address: str) -> None:
    monkeypatch.setitem(SETS, name, replace(SETS[name], address=address))


def know(monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str) -> None:
    """Take the patients in a folder, and `more`, for those whose published pixels are known."""
    digests = {name: examine(name, slices).digest or "" for name, slices in list_lgg(folder).patients.items()}
    monkeypatch.setattr(fetch_lgg, "published_lgg", lambda: digests | dict.fromkeys(more, "0"))


def test_what_was_verified_is_said_and_recorded(
    kaggle: FaultyServer,
    lgg_zip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    know(monkeypatch, fetch_data("lgg", tmp_path / "by-hand", source=lgg_zip))
    published_at(monkeypatch, "lgg", kaggle.address("/lgg.zip"))
    caplog.set_level(logging.INFO, "tumorseg")
    folder = fetch_data("lgg", tmp_path / "lgg", patience=HASTE)
    says = "2 patients, 6 slices; 2 of the 2 patients whose pixels are known are there, as published"
    assert says in caplog.text
    record = json.loads((folder / "fetched.json").read_text())
    assert record["holds"] == says and "CC BY-NC-SA 4.0" in record["licence"]
    assert record["source"] == kaggle.address("/lgg.zip")


def test_a_published_archive_that_lacks_a_patient_is_refused_and_a_mirror_warned_of(
    kaggle: FaultyServer,
    lgg_zip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    know(monkeypatch, fetch_data("lgg", tmp_path / "by-hand", source=lgg_zip), KNOWN)
    published_at(monkeypatch, "lgg", kaggle.address("/lgg.zip"))
    with pytest.raises(DataError, match=f"1 published patients are missing \\({KNOWN}\\)"):
        fetch_data("lgg", tmp_path / "lgg", patience=HASTE)
    assert not (tmp_path / "lgg").exists()
    fetch_data("lgg", tmp_path / "mirror", source=kaggle.address("/lgg.zip"), patience=HASTE)
    assert f"1 published patients are missing ({KNOWN})" in caplog.text


def test_a_kaggle_account_is_shown_to_kaggle_alone_and_never_said(
    kaggle: FaultyServer,
    lgg_zip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    know(monkeypatch, fetch_data("lgg", tmp_path / "by-hand", source=lgg_zip))
    monkeypatch.setenv("KAGGLE_API_TOKEN", "top-secret")
    with faulty_server() as storage:
        storage.files["/lgg.zip"] = kaggle.files["/lgg.zip"]
        kaggle.manners["/download"] = [f"to {storage.address('/lgg.zip')}"] * 9
        kaggle.files["/download"] = b""
        published_at(monkeypatch, "lgg", kaggle.address("/download"))
        fetch_data("lgg", tmp_path / "lgg", patience=HASTE)
        assert {headers.get("Authorization") for _, headers in kaggle.asked} == {"Bearer top-secret"}
        assert storage.asked and not any("Authorization" in headers for _, headers in storage.asked)
        fetch_data("lgg", tmp_path / "mirror", source=storage.address("/lgg.zip"), patience=HASTE)
        assert not any("Authorization" in headers for _, headers in storage.asked)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"top-secret" not in written and "top-secret" not in caplog.text


@pytest.mark.parametrize(
    ("variables", "file", "header"),
    [
        ({}, "", ""),
        ({"KAGGLE_API_TOKEN": "abc\n"}, "", "Bearer abc"),
        ({"KAGGLE_USERNAME": "me", "KAGGLE_KEY": "k"}, '{"username": "you", "key": "k"}', "Basic bWU6aw=="),
        ({"KAGGLE_USERNAME": "me"}, '{"username": "you", "key": "k"}', "Basic eW91Oms="),
    ],
)
def test_a_kaggle_account_is_found_where_kaggle_keeps_it(
    variables: dict[str, str],
    file: str,
    header: str,
    server: FaultyServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if file:
        (tmp_path / "no-kaggle").mkdir()
        (tmp_path / "no-kaggle" / "kaggle.json").write_text(file)
    assert fetch_lgg.kaggle_authorization() == header


def test_a_refused_account_is_said_with_what_to_do(
    kaggle: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.manners["/gone"] = ["403"] * 9
    published_at(monkeypatch, "lgg", kaggle.address("/gone"))
    with pytest.raises(DownloadError, match=r"answers 403; set KAGGLE_API_TOKEN .* or open https://www\.kaggle"):
        fetch_data("lgg", tmp_path / "lgg", patience=HASTE)
    assert not any(path for path in tmp_path.iterdir() if path.name != "no-kaggle")


# --- what lies there already ---


def test_a_set_that_is_there_is_not_fetched_again(kaggle: FaultyServer, tmp_path: Path) -> None:
    address = kaggle.address("/lgg.zip")
    folder = fetch_data("lgg", tmp_path / "lgg", source=address, patience=HASTE)
    kaggle.asked.clear()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert fetch_data("lgg", folder, source=address, patience=HASTE) == folder
    assert not kaggle.asked and before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("how", ["deleted", "shortened", "altered"])
def test_a_set_that_is_no_longer_whole_is_not_called_so(how: str, lgg_zip: Path, tmp_path: Path) -> None:
    folder = fetch_data("lgg", tmp_path / "lgg", source=lgg_zip)
    victim = next(folder.rglob("*_1.tif"))
    content = victim.read_bytes()
    if how == "deleted":
        victim.unlink()
    else:
        victim.write_bytes(content[:-1] if how == "shortened" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(OutputError, match=f"{victim.name} is missing or has changed"):
        fetch_data("lgg", folder, source=lgg_zip)


def test_a_set_that_was_unpacked_by_hand_is_recognised_whole_or_not(figshare_files: Files, tmp_path: Path) -> None:
    for place, content in figshare_files.items():
        (tmp_path / place).write_bytes(content)
    assert fetch_data("figshare", tmp_path) == tmp_path
    (tmp_path / "7.mat").unlink()
    with pytest.raises(OutputError, match=r"not the whole figshare set \(1 of 20 slices are missing \(7\.mat\)\)"):
        fetch_data("figshare", tmp_path)
    with pytest.raises(OutputError, match="not the whole lgg set"):
        fetch_data("lgg", tmp_path)


def test_a_folder_with_another_set_is_left_alone(lgg_zip: Path, tmp_path: Path) -> None:
    folder = fetch_data("lgg", tmp_path / "set", source=lgg_zip)
    with pytest.raises(OutputError, match="holds the data set lgg"):
        fetch_data("figshare", folder)


def test_an_empty_folder_is_filled(lgg_zip: Path, lgg_files: Files, tmp_path: Path) -> None:
    (tmp_path / "lgg").mkdir()
    assert files_in(fetch_data("lgg", tmp_path / "lgg", source=lgg_zip)) == lgg_files


def test_the_folder_one_works_in_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="in use and cannot be replaced; name a new folder"):
        fetch_data("lgg", ".")


def test_one_folder_is_fetched_by_one_process_at_a_time(lgg_zip: Path, tmp_path: Path) -> None:
    with workshop(tmp_path / "lgg"), pytest.raises(OutputError, match="is being fetched already"):
        fetch_data("lgg", tmp_path / "lgg", source=lgg_zip)


def test_a_disk_that_is_too_small_is_said_before_the_download(
    kaggle: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(fetch_place.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(OutputError, match="0 MiB left and at least"):
        fetch_data("lgg", tmp_path / "lgg", source=kaggle.address("/lgg.zip"), patience=HASTE)
    assert [headers["Range"] for headers in kaggle.requests_for("/lgg.zip")] == ["bytes=0-0"]
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"<not json", b"[]", b'{"files": 3}', b'{"files": [{"name": "../x.zip"}]}'])
def test_a_list_of_files_that_is_none_is_an_error(content: bytes, server: FaultyServer, tmp_path: Path) -> None:
    server.files["/list"] = content
    with pytest.raises(DownloadError, match="list"):
        fetch_data("figshare", tmp_path / "figshare", source=server.address("/list"), patience=HASTE)
    assert not any(tmp_path.iterdir())


def test_real_patients_are_recognised_by_their_pixels(
    lgg_real: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tumorseg")
    some = sorted(path for path in lgg_real.iterdir() if path.is_dir())[:2]
    files = {f"kaggle_3m/{file.parent.name}/{file.name}": file.read_bytes() for home in some for file in home.iterdir()}
    fetch_data("lgg", tmp_path / "lgg", source=packed(tmp_path / "a.zip", files))
    assert "; 2 of the 88 patients whose pixels are known are there, as published" in caplog.text
