"""The exercise of chapter 12 that chooses: a plan for a cluster, scored on cases that the chapter hides."""

from helpers.planner import CARDS, SHAPES, USABLE, Workload, duration, memory
from lessons.ch12 import answers
from lessons.exercise import Exercise

SHAPE, CARD, MOST_CARDS = SHAPES["llama-3.1-8b"], CARDS["h100"], 16
TOKENS, PRICE, BUDGET, HOURS, FEWEST_ROWS = 3e9, 2.5, 350, 18, 16
HIDDEN = ((0.31, 2048), (0.35, 2304), (0.40, 2560))  # efficiency, tokens of the longest rows
NAMES = ("cards", "rows", "shard", "activation_checkpointing")


def outcome(plan: dict, efficiency: float, length: int) -> tuple[float, float, float]:
    """Share of the room that a card needs, hours and cost of a plan."""
    work = Workload(SHAPE, plan["rows"], length, processes=plan["cards"], shard=plan["shard"],
                    activation_checkpointing=plan["activation_checkpointing"])  # fmt: skip
    hours = duration(work, TOKENS, CARD, plan["cards"], efficiency) / 3600
    return memory(work).total / (USABLE * CARD.memory), hours, hours * plan["cards"] * PRICE


def _verify_plan(attempt):
    plan = attempt()
    if not isinstance(plan, dict) or set(plan) != set(NAMES):
        raise AssertionError(f"expected a dictionary with the keys {NAMES}, found {plan!r}")
    if not 1 <= plan["cards"] <= MOST_CARDS:
        raise AssertionError(f"there are 1 to {MOST_CARDS} cards, found {plan['cards']}")
    if plan["rows"] < max(FEWEST_ROWS, plan["cards"]):
        raise AssertionError(f"a step of {plan['rows']} rows is too small; expected at least {FEWEST_ROWS}")
    found = [outcome(plan, *case) for case in HIDDEN]
    share, hours, cost = (max(values) for values in zip(*found))
    if share > 1:
        raise AssertionError(
            f"with the longest rows a card needs {share:.0%} of the room it has; leave a margin in memory"
        )
    if hours > HOURS:
        raise AssertionError(f"in the slowest case it takes {hours:.1f} hours, the deadline is {HOURS}")
    if cost > BUDGET:
        raise AssertionError(f"in the dearest case it costs {cost:.0f}, the budget is {BUDGET}")
    return f"At most {share:.0%} of the room, {hours:.1f} hours and {cost:.0f} in {len(HIDDEN)} hidden cases."


cluster_plan = Exercise(
    verify=_verify_plan,
    hints=(
        "Cost does not depend on the number of cards, hours do; computing layers again costs a third more.",
        "`Workload(SHAPES['llama-3.1-8b'], rows, 2048, processes=cards, shard=...)`, then `memory` and "
        "`duration` with 0.3 as the efficiency.",
        "Without checkpointing the activations must fit: few rows on each of many cards.",
    ),
    answer=answers.cluster_plan,
    praise="It fits with a margin, in time and in budget.",
)
