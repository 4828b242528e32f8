"""A conversation with a language model in the terminal, or through a pipe (chapter 10)."""

import io
import signal
import sys
import threading
from dataclasses import replace

from helpers.errors import InputError
from helpers.generation import Sampling, TooLong, stream
from helpers.models.language import LanguageModel

HELP = "/new begins anew, /system TEXT too with that system message, /quit ends; Ctrl-C stops an answer"


def chat(lm: LanguageModel, sampling: Sampling) -> None:
    """Answer each line of stdin until its end or /quit; answers go to stdout, all else to stderr.

    Ctrl-C stops an answer; a second one, or one between two answers, raises KeyboardInterrupt.
    """
    say(f"{lm.name} listens: {HELP}")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    asking, stopped, turns = "> " if sys.stdin.isatty() else "", threading.Event(), []
    stopped.set()  # nothing is written yet

    def stop(*_) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    before = signal.signal(signal.SIGINT, stop)
    try:
        while True:
            line = input(asking).strip()
            command, _, rest = line.partition(" ")
            if command == "/quit":
                return
            if command in ("/new", "/system"):
                turns = []
                lm = replace(lm, system=rest.strip() or lm.system)
                say("a new conversation")
            elif command.startswith("/"):
                say(f"{command} is no command: {HELP}")
            elif line:
                stopped.clear()
                turns = answered(lm, [*turns, {"role": "user", "content": line}], sampling, stopped)
                stopped.set()
    except EOFError:
        return
    finally:
        signal.signal(signal.SIGINT, before)


def answered(
    lm: LanguageModel, turns: list[dict], sampling: Sampling, stopped: threading.Event
) -> list[dict]:
    """Print the answer as it is written; the turns with it, or without the last where there is none."""
    text = ""
    try:
        for piece in stream(lm, turns, sampling, stopped):
            print(piece, end="", flush=True)
            text += piece
    except TooLong as error:
        if len(turns) > 1:
            say("the conversation is too long for the model: its oldest turn is forgotten")
            return answered(lm, turns[2:], sampling, stopped)
        say(f"error: {error}")
    except InputError as error:
        say(f"error: {error}")
    else:
        print(flush=True)
    return [*turns, {"role": "assistant", "content": text}] if text else turns[:-1]


def say(sentence: str) -> None:
    """Something that is no answer."""
    print(sentence, file=sys.stderr, flush=True)
