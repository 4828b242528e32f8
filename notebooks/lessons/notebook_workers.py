"""Worker processes for classes that stand in a notebook, on every system."""

import os
from multiprocessing.reduction import ForkingPickler

import cloudpickle

# Forked workers share what the notebook has; Windows cannot fork, and its workers get copies.
CONTEXT = "fork" if hasattr(os, "fork") else "spawn"


def _by_value(instance) -> tuple:
    return cloudpickle.loads, (cloudpickle.dumps(instance),)


def in_workers(cls: type) -> type:
    """Send instances of a class to worker processes with its code, for they cannot import a notebook.

    Use it as a decorator. A class in a file of its own needs none of this.
    """
    ForkingPickler.register(cls, _by_value)
    return cls
