"""What chapter 10 shows of the language model: fair pairs, copies that are found, a file that is whole."""

import importlib
import json

import numpy as np
import pytest
import torch

from helpers import assets
from helpers.data.sources import one_person
from helpers.files import ROOT
from helpers.training.metrics import macro_f1_interval, paired_interval

RESULTS = ROOT / "benchmarks" / "results" / "chat.json"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def rows():
    """Targets, groups, and answers of two methods, the first of which is better."""
    rng = np.random.default_rng(1)
    targets, groups = rng.integers(3, size=300), rng.integers(60, size=300)
    worse = np.where(rng.random(300) < 0.5, targets, rng.integers(3, size=300))
    better = np.where(rng.random(300) < 0.5, targets, worse)
    return targets, groups, better, worse


def test_intervals_are_those_of_the_courses_metrics(script, rows):
    compare = script("chat_compare")
    targets, groups, better, worse = rows
    drawn = compare.draws(groups)
    first, second = (compare.table(answers, targets, drawn) for answers in (better, worse))
    alone = compare.as_scores(first)
    assert alone["interval"] == pytest.approx(macro_f1_interval(targets, better, 3, groups=groups))
    both = compare.as_scores(first - second)
    assert both["interval"] == pytest.approx(paired_interval(targets, better, worse, 3, groups=groups))


def judge_of(compare, targets, groups, runs):
    judge = object.__new__(compare.Judge)
    judge.targets, judge.tables, judge.draws = targets, {}, compare.draws(groups)
    judge.runs = [
        {"key": {"way": way, "seed": seed}, "answers": "".join(map(str, answers))}
        for way, seed, answers in runs
    ]
    return judge


def test_a_difference_is_of_the_seeds_that_both_have(script, rows):
    targets, groups, better, worse = rows
    runs = [("a", 1, better), ("a", 2, worse), ("b", 1, worse), ("b", 3, better)]
    judge = judge_of(script("chat_compare"), targets, groups, runs)
    found = judge.difference(judge.find(way="a"), judge.find(way="b"))
    assert found["of_seeds"] == [1]
    assert found["difference"] > 0
    expected = np.mean(better == targets) - np.mean(worse == targets)
    assert found["accuracy_difference"] == pytest.approx(expected)
    assert judge.difference(judge.find(way="a")[1:], judge.find(way="b")) == {"seeds": 0}


def test_one_person_is_scored_as_the_course_scores_people(script):
    finish, compare = script("chat_finish"), script("chat_compare")
    ratings = [[-3, -1, 0, 2], [0, 0, 1], [3, 2, 4, -1, 2], [-2, -2]]
    scores = compare.as_scores(finish.person_table(ratings, compare.draws(np.arange(4))))
    expected = one_person(ratings)
    assert scores["accuracy"] == pytest.approx(expected["accuracy"])
    assert scores["macro_f1"] == pytest.approx(expected["macro_f1"])


def test_copies_are_found(script):
    texts = script("chat_texts")
    learned = texts.words_of("I would not buy this phone again, it broke after one short week!")
    other_case = texts.words_of("i would NOT buy this phone again: it broke after one short week")
    inside = texts.words_of(
        "Well... it broke after one short week! Would not buy this phone again it broke after"
    )
    fresh = texts.words_of("A phone that I would buy again.")
    assert texts.jaccard(learned, other_case) == 1 > texts.NEAR > texts.jaccard(learned, fresh)
    assert texts.grams(inside) & texts.grams(learned)
    assert not texts.grams(fresh) & texts.grams(learned)


def test_a_stopped_call_goes_on_and_two_calls_share_a_file(script, tmp_path):
    models, file = script("chat_models"), tmp_path / "runs.json"
    first, second = models.Store(file), models.Store(file)
    first.measure({"part": "a"}, lambda: {"score": 1})
    second.measure({"part": "b"}, lambda: {"score": 2})
    again = models.Store(file)
    again.measure({"part": "a"}, lambda: pytest.fail("measured twice"))
    assert [run["score"] for run in again.content["runs"]] == [1, 2]


def test_the_runs_of_the_gpu_are_whole(script):
    runs = script("chat_compare").gpu_runs()
    answered = [run for run in runs if run["key"].get("kind") != "texts"]
    assert len(answered) >= 27
    assert {len(run["answers"]) for run in answered} == {4680}
    assert {letter for run in answered for letter in run["answers"]} == set("012")
    [chosen] = [run for run in answered if run["key"] == script("chat_finish").CHOSEN]
    assert len(chosen["answers_test"]) == json.loads(RESULTS.read_text())["all_rows"]["n"]


def test_the_stored_results_are_complete(script):
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    rungs = {(row["rung"], row["rows"]) for row in found["ladder"]}
    sizes = script("chat_models").SIZES
    for rung in ("TF-IDF + linear", "MiniLM", "LoRA"):
        assert {(rung, size) for size in sizes} <= rungs
    assert {("majority", 0), ("VADER", 0), ("zero-shot", 0), ("few-shot", 0), ("one person", 0)} <= rungs
    assert {row["rows"] for row in found["paired"]} == set(sizes)
    assert all(row["interval"][0] <= row["difference"] <= row["interval"][1] for row in found["paired"])
    assert {row["rank"] for row in found["rank"]} == {2, 8, 32}
    assert {row["way"] for row in found["ways"]} == {"full", "lora", "lora-4bit"}
    assert [row["rung"] for row in found["rungs"]] == list(script("chat_rungs").RUNGS)
    assert len({row["kind"] for row in found["distilled"]}) >= 3
    texts = [row for row in found["generated"] if row["kind"] == "generated texts"]
    assert all(0 < row["fidelity"] < 1 and len(row["samples"]) == 12 for row in texts)


def test_speeds_are_tokens_without_padding_by_the_second(script):
    runs = lambda *seconds: [
        {"seconds": s, "real_tokens": 50, "tokens": 100, "steps": 1, "change": 2.0} for s in seconds
    ]
    found = script("rival_chat").speeds({"ours": runs(1, 2, 100), "trainer": runs(5, 5, 5)})
    assert found["ours"]["median"] == 25
    assert found["trainer"]["ours_to_it"] == 2.5
    assert found["trainer"]["tokens_that_are_padding"] == 0.5


@pytest.fixture(scope="module")
def tiny_writer(tmp_path_factory):
    """A folder with a language model of one narrow layer behind SmolLM2's tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(assets.path("smollm2"))
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", ["trainer", "trl"])
def test_a_rival_makes_the_same_update(name, script, tiny_writer):
    rival = script("rival_chat")
    if not rival.available(name):
        pytest.skip("trl is not installed")
    ours, other = (rival.Bench(one, 16, tiny_writer) for one in ("ours", name))
    assert ours.describe() == other.describe()
    first, second = ours.run(seed=0), other.run(seed=0)
    assert first["steps"] == second["steps"] == 1
    assert first["tokens"] == second["tokens"] > first["real_tokens"]
    assert second["change"] == pytest.approx(first["change"], rel=1e-3)
    again = ours.run(seed=0)  # from the first weights
    assert again["change"] == first["change"] > 0
