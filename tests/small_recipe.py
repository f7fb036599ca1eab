"""A network and a grid small enough to train in seconds."""

from tumorseg.recipe import Recipe

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


def shrunk(recipe: Recipe, size: int = 64) -> Recipe:
    """The recipe on a small grid, for one epoch a stage, from random weights; narrow where it has no encoder."""
    features = tuple(8 * 2**stage for stage in range(len(recipe.network.features) or 5))
    changes: dict[str, object] = {"weights": "none"}
    if recipe.network.encoder == "none":
        changes["features"] = features
    elif recipe.network.name != "segformer":  # whose decoder has no stages
        changes["decoder_channels"] = (32, 16, 16, 8, 8)
    return recipe.model_copy(
        update={
            "image_size": size,
            "patch_size": None,
            "batch_size": 4,
            "epochs": 1,
            "stages": tuple(stage.model_copy(update={"epochs": 1}) for stage in recipe.stages),
            "validate_every": 1,
            "test_time_flips": recipe.test_time_flips[:1],
            "network": recipe.network.model_copy(update=changes),
        }
    )
