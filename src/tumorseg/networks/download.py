"""ImageNet weights from the Hugging Face hub, at the revision that segmentation_models_pytorch pins."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from tumorseg.answer import Patience, RemoteFile
from tumorseg.download import discard, download
from tumorseg.errors import ModelError, TumorsegError
from tumorseg.files import atomic_write
from tumorseg.networks.state_file import read_state
from tumorseg.networks.whereabouts import weights_place

logger = logging.getLogger(__name__)

HUB = "https://huggingface.co"
"""Where weights are asked for, unless HF_ENDPOINT names a mirror."""

TIMEOUT = 20.0
"""Seconds without an answer, or without more of it, after which a connection is given up."""

ATTEMPTS = 3


@dataclass(frozen=True)
class Source:
    """A file on the hub.

    Attributes:
        repository: such as smp-hub/resnet50.imagenet.
        revision: a commit, or main where nobody pins one.
        file: its name there.
    """

    repository: str
    revision: str
    file: str = "model.safetensors"

    @property
    def address(self) -> str:
        """Where it is fetched from."""
        hub = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
        return f"{hub}/{self.repository}/resolve/{self.revision}/{self.file}"


def source_of(encoder: str) -> Source:
    """The file that holds the ImageNet weights of an encoder.

    Raises:
        ModelError: nobody publishes any.
    """
    from segmentation_models_pytorch.encoders import encoders

    pinned = encoders.get(encoder, {}).get("pretrained_settings", {}).get("imagenet")
    if pinned is not None and "repo_id" in pinned:
        return Source(pinned["repo_id"], pinned["revision"])
    if encoder.startswith(("tu-", "timm-")):
        import timm

        known = timm.models.get_pretrained_cfg(encoder.removeprefix("tu-").removeprefix("timm-"))
        if known is not None and known.hf_hub_id:
            return Source(known.hf_hub_id, "main", known.hf_hub_filename or "model.safetensors")
    raise ModelError(
        f"no ImageNet weights of {encoder} are known",
        next_step="give a file with --set network.weights=FILE, or set network.weights=none",
    )


def fetched(encoder: str) -> Path:
    """Download the ImageNet weights of an encoder into the cache, whole or not at all.

    Returns:
        The file, as `weights_place` names it.

    Raises:
        ModelError: they cannot be had; says which file to bring, and where to put it.
    """
    source, place = source_of(encoder), weights_place(encoder)
    place = place if source.file.endswith(place.suffix) else weights_place(encoder, ".pth")
    logger.info("fetching ImageNet weights of %s from %s", encoder, source.address)
    try:
        with atomic_write(place) as temporary:
            try:
                download(RemoteFile(source.address), temporary, patience=Patience(timeout=TIMEOUT, attempts=ATTEMPTS))
            finally:
                discard(temporary)
            read_state(temporary)  # what came may be something else, such as the page of a login
    except TumorsegError as error:
        reason = "what came is damaged" if isinstance(error, ModelError) else error.what
        raise ModelError(
            f"ImageNet weights of {encoder} cannot be fetched ({reason})",
            next_step=f"bring {source.file} of {source.repository}, revision {source.revision}, from {source.address} "
            f"to {place}, or set network.weights=none (recipes that end in -scratch do)",
        ) from error
    return place
