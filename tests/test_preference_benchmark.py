"""What chapter 11 stores: rewards, pairs, a plan that processes share, GRPO, scores with intervals."""

import importlib
import json
import time

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import assets
from helpers.data import splits
from helpers.data.chat import prompt_ids
from helpers.data.sources import SENTIMENTS
from helpers.files import ROOT
from helpers.training.metrics import macro_f1, macro_f1_interval

RESULTS = ROOT / "benchmarks" / "results" / "preference.json"
NOTEBOOK = ROOT / "notebooks" / "11_preference_tuning.ipynb"
ROWS = [
    {"label": "positive", "rating": 2.2, "text": "Fine.", "platform": "tweets"},
    {"label": "neutral", "rating": 0.1, "text": "A chair.", "platform": "tweets"},
    {"label": "negative", "rating": -3.0, "text": "Broken at once.", "platform": "tweets"},
]


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module


def answer(sentiment, strength=0):
    return json.dumps({"sentiment": sentiment, "strength": strength})


def test_the_honest_reward_reads_json_sentiment_and_strength(script):
    exact = script("preference_rows").exact
    given = [answer("positive", 3), answer("neutral", -2), answer("positive", -3)]
    assert exact(given, ROWS) == [1.5, 1.0, 0.5]
    bad = [
        "positive",
        answer("positive", 3)[:-1],
        "[1]",
        '{"sentiment": ["positive"]}',
        '{"sentiment": "good"}',
    ]
    assert exact(bad, [ROWS[0]] * 5) == [0.0] * 5
    assert exact(['{"sentiment": "positive", "strength": true}'], ROWS) == [1.0]


def test_a_constant_answer_wins_the_broken_rewards_alone(script):
    rows = script("preference_rows")
    frame = pd.DataFrame(ROWS)
    found = {row["answer"]: row for row in rows.constants(frame)}
    neutral = found[answer("neutral")]
    assert neutral["near_enough"] == neutral["popular"] == 1.0
    assert max(row["exact"] for row in found.values()) < 0.6
    assert rows.near_enough([answer("negative"), answer("negative"), "?"], ROWS) == [0.0, 1.0, 0.0]
    assert rows.popular([answer("neutral"), answer("negative"), answer("neutral"), "?"], ROWS) == [1, 0, 1, 0]


def test_answers_that_are_all_alike_have_no_entropy(script):
    spread = script("preference_rows").spread
    assert spread([answer("neutral")] * 4) == {"valid_json": 1.0, "most_frequent": 1.0, "entropy": 0.0}
    mixed = spread([answer("neutral"), answer("negative"), "?", "?"])
    assert mixed == {"valid_json": 0.5, "most_frequent": 0.25, "entropy": 1.5}


def test_own_pairs_are_answers_that_the_raters_tell_apart(script):
    given = [
        answer("neutral"),
        answer("positive", 2),
        answer("neutral"),
        answer("neutral"),
        "?",
        answer("negative"),
    ]
    pairs, earned = script("preference_rows").best_and_worst(given, ROWS, 2)
    assert earned == [0.0, 1.5, 1.5, 1.5, 0.0, 1.0]
    found = [(pair["place"], pair["chosen"], pair["rejected"], pair["kind"]) for pair in pairs]
    assert found == [(0, given[1], given[0], "own"), (2, given[5], given[4], "own, not JSON")]


def test_advantages_are_standardised_within_a_group_and_equal_rewards_move_nothing(script):
    advantages = script("grpo").advantages
    found = advantages(torch.tensor([1.0, 0.0, 1.0, 0.0, 2.0, 2.0, 2.0, 2.0]), 4)
    assert found.tolist() == pytest.approx([1, -1, 1, -1, 0, 0, 0, 0], abs=1e-3)


def test_the_loss_pushes_good_answers_up_as_far_as_the_clip_and_back_to_the_reference(script):
    grpo_loss = script("grpo").grpo_loss
    old = torch.log(torch.tensor([[0.5, 0.5], [0.5, 0.5]]))
    is_answer = torch.tensor([[True, False], [True, True]])

    def gradient(new, **options):
        new = new.clone().requires_grad_()
        grpo_loss(new, old, old, torch.tensor([1.0, -1.0]), is_answer, **options).backward()
        return new.grad

    assert gradient(old).flatten().tolist() == pytest.approx([-1 / 3, 0, 1 / 3, 1 / 3])
    far = gradient(old + 0.5, beta=0.0)  # the ratio is 1.65
    assert far[0].tolist() == [0, 0]
    assert (far[1] > 0).all()
    assert (gradient(old + 0.5, beta=10.0)[0, 0]) > 0  # back


def test_drawn_answers_have_the_probabilities_of_rows_without_padding(script, random_lm):
    grpo, model, tokenizer = script("grpo"), random_lm.model, random_lm.tokenizer
    prompts = [
        [{"role": "user", "content": text}] for text in ("Yes", "A much longer comment about nothing.")
    ]
    torch.manual_seed(0)
    with torch.no_grad():
        ids, mask, is_answer = grpo.sample(model, tokenizer, prompts, 3, 5)
        found = grpo.token_log_probabilities(model, ids, mask, is_answer.shape[1])
        for place, row in enumerate(ids):
            plain, count = row[mask[place].bool()], int(is_answer[place].sum())
            assert plain[:-count].tolist() == prompt_ids(prompts[place // 3], tokenizer)
            log_p = model(input_ids=plain[None]).logits[0, :-1].log_softmax(-1)
            expected = log_p.gather(-1, plain[1:, None])[-count:, 0]
            assert found[place, :count].tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_an_answer_ends_with_its_end_sign(script, random_lm, monkeypatch):
    model, end = random_lm.model, random_lm.tokenizer.eos_token_id

    def generate(input_ids, **options):
        drawn = torch.tensor([[7, end, end, end], [7, 8, 9, end]])
        return torch.cat([input_ids.repeat_interleave(2, 0), drawn], dim=1)

    monkeypatch.setattr(model, "generate", generate)
    _, mask, is_answer = script("grpo").sample(
        model, random_lm.tokenizer, [[{"role": "user", "content": "Yes"}]], 2, 4
    )
    assert is_answer.tolist() == [[True, True, False, False], [True] * 4]
    assert mask[:, -4:].bool().equal(is_answer)
    assert mask[:, :-4].all()


@pytest.mark.skipif(not NOTEBOOK.is_file(), reason="the chapter is not there")
def test_the_chapter_computes_the_same(script):
    cells = ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"]]
    [source] = [cell for cell in cells if "def grpo_loss(" in cell]
    own = {"torch": torch}
    exec(source, own)
    torch.manual_seed(0)
    rewards, (new, old, reference) = torch.rand(8), torch.randn(3, 8, 5)
    is_answer, grpo = torch.rand(8, 5) > 0.3, script("grpo")
    advantage = grpo.advantages(rewards, 4)
    assert own["advantages"](rewards, 4).equal(advantage)
    given = (new, old, reference, advantage, is_answer)
    assert own["grpo_loss"](*given).item() == pytest.approx(grpo.grpo_loss(*given).item(), abs=1e-6)


def test_the_plan_needs_nothing_that_is_not_in_it(script):
    preference = script("preference")
    for quick in (False, True):
        names = [job.name for job in preference.plan(quick)]
        assert len(set(names)) == len(names)
        for place, job in enumerate(preference.plan(quick)):
            assert set(job.needs) <= set(names[:place])
    assert set(preference.QUICK) == set(names)


@pytest.fixture
def board(script, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "start-1.pt").touch()
    return script("preference").Board(tmp_path, tmp_path / "work", time.time() + 60)


def test_an_experiment_is_taken_once_after_what_it_needs_and_if_it_can_end(script, board):
    Job = script("preference").Job
    jobs = [
        Job("long/1", "dpo", 1000.0),
        Job("start/1", "start", 1.0, {"seed": 1}),
        Job("dpo/1", "dpo", 1.0, needs=("start/1",)),
        Job("sft/1", "sft", 1.0),
    ]
    assert [board.take(jobs).name, board.take(jobs).name] == ["start/1", "sft/1"]
    board.append({"run": "start/1", "seconds": 1.0})
    assert board.take(jobs).name == "dpo/1"
    assert board.take(jobs) is None


def test_experiments_take_as_much_longer_as_was_measured(script, board):
    preference = script("preference")
    jobs = [preference.Job(f"dpo/{seed}", "dpo", 10.0) for seed in (1, 2, 3)]
    assert board.slowness(jobs) == preference.SHARED
    for seed, seconds in ((1, 30.0), (2, 70.0), (3, 50.0)):
        board.append({"run": f"dpo/{seed}", "seconds": seconds})
    assert board.slowness(jobs) == 5


def test_a_line_that_was_cut_off_loses_itself_alone(script, board):
    board.append({"run": "dpo/1", "seconds": 1.0})
    board.append({"run": "dpo/1", "point": {"step": 1}})
    with board.file.open("a", encoding="utf-8") as file:
        file.write('{"run": "dpo/2", "sec')
    assert list(board.runs()) == ["dpo/1"]


def test_the_rate_is_the_best_on_validation_rows(script):
    preference = script("preference")
    low, middle, high = preference.RATES["dpo"]
    scored = lambda f1, pairs: {"validation": {"macro_f1": f1, "pair_accuracy": pairs}}
    runs = {f"dpo/1/rate-{low}": scored(0.5, 0.8), f"dpo/1/rate-{high}": scored(0.6, 0.9)}
    assert preference.best_rate("dpo", runs) == high
    assert preference.best_rate("dpo", {f"dpo/1/rate-{low}": {"error": "x"}}) == middle


def test_scores_and_intervals_are_those_of_the_courses_metrics(script):
    finish, rng = script("preference_finish"), np.random.default_rng(0)
    targets, answers = rng.integers(3, size=200), rng.integers(3, size=200)
    groups = rng.integers(40, size=200)
    rows = {
        "label": [SENTIMENTS[target] for target in targets],
        "rating": 0.0,
        "group": groups,
        "kind": "format",
    }
    judge = finish.Judge(pd.DataFrame(rows))
    pairs = {"right": "10" * 100, "moved_right": "1" * 200, "places": None}
    own = {"right": "110", "moved_right": "100", "places": [0, 5, 5]}
    test = {
        "answers": "".join(map(str, answers)),
        "strengths": [None, 2] * 100,
        "pairs": {"made": pairs, "own": own},
    }
    scores = judge.scores({"test": test})
    found = finish.interval(scores["macro_f1"])
    assert found["value"] == pytest.approx(macro_f1(targets, answers, 3))
    assert found["interval"] == pytest.approx(macro_f1_interval(targets, answers, 3, groups=groups))
    expected = {
        "made_accuracy": 0.5,
        "made_moved": 1,
        "own_accuracy": 2 / 3,
        "strength_error": 2,
        "valid_json": 1,
    }
    assert {name: scores[name][0] for name in expected} == pytest.approx(expected)
    assert scores["format_accuracy"][0] == 0.5
    test["answers"] = "-" * 200
    nothing = judge.scores({"test": test})
    assert (nothing["macro_f1"][0], nothing["accuracy"][0], nothing["valid_json"][0]) == (0, 0, 0)


@pytest.fixture(scope="module")
def tiny_writer(tmp_path_factory):
    """A folder with a language model of one narrow layer behind SmolLM2's tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(assets.path("smollm2"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_dry_run_makes_every_kind_of_experiment_and_its_figures(
    script, tiny_writer, comments, tmp_path, monkeypatch
):
    rows, preference, finish = script("preference_rows"), script("preference"), script("preference_finish")
    monkeypatch.setattr(rows, "splits", lambda: splits.split(comments.sample(600, random_state=0)))
    rows.pack(tmp_path / "rows.json.gz", quick=True)
    given = rows.load(tmp_path / "rows.json.gz")
    groups = [set(part["group"]) for part in given.values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    preference.train(tmp_path / "rows.json.gz", tmp_path, tiny_writer, 5, workers=0, quick=True)
    runs = preference.Board(tmp_path, tmp_path, 0).runs()
    # A model that knows nothing writes no JSON: of its own answers none is better.
    assert {name: run["error"] for name, run in runs.items() if "error" in run} == {
        "dpo-own/1": "ValueError: the start's own answers earn the same everywhere: no pairs"
    }
    assert set(runs) == {"rows", *preference.QUICK}
    for name in ("STORED", "RESULTS"):
        monkeypatch.setattr(finish, name, tmp_path / name)
    finish.finish(tmp_path / "runs.jsonl")
    found = json.loads((tmp_path / "RESULTS").read_text(encoding="utf-8"))
    assert list(found["means"]) == ["start", "sft", "dpo", "grpo-exact", "grpo-popular"]
    assert [point["step"] for point in found["curves"]["dpo"]["1"]["curve"]] == [0, 1, 2]
    assert found["curves"]["dpo"]["1"]["curve"][0]["kl_token"] == pytest.approx(0, abs=1e-6)
    assert found["curves"]["dpo"]["1"]["losses"][0] == pytest.approx(np.log(2), abs=1e-4)
    assert [point["step"] for point in found["rewards"]["grpo-exact"]["1"]["held_out"]] == [0, 1, 2]
    assert "dpo-own/1" in found["failed"]


@pytest.mark.skipif(not RESULTS.is_file(), reason="not measured yet")
def test_the_stored_results_are_complete(script):
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert {"start", "sft", "dpo", "grpo-exact", "grpo-popular"} <= set(found["means"])
    assert "NVIDIA" in found["machine"]["device"]
    for scores in (*found["means"].values(), *found["minus_start"].values()):
        for score in scores.values():
            assert score["interval"][0] <= score["value"] <= score["interval"][1]
    for own in found["curves"].values():
        assert all(2 <= len(run["curve"]) <= 5 for run in own.values())
    for own in found["rewards"].values():
        assert all(len(run["curve"]) <= 60 for run in own.values())


def test_the_readme_tells_what_was_stored():
    readme = (
        (ROOT / "README.md").read_text(encoding="utf-8").split("And from preferences?")[1].split("###")[0]
    )
    results = ROOT / "benchmarks" / "results"
    chapter = json.loads((results / "preference_chapter.json").read_text(encoding="utf-8"))["means"]
    longer = json.loads((results / "preference.json").read_text(encoding="utf-8"))
    for family in ("start", "dpo"):
        pairs, f1 = chapter[family]["pair_accuracy"], chapter[family]["macro_f1"]["value"]
        low, high = pairs["interval"]
        assert f"{pairs['value']:.2f} ({low:.2f} to {high:.2f})" in readme
        assert f" {f1:.2f}" in readme
    for family, sign in (("dpo", ""), ("sft", "+")):
        change = longer["minus_start"][family]["macro_f1"]
        low, high = change["interval"]
        assert f"{sign}{change['value']:.3f} ({low:.3f} to {high:.3f}" in readme
    assert f"macro-F1 is {longer['means']['grpo-popular']['macro_f1']['value']:.3f}" in readme
    curves = [run["curve"] for run in longer["rewards"]["grpo-popular"].values()]
    points = min(map(len, curves))
    ends = [point["rewards"]["popular"] for curve in curves for point in curve[points - points // 5 : points]]
    assert f'"popular" pays {np.mean(ends):.2f} in the end' in readme


def test_the_goal_of_the_repeated_training_is_met():
    """Ten more pairs of a hundred are right, and the task score is not lower, with every seed."""
    means = json.loads((ROOT / "benchmarks/results/preference_chapter.json").read_text(encoding="utf-8"))[
        "means"
    ]
    assert means["dpo"]["pair_accuracy_gain"]["value"] >= 0.1
    assert means["dpo"]["pair_accuracy_gain"]["interval"][0] > 0
    pairs = zip(means["start"]["macro_f1"]["seeds"], means["dpo"]["macro_f1"]["seeds"])
    assert all(after >= before for before, after in pairs)
