"""One contract that every network meets."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tumorseg.errors import RecipeError
from tumorseg.networks import NETWORKS, build_network, can_freeze, parameter_count, refuse_freezing
from tumorseg.networks.state_file import read_state
from tumorseg.recipe import Network
from tumorseg.recipe_file import load_recipe
from tumorseg.training.export import write_onnx, write_safetensors

CHANNELS, CLASSES = 3, 4

SMALL = (4, 8, 16, 32, 64)
"""Features that keep a network without an encoder quick, from the finest."""

WHOLE_DECODERS = ("linknet", "fpn", "segformer")
"""Networks whose decoder has no channels to choose."""


def small(name: str, **changes: object) -> Network:
    """The network of this name at its smallest."""
    values: dict[str, object] = {"name": name, "weights": "none"}
    if NETWORKS[name].stages is not None:
        values |= {"encoder": "none", "features": SMALL[: NETWORKS[name].stages]}
    else:
        values |= {"encoder": "resnet18"}
        values |= {} if name in WHOLE_DECODERS else {"decoder_channels": (64, 32, 32, 16, 16)}
    return Network.model_validate(values | changes)


@pytest.fixture(params=sorted(NETWORKS), scope="module")
def built(request: pytest.FixtureRequest) -> nn.Module:
    """Each network once for all tests of the contract."""
    torch.manual_seed(0)
    return build_network(small(request.param, dropout=0.1), channels=CHANNELS, classes=CLASSES)


@pytest.fixture
def network(built: nn.Module) -> nn.Module:
    built.zero_grad(set_to_none=True)
    return built.eval()


@pytest.mark.parametrize("size", [(64, 64), (96, 32), (75, 50)])
def test_logits_have_the_size_of_the_image(network: nn.Module, size: tuple[int, int]) -> None:
    with torch.no_grad():
        assert network(torch.rand(1, CHANNELS, *size)).shape == (1, CLASSES, *size)


@pytest.mark.parametrize("size", [(64, 64), (75, 50)])
def test_a_gradient_of_one_image_reaches_every_weight(network: nn.Module, size: tuple[int, int]) -> None:
    network.train()(torch.rand(1, CHANNELS, *size)).mean().backward()
    missed = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not missed


def test_a_copy_computes_the_same(network: nn.Module) -> None:
    """Averaged weights are kept in a copy."""
    image = torch.rand(1, CHANNELS, 75, 50)
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(network)(image), network(image))


def test_bf16_computes(network: nn.Module) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert bool(torch.isfinite(network(torch.rand(1, CHANNELS, 64, 64)).float()).all())


def test_weights_load_as_they_were_saved(network: nn.Module, tmp_path: Path) -> None:
    write_safetensors(tmp_path / "w.safetensors", network.state_dict())
    saved = read_state(tmp_path / "w.safetensors")
    assert set(saved) == set(network.state_dict())
    network.load_state_dict(saved)


def test_the_exported_graph_agrees_at_any_size(network: nn.Module, tmp_path: Path) -> None:
    import onnxruntime

    write_onnx(tmp_path / "model.onnx", network, channels=CHANNELS, size=64)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    for slices, height, width in ((1, 64, 64), (2, 75, 50)):
        images = torch.rand(slices, CHANNELS, height, width)
        with torch.no_grad():
            expected = network(images).numpy()
        (logits,) = session.run(None, {"image": images.numpy()})
        np.testing.assert_allclose(logits, expected, atol=1e-3)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_network_takes_one_channel_and_gives_one_logit(name: str) -> None:
    network = build_network(small(name), channels=1, classes=1).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 1, 64, 64)).shape == (1, 1, 64, 64)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_only_networks_with_an_encoder_can_freeze_it(name: str) -> None:
    network = build_network(small(name), channels=1, classes=1)
    if NETWORKS[name].stages is None:
        refuse_freezing(network, ["encoder"])
    else:
        assert not can_freeze(network, "encoder")
        with pytest.raises(RecipeError, match="no encoder to freeze"):
            refuse_freezing(network, ["encoder"])


@pytest.mark.parametrize("encoder", ["mit_b0", "vgg16_bn", "inceptionv4", "resnet50", "tu-resnet18"])
def test_encoders_of_every_family_build(encoder: str) -> None:
    network = build_network(Network(encoder=encoder, weights="none"), channels=3, classes=1)
    network.train()(torch.rand(1, 3, 75, 64)).mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("norm", ["none", "batch", "instance"])
@pytest.mark.parametrize("upsampling", ["transposed", "interpolated"])
@pytest.mark.parametrize("name", ["unet-plain", "resunet-plain", "monai-basic-unet"])
def test_norm_and_upsampling_are_as_the_recipe_says(name: str, norm: str, upsampling: str) -> None:
    network = build_network(small(name, norm=norm, upsampling=upsampling), channels=1, classes=1)
    kinds = {type(module) for module in network.modules()}
    assert (nn.BatchNorm2d in kinds, nn.InstanceNorm2d in kinds) == (norm == "batch", norm == "instance")
    assert (nn.ConvTranspose2d in kinds) == (upsampling == "transposed")
    with torch.no_grad():
        assert network(torch.rand(1, 1, 64, 50)).shape == (1, 1, 64, 50)


def test_a_plain_unet_keeps_the_spread_of_values_without_norms() -> None:
    torch.manual_seed(0)
    network = build_network(small("unet-plain", norm="none"), channels=3, classes=1).eval()
    with torch.no_grad():
        assert 0.1 < float(network(torch.randn(2, 3, 64, 64)).std()) < 10


def test_nothing_is_added_where_the_size_fits() -> None:
    network = build_network(small("unet-plain"), channels=1, classes=1).eval()
    image = torch.rand(1, 1, 64, 96)
    with torch.no_grad():
        assert torch.equal(network(image), type(network).__mro__[2].forward(network, image))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["unet", "linknet", "attention-unet", "monai-unet"])
def test_dropout_comes_before_the_head_and_in_training_alone(name: str) -> None:
    network = build_network(small(name, dropout=0.5), channels=1, classes=1)
    assert isinstance(network.get_submodule(NETWORKS[name].head)[0], nn.Dropout2d)  # type: ignore[index]
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.eval()(image), network(image))
        assert not torch.equal(network.train()(image), network(image))


def test_the_names_of_weights_of_released_runs_stand() -> None:
    """A run that was trained before must load for ever."""
    default = build_network(load_recipe("default").network, channels=3, classes=1, pretrained=False).state_dict()
    for name in (
        "encoder.conv_stem.weight",
        "encoder.blocks.6.0.bn3.running_var",
        "decoder.blocks.4.conv2.1.bias",
        "segmentation_head.1.0.weight",
    ):
        assert name in default
    assert {name.partition(".")[0] for name in default} == {"encoder", "decoder", "segmentation_head"}


def test_the_default_network_is_small_and_has_no_dead_weights() -> None:
    built = build_network(load_recipe("default").network, channels=3, classes=1, pretrained=False)
    assert parameter_count(built) <= 8_000_000
    assert "encoder.conv_head.weight" not in built.state_dict()
    built.train()(torch.rand(2, 3, 64, 64)).mean().backward()
    assert all(parameter.grad is not None for parameter in built.parameters())


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Network(name="vnet", weights="none"), "network.name"),
        (Network(encoder="resnet5", weights="none"), "resnet5"),
        (Network(encoder="none", weights="none"), "needs an encoder"),
        (Network(encoder="resnet18", weights="none", features=(8, 16)), "network.features"),
        (Network(encoder="resnet18", weights="none", norm="instance"), "network.norm"),
        (Network(name="fpn", encoder="resnet18", weights="none", decoder_channels=(8, 8, 8)), "decoder_channels"),
        (Network(name="unet-plain", encoder="resnet18", weights="none"), "network.encoder"),
        (Network(name="unet-plain", encoder="none", weights="imagenet"), "network.weights"),
        (Network(name="unet-plain", encoder="none", weights="none", decoder_channels=(8, 8)), "network.features"),
        (Network(name="attention-unet", encoder="none", weights="none", norm="instance"), "network.norm"),
        (Network(name="monai-unet", encoder="none", weights="none", upsampling="interpolated"), "upsampling"),
        (Network(name="monai-basic-unet", encoder="none", weights="none", features=(8, 16)), "five"),
        (Network(name="monai-segresnet", encoder="none", weights="none", features=(8, 12)), "double"),
        (Network(name="monai-dynunet", encoder="none", weights="none", features=(8, 12)), "network"),
        (Network(name="unetplusplus", encoder="mit_b0", weights="none"), "cannot build unetplusplus"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_what_cannot_be_built_is_named_in_one_line(network: Network, says: str) -> None:
    with pytest.raises(RecipeError, match=says) as raised:
        build_network(network, channels=3, classes=1)
    assert "\n" not in str(raised.value)
