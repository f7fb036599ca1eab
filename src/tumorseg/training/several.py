"""Several processes of one training on one machine: each trains on a device of its own, this one watches them.

They are started as torchrun starts its own, by the same variables. What a process needs to know is one line of JSON
on its standard input, which then stays open: when the watcher is gone the process notices, saves and ends.
"""

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tumorseg.errors import TrainingError
from tumorseg.inference.runtime import available_cores
from tumorseg.training.checkpoints import Interrupted

SECONDS_TO_SAVE = 120.0
"""How long processes that were asked to stop may take before they are ended."""


def train_in_processes(arguments: dict[str, Any], *, count: int) -> None:
    """Run `tumorseg.training.fit.train` with `arguments` in `count` processes and wait for them.

    Args:
        arguments: of `train`, as JSON can hold them; the recipe as a YAML text.
        count: of processes; process k takes device k.

    Raises:
        TrainingError: what the first process that failed said.
        Interrupted: somebody stopped them; what was learned is saved.
    """
    with tempfile.TemporaryDirectory(prefix="tumorseg-") as folder, socket.create_server(("127.0.0.1", 0)) as held:
        said = [Path(folder) / f"{index}.json" for index in range(count)]
        shared = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(held.getsockname()[1]),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "GROUP_RANK": "0",
            "TORCHELASTIC_RUN_ID": uuid.uuid4().hex,
        }
        held.close()
        threads = os.environ.get("OMP_NUM_THREADS", str(max(1, available_cores() // count)))
        level = logging.getLogger("tumorseg").getEffectiveLevel()
        processes = []
        try:
            for index, answer in enumerate(said):
                own = {"RANK": str(index), "LOCAL_RANK": str(index), "OMP_NUM_THREADS": threads}
                process = subprocess.Popen(
                    [sys.executable, "-m", "tumorseg.training.process"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    env={**os.environ, **shared, **own},
                    text=True,
                )
                processes.append(process)
                assert process.stdin is not None
                process.stdin.write(json.dumps({"arguments": arguments, "answer": str(answer), "level": level}) + "\n")
                process.stdin.flush()
            failed = _watch(processes)
        finally:
            _end(processes)
        if failed:
            raise _reason(said, failed, processes)


def _watch(processes: Sequence["subprocess.Popen[str]"]) -> list[int]:
    """Wait for all; once one fails, or somebody stops the training, the others are asked to end.

    Returns:
        The indices of those that failed, in the order in which they did.
    """
    failed: list[int] = []
    while True:
        try:
            codes = [process.poll() for process in processes]
            failed += [index for index, code in enumerate(codes) if code and index not in failed]
            if failed or None not in codes:
                break
            time.sleep(0.1)
        except KeyboardInterrupt:
            _ask_to_stop(processes)
    # Those that wait for a process that is gone cannot save any more.
    _wait(
        processes,
        SECONDS_TO_SAVE if any(processes[index].returncode == Interrupted.exit_code for index in failed) else 2.0,
    )
    return failed


def _ask_to_stop(processes: Sequence["subprocess.Popen[str]"]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()


def _wait(processes: Sequence["subprocess.Popen[str]"], seconds: float) -> None:
    until = time.monotonic() + seconds
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until - time.monotonic()))


def _end(processes: Sequence["subprocess.Popen[str]"]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()


def _reason(said: Sequence[Path], failed: Sequence[int], processes: Sequence["subprocess.Popen[str]"]) -> TrainingError:
    """What the processes said, the cause before its consequences."""
    answers = [json.loads(said[index].read_text(encoding="utf-8")) for index in failed if said[index].is_file()]
    answers.sort(key=lambda answer: answer["consequence"])
    if not answers:
        code = processes[failed[0]].returncode
        return TrainingError(
            f"process {failed[0]} of {len(processes)} ended with code {code} and said nothing",
            next_step="see whether memory ran out, then go on with --resume",
        )
    first = answers[0]
    kind = Interrupted if first["interrupted"] else TrainingError
    return kind(first["what"], next_step=first["next_step"])
