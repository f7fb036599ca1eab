"""The `tumorseg` command: its verbs, and how every failure becomes one line and an exit code."""

import errno
import logging
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import typer

from tumorseg import __version__
from tumorseg.cli import (
    audit,
    compare,
    crossval,
    data,
    demo,
    dicomweb,
    evaluate,
    explore,
    export,
    export_data,
    fetch,
    models,
    practices,
    recipes,
    robustness,
    segment,
    serve,
    slurm,
    train,
)
from tumorseg.cli.arguments import expand
from tumorseg.cli.console import TRAIN_PACKAGES, emit, reader_has_gone, set_up_messages
from tumorseg.errors import MissingExtra, TumorsegError

EXIT_USER = 2
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

HELP = """Segment brain tumours on MRI: train a network, judge it by patient, use it.

-v and -q may stand anywhere on the line.
"""

app = typer.Typer(
    name="tumorseg",
    help=HELP,
    epilog="Example: tumorseg demo",
    rich_markup_mode=None,  # plain help appears at once; rich would cost as much again as everything else
    add_completion=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
data_app = typer.Typer(
    name="data",
    help="Look at a data set, or make a synthetic one.",
    epilog="Example: tumorseg data check kaggle_3m",
    rich_markup_mode=None,
    invoke_without_command=True,
)


@app.callback()
def _global_options(
    context: typer.Context,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more; with a bug, show where it is.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors and results.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    set_up_messages(1 if verbose else -1 if quiet else 0)
    if version:
        emit(f"tumorseg {__version__}")
        raise typer.Exit()
    _help_without_verb(context)


@data_app.callback()
def _data_options(context: typer.Context) -> None:
    _help_without_verb(context)


def _help_without_verb(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        emit(context.get_help())
        raise typer.Exit()


def _register(group: typer.Typer, name: str, verb: Callable[..., None], example: str, *, brief: str) -> None:
    group.command(name, epilog=f"Example: {example.strip()}", short_help=brief)(verb)


_register(app, "demo", demo.demo, demo.EXAMPLE, brief="A first look in seconds, on a synthetic head.")
app.add_typer(data_app, name="data")
_register(data_app, "check", data.check, data.CHECK_EXAMPLE, brief="Find what would spoil a training.")
_register(data_app, "fetch", fetch.fetch, fetch.EXAMPLE, brief="Download a published data set.")
_register(data_app, "explore", explore.explore, explore.EXAMPLE, brief="See on one page what is in a data set.")
_register(data_app, "export", export_data.export_data, export_data.EXAMPLE, brief="Write it for other programs.")
_register(data_app, "phantom", data.phantom, data.PHANTOM_EXAMPLE, brief="Make a synthetic data set.")
_register(app, "recipes", recipes.recipes, recipes.EXAMPLE, brief="List the recipes, or show one in full.")
_register(app, "train", train.train, train.EXAMPLE, brief="Train a network on a data set.")
_register(app, "evaluate", evaluate.evaluate, evaluate.EXAMPLE, brief="Judge a run by patient and write a report.")
_register(app, "compare", compare.compare, compare.EXAMPLE, brief="Set models side by side on the same patients.")
_register(app, "crossval", crossval.crossval, crossval.EXAMPLE, brief="Judge every patient once, fold by fold.")
_register(app, "audit-leakage", audit.audit, audit.EXAMPLE, brief="Measure what a split by slice gives away.")
_register(app, "practices", practices.practices, practices.EXAMPLE, brief="Score judged masks as others would.")
_register(app, "robustness", robustness.robustness, robustness.EXAMPLE, brief="Judge runs on scans made worse.")
_register(app, "slurm", slurm.slurm, slurm.EXAMPLE, brief="Write a script that trains on a cluster.")
_register(app, "segment", segment.segment, segment.EXAMPLE, brief="Outline the tumour in new scans.")
_register(app, "dicomweb", dicomweb.dicomweb, dicomweb.EXAMPLE, brief="Segment a study in an archive.")
_register(app, "serve", serve.serve, serve.EXAMPLE, brief="A page and an HTTP interface for your department.")
_register(app, "models", models.models, models.EXAMPLE, brief="List the models that come with tumorseg.")
_register(app, "export", export.export, export.EXAMPLE, brief="Write a run's model as files for others.")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    words = expand(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _terminate)
    code = run(words)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = reader_has_gone()
    sys.exit(code)


def run(words: Sequence[str]) -> int:
    """Run one command line and give its exit code; no exception leaves here but SystemExit.

    0 done, 1 a check found something, 2 the user can mend it, 3 some inputs failed, 70 a bug, 130 interrupted.
    """
    try:
        result: Any = app(list(words), prog_name="tumorseg", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        result = EXIT_INTERRUPTED
    except BrokenPipeError:
        return reader_has_gone()
    except TumorsegError as error:
        return _say(str(error), error.exit_code)
    except typer.TyperException as error:
        return _say(_usage(error), EXIT_USER)
    except MemoryError:
        return _say("out of memory; close other programs, or work on less at once", EXIT_USER)
    except Exception as error:
        if message := _cause(error):
            return _say(message, EXIT_USER)
        return _bug(error)
    if result == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this code
        return _say("interrupted; nothing is left half-written", EXIT_INTERRUPTED)
    return result if isinstance(result, int) else 0


def _usage(error: typer.TyperException) -> str:
    """What was wrong on the command line, and where its help is."""
    context = getattr(error, "ctx", None)
    # pydantic, which checks the values, puts its own name for the kind of error before the message
    message = error.format_message().replace("Value error, ", "").rstrip(".")
    return f"{message}; see: {context.command_path} --help" if context else message


def _cause(error: Exception) -> str:
    """The message of an exception that is no bug of ours; "" where it may be one."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in TRAIN_PACKAGES:
        return str(MissingExtra((error.name or "").partition(".")[0], extra="train"))
    if not isinstance(error, OSError):
        return ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" while writing {error.filename}" if error.filename else ""
        return f"the disk is full{where}; free some space and run the same again"
    if error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}; check the path and its permissions"
    return ""


def _bug(error: Exception) -> int:
    """One line about an exception that nobody foresaw; -v shows where it came from."""
    if logging.getLogger("tumorseg").isEnabledFor(logging.DEBUG):
        traceback.print_exception(error)
    name = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _say(f"this is a bug, {name}; please report it; run with -v for the traceback", EXIT_BUG)


def _say(message: str, code: int) -> int:
    line = " ".join(message.split())
    try:
        sys.stderr.write(f"tumorseg: error: {line}\n")
    except BrokenPipeError:
        return reader_has_gone()
    return code


def _terminate(number: int, frame: object) -> NoReturn:
    """SIGTERM ends the run as Ctrl-C does, so that open files are tidied away."""
    raise KeyboardInterrupt
