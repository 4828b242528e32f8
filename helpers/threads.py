"""Idle threads: how long they wait awake, and how many there are. Said before torch is imported (chapter 00).

Between two pieces of work the threads of OpenMP, torch's library for them, spin: they are back at once, and
keep every other program from their core for up to 15 ms each time. Two trainings at once on 2 cores then take
many times as long as one after the other. `benchmarks/threads.py` measures what is chosen here.

`GOMP_SPINCOUNT` speaks to GNU's OpenMP, which pip's torch brings on Linux; `OMP_WAIT_POLICY` and
`OMP_NUM_THREADS` to any. The libraries of macOS, Windows and conda pass over the first: no harm, no help.
"""

import os
import sys

SPINS = "5000"  # GNU itself takes 300,000; fewer than this and a lone program feels it


def is_classroom() -> bool:
    """Whether `COURSE_CLASSROOM` says that several people compute on this machine."""
    return os.environ.get("COURSE_CLASSROOM", "").strip().lower() not in ("", "0", "no", "off", "false")


def share_cores() -> None:
    """Set what OpenMP reads when torch is imported, for this process and those it starts; yours wins.

    By default idle threads spin briefly. In a classroom they never do, and a program computes on one thread,
    or on `OMP_NUM_THREADS`; that holds even where torch was imported before.
    """
    mine = os.environ.get("GOMP_SPINCOUNT") in (None, SPINS)  # SPINS: from the process that started this one
    if not is_classroom():
        if mine and "OMP_WAIT_POLICY" not in os.environ:
            os.environ["GOMP_SPINCOUNT"] = SPINS
        return
    if mine:
        os.environ.pop("GOMP_SPINCOUNT", None)  # it would outdo the policy
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
