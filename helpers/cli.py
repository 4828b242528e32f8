"""The command line, `python -m helpers`; most commands stand in `runs` and `deployment` (chapter 00).

Results go to stdout, progress and errors to stderr. Exit status: 0 done, 1 the doctor objects, 2 bad input,
128 and its number for a signal: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.
"""

import argparse
import errno
import io
import json
import signal
import sys
from pathlib import Path

from helpers import __version__, catch_up, progress_report, publish
from helpers.deployment import commands as deployment_commands
from helpers.errors import InputError, OutOfMemory, ProcessLost
from helpers.files import DISK_ERRORS, is_first_process
from helpers.runs import commands as runs_commands
from helpers.runs import plan
from helpers.safety.signals import Signals


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A console without Unicode shows an emoji as \\U0001f600 and goes on.
            stream.reconfigure(errors="backslashreplace")
    options = build_parser().parse_args(arguments)
    try:
        with Signals(at_once=True):
            return options.run(options) or 0
    except InputError as error:
        # Every process of a distributed run meets the same error, and one says it; these two it meets alone.
        if is_first_process() or isinstance(error, OutOfMemory | ProcessLost):
            print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output (`| head`) has seen enough
        sys.stdout = None
        return 0
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            name = max(Path(error.filename or "").parts, key=len, default="")
            print(f"error: the name {name[:40]}... is too long for a file; shorten it", file=sys.stderr)
            return 2
        if error.errno not in DISK_ERRORS:
            raise
        where = error.filename or "a file"
        said = f"error: {where} cannot be written ({error.strerror}); make room, and try again"
        print(said, file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        number = getattr(error, "number", signal.SIGINT)
        if is_first_process():
            print(interruption(options, number, str(error)), file=sys.stderr)
        return 128 + number


def interruption(options, number: int, when: str) -> str:
    """What a command that a signal has ended says: how to go on."""
    ended = f"ended by {signal.Signals(number).name}{f' {when}' if when else ''}"
    run = getattr(options, "output", None) if hasattr(options, "resume") else None
    if run is None:
        return ended
    if not (run / "config.json").is_file():
        return f"{ended}; the training had not begun, start it again"
    return f"{ended}; `train` goes on from the last checkpoint in {run} with --resume"


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    about = "The course's helpers as commands."
    parser = argparse.ArgumentParser(prog="python -m helpers", description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, function, help_text):
        added = commands.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
        added.set_defaults(run=function)
        return added

    about = "download and verify the data and weights; a second call changes nothing"
    added, groups = command("fetch", fetch, about), ("images", "text", "language")
    scale = "in their place what full scale needs (README), all of it or one group; the sizes are said first"
    added.add_argument("--full", nargs="?", const="all", choices=("all", *groups), help=scale)
    added = command("doctor", doctor, "look whether this machine is ready for the course")
    added.add_argument("--json", action="store_true", help="print the findings as JSON")
    catch_up.add_command(command)
    progress_report.add_command(command)
    plan.add_command(command)
    runs_commands.add_commands(command)
    deployment_commands.add_commands(command)
    publish.add_command(command)
    return parser


def fetch(options) -> None:
    """Print what was fetched, a line for each file that was missing or damaged; exit status 2 without it."""
    from helpers import assets

    if options.full:
        from helpers.data import full, full_download

        full_download.fetch(full.GROUPS if options.full == "all" else (options.full,), say=_said_at_once)
        return

    done = assets.fetch()
    print(*done, f"all data and weights are in {assets.FOLDER}, verified", sep="\n")


def _said_at_once(line: str) -> None:
    print(line, flush=True)  # a download takes minutes


def doctor(options) -> int:
    """Print what was found and what to do about it; exit status 1 if something is missing."""
    from helpers import doctor as machine

    checks = machine.examine()
    if options.json:
        print(json.dumps(machine.findings(checks), indent=2))
    else:
        for check in checks:
            print(f"{check.word:<4} {check.name:<9} {check.found}")
            if check.word != "ok":
                print(f"     -> {check.remedy}")
    return 0 if all(check.ready for check in checks) else 1
