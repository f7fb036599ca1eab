"""Studies from and to an archive: the right images, all of them, the mask stored once, and nothing sent elsewhere."""

import itertools
import json
import logging
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tumorseg.remote as remote
from dicom_files import save, write_series
from dicomweb_server import DicomWebServer, dicomweb_server
from segmenting import Answer, expected, marked, segment
from tiny_model import lopsided_kernel, write_model
from tumorseg.address import is_local
from tumorseg.answer import Broken, Patience
from tumorseg.cli.app import run
from tumorseg.cli.arguments import expand
from tumorseg.dicomweb.multipart import boundary_of, write_parts
from tumorseg.errors import ServerError
from tumorseg.formats.dicom_seg import read_segmentation

Command = Callable[..., Answer]


@pytest.fixture
def server() -> Iterator[DicomWebServer]:
    with dicomweb_server() as running:
        yield running


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits; how long they would have."""
    asked: list[float] = []
    monkeypatch.setattr(remote, "ASKED_AGAIN", Patience(timeout=20, attempts=3, first_wait=1, longest_wait=60))
    monkeypatch.setattr(remote.time, "sleep", asked.append)
    return asked


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files lie; whatever a test does, nothing is left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def flair(tmp_path: Path) -> list[Path]:
    """A FLAIR series whose bright box the model finds."""
    return write_series(tmp_path / "flair", marked(), seed="flair")


@pytest.fixture
def command(server: DicomWebServer, model: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The verb as the command line would run it; without --url and --study, of the server and its first study."""

    def call(*words: str | Path, url: str = "", study: str = "", chosen: Path = model) -> Answer:
        capsys.readouterr()
        study = study or next(iter(server.objects))[0]
        given = ["dicomweb", "--url", url or server.url, "--study", study, "--model", chosen, *words]
        code = run(expand([str(word) for word in given]))
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert "bug" not in said.err
        return Answer(code, said.out, said.err)

    return call


def refused(answer: Answer, *words: str) -> None:
    """One line that says what is wrong, and exit code 2."""
    lines = [line for line in answer.err.splitlines() if line.startswith("tumorseg: error:")]
    assert answer.code == 2, answer
    assert len(lines) == 1
    assert answer.out == ""
    for word in words:
        assert word in lines[0]


def stored_mask(server: DicomWebServer, like: list[Path], folder: Path) -> np.ndarray:
    """The mask of the one DICOM-SEG in the archive, on the grid of a series."""
    (dataset,) = server.segmentations()
    path = folder / "back.dcm"
    dataset.save_as(path)
    return read_segmentation(path, like)


def test_the_mask_of_a_study_is_stored_in_it_and_is_that_of_segment(
    server: DicomWebServer,
    command: Command,
    flair: list[Path],
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.add(*flair)
    answer = command()
    assert answer.code == 0, answer.err
    (seg,) = server.segmentations()
    assert seg.StudyInstanceUID == next(iter(server.objects))[0]
    assert seg.SeriesInstanceUID in answer.out
    assert seg.SOPInstanceUID in answer.out
    assert segment(capsys, flair[0].parent, "--model", model, "--output", tmp_path / "masks").code == 0
    here = read_segmentation(tmp_path / "masks" / "flair_mask.dcm", flair)
    np.testing.assert_array_equal(stored_mask(server, flair, tmp_path), here)
    np.testing.assert_array_equal(here > 0, expected())


def test_a_mask_is_not_stored_twice_unless_it_is_asked_for(
    server: DicomWebServer, command: Command, flair: list[Path]
) -> None:
    server.add(*flair)
    first = json.loads(command("--json").out)
    pulled = server.count("retrieve")
    second = json.loads(command("--json").out)
    assert (first["stored"], first["kept"], second["stored"], second["kept"]) == (True, False, False, True)
    assert first["segmentation"] == second["segmentation"]
    assert server.count("retrieve") == pulled
    assert json.loads(command("--json", "--again").out)["stored"]
    assert len(server.segmentations()) == 2


def test_another_model_other_series_or_more_images_are_another_mask(
    server: DicomWebServer, command: Command, flair: list[Path], tmp_path: Path
) -> None:
    server.add(*flair[:3])
    assert command().code == 0
    server.add(*flair)  # the scanner sent its last image later
    assert command().code == 0
    assert len(server.segmentations()) == 2
    other = write_model(tmp_path / "other", kernel=lopsided_kernel())
    assert command(chosen=other).code == 0
    server.add(*write_series(tmp_path / "post", marked(), seed="post", SeriesDescription="T1 post"))
    assert command("--channels", "flair=flair", "post=*post").code == 0
    assert len(server.segmentations()) == 4
    assert command("--channels", "flair=flair", "post=*post").code == 0
    assert len(server.segmentations()) == 4


def test_a_segmentation_that_somebody_else_drew_does_not_count(
    server: DicomWebServer, command: Command, flair: list[Path]
) -> None:
    server.add(*flair)
    assert command().code == 0
    (seg,) = server.segmentations()
    seg.Manufacturer = "somebody"
    buffer = save(seg, flair[0].parent.parent / "theirs.dcm")
    server.add(buffer)
    assert command().code == 0
    assert len(server.segmentations()) == 2


def test_output_holds_the_mask_and_the_summary(
    server: DicomWebServer, command: Command, flair: list[Path], tmp_path: Path
) -> None:
    server.add(*flair)
    assert command("--output", tmp_path / "out", "--no-store").code == 0
    assert server.count("store") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["mask.dcm", "summary.csv", "summary.json"]
    np.testing.assert_array_equal(read_segmentation(tmp_path / "out" / "mask.dcm", flair) > 0, expected())
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["scans"][0]["measurements"]["tumour_voxels"] == int(expected().sum())
    assert str(tempfile.gettempdir()) not in (tmp_path / "out" / "summary.json").read_text()
    asked = len(server.asked)
    refused(command("--output", tmp_path / "out", "--no-store"), "not empty")
    assert len(server.asked) == asked
    refused(command("--no-store"), "--output")


def test_sequences_are_joined_on_the_grid_of_flair(
    server: DicomWebServer, command: Command, flair: list[Path], tmp_path: Path
) -> None:
    post = write_series(tmp_path / "post", marked() * 0 + 7, seed="post", SeriesDescription="T1 POST Gd")
    server.add(*post, *flair)
    answer = command("--json", "--channels", "post=*post*", "flair=FLAIR")
    assert answer.code == 0, answer.err
    assert list(json.loads(answer.out)["sources"]) == ["flair", "post"]
    np.testing.assert_array_equal(stored_mask(server, flair, tmp_path) > 0, expected())
    uid = pydicom.dcmread(flair[0]).SeriesInstanceUID
    answer = command("--json", "--channels", f"flair={uid}")
    assert json.loads(answer.out)["sources"] == {"flair": uid}


def test_of_several_series_one_must_be_named(
    server: DicomWebServer, command: Command, flair: list[Path], tmp_path: Path
) -> None:
    ct = write_series(tmp_path / "ct", marked(), seed="ct", SeriesDescription="Head", Modality="CT")
    server.add(*flair, *ct)
    assert command("--no-store", "--output", tmp_path / "one").code == 0  # the CT is passed over
    server.add(*write_series(tmp_path / "t1", marked(), seed="t1", SeriesDescription="T1 flair like"))
    mr, other = (pydicom.dcmread(paths[0]).SeriesInstanceUID for paths in (flair, ct))
    refused(command(), "2 MR series", "'T1 flair like'", mr, "--channels")
    refused(command("--series", other), "not MR")
    refused(command("--series", "1.2.3.4"), "no series 1.2.3.4")
    refused(command("--channels", "flair=*flair*"), "fits 2 series")
    refused(command("--channels", "flair=T2*"), "fits no MR series", "'T1 flair like'")
    refused(command("--channels", "flair=*head*"), "fits no MR series")
    refused(command("--channels", f"flair={mr}", f"post={mr}"), "another sequence already")
    refused(command("--channels", "adc=*flair*"), "'adc'")
    refused(command("--channels", "flair=a", "Flair=b"), "twice")
    refused(command("--channels", "flair="), "NAME=VALUE")
    refused(command("--channels", "flair=FLAIR", "--series", mr), "exclude each other")
    assert server.count("retrieve") == 1
    assert command("--series", mr).code == 0
    listed = command("--list")
    assert listed.code == 0
    assert all(word in listed.out for word in (mr, other, "CT", "T1 flair like"))
    assert len(json.loads(command("--list", "--json").out)) == 4


def test_a_study_without_mr_is_refused(server: DicomWebServer, command: Command, tmp_path: Path) -> None:
    server.add(*write_series(tmp_path / "ct", marked(), Modality="CT"))
    refused(command(), "no MR series", "CT")


def test_what_is_not_there_is_one_line(
    server: DicomWebServer, command: Command, flair: list[Path], waits: list[float]
) -> None:
    server.add(*flair)
    refused(command(study="1.2.3"), "no study 1.2.3")
    refused(command(study="../../etc"), "no DICOM UID")
    refused(command(url=server.url.replace("/dicom-web", "/elsewhere")), "no study", "--url")
    refused(command(url="ftp://host/x"), "--url")
    refused(command(url="http://alice:secret@host/x"), "user name")
    refused(command(url="http://host/x?y=1"), "?")
    refused(command("--model", "no-such-model"), "no-such-model")
    refused(command("--timeout", "0"), "--timeout")
    assert waits == []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{free.getsockname()[1]}/dicom-web"
    refused(command(url=down), "cannot be reached", "--url")
    assert len(waits) == 2


def test_a_busy_server_is_asked_again_after_the_time_it_names(
    server: DicomWebServer, command: Command, flair: list[Path], waits: list[float]
) -> None:
    server.add(*flair)
    server.manners["find"] = ["503 7"]
    server.manners["retrieve"] = ["429 11", "500"]
    server.manners["store"] = ["503 13"]
    assert command().code == 0
    assert [wait for wait in waits if wait > 2] == [7, 11, 13]
    assert len(server.segmentations()) == 1
    server.manners["find"] = ["503"] * 3
    refused(command(), "503", "3 times")
    server.manners["find"] = ["429 3600"]
    refused(command(), "wait 3600 s")


@pytest.mark.parametrize("manner", ["cut", "break"])
def test_an_answer_that_breaks_off_is_asked_for_again(
    server: DicomWebServer, command: Command, flair: list[Path], manner: str, tmp_path: Path
) -> None:
    server.add(*flair)
    server.manners["retrieve"] = [manner, manner]
    assert command().code == 0
    assert server.count("retrieve") == 3
    np.testing.assert_array_equal(stored_mask(server, flair, tmp_path) > 0, expected())
    server.manners["retrieve"] = [manner] * 3
    refused(command("--again"), "3 times")
    assert len(server.segmentations()) == 1


@pytest.mark.parametrize("manner", ["silent", "stall"])
def test_a_server_that_stalls_is_given_up(
    server: DicomWebServer, command: Command, flair: list[Path], manner: str
) -> None:
    server.add(*flair)
    server.manners["retrieve"] = [manner] * 3
    refused(command("--timeout", "0.5"), server.url.removesuffix("/dicom-web"), "3 times in a row")


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        ("missing", "1 did not"),
        ("foreign", "another study or series"),
        ("junk", "no DICOM"),
        ("empty", "is empty"),
        ("html", "text/html where DICOM was asked for"),
        ("no-boundary", "without a boundary"),
        ("single", "3 did not"),
        ("403", "wants credentials"),
        ("404", "404"),
        ("to https://elsewhere.example/x", "https://elsewhere.example, which is not followed"),
    ],
)
def test_what_is_not_the_whole_series_is_never_segmented(
    server: DicomWebServer, command: Command, flair: list[Path], manner: str, words: str
) -> None:
    server.add(*flair)
    server.manners["retrieve"] = [manner]
    refused(command(), words)
    assert server.count("retrieve") == 1
    assert server.segmentations() == []


@pytest.mark.parametrize("manner", ["preamble", "unquoted", "lone-parts", "406", "400", "to"])
def test_unusual_answers_that_are_whole_are_taken(
    server: DicomWebServer, command: Command, flair: list[Path], manner: str, tmp_path: Path
) -> None:
    server.add(*flair)
    server.manners["retrieve"] = [manner]
    answer = command()
    assert answer.code == 0, answer.err
    np.testing.assert_array_equal(stored_mask(server, flair, tmp_path) > 0, expected())


def test_a_lone_file_without_a_multipart_is_taken(server: DicomWebServer, command: Command, flair: list[Path]) -> None:
    server.add(flair[1])
    server.manners["retrieve"] = ["single"]
    assert command().code == 0
    assert len(server.segmentations()) == 1


def test_a_list_that_comes_in_pages_is_read_to_its_end(
    server: DicomWebServer, command: Command, flair: list[Path]
) -> None:
    server.add(*flair)
    server.page = 3
    assert command().code == 0
    assert command().code == 0
    assert len(server.segmentations()) == 1


def test_no_more_is_taken_than_is_allowed(
    server: DicomWebServer, command: Command, tmp_path: Path, flair: list[Path]
) -> None:
    server.add(*flair)
    refused(command("--max-instances", "3"), "4 instances", "--max-instances")
    assert server.count("retrieve") == 0
    large = write_series(tmp_path / "large", np.zeros((3, 512, 512), np.int16), seed="large")
    server.objects.clear()
    server.add(*large)
    refused(command("--max-mib", "1"), "more than 1 MiB")


@pytest.mark.parametrize("service", ["find", "instances"])
def test_an_answer_that_is_no_json_is_said_so(
    server: DicomWebServer, command: Command, flair: list[Path], service: str
) -> None:
    server.add(*flair)
    server.manners[service] = ["not-json"]
    refused(command(), "text/html where JSON was asked for")


@pytest.mark.parametrize("content", ["[1,null,{}]", "{}", '[{"0020000E":{"Value":"x"}}]', '"text"', "[[]]", "7", ""])
def test_json_of_another_form_is_no_bug(
    server: DicomWebServer, command: Command, flair: list[Path], content: str
) -> None:
    server.add(*flair)
    server.manners["find"] = [f"json {content}"]
    refused(command(), "no study")


@pytest.mark.parametrize(
    ("manner", "words"),
    [("failed", "out of resources"), ("409", "does not store"), ("405", "--no-store"), ("413", "413")],
)
def test_a_mask_that_is_not_taken_is_an_error_and_stays_in_the_output(
    server: DicomWebServer, command: Command, flair: list[Path], manner: str, words: str, tmp_path: Path
) -> None:
    server.add(*flair)
    server.manners["store"] = [manner]
    refused(command("--output", tmp_path / "out"), words)
    assert (tmp_path / "out" / "mask.dcm").is_file()
    assert server.segmentations() == []


def test_credentials_are_sent_and_come_from_files_and_the_environment_alone(
    server: DicomWebServer, command: Command, flair: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(*flair)
    server.authorization = "Bearer s3cret"
    refused(command("--list"), "wants credentials", "--token-file")
    (tmp_path / "token").write_text("s3cret\n")
    assert command("--list", "--token-file", tmp_path / "token").code == 0
    monkeypatch.setenv("TUMORSEG_DICOMWEB_TOKEN", "wrong")
    refused(command("--list"), "refuses these credentials")
    monkeypatch.setenv("TUMORSEG_DICOMWEB_TOKEN", "s3cret")
    assert command("--list").code == 0
    server.authorization = "Basic YWxpY2U6cMOkc3M="  # alice:päss
    refused(command("--list", "--user", "alice"), "TUMORSEG_DICOMWEB_PASSWORD")
    monkeypatch.setenv("TUMORSEG_DICOMWEB_PASSWORD", "päss")
    assert command("--list", "--user", "alice").code == 0
    refused(command("--list", "--user", "al:ice"), "colon")
    refused(command("--list", "--user", "a", "--token-file", tmp_path / "token"), "exclude each other")
    refused(command("--list", "--token-file", tmp_path / "none"), "--token-file")
    (tmp_path / "token").write_text("two words")
    refused(command("--list", "--token-file", tmp_path / "token"), "token")


def test_credentials_never_leave_for_another_place(
    server: DicomWebServer, command: Command, flair: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(*flair)
    monkeypatch.setenv("TUMORSEG_DICOMWEB_TOKEN", "s3cret")
    with dicomweb_server() as other:
        server.manners["find"] = [f"to {other.url}/studies/1.2/series"]
        refused(command(), "not followed", other.url.removesuffix("/dicom-web"))
        server.manners["store"] = [f"to {server.url}/studies/1.2"]
        refused(command(), "where something is sent")
        server.manners["find"] = ["to"] * 6
        refused(command(), "round in circles")
        assert other.asked == []
    assert all(headers["Authorization"] == "Bearer s3cret" for _, headers in server.asked)


def test_credentials_do_not_travel_unprotected(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUMORSEG_DICOMWEB_TOKEN", "s3cret")
    refused(command("--list", url="http://pacs.invalid/x", study="1.2"), "not protected", "--insecure-http")
    refused(command("--list", "--insecure-http", url="http://pacs.invalid/x", study="1.2"), "no server of that name")


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http://localhost:8042/x", True),
        ("http://127.0.0.1", True),
        ("http://[::1]:80/x", True),
        ("http://127.0.0.1.example.org", False),
        ("http://localhost.example.org", False),
        ("http://10.0.0.1", False),
        ("http://0.0.0.0", False),
    ],
)
def test_what_is_this_machine(address: str, local: bool) -> None:
    assert is_local(address) is local


def test_nobody_is_named_in_messages(
    server: DicomWebServer, command: Command, flair: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    server.add(*flair)
    with caplog.at_level(logging.DEBUG):
        answer = command("-v", "--json")
        server.manners["retrieve"] = ["missing"]
        worse = command("-v", "--again")
    said = answer.out + answer.err + worse.err + caplog.text
    assert "Doe" not in said
    assert "P1" not in said


def test_one_that_is_interrupted_leaves_nothing(
    server: DicomWebServer, command: Command, flair: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import tumorseg.dicomweb.study as study

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    server.add(*flair)
    monkeypatch.setattr(study, "_segment", interrupted)
    assert command("--output", tmp_path / "out").code == 130
    assert not (tmp_path / "out").exists()
    assert server.segmentations() == []


@settings(max_examples=60)
@given(
    files=st.lists(st.binary(max_size=60).filter(lambda part: b"--sign" not in part), max_size=4),
    cuts=st.lists(st.integers(0, 400), max_size=12),
    before=st.sampled_from([b"", b"\r\n", b"words\r\n"]),
    after=st.sampled_from([b"", b"\r\n", b"\r\nmore words"]),
)
def test_parts_are_the_same_wherever_the_body_is_cut(
    files: list[bytes], cuts: list[int], before: bytes, after: bytes
) -> None:
    parts = b"".join(b"--sign\r\nContent-Type: a/b\r\n\r\n" + part + b"\r\n" for part in files)
    body = before + parts + b"--sign--" + after
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    chunks = [body[start:end] for start, end in itertools.pairwise(places)]
    with tempfile.TemporaryDirectory() as folder:
        if not files:
            return
        found = [path.read_bytes() for path in write_parts(chunks, b"sign", Path(folder), most=9)]
        assert found == files


@settings(max_examples=60)
@given(cut=st.integers(0, 200))
def test_a_body_that_ends_early_is_never_whole(cut: int) -> None:
    body = b"".join(b"--sign\r\nContent-Type: a/b\r\n\r\n" + part + b"\r\n" for part in (b"x" * 50, b"y" * 50))
    body = (body + b"--sign--")[: min(cut, len(body) + 5)]
    with tempfile.TemporaryDirectory() as folder, pytest.raises(Broken):
        list(write_parts([body], b"sign", Path(folder), most=9))


def test_more_parts_than_allowed_are_refused(tmp_path: Path) -> None:
    body = b"--sign\r\n\r\nx\r\n" * 4 + b"--sign--"
    with pytest.raises(ServerError, match="more than 3 files"):
        list(write_parts([body], b"sign", tmp_path, most=3))
    with pytest.raises(ServerError, match="something else"):
        list(write_parts([b"x" * 2**17], b"sign", tmp_path, most=3))


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', b"abc"),
        ("Multipart/Related; Boundary=\"a b;c\"; type='x'", b"a b;c"),
        ("application/dicom", None),
        ("", None),
    ],
)
def test_the_boundary_is_read_as_mime_has_it(kind: str, boundary: bytes | None) -> None:
    assert boundary_of(kind) == boundary


# Orthanc


ORTHANC = shutil.which("Orthanc")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real archive with a storage of its own; gives its address."""
    if ORTHANC is None or not PLUGIN.is_file():
        pytest.skip("no Orthanc with its DICOMweb plugin (Debian: orthanc, orthanc-dicomweb)")
    folder = tmp_path_factory.mktemp("orthanc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"alice": "wonder"},
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([ORTHANC, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        for _ in range(600):
            if process.poll() is not None:
                pytest.fail(f"Orthanc ended: {(folder / 'log').read_text()[-500:]}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def asked_of(address: str, body: bytes | None = None) -> bytes:
    """An answer of Orthanc's own interface."""
    headers = {"Authorization": "Basic YWxpY2U6d29uZGVy"}
    with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=30) as answer:
        return answer.read()


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5"])
def test_a_round_trip_through_orthanc_gives_the_mask_of_segment(
    syntax: str,
    orthanc: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = f"1.2.3.{syntax[-2:].strip('.')}"
    paths = write_series(tmp_path / "flair", marked().astype(np.uint16), seed=syntax, StudyInstanceUID=study)
    for path in paths:
        dataset = pydicom.dcmread(path)
        if syntax != dataset.file_meta.TransferSyntaxUID:
            dataset.compress(syntax)
            dataset.save_as(path)
        asked_of(f"{orthanc}/instances", path.read_bytes())
    monkeypatch.setenv("TUMORSEG_DICOMWEB_PASSWORD", "wonder")
    words = ["dicomweb", "--url", f"{orthanc}/dicom-web", "--user", "alice", "--study", study, "--model", str(model)]
    assert run(expand([*words, "--json"])) == 0
    said = json.loads(capsys.readouterr().out)
    (found,) = json.loads(asked_of(f"{orthanc}/tools/lookup", said["segmentation"]["instance"].encode()))
    (tmp_path / "back.dcm").write_bytes(asked_of(f"{orthanc}{found['Path']}/file"))
    assert segment(capsys, tmp_path / "flair", "--model", model, "--output", tmp_path / "masks").code == 0
    back = read_segmentation(tmp_path / "back.dcm", paths)
    np.testing.assert_array_equal(back, read_segmentation(tmp_path / "masks" / "flair_mask.dcm", paths))
    np.testing.assert_array_equal(back > 0, expected())
    assert run(expand([*words, "--json"])) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["kept"]
    assert again["segmentation"] == said["segmentation"]
    assert run(expand([*words[:-4], "--study", "1.2.3.99", "--model", str(model)])) == 2
    assert "no study 1.2.3.99" in capsys.readouterr().err
