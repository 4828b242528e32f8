"""The figures and tables of the stored results of chapter 11, or a sentence that there are none."""

import json

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers import plots
from lessons.ch11 import results

Drawn = tuple[Figure | None, str]


def tasks(found: dict) -> Drawn:
    """Macro-F1 on the test rows of each family, the weakest first, with intervals and every seed a dot."""
    scores = {name: own["macro_f1"] for name, own in found["means"].items()}
    if not scores:
        return None, results.MISSING
    figure, axis, order = _intervals(scores)
    axis.set_xlabel("macro-F1 on test comments (bar: 95% interval, dots: seeds)")
    told = ", ".join(f"{results.named(name)} {scores[name]['value']:.3f}" for name in (order[0], order[-1]))
    return figure, f"Macro-F1 on test comments, lowest and highest: {told}."


def both_answers(found: dict) -> Drawn:
    """Log-probabilities of both answers and the length of drawn ones on the way, for DPO and imitation."""
    families = [name for name in ("dpo", "dpo-long", "sft") if found["curves"].get(name)]
    if not families:
        return None, results.MISSING
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    told = []
    for family, style in zip(families, ("-", ":", "--")):
        curve = results.over_seeds(found, "curves", family, "curve", "chosen", "rejected", "length")
        left.plot(curve["step"], curve["chosen"], style, color=plots.BLUE)
        left.plot(curve["step"], curve["rejected"], style, color=plots.VERMILION)
        right.plot(curve["step"], curve["length"], style, color="black", label=results.named(family))
        change = [curve[name][-1] - curve[name][0] for name in ("chosen", "rejected", "length")]
        told.append(
            f"{results.named(family)}: chosen {change[0]:+.1f} nats, rejected {change[1]:+.1f}, length "
            f"{change[2]:+.1f} tokens"
        )
    left.set(xlabel="step", ylabel="log-probability (nats)", title="blue: chosen, red: rejected")
    right.set(xlabel="step", ylabel="tokens", title="length of drawn answers")
    right.legend(frameon=False, fontsize=8)
    return figure, f"Change over the training, on validation pairs. {'; '.join(told)}."


def rewards(found: dict, family: str = "grpo-exact") -> Drawn:
    """Reward by step beside the task score on held-out rows and the share of the most frequent answer."""
    if not found["rewards"].get(family):
        return None, results.MISSING
    curve, held = _reward_curves(found, family)
    figure = Figure(figsize=(8, 3), layout="constrained")
    _draw_rewards(figure.subplots(), curve, held, results.named(family))
    return figure, _told(results.named(family), curve, held)


def hacking(found: dict) -> Drawn:
    """The same for every broken reward, side by side."""
    families = [name for name in found["rewards"] if name != "grpo-exact"]
    if not families:
        return None, results.MISSING
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    told = []
    for axis, family in zip(figure.subplots(1, len(families), squeeze=False)[0], families):
        curve, held = _reward_curves(found, family)
        _draw_rewards(axis, curve, held, results.named(family))
        told.append(_told(results.named(family), curve, held))
    return figure, " ".join(told)


def _reward_curves(found: dict, family: str) -> tuple[dict, dict]:
    name = family.removeprefix("grpo-")
    runs = {
        seed: {"curve": [{"step": point["step"], "reward": point["rewards"][name]} for point in run["curve"]]}
        for seed, run in found["rewards"][family].items()
    }
    curve = results.over_seeds({"rewards": {family: runs}}, "rewards", family, "curve", "reward")
    return curve, results.over_seeds(found, "rewards", family, "held_out", "macro_f1", "most_frequent")


def _draw_rewards(axis, curve: dict, held: dict, title: str) -> None:
    axis.plot(curve["step"], curve["reward"], color=plots.ORANGE, label="reward of the drawn answers")
    axis.plot(held["step"], held["macro_f1"], "o-", color=plots.BLUE, label="macro-F1, held out")
    axis.plot(held["step"], held["most_frequent"], "--", color="black", label="most frequent answer")
    axis.set(xlabel="step", ylim=(0, None), title=title)
    axis.legend(frameon=False, fontsize=8)


def _told(name: str, curve: dict, held: dict) -> str:
    last = max(1, len(curve["reward"]) // 5)  # a fifth of the steps: single ones are noisy
    earned = [float(np.mean(part)) for part in (curve["reward"][:last], curve["reward"][-last:])]
    return (
        f"{name}: the reward goes from {earned[0]:.2f} to {earned[1]:.2f}, macro-F1 on held-out comments "
        f"from {held['macro_f1'][0]:.2f} to {held['macro_f1'][-1]:.2f}, the most frequent answer from "
        f"{held['most_frequent'][0]:.0%} to {held['most_frequent'][-1]:.0%}."
    )


def constants(found: dict) -> str:
    """What constant answers earn under the stored rewards, and what the start earns."""
    before = found["before_training"]
    if not before:
        return results.MISSING
    lines = [f"{name:<12} the start earns {value:.2f}; always" for name, value in before["start"].items()]
    for place, name in enumerate(before["start"]):
        paid = [f"{json.loads(one['answer'])['sentiment']} {one[name]:.2f}" for one in before["constants"]]
        lines[place] += " " + ", ".join(paid)
    return "\n".join(lines)


def repeated(found: dict) -> str:
    """The start and every beta in a line: pairs right, macro-F1, probability of a valid answer, drift."""
    if not found["means"]:
        return results.MISSING
    families = {"the start": "start"}
    families |= {f"beta {beta:g}": family for beta, family in results.by_beta(found).items()}
    lines = [f"{'':<10} pairs right           gained                macro-F1 (seeds)      valid  drift"]
    for name, family in families.items():
        own = found["means"][family]
        gain = _with_interval(own["pair_accuracy_gain"]) if "pair_accuracy_gain" in own else ""
        scores = f"{_with_interval(own['pair_accuracy'])}  {gain:<20} {_with_interval(own['macro_f1'])}"
        lines.append(f"{name:<10} {scores}  {own['valid']['value']:.2f}   {own['kl_answer']['value']:.2f}")
    return "\n".join(lines)


def _with_interval(score: dict) -> str:
    return f"{score['value']:.2f} ({score['interval'][0]:.2f} to {score['interval'][1]:.2f})"


def rates(found: dict) -> str:
    """What each rate of DPO left on validation rows, in a line: pairs right, macro-F1, valid JSON."""
    if not found["rates"]:
        return results.MISSING
    tried = found["rates"]["dpo"]["validation"]
    lines = [
        f"rate {rate:<7} pairs right {one['pair_accuracy']:.2f}; macro-F1 {one['macro_f1']:.2f}; "
        f"valid JSON {one['valid_json']:.2f}"
        for rate, one in sorted(tried.items(), key=lambda item: float(item[0]))
    ]
    return "\n".join(lines)


def against_start(found: dict) -> str:
    """Macro-F1 of each family minus that of its start, with the 95% interval, in a line."""
    scores = {name: own["macro_f1"] for name, own in found["minus_start"].items() if "macro_f1" in own}
    if not scores:
        return results.MISSING
    lines = []
    for name, score in sorted(scores.items(), key=lambda item: -item[1]["value"]):
        low, high = score["interval"]
        seeds = len(score["seeds"])
        lines.append(
            f"{results.named(name):<32} {score['value']:+.3f} ({low:+.3f} to {high:+.3f}), {seeds} seeds"
        )
    return "\n".join(lines)


def control(found: dict) -> Drawn:
    """Macro-F1 of each family minus that of the same steps of imitation on the chosen answers."""
    scores = {name: own["macro_f1"] for name, own in found["minus_sft"].items() if "macro_f1" in own}
    if not scores:
        return None, results.MISSING
    figure, axis, order = _intervals(scores)
    axis.axvline(0, color=plots.VERMILION, linestyle="--")
    axis.set_xlabel("macro-F1 minus that of imitation (bar: 95% interval, dots: seeds)")
    better = [results.named(name) for name in order if scores[name]["interval"][0] > 0]
    worse = [results.named(name) for name in order if scores[name]["interval"][1] < 0]
    return figure, (
        f"Against as many steps of imitation, surely better: {', '.join(better) or 'none'}; surely worse: "
        f"{', '.join(worse) or 'none'}; the others cannot be told apart."
    )


def _intervals(scores: dict[str, dict]) -> tuple[Figure, Axes, list[str]]:
    """Families from the lowest to the highest value: interval as a bar, seeds as dots."""
    order = sorted(scores, key=lambda name: scores[name]["value"])
    figure = Figure(figsize=(8, 0.9 + 0.36 * len(order)), layout="constrained")
    axis = figure.subplots()
    for place, name in enumerate(order):
        seeds = scores[name]["seeds"]
        axis.plot(scores[name]["interval"], [place] * 2, color=plots.SKY, linewidth=5, solid_capstyle="butt")
        axis.plot(seeds, [place] * len(seeds), "o", color=plots.BLUE)
    axis.set_yticks(range(len(order)), [results.named(name) for name in order])
    axis.set_ylim(-0.6, len(order) - 0.4)
    axis.grid(axis="x", alpha=0.3)
    return figure, axis, order


def show(drawn: Drawn) -> None:
    """Display a figure with its sentence as alt text, and print that; without data the sentence alone."""
    figure, sentence = drawn
    if figure is not None:
        plots.show(figure, sentence)
    print(sentence)
