"""Two people at once: neither ever sees, changes or learns of what is the other's."""

from collections.abc import Iterator

import httpx2
import numpy as np
import pytest

from segmenting import SIZE
from tiny_model import write_model
from web_server import Serving, is_problem, png, send, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("web")
    with serving(folder / "server", write_model(folder / "model"), allow_hosts=("scans.example",)) as found:
        yield found


@pytest.fixture
def owner(server: Serving) -> Iterator[httpx2.Client]:
    with server.person() as client:
        yield client


@pytest.fixture
def other(server: Serving) -> Iterator[httpx2.Client]:
    """Somebody with a session and a scan of their own."""
    with server.person() as client:
        send(client)
        yield client


def routes(server: Serving) -> list[tuple[str, str]]:
    """Method and address of everything below a job, by the server's own description."""
    found = []
    for path, operations in _described(server)["paths"].items():
        if "{id}" in path:
            for method in operations:
                found.append((method.upper(), path))
    return found


def _described(server: Serving) -> dict:
    with server.person() as client:
        return client.get("/openapi.json").json()


def test_no_route_answers_another_session(server: Serving, owner: httpx2.Client, other: httpx2.Client) -> None:
    job = send(owner)
    tried = 0
    for stranger in (other, *_strangers(server)):
        for method, path in routes(server):
            for volume in ("image", "probability") if "{volume}" in path else ("",):
                address = path.format(id=job["id"], k=1, volume=volume, kind="mask")
                body = {"content": np.zeros(SIZE * SIZE, np.uint8).tobytes()} if method == "PUT" else {}
                answer = stranger.request(method, address, **body)
                unknown = stranger.request(method, address.replace(job["id"], "x" * len(job["id"])), **body)
                is_problem(answer, 404)
                assert answer.json() == unknown.json()
                tried += 1
    assert tried >= 3 * 11
    assert owner.get(f"/v1/segmentations/{job['id']}").json()["scans"] == job["scans"]
    listed = [entry["id"] for entry in other.get("/v1/segmentations").json()["jobs"]]
    assert job["id"] not in listed and len(listed) == 1


def _strangers(server: Serving) -> list[httpx2.Client]:
    """Somebody without a cookie, and somebody with one that the server never gave."""
    nobody = httpx2.Client(base_url=server.address)
    forger = httpx2.Client(base_url=server.address, cookies={"tumorseg_session": f"{'A' * 43}.{'0' * 64}"})
    return [nobody, forger]


def test_a_second_tab_of_the_same_person_sees_the_scan(server: Serving, owner: httpx2.Client) -> None:
    job = send(owner)
    with httpx2.Client(base_url=server.address, cookies=dict(owner.cookies)) as tab:
        assert tab.get(f"/v1/segmentations/{job['id']}").json()["scans"] == job["scans"]
        assert [entry["id"] for entry in tab.get("/v1/segmentations").json()["jobs"]] == [job["id"]]


def test_the_cookie_is_for_this_site_and_no_script(owner: httpx2.Client) -> None:
    answer = owner.post("/v1/segmentations", files={"file": ("scan.png", png())})
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert "Secure" not in cookie
    value = owner.cookies["tumorseg_session"].partition(".")[0]
    assert len(value) == 43  # 256 bits


def test_behind_https_the_cookie_is_secure(server: Serving) -> None:
    with server.person(**{"X-Forwarded-Proto": "https"}) as client:
        answer = client.post("/v1/segmentations", files={"file": ("scan.png", png())})
        assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_changes_nothing(owner: httpx2.Client, headers: dict[str, str]) -> None:
    job = send(owner)
    is_problem(owner.delete(f"/v1/segmentations/{job['id']}", headers=headers), 403)
    is_problem(owner.post("/v1/segmentations", files={"file": ("scan.png", png())}, headers=headers), 403)
    assert owner.get(f"/v1/segmentations/{job['id']}").status_code == 200


def test_the_own_page_may_change(server: Serving, owner: httpx2.Client) -> None:
    headers = {"Origin": server.address, "Sec-Fetch-Site": "same-origin"}
    assert owner.post("/v1/segmentations", files={"file": ("s.png", png())}, headers=headers).status_code == 202


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "10.0.0.1", "", "localhost.evil.example"])
def test_a_name_that_was_led_here_is_refused(owner: httpx2.Client, host: str) -> None:
    is_problem(owner.get("/v1/models", headers={"Host": host}), 400)


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1", "[::1]:9", "scans.example"])
def test_its_own_names_are_answered(owner: httpx2.Client, host: str) -> None:
    assert owner.get("/v1/models", headers={"Host": host}).status_code == 200


def test_no_other_site_may_read_an_answer(owner: httpx2.Client) -> None:
    answer = owner.get("/v1/models", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert owner.options("/v1/models", headers={"Origin": "https://evil.example"}).status_code == 405


@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/nothing", "/", "/v1/segmentations/x"])
def test_every_answer_carries_the_headers_that_protect(owner: httpx2.Client, path: str) -> None:
    headers = owner.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "a%00b", "", "."])
def test_the_pages_files_are_all_that_is_served(owner: httpx2.Client, name: str) -> None:
    is_problem(owner.get(f"/static/{name}"), 404)


def test_only_who_knows_the_token_is_served(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("web")
    token = "0123456789abcdef"
    with serving(folder / "server", write_model(folder / "model"), token=token) as server:
        for headers in ({}, {"Authorization": f"Basic {token}"}, {"Authorization": "Bearer 0123456789abcdeg"}):
            with server.person(**headers) as client:
                answer = client.get("/v1/models")
                is_problem(answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"
                is_problem(client.post("/v1/segmentations", files={"file": ("s.png", png())}), 401)
                is_problem(client.get("/v1/nothing"), 401)
                assert client.get("/healthz").status_code == 200
        with server.person(Authorization=f"Bearer {token}") as client:
            send(client)
