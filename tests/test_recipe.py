"""A recipe says every choice, and a wrong one says what is valid."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from tumorseg.errors import RecipeError
from tumorseg.losses import LOSSES, build_loss
from tumorseg.networks import NETWORKS, build_network, refuse_freezing
from tumorseg.recipe import Network
from tumorseg.recipe_file import all_keys, dump_recipe, load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_ships_is_valid_and_says_what_it_is(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name and recipe.description


def by_network() -> dict[tuple[str, int], list[str]]:
    """The recipes that ship, those with the same network together."""
    found: dict[tuple[str, int], list[str]] = {}
    for name in recipe_names():
        recipe = load_recipe(name)
        bare = recipe.network.model_copy(update={"weights": "none"})
        found.setdefault((bare.model_dump_json(), recipe.logits), []).append(name)
    return found


@pytest.mark.parametrize(("network", "names"), by_network().items(), ids=[names[0] for names in by_network().values()])
def test_every_recipe_that_ships_takes_a_step(network: tuple[str, int], names: list[str]) -> None:
    choice, logits = Network.model_validate_json(network[0]), network[1]
    torch.manual_seed(0)
    built = build_network(choice, channels=3, classes=logits)
    images, tumour = torch.rand(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.int64)
    tumour[0, 20:40, 20:40] = 1
    for recipe in map(load_recipe, names):
        for stage in recipe.schedule:
            refuse_freezing(built, stage.freeze)
        built.zero_grad()
        loss = build_loss(recipe.loss, classes=logits)
        loss(built(images), tumour if logits > 1 else tumour[:, None].float()).backward()
        gradients = [parameter.grad for parameter in built.parameters()]
        assert all(gradient is not None and bool(torch.isfinite(gradient).all()) for gradient in gradients)
        assert any(gradient is not None and bool(gradient.any()) for gradient in gradients)


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.endswith("-scratch")])
def test_only_what_starts_from_nothing_is_called_scratch(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.network.weights == "none"
    assert not any(stage.freeze for stage in recipe.schedule)


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.endswith("-scratch")])
def test_a_scratch_variant_differs_in_weights_and_freezing_alone(name: str) -> None:
    pair = {"resnet50-scratch": "resnet50-imagenet"}.get(name, name.removesuffix("-scratch"))
    alone, with_weights = load_recipe(name), load_recipe(pair)
    assert with_weights.network.weights == "imagenet"
    same = {"name": "", "description": "", "network": alone.network, "stages": ()}
    assert alone.model_copy(update=same) == with_weights.model_copy(update=same)
    assert [(stage.epochs, stage.lr) for stage in alone.stages] == [
        (stage.epochs, stage.lr) for stage in with_weights.stages
    ]


FIVE = (
    "resnet50-scratch",
    "resnet50-imagenet",
    "unet-plain",
    "figshare-unet",
    "two-stage-resnet50-raw",
    "two-stage-resnet50-enhanced",
    "two-stage-efficientnet-b0-raw",
    "two-stage-efficientnet-b0-enhanced",
    "unet-classic",
)
"""The five systems, each of their published variants."""


@pytest.mark.parametrize("name", FIVE)
def test_a_system_gets_none_of_our_own_additions(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.ema is None and recipe.test_time_flips == () and recipe.optimizer.clip is None
    assert recipe.sampling.empty_ratio is None and recipe.sampling.subset_statistics == 0
    assert recipe.patch_size is None and recipe.crop == "none" and recipe.scheduler.warmup == 0
    assert recipe.postprocessing.threshold == 0.5 and recipe.split.unit == "patient"
    augmentation = recipe.augmentation
    assert (augmentation.drop_pre, augmentation.drop_post, augmentation.drop_both) == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("resnet50-scratch", "0.400"),
        ("resnet50-imagenet", "0.600"),
        ("two-stage-resnet50-raw", "0.8898"),
        ("two-stage-resnet50-enhanced", "0.8861"),
        ("two-stage-efficientnet-b0-raw", "0.8807"),
        ("two-stage-efficientnet-b0-enhanced", "0.8808"),
        ("unet-classic", "0.9225"),
    ],
)
def test_a_systems_published_figure_stands_in_its_description(name: str, published: str) -> None:
    assert published in load_recipe(name).description


def test_the_variant_that_the_page_shows_works(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
    shown = next(block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "unetplusplus" in block)
    assert len(shown.splitlines()) <= 13
    (tmp_path / "mine.yaml").write_text(shown)
    mine = load_recipe(tmp_path / "mine.yaml")
    assert (mine.network.name, mine.network.encoder, mine.loss) == ("unetplusplus", "resnet34", "tversky")
    assert set(yaml.safe_load(shown)) - {"base"} <= set(all_keys())
    built = build_network(mine.network, channels=3, classes=mine.logits, pretrained=False)
    loss = build_loss(mine.loss, classes=mine.logits)
    assert bool(torch.isfinite(loss(built(torch.rand(1, 3, 64, 64)), torch.ones(1, 1, 64, 64))))


def test_the_page_names_every_recipe_network_and_loss() -> None:
    text = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
    for name in (*recipe_names(), *NETWORKS, *LOSSES):
        assert f"`{name}`" in text, name


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
