"""A download is whole or not there, whatever the server does."""

import base64
import email.utils
import hashlib
import io
import os
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faulty_server import FaultyServer, faulty_server
from tumorseg import download as module
from tumorseg.answer import Patience, RemoteFile, _Redirects
from tumorseg.download import download, partial_of, probe, receive
from tumorseg.errors import DownloadError, OutputError

CONTENT = os.urandom(300_000)
HASTE = Patience(timeout=1, attempts=3, first_wait=0.01, longest_wait=5)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setenv("no_proxy", "*")
    with faulty_server() as running:
        running.files["/f"] = CONTENT
        yield running


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every wait between attempts, none of which is waited for."""
    found: list[float] = []
    monkeypatch.setattr(module.time, "sleep", found.append)
    return found


def bring(server: FaultyServer, folder: Path, patience: Patience = HASTE, **more: object) -> Path:
    download(RemoteFile(server.address("/f"), **more), folder / "f", patience=patience)  # type: ignore[arg-type]
    return folder / "f"


@pytest.mark.parametrize("manner", ["break", "stall", "silent", "drip", "500", "503", "408"])
def test_what_fails_once_is_tried_again_and_comes_whole(manner: str, server: FaultyServer, tmp_path: Path) -> None:
    server.manners["/f"] = [manner]
    assert bring(server, tmp_path).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_download_goes_on_where_it_broke_off(server: FaultyServer, tmp_path: Path) -> None:
    server.manners["/f"] = ["break"]
    bring(server, tmp_path)
    _, second = server.requests_for("/f")
    assert second["Range"] == f"bytes={len(CONTENT) // 2}-" and second["If-Range"] == '"state-0"'


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server: FaultyServer, tmp_path: Path) -> None:
    server.manners["/f"] = ["break"]
    with pytest.raises(DownloadError, match="broke off after 150,000 of 300,000 bytes"):
        bring(server, tmp_path, replace(HASTE, attempts=1))
    assert not (tmp_path / "f").exists() and partial_of(tmp_path / "f").stat().st_size == 150_000
    new = sum(receive(RemoteFile(server.address("/f")), tmp_path / "f", patience=HASTE))
    assert new == 150_000 and (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("heeds", ["whole", "no-if-range", "no-range"])
def test_a_file_that_changes_in_between_is_never_pieced_together(
    heeds: str, server: FaultyServer, tmp_path: Path
) -> None:
    server.replacements["/f"] = os.urandom(len(CONTENT))
    server.manners["/f"] = ["changed", heeds]
    assert bring(server, tmp_path).read_bytes() == server.replacements["/f"]


def test_a_server_that_knows_no_ranges_starts_over(server: FaultyServer, tmp_path: Path) -> None:
    server.manners["/f"] = ["break", "no-range"]
    assert bring(server, tmp_path).read_bytes() == CONTENT


def test_the_part_of_another_address_is_not_gone_on_from(server: FaultyServer, tmp_path: Path) -> None:
    server.files["/other"] = os.urandom(len(CONTENT))
    server.manners["/other"] = ["break"]
    with pytest.raises(DownloadError):
        download(RemoteFile(server.address("/other")), tmp_path / "f", patience=replace(HASTE, attempts=1))
    assert bring(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("status", ["404", "401", "403", "410"])
def test_what_no_attempt_can_change_is_asked_for_once(status: str, server: FaultyServer, tmp_path: Path) -> None:
    server.manners["/f"] = [status]
    with pytest.raises(DownloadError, match=f"the server answers {status}") as raised:
        bring(server, tmp_path)
    assert raised.value.status == int(status) and len(server.asked) == 1
    assert not any(tmp_path.iterdir())


def test_a_login_page_is_not_taken_for_the_file(server: FaultyServer, tmp_path: Path) -> None:
    server.manners["/f"] = ["page"]
    with pytest.raises(DownloadError, match="a web page, perhaps a login"):
        bring(server, tmp_path)
    assert not any(tmp_path.iterdir())


def test_retry_after_is_heeded(server: FaultyServer, tmp_path: Path, waits: list[float]) -> None:
    server.manners["/f"] = ["429 2", "503 1"]
    assert bring(server, tmp_path).read_bytes() == CONTENT
    assert waits == [2.0, 1.0]


def test_retry_after_may_be_a_date(server: FaultyServer, tmp_path: Path, waits: list[float]) -> None:
    server.manners["/f"] = [f"503 {email.utils.format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)}"]
    with pytest.raises(DownloadError, match=r"asks to wait 7[12]\d\d s"):
        bring(server, tmp_path)


def test_nobody_waits_an_hour_for_a_server(server: FaultyServer, tmp_path: Path, waits: list[float]) -> None:
    server.manners["/f"] = ["429 3600"]
    with pytest.raises(DownloadError, match="answers 429 and asks to wait 3600 s"):
        bring(server, tmp_path)
    assert waits == []


def test_waits_grow_up_to_a_bound_and_attempts_end(server: FaultyServer, tmp_path: Path, waits: list[float]) -> None:
    server.manners["/f"] = ["500"] * 20
    with pytest.raises(DownloadError, match="answers 500, 8 times in a row"):
        bring(server, tmp_path, Patience(timeout=0.3, attempts=8, first_wait=1, longest_wait=10))
    assert len(server.asked) == 8
    for wait, most in zip(waits, (1, 2, 4, 8, 10, 10, 10), strict=True):
        assert most / 2 <= wait <= most


def test_a_wrong_md5_is_downloaded_once_more(server: FaultyServer, tmp_path: Path) -> None:
    server.manners["/f"] = ["corrupt"]
    md5 = hashlib.md5(CONTENT).hexdigest()
    assert bring(server, tmp_path, md5=md5).read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize("told_by", ["list", "storage"])
def test_a_file_that_stays_wrong_is_an_error_and_leaves_nothing(
    told_by: str, server: FaultyServer, tmp_path: Path
) -> None:
    server.manners["/f"] = ["corrupt"] * 9
    digest = hashlib.md5(CONTENT)
    if told_by == "storage":
        server.headers["/f"]["x-goog-hash"] = f"crc32c=AAAAAA==,md5={base64.b64encode(digest.digest()).decode()}"
    with pytest.raises(DownloadError, match="MD5 is not the published one, twice"):
        bring(server, tmp_path, md5=digest.hexdigest() if told_by == "list" else "")
    assert not any(tmp_path.iterdir())


def test_a_file_of_another_size_than_promised_is_refused(server: FaultyServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="offers 300,000 bytes where 299,999 were promised"):
        bring(server, tmp_path, size=len(CONTENT) - 1)
    assert not (tmp_path / "f").exists()


def test_an_account_is_shown_to_its_own_host_and_to_no_other(server: FaultyServer, tmp_path: Path) -> None:
    with faulty_server() as other:
        other.files["/f"] = CONTENT
        server.manners["/start"] = [f"to {server.address('/same')}"]
        server.manners["/same"] = [f"to {other.address('/f')}"]
        remote = RemoteFile(server.address("/start"), authorization="Bearer secret")
        download(remote, tmp_path / "f", patience=HASTE)
        assert [headers.get("Authorization") for _, headers in server.asked] == ["Bearer secret", "Bearer secret"]
        assert "Authorization" not in other.asked[0][1]
    assert "secret" not in repr(remote)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/f", "nonsense"])
def test_a_redirect_leads_to_the_web_only(target: str, server: FaultyServer, tmp_path: Path) -> None:
    server.manners["/f"] = [f"to {target}"]
    with pytest.raises(DownloadError):
        bring(server, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_redirect_never_leaves_a_safe_connection_for_an_open_one() -> None:
    request = urllib.request.Request("https://host/f")
    with pytest.raises(DownloadError, match="unprotected"):
        _Redirects().redirect_request(request, io.BytesIO(), 302, "", {}, "http://host/f")


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://host/f", "http://", "http://me:secret@host/f"])
def test_an_address_that_is_none_of_the_web_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as raised:
        download(RemoteFile(address), tmp_path / "f", patience=HASTE)
    assert "secret" not in str(raised.value) and not any(tmp_path.iterdir())


def test_nobody_listening_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="the connection failed") as raised:
        download(RemoteFile("http://127.0.0.1:9/f"), tmp_path / "f", patience=HASTE)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("note", ["", "{", "[]", '{"address": 1}', '{"size": "x"}'])
def test_a_note_that_is_damaged_is_no_reason_to_go_on(note: str, server: FaultyServer, tmp_path: Path) -> None:
    partial_of(tmp_path / "f").write_bytes(b"x" * 100)
    (tmp_path / "f.partial.json").write_text(note)
    assert bring(server, tmp_path).read_bytes() == CONTENT
    assert "Range" not in server.asked[0][1]


def test_the_size_is_known_before_the_download(server: FaultyServer) -> None:
    assert probe(RemoteFile(server.address("/f")), patience=HASTE).size == len(CONTENT)


def test_a_folder_that_cannot_be_written_is_an_error_about_it(server: FaultyServer, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        download(RemoteFile(server.address("/f")), tmp_path / "missing" / "f", patience=HASTE)
