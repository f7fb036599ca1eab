"""Recipes as files: found by name or path, merged over their base, changed from the command line, written out."""

import difflib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tumorseg.errors import RecipeError
from tumorseg.recipe import Part, Recipe


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that ship, sorted, `default` first."""
    names = sorted(
        entry.name.removesuffix(".yaml")
        for entry in resources.files("tumorseg.recipes").iterdir()
        if entry.name.endswith(".yaml")
    )
    return tuple(sorted(names, key=lambda name: (name != "default", name)))


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or from a YAML file, with `key=value` overrides on top.

    Args:
        source: a name from `recipe_names()` or the path of a YAML file.
        overrides: such as "epochs=3" or "network.encoder=resnet34"; values are read as YAML.

    Raises:
        RecipeError: unknown recipe, key or value; names the key and the nearest valid one.
    """
    values = _resolve(str(source), seen=())
    for override in overrides:
        _apply(values, override)
    return _validate(values, where=str(source))


def changed(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """A recipe with `key=value` overrides on top.

    Raises:
        RecipeError: unknown key or value; names the key and the nearest valid one.
    """
    values = recipe.model_dump(mode="json")
    for override in overrides:
        _apply(values, override)
    return _validate(values, where=recipe.name)


def dump_recipe(recipe: Recipe) -> str:
    """The whole recipe as YAML, every field written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _resolve(source: str, seen: tuple[str, ...]) -> dict[str, Any]:
    """The values of a recipe merged over those of the one recipe that it varies."""
    if source in seen:
        raise RecipeError(f"recipe {source}: 'base' leads back to itself", next_step="remove one 'base:' line")
    name, text = _read(source)
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise RecipeError(f"recipe {source}{line}: not valid YAML", next_step="mend its syntax") from error
    if not isinstance(values, dict):
        raise RecipeError(f"recipe {source}: not a mapping of keys to values", next_step="write 'key: value' lines")
    values = {"name": name, **values}
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise RecipeError(f"recipe {source}: key 'base' must name one recipe", next_step="write base: default")
    beside = Path(source).parent / base
    parent = str(beside) if source.endswith((".yaml", ".yml")) and beside.is_file() else base
    return _merge(_resolve(parent, (*seen, source)), values)


def _read(source: str) -> tuple[str, str]:
    """Name and text of a recipe that ships or of a file."""
    if source in recipe_names():
        return source, (resources.files("tumorseg.recipes") / f"{source}.yaml").read_text(encoding="utf-8")
    path = Path(source)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        try:
            return path.stem, path.read_text(encoding="utf-8")
        except OSError as error:
            raise RecipeError(f"recipe file {path}: {error.strerror}", next_step="give the path of a file") from error
        except UnicodeDecodeError as error:
            raise RecipeError(f"recipe file {path}: not text", next_step="give a YAML file") from error
    raise RecipeError(f"no recipe is called '{source}'", next_step=_nearest(source, recipe_names()))


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one `key.subkey=value` in place."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override}: not of the form key=value", next_step="write e.g. --set epochs=20")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: the value is not valid YAML", next_step="quote it") from error
    if isinstance(value, str):
        value = _number(value)
    *parents, last = key.split(".")
    node = values
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise RecipeError(f"recipe key '{key}': '{parent}' has no keys", next_step=f"write --set {parent}=…")
        node = child
    if isinstance(value, dict) and isinstance(node.get(last), dict):
        value = _merge(node[last], value)
    node[last] = value


def _number(text: str) -> str | float:
    """YAML 1.1 reads 1e-3 as text; people mean the number."""
    try:
        return float(text)
    except ValueError:
        return text


def _validate(values: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if str(part) not in ("float", "literal['validation']"))
        if first["type"] == "extra_forbidden":
            raise RecipeError(f"recipe {where}: unknown key '{key}'", next_step=_nearest(key, all_keys())) from error
        about = f"key '{key}': " if key else ""
        got = "" if first["type"] == "value_error" else f" (got {_shown(first.get('input'))})"
        message = first["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        raise RecipeError(f"recipe {where}: {about}{message}{got}", next_step="change that value") from error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(given: str, valid: Sequence[str]) -> str:
    close = difflib.get_close_matches(given, valid, n=1, cutoff=0.5)
    by_leaf = [key for key in valid if key.rsplit(".", 1)[-1] == given.rsplit(".", 1)[-1]]
    if found := (by_leaf or close):
        return f"did you mean '{found[0]}'?"
    return "valid are: " + ", ".join(key for key in valid if "." not in key)


@cache
def all_keys() -> tuple[str, ...]:
    """Every key of a recipe in dotted form, such as network.encoder."""
    keys: list[str] = []
    for name, info in Recipe.model_fields.items():
        keys.append(name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, Part):
            keys += [f"{name}.{inner}" for inner in info.annotation.model_fields]
    return tuple(keys)
