"""Which process of a training this one is, where several share the work; torch is not needed to know it."""

import os
from dataclasses import dataclass
from typing import Literal

from tumorseg.errors import TrainingError

Launcher = Literal["", "torchrun", "slurm"]


@dataclass(frozen=True)
class Rank:
    """This process among those of one training; each computes on one device.

    Attributes:
        index: from 0; 0 writes the run folder, and what people read.
        processes: of all nodes together.
        local: index among those of this node, and of the node's device that this process takes.
        launcher: what started the processes and says so in their environment; "" where nothing did.
    """

    index: int = 0
    processes: int = 1
    local: int = 0
    launcher: Launcher = ""

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.index == 0


ALONE = Rank()


def this_rank() -> Rank:
    """Read torchrun's variables, or those of a Slurm step of several tasks; without either, one process is all."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        return Rank(int(env["RANK"]), int(env["WORLD_SIZE"]), int(env["LOCAL_RANK"]), "torchrun")
    # A batch script, too, has SLURM_PROCID; only what srun started is one task of a step.
    if (tasks := int(env.get("SLURM_STEP_NUM_TASKS", "1"))) > 1:
        return Rank(int(env["SLURM_PROCID"]), tasks, int(env["SLURM_LOCALID"]), "slurm")
    return ALONE


def check_processes(rank: Rank, *, devices: int, nodes: int) -> None:
    """Compare what was started with what was asked for.

    Raises:
        TrainingError: they differ, or several nodes are wanted and nothing started processes on them.
    """
    if nodes < 1 or devices < 1:
        raise TrainingError(f"{devices} devices on {nodes} nodes", next_step="give numbers from 1 up")
    if rank.launcher and rank.processes != devices * nodes:
        raise TrainingError(
            f"{rank.launcher} started {rank.processes} processes, but --devices and --nodes make {devices * nodes}",
            next_step="start one process for each device of each node, such as tumorseg slurm writes it",
        )
    if not rank.launcher and nodes > 1:
        raise TrainingError(
            f"--nodes {nodes}: nothing has started this training on the other nodes",
            next_step="start it with srun (tumorseg slurm writes the script) or torchrun",
        )
