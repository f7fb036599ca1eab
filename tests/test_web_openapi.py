"""What the server says of itself is true: every answer is described, and every description answers."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import jsonschema
import pytest

from tiny_model import write_model
from web_server import Serving, is_problem, send, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("web")
    with serving(folder / "server", write_model(folder / "model")) as found:
        yield found


@pytest.fixture
def person(server: Serving) -> Iterator[httpx2.Client]:
    with server.person() as client:
        yield client


@pytest.fixture
def described(person: httpx2.Client) -> dict:
    return person.get("/openapi.json").json()


def operations(described: dict) -> list[tuple[str, str, dict]]:
    return [
        (method, path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_error_is_described_as_a_problem(described: dict) -> None:
    assert set(described["components"]["schemas"]["Problem"]["required"]) >= {"title", "status", "detail"}
    assert "HTTPValidationError" not in str(described)
    count = 0
    for _, path, operation in operations(described):
        assert "400" in operation["responses"], path
        if path.startswith("/v1"):
            assert "401" in operation["responses"], path
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (path, status)
                count += 1
    assert count > 50


def test_what_changes_something_describes_the_refusal_of_other_sites(described: dict) -> None:
    for method, path, operation in operations(described):
        assert ("403" in operation["responses"]) == (method != "get"), path


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1", 404),
        ("POST", "/healthz", 405),
        ("PATCH", "/v1/segmentations", 405),
        ("GET", "/v1/segmentations/%00", 404),
        ("GET", "/v1/segmentations/" + "x" * 65, 422),
        ("GET", "/v1/segmentations/x/scans/0", 404),
        ("GET", "/docs", 404),
        ("GET", "/redoc", 404),
        ("POST", "/v1/segmentations", 415),
        ("POST", "/v1/examples/synthetic-head?wait=-1", 422),
        ("POST", "/v1/examples/synthetic-head?wait=nan", 422),
    ],
)
def test_every_error_is_a_problem(person: httpx2.Client, method: str, path: str, status: int) -> None:
    is_problem(person.request(method, path), status)


def test_an_address_says_all_that_may_be_done_with_it(person: httpx2.Client) -> None:
    assert person.patch("/v1/segmentations").headers["allow"] == "GET, POST"
    assert person.post("/v1/segmentations/x").headers["allow"] == "DELETE, GET"
    assert person.post("/").headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("scans/0", 422),
        ("scans/2", 404),
        ("scans/x", 422),
        ("scans/1/volume/other", 422),
        ("scans/1/volume/reference", 404),
        ("scans/1/files/other", 422),
        ("scans/1/files/dicom-seg", 409),
        ("scans/1/files/mask?threshold=1.5", 422),
        ("scans/1/files/mask?threshold=nan", 422),
        ("scans/1/files/mask?edited=perhaps", 422),
        ("scans/1/scores", 409),
    ],
)
def test_a_scan_that_is_asked_wrongly_says_what_is_wrong(person: httpx2.Client, path: str, status: int) -> None:
    job = send(person)
    is_problem(person.get(f"/v1/segmentations/{job['id']}/{path}"), status)


def test_answers_are_as_they_are_described(person: httpx2.Client, described: dict) -> None:
    job = send(person)
    asked = {
        "/v1/segmentations": "/v1/segmentations",
        "/v1/segmentations/{id}": f"/v1/segmentations/{job['id']}",
        "/v1/segmentations/{id}/scans/{k}": f"/v1/segmentations/{job['id']}/scans/1",
        "/v1/models": "/v1/models",
        "/v1/examples": "/v1/examples",
        "/v1/limits": "/v1/limits",
        "/healthz": "/healthz",
    }
    for path, address in asked.items():
        answer = person.get(address)
        media = described["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        jsonschema.validate(answer.json(), {**media["schema"], "components": described["components"]})


def test_a_bug_is_a_problem_without_a_trace(
    person: httpx2.Client,
    server: Serving,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    def broken() -> None:
        raise ValueError(f"secret {tmp_path}")

    monkeypatch.setattr(server.server.sessions, "find", lambda cookie: broken())
    body = is_problem(person.get("/v1/segmentations"), 500)
    assert "secret" not in str(body)
    assert "ValueError" in caplog.text and "secret" not in caplog.text
