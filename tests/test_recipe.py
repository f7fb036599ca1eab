"""A recipe says every choice, and a wrong one says what is valid."""

from pathlib import Path

import pytest

from tumorseg.errors import RecipeError
from tumorseg.recipe import all_keys, dump_recipe, load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_ships_is_valid_and_says_what_it_is(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name and recipe.description


@pytest.mark.parametrize("name", recipe_names())
def test_a_resolved_recipe_reads_back_as_itself(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_the_keys_that_everyone_may_count_on_are_there() -> None:
    promised = "epochs batch_size image_size seed network.name network.encoder network.weights loss optimizer.name"
    assert {*promised.split(), "optimizer.lr", "normalization", "stages"} <= set(all_keys())


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("epochs=3", "epochs", 3),
        ("optimizer.lr=1e-3", "optimizer.lr", 0.001),
        ("network.encoder=resnet34", "network.encoder", "resnet34"),
        ("ema=null", "ema", None),
        ("augmentation.scale=[0.9, 1.1]", "augmentation.scale", (0.9, 1.1)),
        ("postprocessing.threshold=0.4", "postprocessing.threshold", 0.4),
    ],
)
def test_a_key_is_set_from_the_command_line(override: str, key: str, value: object) -> None:
    node: object = load_recipe("default", [override])
    for part in key.split("."):
        node = getattr(node, part)
    assert node == value


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("epoch=3", "'epochs'"),
        ("lr=3", "'optimizer.lr'"),
        ("network.enc=resnet34", "'network.encoder'"),
        ("epochs=many", "'epochs'"),
        ("epochs=-1", "'epochs'"),
        ("optimizer.lr=nan", "optimizer.lr"),
        ("normalization=zscore", "normalization"),
        ("patch_size=512", "patch_size 512 exceeds image_size 256"),
        ("epochs", "key=value"),
        ("epochs.more=1", "'epochs' has no keys"),
        ("augmentation.drop_both=0.95", "exceed 1"),
        ("augmentation.scale=3", "augmentation.scale"),
    ],
)
def test_a_wrong_key_or_value_is_named_in_one_line(override: str, says: str) -> None:
    with pytest.raises(RecipeError) as raised:
        load_recipe("default", [override])
    assert says in str(raised.value) and "\n" not in str(raised.value)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'default'"):
        load_recipe("defautl")


def test_a_file_varies_one_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: default\nepochs: 7\nnetwork: {encoder: resnet18, weights: none}\n")
    mine, default = load_recipe(tmp_path / "mine.yaml"), load_recipe("default")
    assert (mine.name, mine.epochs, mine.network.encoder) == ("mine", 7, "resnet18")
    assert mine.network.decoder_channels == default.network.decoder_channels
    assert mine.augmentation == default.augmentation


@pytest.mark.parametrize(
    ("text", "says"),
    [("base: mine.yaml\n", "itself"), ("- a\n", "mapping"), ("a: [", "YAML"), ("base: nothing\n", "nothing")],
)
def test_a_damaged_recipe_file_is_named(tmp_path: Path, text: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(text)
    with pytest.raises(RecipeError, match=says):
        load_recipe("mine.yaml")


def test_stages_add_up() -> None:
    recipe = load_recipe("default", ["stages=[{epochs: 5, freeze: [encoder], lr: 1.0e-4}, {epochs: 15}]"])
    assert recipe.total_epochs == 20 and recipe.schedule[0].freeze == ("encoder",)
    assert load_recipe("default", ["epochs=9"]).total_epochs == 9
