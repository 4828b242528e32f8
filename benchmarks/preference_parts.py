"""The trainings of `preference.py`: a start, DPO and its control, GRPO with honest and broken rewards."""

import copy
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

import grpo
from helpers import environment
from helpers.data.chat import AnswerCollate, ChatDataset
from helpers.data.loaders import make_loader
from helpers.data.pairs import PairCollate
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.losses import CausalLM, Preference
from helpers.training.runtime import Runtime
from helpers.tuning.freezing import begin_strategy
from helpers.tuning.lora import add_lora, merge_lora
from preference_policy import RANK, Lab, Policy, as_pairs, drawn, exam, held_out, look, own_pairs
from preference_rows import REWARDS, asked, spread

START = {"rank": 8, "rate": 1e-3, "epochs": 2, "batch": 16}  # chapter 10's ladder
GRPO = {"rate": 3e-4, "beta": 0.04, "clip": 0.2, "parts": 2}
NOTE = (
    "this is how people talk of it",
    "as most of the people who read it would say",
    "so it was rated by them",
)


def start(lab: Lab, note: Callable, deadline: float, *, seed: int) -> dict:
    """Teach the untuned model the form of the answer with few rows, keep its weights, and examine it."""
    rows = lab.parts["start"].sample(lab.scale.start, random_state=seed)
    lm = replace(lab.lm, model=copy.deepcopy(lab.lm.model))
    environment.seed_everything(seed)
    add_lora(lm.model, rank=START["rank"], alpha=2 * START["rank"])
    chats = [
        [*prompt, {"role": "assistant", "content": text}] for prompt, text in zip(asked(rows), rows["chosen"])
    ]
    dataset = ChatDataset(chats, lm.tokenizer, 1024)
    recipe = {"rate": START["rate"], "epochs": START["epochs"], "seed": seed, "schedule": "one-cycle"}
    taught = trained(lm, dataset, AnswerCollate, CausalLM(), START["batch"], **recipe)
    steps = sum(1 for _ in taught)
    merge_lora(lm.model)
    weights = lm.model.state_dict()  # before the policy puts adapters on them
    policy = Policy(lm, RANK, seed)
    pairs, earned = own_pairs(policy, lab.parts["test"], lab.scale, seed)
    (lab.work / f"own-{seed}.json").write_text(json.dumps(pairs), encoding="utf-8")
    lab.keep_start(weights, seed)  # last, and whole: others begin as soon as they see it
    told = {"rows": len(rows), "steps": steps, "recipe": START, "own": earned}
    return told | look(lab, policy) | exam(lab, policy, seed)


def trained(lm, dataset, collate, loss, batch: int, *, rate, epochs=1, seed, schedule="linear"):
    """The steps of a training by the course's loop."""
    loader = make_loader(
        dataset, batch, collate(lm.tokenizer.pad_token_id), shuffle=True, seed=seed, num_workers=0
    )
    config = TrainingConfig(
        epochs=epochs, batch_size=batch, learning_rate=rate, seed=seed, schedule=schedule, strategy="lora",
        select="-loss", evaluate_every=10**9, weight_decay=0.0,
    )  # fmt: skip
    score = lambda model: {"loss": 0.0}  # the last weights are kept: no row chooses among them
    return fit(lm.model, loader, config, loss=loss, score=score, runtime=Runtime(lm.model))


def dpo(lab, note, deadline, *, seed, beta, rate, pairs="made") -> dict:
    """Direct preference optimization, and what it does to both answers, to drift and to length on the way."""
    policy = lab.policy(seed)
    rows = training_pairs(lab, policy, seed, pairs)
    dataset = as_pairs(rows, policy.tokenizer)
    dataset.reference = torch.from_numpy(policy.pair_table(dataset, lab.scale.chunk)).float()
    steps = lambda: trained(
        policy.lm, dataset, PairCollate, Preference(beta), lab.batch, rate=rate, seed=seed
    )
    told = {"pairs": len(rows), "recipe": {"rate": rate, "rank": RANK, "batch": lab.batch, "epochs": 1}}
    return told | watched(lab, policy, steps, len(rows), note, deadline) | exam(lab, policy, seed)


def training_pairs(lab: Lab, policy: Policy, seed: int, pairs: str) -> pd.DataFrame:
    """Pairs to learn from: made ones, the start's own answers, or made ones whose chosen answer is longer."""
    rows = lab.parts["train"]
    if pairs == "own":
        rows = pd.DataFrame(own_pairs(policy, rows, lab.scale, seed)[0])
        if len(rows) == 0:
            raise ValueError("the start's own answers earn the same everywhere: no pairs")
    rows = rows.sample(min(lab.scale.pairs, len(rows)), random_state=seed)
    if pairs == "long":
        notes = itertools.cycle(NOTE)
        rows["chosen"] = [json.dumps(json.loads(text) | {"note": next(notes)}) for text in rows["chosen"]]
    return rows


def sft(lab, note, deadline, *, seed, rate) -> dict:
    """The control: as many steps on the chosen answers of the same pairs alone."""
    policy = lab.policy(seed)
    rows = training_pairs(lab, policy, seed, "made")
    chats = [
        [*prompt, {"role": "assistant", "content": text}] for prompt, text in zip(asked(rows), rows["chosen"])
    ]
    dataset = ChatDataset(chats, policy.tokenizer, 1024)
    steps = lambda: trained(policy.lm, dataset, AnswerCollate, CausalLM(), lab.batch, rate=rate, seed=seed)
    told = {"rows": len(rows), "recipe": {"rate": rate, "rank": RANK, "batch": lab.batch, "epochs": 1}}
    return told | watched(lab, policy, steps, len(rows), note, deadline) | exam(lab, policy, seed)


def watched(lab, policy, steps: Callable, count: int, note: Callable, deadline: float) -> dict:
    """Run the training with looks before it, at each quarter, and after it."""
    total = -(-count // lab.batch)
    places = {round(total * quarter / 4) for quarter in range(1, 5)}
    curve = [{"step": 0} | look(lab, policy)]
    note(curve[0])
    begun, losses, done = time.monotonic(), [], 0
    for step in steps():
        losses.append(step.loss)
        done = step.step
        if done in places:
            curve.append({"step": done} | look(lab, policy))
            note(curve[-1])
        if time.monotonic() > deadline:
            break
    seconds = round(time.monotonic() - begun, 1)
    told = {"steps": done, "of_steps": total, "curve": curve, "seconds_training": seconds}
    return told | {"losses": [round(float(loss), 4) for loss in losses]}


def reinforced(lab, note, deadline, *, seed, reward, rate=GRPO["rate"]) -> dict:
    """GRPO with one of `REWARDS`; the others are watched beside it."""
    policy, scale = lab.policy(seed), lab.scale
    steps = scale.steps if reward == "exact" else scale.broken_steps
    begin_strategy(policy.model, "lora")  # the adapters alone may move
    weights = [p for p in policy.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.0)
    order = lab.parts["train"].sample(frac=1, random_state=seed)
    held = [{"step": 0} | held_out(lab, policy)]
    environment.seed_everything(seed)
    curve, begun = [], time.monotonic()
    for step in range(1, steps + 1):
        first = (step - 1) * scale.comments % (len(order) - scale.comments + 1)
        point = {"step": step} | reinforce(
            policy, order[first : first + scale.comments], reward, optimizer, weights, scale
        )
        curve.append(point)
        note(point)
        if step % scale.every == 0 or step == steps:
            held.append({"step": step} | held_out(lab, policy))
            note(held[-1])
        if time.monotonic() > deadline:
            break
    told = {
        "reward": reward,
        "recipe": GRPO | {"rate": rate, "rank": RANK, "comments": scale.comments, "group": scale.group},
        "steps": len(curve),
        "of_steps": steps,
    }
    told |= {"curve": curve, "held_out": held, "seconds_training": round(time.monotonic() - begun, 1)}
    return told | {"after": look(lab, policy)} | exam(lab, policy, seed)


def reinforce(policy, rows, reward: str, optimizer, weights: list, scale) -> dict:
    """One step: draw, reward, standardise, and move in parts, of which the later meet a model that moved."""
    policy.refresh()
    texts, (ids, mask, is_answer) = drawn(policy, rows, scale.group, scale.new_tokens)
    count = is_answer.shape[1]
    records = [row for row in rows.to_dict("records") for _ in range(scale.group)]
    earned = {name: rule(texts, records) for name, rule in REWARDS.items()}
    advantage = grpo.advantages(torch.tensor(earned[reward], device=ids.device), scale.group)
    with torch.no_grad():
        old = policy.log_probabilities(ids, mask, count)
        with policy.without_adapters():
            reference = policy.log_probabilities(ids, mask, count)
    for part in torch.arange(len(ids)).chunk(GRPO["parts"]):
        new = policy.log_probabilities(ids[part], mask[part], count)
        beside = (old[part], reference[part], advantage[part], is_answer[part])
        loss = grpo.grpo_loss(new, *beside, clip=GRPO["clip"], beta=GRPO["beta"])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    tokens = int(is_answer.sum())
    return {
        "rewards": {name: float(np.mean(values)) for name, values in earned.items()},
        "kl_token": float(((old - reference) * is_answer).sum()) / tokens, "length": tokens / len(ids),
        "equal_groups": float((advantage.view(-1, scale.group) == 0).all(1).float().mean()),
    } | spread(texts)  # fmt: skip
