"""What was measured beforehand for chapter 04, as numbers with intervals and as sentences."""

import json

import numpy as np

from helpers.files import ROOT
from lessons.intervals import interval, verdict

RESULTS = ROOT / "benchmarks" / "results"
STRATEGIES = ("no network", "scratch", "head", "gradual", "lora", "full")
NAMES = {"head": "head only", "lora": "LoRA", "full": "all weights", "scratch": "from scratch"}
READ_OUTS = {"masked mean": "strategies", "pooler": "strategies_pooler"}


def results(name: str) -> dict:
    """The content of a results file: "fine_tuning", "strategies" or "strategies_pooler".

    From scratch the network was trained with the pooler alone: those runs belong to both.
    """
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    if name == READ_OUTS["masked mean"]:
        for part in ("tuning", "runs"):
            found[part] += [run for run in results(READ_OUTS["pooler"])[part] if run["strategy"] == "scratch"]
    return found


def scores(read_out: str, strategy: str, size: int) -> dict[int, float]:
    """Macro-F1 on the reported rows by seed, of one read-out of `READ_OUTS`."""
    return {
        run["seed"]: run["reported"]["macro_f1"]
        for run in results(READ_OUTS[read_out])["runs"]
        if (run["strategy"], run["size"]) == (strategy, size)
    }


def sizes() -> list[int]:
    """Numbers of training comments."""
    return sorted({run["size"] for run in results("strategies")["runs"]})


def print_table(read_out: str) -> None:
    """Every strategy at every size, the baseline without a network first."""
    print(f"{'macro-F1 by the ' + read_out:<28}" + "".join(f"{size:>11,} rows" for size in sizes()))
    for strategy in STRATEGIES:
        cells = ["{:.2f} ± {:.2f}".format(*interval([*_of(read_out, strategy, n)])) for n in sizes()]
        print(f"{NAMES.get(strategy, strategy):<28}" + "".join(f"{cell:>16}" for cell in cells))


def print_read_outs() -> None:
    """What the masked mean gains over the pooler in macro-F1, by strategy and size, on the same rows."""
    print(f"{'':<12}" + "".join(f"{size:>18,} rows" for size in sizes()))
    for strategy in STRATEGIES[2:]:
        cells = []
        for size in sizes():
            mean, pooler = (scores(name, strategy, size) for name in READ_OUTS)
            gain, half = interval([mean[seed] - pooler[seed] for seed in mean])
            cells.append(f"{gain:+.3f} ± {half:.3f}" if abs(gain) > half else f"not seen, d = {half:.3f}")
        print(f"{NAMES.get(strategy, strategy):<12}" + "".join(f"{cell:>23}" for cell in cells))
    print(f"not seen: too small to see with {len(mean)} runs, whose smallest visible effect is d")


def print_ahead() -> None:
    """Which strategies are apart from training from scratch and from the baseline, and which one is first."""
    for size in sizes():
        found = {strategy: scores("masked mean", strategy, size) for strategy in STRATEGIES}
        best = max(found, key=lambda strategy: np.mean([*found[strategy].values()]))
        close = [s for s in found if s != best and not _is_above(found[best], found[s])]
        for rival in ("scratch", "no network"):
            apart = [NAMES.get(s, s) for s in STRATEGIES[2:] if _is_above(found[s], found[rival])]
            print(f"{size:>5,} comments, above {NAMES.get(rival, rival)}: {', '.join(apart) or 'none'}")
        text = ", ".join(NAMES.get(s, s) for s in close) or "none"
        print(f"{size:>5,} comments, highest mean {NAMES.get(best, best)}, not told apart from it: {text}")


def print_tuning() -> None:
    """The scores of the sweep: one seed for each strategy and rate, with the seconds it took."""
    runs = results("strategies")["tuning"]
    for strategy in STRATEGIES[1:]:
        found = [run for run in runs if run["strategy"] == strategy]
        texts = [f"{run['learning_rate']:.1e}: {run['selection_macro_f1']:.3f}" for run in found]
        print(f"{NAMES.get(strategy, strategy):<12} rate " + ", ".join(texts))


def print_costs() -> None:
    """Mean seconds of one core by strategy and size, and the megabytes of what moved."""
    runs = results("strategies")["runs"]
    print(f"{'':<12}" + "".join(f"{size:>8,} rows" for size in sizes()) + "     file")
    for strategy in STRATEGIES[1:]:
        chosen = [run for run in runs if run["strategy"] == strategy]
        seconds = [np.mean([run["seconds"] for run in chosen if run["size"] == size]) for size in sizes()]
        file = f"{4 * chosen[0]['trainable_parameters'] / 1e6:>6.1f} MB"
        name = NAMES.get(strategy, strategy)
        print(f"{name:<12}" + "".join(f"{value:>11.0f} s" for value in seconds) + f"{file:>12}")
    ends = []
    for strategy, size in (("full", min(sizes())), ("scratch", max(sizes()))):
        found = [run for run in runs if (run["strategy"], run["size"]) == (strategy, size)]
        seconds = np.mean([run["seconds"] for run in found])
        score = np.mean([run["reported"]["macro_f1"] for run in found])
        ends.append(f"{NAMES[strategy]} on {size:,} comments: {seconds:.0f} s, macro-F1 {score:.2f}")
    print("; ".join(ends))


def settings(one: str, other: str, key: str) -> list[float]:
    """Differences seed by seed of two settings of `fine_tuning.json`: of "macro_f1" or "loss"."""
    found = {(run["setting"], run["seed"]): run["reported"][key] for run in results("fine_tuning")["runs"]}
    seeds = sorted({seed for _, seed in found})
    return [found[one, seed] - found[other, seed] for seed in seeds]


def print_settings(pairs: list[tuple[str, str]]) -> None:
    """What each change did to macro-F1 and loss, or the smallest effect that could have been seen."""
    for one, other in pairs:
        print(f"{one} minus {other}")
        for key in ("macro_f1", "loss"):
            print(f"   {key.replace('_', '-'):<9} {verdict(settings(one, other, key))}")


def until() -> dict[str, dict[str, list[float]]]:
    """Of `fine_tuning.json`: epochs, seconds and accuracies by start, one value for each seed."""
    found = {}
    for run in results("fine_tuning")["until"]:
        for key in ("epochs", "seconds", "training_accuracy", "validation_accuracy"):
            found.setdefault(run["start"], {}).setdefault(key, []).append(run[key])
    return found


def print_until() -> None:
    """Both starts, trained until they know nearly all of their training pictures."""
    for start, columns in until().items():
        texts = [
            f"{key.replace('_', ' ')} {{:.2f}} ± {{:.2f}}".format(*interval(v)) for key, v in columns.items()
        ]
        print(f"{start:<10} " + ", ".join(texts))
    scratch, pretrained = (until()[start]["epochs"] for start in ("scratch", "pretrained"))
    print(f"epochs, scratch minus pretrained, seed by seed: {verdict(np.subtract(scratch, pretrained))}")


def _logs() -> dict[str, dict]:
    """The faulty logs of the exercise by letter, sorted by their first loss."""
    faulty = [run for run in results("fine_tuning")["logs"] if run["fault"] != "none"]
    return dict(zip("abcd", sorted(faulty, key=lambda run: run["epochs"][0][0])))


def faults_of_logs() -> dict[str, str]:
    """Which letter has which fault."""
    return {letter: run["fault"] for letter, run in _logs().items()}


def print_logs() -> None:
    """The logs that the exercise asks about."""
    for letter, run in _logs().items():
        losses, right = (", ".join(f"{row[i]:.2f}" for row in run["epochs"]) for i in (0, 1))
        print(f"{letter}  training loss by epoch  {losses}\n   validation accuracy     {right}")
        print(
            f"   changed below the head  {run['weights_changed']} of {run['weights']} weights, "
            f"{run['buffers_changed']} of {run['buffers']} buffers"
        )


def _of(read_out: str, strategy: str, size: int):
    return scores(read_out, strategy, size).values()


def _is_above(one: dict[int, float], other: dict[int, float]) -> bool:
    """Whether the interval of the differences seed by seed, on the same rows, lies above zero."""
    gain, half = interval([one[seed] - other[seed] for seed in one])
    return gain > half
