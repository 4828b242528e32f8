"""One right answer to each exercise of appendix A, written as a learner would write it."""

import pandas as pd


def read_votes(file):
    return pd.read_csv(file, dtype={"id": "string", "rating": float})


def tools():
    return {
        1: "scikit-learn",
        2: "pandas",
        3: "TensorBoard",
        4: "Colab",
        5: "datasets",
        6: "Gradio",
        7: "torch.profiler",
        8: "Docker",
    }


def causes():
    return {"A": "ids became numbers", "B": "bytes overflowed", "C": "shared memory", "D": "mean, not sum"}
