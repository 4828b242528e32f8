"""Answers of language models: whole and in pieces, alone and in batches, drawn and greedy."""

import copy
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
import torch
from transformers import GenerationConfig

from helpers.errors import InputError
from helpers.generation import BATCH, HALF, Sampling, generate, stream
from helpers.models.language import language_model


def question(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def streamed(lm, sampling, **options):
    """(pieces, what the generator returns)."""
    pieces, parts = stream(lm, question("Say it."), sampling, **options), []
    while True:
        try:
            parts.append(next(pieces))
        except StopIteration as end:
            return parts, end.value


def writing_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("writing")]


def test_an_answer_does_not_depend_on_its_batch_and_keeps_its_place(random_lm):
    asked = [question("word " * (7 * n % 40 + 1)) for n in range(BATCH + 4)]
    for sampling in (Sampling(max_new_tokens=12), Sampling(max_new_tokens=12, temperature=0.8, seed=3)):
        together = generate(random_lm, asked, sampling)
        assert [row.prompt_tokens for row in together] == [
            generate(random_lm, [row], Sampling(max_new_tokens=1))[0].prompt_tokens for row in asked
        ]
        assert together[0] == generate(random_lm, asked[:1], sampling)[0]
        assert together[:3] == generate(random_lm, asked[:3], sampling)
    greedy = generate(random_lm, asked, Sampling(max_new_tokens=12))
    assert greedy == [generate(random_lm, [row], Sampling(max_new_tokens=12))[0] for row in asked]


def test_a_seed_gives_the_same_answer_and_leaves_the_callers_draws_alone(random_lm):
    sampling, before = Sampling(max_new_tokens=20, temperature=1.0, seed=1), torch.get_rng_state()
    first, again, other = (
        generate(random_lm, [question("Hello")], s) for s in (sampling, sampling, replace(sampling, seed=2))
    )
    pieces, written = streamed(random_lm, sampling)
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again != other
    assert "".join(pieces) == written.text
    assert len({row.text for row in generate(random_lm, [question("Hello")] * 3, sampling)}) == 3


def test_tokens_are_drawn_as_often_as_the_model_says(parrot):
    lm = parrot("A")
    tokens = [lm.tokenizer.encode(text)[0] for text in "ABCD"]
    with torch.no_grad():  # the norm makes 1 among 31 zeros the root of 32
        lm.model.lm_head.weight[:, 0] = -10
        lm.model.lm_head.weight[tokens, 0] = torch.tensor([1.0, 0.8, 0.6, 0.2]) / 32**0.5
    for sampling, shown in (
        (Sampling(1, temperature=0.5), {"A": 0.4326, "B": 0.29, "C": 0.1944, "D": 0.0873}),
        (Sampling(1, temperature=0.1, top_k=2), {"A": 0.8808, "B": 0.1192}),
        (Sampling(1, temperature=0.5, top_p=0.7), {"A": 0.5987, "B": 0.4013}),
        (Sampling(1, temperature=5.0, top_p=0.0), {"A": 1.0}),
        (Sampling(1, temperature=1e-40), {"A": 1.0}),
    ):
        counts = Counter(row.text for row in generate(lm, [question("?")] * 160, sampling))
        assert set(counts) == set(shown)
        assert all(abs(counts[text] / 160 - share) < 0.1 for text, share in shown.items()), counts


def test_what_a_model_recommends_does_not_change_an_answer(random_lm):
    sampling = Sampling(max_new_tokens=30)
    expected = generate(random_lm, [question("Hello")], sampling)
    strange = {"do_sample": True, "temperature": 0.1, "repetition_penalty": 9.0, "no_repeat_ngram_size": 1}
    strange |= {"max_length": 3, "min_new_tokens": 30, "suppress_tokens": list(range(1000, 9000))}
    lm = replace(random_lm, model=copy.copy(random_lm.model))
    lm.model.generation_config = own = GenerationConfig(**strange)
    assert generate(lm, [question("Hello")], sampling) == expected
    assert lm.model.generation_config is own


def test_every_end_sign_of_the_model_ends_its_answer(parrot):
    lm = parrot("One two three")
    second = lm.tokenizer.encode(" two")[0]
    lm.model.generation_config = GenerationConfig(eos_token_id=[2, second])
    written = generate(lm, [question("?")])[0]
    assert (written.new_tokens, written.finish) == (2, "stop")


TEXT = "Say: 🐈‍⬛ or 日本 done"  # its cat is of nine tokens
CASES = [
    (Sampling(), TEXT, "stop"),
    (Sampling(stop=("\n",)), TEXT, "stop"),
    (Sampling(stop=("本 d",)), "Say: 🐈‍⬛ or 日", "stop"),  # split over tokens
    (Sampling(stop=("done!", "one")), "Say: 🐈‍⬛ or 日本 d", "stop"),
    (Sampling(stop=("or", " o")), "Say: 🐈‍⬛", "stop"),  # the one that begins first
    (Sampling(stop=("Say",)), "", "stop"),
    (Sampling(max_new_tokens=4), "Say:", "length"),  # in the midst of the cat
]


@pytest.mark.parametrize(("sampling", "text", "finish"), CASES, ids=[str(n) for n in range(len(CASES))])
def test_pieces_are_whole_characters_and_stop_texts_never_leak(sampling, text, finish, parrot):
    lm = parrot(TEXT)
    written = generate(lm, [question("Say it.")], sampling)[0]
    pieces, returned = streamed(lm, sampling)
    assert (written.text.rstrip(), written.finish) == (text.rstrip(), finish)
    assert returned == written
    assert "".join(pieces) == written.text
    assert all(pieces)
    assert not any(HALF in piece for piece in pieces)
    assert len(pieces) > 3 or len(text) < 9
    assert written.new_tokens <= sampling.max_new_tokens


def test_a_stop_text_ends_one_row_and_not_its_neighbours(random_lm):
    asked = [question("Hello"), question("Good evening to all of you")]
    whole = generate(random_lm, asked, Sampling(max_new_tokens=30))
    stop = whole[0].text[10:14]
    assert stop not in whole[1].text
    first, second = generate(random_lm, asked, Sampling(max_new_tokens=30, stop=(stop,)))
    assert first.text == whole[0].text[: whole[0].text.index(stop)]
    assert first.new_tokens < 30 == second.new_tokens
    assert second.text == whole[1].text


def test_who_leaves_the_loop_or_sets_the_event_ends_the_writing(random_lm):
    pieces, began = stream(random_lm, question("Hello"), Sampling(max_new_tokens=900)), time.perf_counter()
    next(pieces)
    assert writing_threads()
    pieces.close()
    assert not writing_threads()
    event = threading.Event()
    for number, _ in enumerate(
        stream(random_lm, question("Hello"), Sampling(max_new_tokens=900), stop_event=event)
    ):
        if number == 2:
            event.set()
    assert not writing_threads()
    took = time.perf_counter() - began
    whole = generate(random_lm, [question("Hello")], Sampling(max_new_tokens=900))[0]
    assert took < time.perf_counter() - began - took
    assert (whole.new_tokens, whole.finish) == (900, "length")


def test_an_error_of_the_thread_reaches_the_caller(random_lm):
    broken = replace(random_lm, model=copy.deepcopy(random_lm.model))
    broken.model.lm_head = torch.nn.Linear(7, 7)
    with pytest.raises(RuntimeError, match="shapes"):
        list(stream(broken, question("Hello")))
    assert not writing_threads()


def test_a_model_in_training_goes_on_training(random_lm):
    lm = replace(random_lm, model=copy.deepcopy(random_lm.model).train())
    pieces, _ = streamed(lm, Sampling(max_new_tokens=3))
    assert pieces
    assert all(module.training for module in lm.model.modules())


def test_what_does_not_fit_is_refused_with_its_place(random_lm):
    short = replace(random_lm, max_length=60)
    asked = [question("Hello"), question("Hello " * 50)]
    with pytest.raises(
        InputError, match=r"conversation 2 has 8\d tokens, with 8 new ones more than the 60 of"
    ):
        generate(short, asked, Sampling(max_new_tokens=8))
    with pytest.raises(InputError, match="more than the 60"):
        list(stream(short, asked[0]))
    assert generate(short, [], Sampling()) == []


@pytest.mark.parametrize(
    "values",
    [
        {"max_new_tokens": 0},
        {"max_new_tokens": 2.5},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": True},
        {"top_p": 1.1},
        {"top_k": -1},
        {"stop": "\n"},
        {"stop": ("",)},
        {"stop": (1,)},
        {"seed": "0"},
    ],
    ids=str,
)
def test_sampling_that_cannot_be_is_refused(values):
    with pytest.raises(InputError, match=f"{next(iter(values))} must"):
        Sampling(**values)


def test_the_real_model_knows_a_capital():
    lm = language_model()
    asked = question("What is the capital of France?")
    [written] = generate(lm, [asked], Sampling(max_new_tokens=20))
    assert "Paris" in written.text
    assert written.finish == "stop"
    assert "".join(stream(lm, asked, Sampling(max_new_tokens=20))) == written.text
