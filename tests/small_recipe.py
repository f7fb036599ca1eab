"""A network and a grid small enough to train in seconds."""

SMALL = (
    "epochs=3",
    "image_size=64",
    "patch_size=64",
    "batch_size=4",
    "network.weights=none",
    "network.encoder=resnet18",
    "network.decoder_channels=[32,16,16,8,8]",
    "validate_every=1",
)
"""Changes to the default recipe, as --set takes them."""
