"""One process of a training on several devices, as `tumorseg.training.several` starts it."""

import json
import logging
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from tumorseg.errors import TumorsegError


def main() -> int:
    """Read what to train from standard input, train, and leave what went wrong in a file."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_stop_when_alone, daemon=True).start()
    leads = os.environ["RANK"] == "0"
    logging.basicConfig(format="%(message)s", level=logging.ERROR)
    logging.getLogger("tumorseg").setLevel(asked["level"] if leads else logging.ERROR)
    logging.captureWarnings(True)
    if asked["level"] > logging.DEBUG:
        logging.getLogger("py.warnings").setLevel(logging.ERROR)  # they are about code, not about scans
    try:
        _train(asked["arguments"], leads=leads)
    except TumorsegError as error:
        from tumorseg.training.checkpoints import Interrupted
        from tumorseg.training.failures import PeerLost

        _leave(
            asked["answer"],
            what=error.what,
            next_step=error.next_step,
            interrupted=isinstance(error, Interrupted),
            consequence=isinstance(error, PeerLost),
        )
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        what = f"process {os.environ['RANK']} met a bug, {type(error).__name__}: {error}"
        _leave(asked["answer"], what=what, next_step="please report it", interrupted=False, consequence=False)
        return 1
    return 0


def _train(arguments: dict[str, Any], *, leads: bool) -> None:
    import yaml

    from tumorseg.datasets.split import Split
    from tumorseg.recipe import Recipe
    from tumorseg.training.fit import train

    recipe = Recipe.model_validate(yaml.safe_load(arguments.pop("recipe")))
    init, split, everyone = (arguments.pop(key) for key in ("init", "split", "everyone"))
    arguments["show_bar"] = arguments["show_bar"] and leads
    train(
        recipe,
        Path(arguments.pop("data")),
        Path(arguments.pop("output")),
        everyone=Path(everyone) if everyone else None,
        init=Path(init) if init else None,
        split=Split(**split) if split else None,
        **arguments,
    )


def _stop_when_alone() -> None:
    """Standard input ends when whoever started this process is gone; then save and end."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(path: str, **answer: Any) -> None:
    Path(path).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
