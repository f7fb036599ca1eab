"""What breaks a training from outside, in one line with the cause and what to change."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tumorseg.errors import OutputError, TrainingError

_LOST = ("Connection closed by peer", "Connection reset by peer", "Connection refused", "NCCL error", "Broken pipe")
"""What the exchange between processes says when one of them is gone."""


class PeerLost(TrainingError):
    """Another process of the same training ended; its own error says why."""


@contextmanager
def explained(run: Path) -> Iterator[None]:
    """Turn failures of the machine into errors that say what to do; whatever is a bug passes.

    Raises:
        TrainingError: out of memory, a worker died, or another process of the same training did.
        OutputError: the disk is full or cannot be written.
    """
    go_on = "then go on with --resume" if (run / "checkpoints").is_dir() else "then try again"
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(go_on) from error
    except RuntimeError as error:
        text = str(error)
        if "out of memory" in text or "can't allocate memory" in text or "DefaultCPUAllocator" in text:
            raise _out_of_memory(go_on) from error
        if "worker" in text and "exited unexpectedly" in text:
            raise TrainingError(f"a worker process died ({text.splitlines()[0]})", next_step=go_on) from error
        if any(sign in text for sign in _LOST):
            raise PeerLost("another process of this training ended", next_step=f"see what it said, {go_on}") from error
        if "No space left" in text or "PytorchStreamWriter" in text or "unexpected pos" in text:
            raise _disk_full(run, go_on) from error
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(run, go_on) from error
        raise


def _out_of_memory(go_on: str) -> TrainingError:
    return TrainingError("out of memory", next_step=f"lower batch_size or patch_size; {go_on}")


def _disk_full(run: Path, go_on: str) -> OutputError:
    return OutputError(f"the disk of {run} is full", next_step=f"free some space, {go_on}")
