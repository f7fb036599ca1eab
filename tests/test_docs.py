"""What the pages tell people to type must work."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from tumorseg.cli.app import app, run
from tumorseg.cli.arguments import expand
from tumorseg.recipe_file import all_keys

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"```(?:sh|bash|console)\n(.*?)```", re.DOTALL)


def commands() -> list[tuple[str, str]]:
    """(page, command line) of every `tumorseg …` in a shell block."""
    found = []
    for page in PAGES:
        for block in FENCE.findall(page.read_text(encoding="utf-8")):
            lines = block.replace("\\\n", " ").splitlines()
            parts = [part.strip().removeprefix("$ ") for line in lines for part in re.split(r"&&|\|", line)]
            found += [(str(page.relative_to(ROOT)), part) for part in parts if part.startswith("tumorseg")]
    return found


def parse(words: list[str]) -> None:
    """Parse a command line down to its verb, without running it; raises what the parser raises."""
    command = get_command(app)
    context = command.make_context("tumorseg", expand(words), resilient_parsing=False)
    while hasattr(command, "resolve_command"):
        _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(command.name, rest, parent=context)


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda value: value)
def test_every_command_on_a_page_parses(page: str, line: str) -> None:
    parse(shlex.split(line, comments=True)[1:])


def test_the_pages_show_commands() -> None:
    assert len(commands()) >= 15


def test_the_phantom_commands_of_the_readme_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cheap = [
        line for page, line in commands() if page == "README.md" and re.match(r"tumorseg (data \w+ phantom|rec)", line)
    ]
    assert len(cheap) == 4
    for line in cheap:
        assert run(expand(shlex.split(line)[1:])) == 0, capsys.readouterr().err


def test_the_readme_has_the_commands_that_set_all_up() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\npip install -c constraints.txt . && tumorseg demo\n" in text
    assert "\npip install -c constraints.txt '.[train]' && tumorseg demo --train\n" in text
    assert "\npip install -c constraints.txt -e '.[dev]' && pytest\n" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_training_page_names_every_recipe_key() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for key in all_keys():
        if key not in ("name", "description") and not key.startswith("augmentation."):
            assert re.search(rf"`{re.escape(key)}[`.]", text) or f"`{key}." in text, key


def test_every_dependency_is_explained() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    required = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    for requirement in required:
        name = re.split(r"[\[<>=!~]", requirement)[0]
        assert name == "tumorseg" or re.search(rf"(\| |, ){re.escape(name)}(,| \|)", text), name


def test_constraints_name_versions_and_no_addresses() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in pins)
    assert {"torch", "numpy", "pytest"} <= {line.split("==")[0] for line in pins}
