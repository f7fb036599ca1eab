"""How the processes of one training exchange what they learned: torch's DistributedDataParallel, by Lightning."""

from collections.abc import Callable
from functools import partial

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies.ddp import DDPStrategy

from tumorseg.recipe import Recipe
from tumorseg.training.ranks import Launcher, Rank

ENVIRONMENTS: dict[Launcher, Callable[[], ClusterEnvironment]] = {
    "": LightningEnvironment,
    "torchrun": TorchElasticEnvironment,
    # Requeueing is for the job's script to do: our checkpoints are the ones to go on from.
    "slurm": partial(SLURMEnvironment, auto_requeue=False),
}
"""What tells Lightning of the other processes."""


def strategy_of(recipe: Recipe, rank: Rank) -> str | DDPStrategy:
    """Lightning's strategy; a lone process needs none."""
    if rank.processes == 1:
        return "auto"
    return DDPStrategy(
        broadcast_buffers=False,  # the callback SharedStatistics has them all learn from all slices
        find_unused_parameters=any(stage.freeze for stage in recipe.schedule),
    )
