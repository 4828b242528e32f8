"""The exercises of chapter 12: build, diagnose, choose and defend."""

from lessons.ch12 import answers
from lessons.ch12.building import shares, to_backward
from lessons.ch12.choosing import cluster_plan
from lessons.exercise import Exercise, check_diagnosis

__all__ = ["LOGS", "cluster_plan", "shares", "three_logs", "to_backward"]

FAULTS = ("uneven ends", "rank 0 alone", "killed", "no set_epoch")
LOGS = {
    "a": """\
[rank 0] step  998 loss 2.114        [rank 1] step  998
[rank 0] step  999 loss 2.097        [rank 1] step  999
[rank 0] step 1000 loss 2.103        [rank 1] step 1000
[rank 0] step 1000: evaluating       [rank 1] step 1001: all_reduce
[rank 0] RuntimeError: Timed out waiting 1800000ms in all_gather
[rank 1] RuntimeError: Timed out waiting 1800000ms in all_reduce""",
    "b": """\
[rank 0] step  410 loss 1.871        [rank 1] step  410
[rank 0] RuntimeError: Connection closed by peer
torchrun: rank 0 exitcode 1
torchrun: Root Cause: rank 1 exitcode -9""",
    "c": """\
[rank 0] epoch 3, step 1187 of 1188 loss 1.655        [rank 1] epoch 3, step 1187 of 1187
[rank 0] epoch 3, step 1188 of 1188: all_reduce       [rank 1] epoch 3 ended: barrier
[rank 0] RuntimeError: Timed out waiting 1800000ms in all_reduce
[rank 1] RuntimeError: Timed out waiting 1800000ms in barrier""",
}


def _verify_logs(attempt):
    advice = "ask where each process was last, and whether it lived"
    check_diagnosis(attempt(), answers.three_logs(), advice, words=FAULTS)


three_logs = Exercise(
    verify=_verify_logs,
    hints=(
        "One of the four faults makes no process wait and no process die; it cannot be seen in such a log.",
        "Two jobs wait for ever. In which of them did both processes have work left?",
        "An exit code below zero is a signal.",
    ),
    answer=answers.three_logs,
    praise="Where each process was last: that is the whole method.",
)
