"""What breaks a training from outside, in one line with the cause and what to change."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tumorseg.errors import OutputError, TrainingError


@contextmanager
def explained(run: Path) -> Iterator[None]:
    """Turn failures of the machine into errors that say what to do; whatever is a bug passes.

    Raises:
        TrainingError: out of memory, or a worker died.
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
