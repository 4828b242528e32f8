"""Conversations as tokens: what is learnt, what is padding, and what packing must not change."""

import copy
import json

import pytest
import torch
from torch import nn

from helpers.data import sources
from helpers.data.chat import IGNORED, AnswerCollate, ChatDataset, PackedCollate, conversation_ids, prompt_ids
from helpers.errors import InputError
from helpers.models.forward import forward
from helpers.training.losses import CausalLM

DEFAULT = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
END = "<|im_end|>"


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


ONE = [user("Capital of France?"), assistant("Paris.")]
TWO = [user("Hi"), assistant(" Hello!\n\nYou? 👋🏽"), user("مرحبا"), assistant("שלום")]
SYSTEM = [{"role": "system", "content": "Be short."}, *ONE]


def turn(role, text):
    return f"<|im_start|>{role}\n{text}{END}\n"


@pytest.mark.parametrize(
    ("messages", "system", "first"),
    [
        (ONE, None, turn("system", DEFAULT)),
        (ONE, "Be kind.", turn("system", "Be kind.")),
        (TWO, None, turn("system", DEFAULT)),
        (TWO, "", turn("system", "")),
        (SYSTEM, "Be kind.", turn("system", "Be short.")),
        ([user("?"), assistant("\n")], None, turn("system", DEFAULT)),
        ([user("?"), assistant("x")], None, turn("system", DEFAULT)),
    ],
)
def test_labels_stand_on_the_answers_and_their_end_signs_alone(messages, system, first, tokenizer):
    ids, labels = conversation_ids(messages, tokenizer, system)
    turns = [message for message in messages if message["role"] != "system"]
    assert tokenizer.decode(ids) == first + "".join(turn(m["role"], m["content"]) for m in turns)
    assert len(ids) == len(labels)
    assert all(label in (token, IGNORED) for token, label in zip(ids, labels))
    learnt = tokenizer.decode([label for label in labels if label != IGNORED])
    assert learnt == "".join(m["content"] + END + "\n" for m in turns if m["role"] == "assistant")


@pytest.mark.parametrize(("messages", "system"), [(ONE, None), (TWO, "Be kind."), (SYSTEM, None)])
def test_the_model_learns_to_continue_what_it_will_be_asked(messages, system, tokenizer):
    """Every prompt of a conversation, as it is in use, and the answer behind it are its beginning."""
    ids, labels = conversation_ids(messages, tokenizer, system)
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            asked = prompt_ids(messages[:place], tokenizer, system)
            answer = tokenizer.encode(message["content"] + END + "\n", add_special_tokens=False)
            whole = asked + answer
            assert ids[: len(whole)] == whole
            assert labels[len(asked) - 1 : len(whole)] == [IGNORED, *answer]


def with_template(tokenizer, template):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = template
    return tokenizer


LAST_ONLY = (
    "{% for m in messages %}{% if loop.last or m.role == 'user' %}{{ m.content }}|{% endif %}{% endfor %}"
)
REFUSING = "{% if messages[0].role == 'system' %}{{ raise_exception('no system message') }}{% endif %}x"


def test_templates_that_leave_no_place_for_an_answer_are_refused(tokenizer):
    assert conversation_ids(ONE, with_template(tokenizer, LAST_ONLY))
    with pytest.raises(InputError, match="answer 4 it changed what stood before it"):
        conversation_ids(TWO, with_template(tokenizer, LAST_ONLY))
    with pytest.raises(InputError, match="refuses the messages: no system message"):
        conversation_ids(SYSTEM, with_template(tokenizer, REFUSING))


def test_an_answer_without_an_end_sign_is_learnt_whole(tokenizer):
    plain = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    labels = conversation_ids(ONE, with_template(tokenizer, plain))[1]
    assert tokenizer.decode([label for label in labels if label != IGNORED]) == "Paris.\n"


def test_too_long_conversations_are_named_and_not_cut(tokenizer):
    length = len(conversation_ids(ONE, tokenizer)[0])
    assert ChatDataset([ONE], tokenizer, length).lengths.tolist() == [length]
    with pytest.raises(InputError, match=f"conversation 1 has .* at most {length}"):
        ChatDataset([ONE, TWO], tokenizer, length)
    with pytest.raises(InputError, match="conversation b has"):
        ChatDataset([ONE, TWO], tokenizer, length, names=["a", "b"])


def test_padding_is_told_by_its_place_though_it_is_the_end_sign(tokenizer):
    dataset = ChatDataset([TWO, ONE], tokenizer, 99)
    batch = AnswerCollate(tokenizer.eos_token_id)([dataset[0], dataset[1]])
    long, short = dataset.lengths
    assert batch["input_ids"].shape == batch["labels"].shape == (2, long)
    assert batch["attention_mask"].tolist() == [[1] * long, [1] * short + [0] * (long - short)]
    assert batch["labels"][1, short:].tolist() == [IGNORED] * (long - short)
    assert (batch["labels"] == tokenizer.eos_token_id).sum(1).tolist() == [2, 1]
    assert batch["indices"].tolist() == [0, 1]


@pytest.fixture(scope="module")
def samples(tokenizer):
    dataset = ChatDataset([TWO, ONE, SYSTEM], tokenizer, 200)
    return [dataset[index] for index in range(3)]


def read_packed(model, batch):
    named = {name: batch[name] for name in ("input_ids", "position_ids")}
    return model(**named, use_cache=False).logits


def test_packing_changes_no_sum_and_no_logits(samples, random_lm):
    model, loss = random_lm.model, CausalLM()
    padded, packed = AnswerCollate(2)(samples), PackedCollate()(samples)
    assert loss.items(packed) == loss.items(padded)
    assert loss(model, packed).item() == pytest.approx(loss(model, padded).item(), abs=1e-4, rel=1e-6)
    with torch.no_grad():
        one = forward(model, AnswerCollate(2)(samples[1:2]))[0]
        packed = read_packed(model, packed)[0, len(samples[0]["input_ids"]) :][: len(one)]
        other = PackedCollate()([samples[2], samples[1]])
        other = read_packed(model, other)[0, len(samples[2]["input_ids"]) :]
    assert torch.allclose(packed, one, atol=1e-4)
    assert torch.allclose(other, one, atol=1e-4)


def test_nobody_learns_a_beginning_from_the_end_of_another(samples):
    told = [{**sample, "labels": sample["input_ids"].clone()} for sample in samples]
    loss = CausalLM()
    assert loss.items(PackedCollate()(told)) == loss.items(AnswerCollate(2)(told))
    assert told[1]["labels"][0] != IGNORED  # the dataset's own rows are left alone


class Plain(nn.Module):
    """Logits (B, L, V), and none of the methods of transformers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head = nn.Embedding(50_000, 8), nn.Linear(8, 50_000)

    def forward(self, input_ids, attention_mask):
        return self.head(self.table(input_ids))


@pytest.mark.parametrize("kind", ["transformers", "plain"])
def test_the_loss_is_the_cross_entropy_of_the_full_logits(kind, samples, random_lm):
    model = copy.deepcopy(random_lm.model) if kind == "transformers" else Plain()
    batch = AnswerCollate(2)(samples)
    logits = forward(model, batch)[:, :-1]
    expected = nn.functional.cross_entropy(
        logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="sum"
    )
    expected.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    found = CausalLM()(model, batch)
    found.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for gradient, parameter in zip(gradients, model.parameters()):
        assert torch.allclose(parameter.grad, gradient, rtol=1e-3, atol=1e-4)
    assert not getattr(model, "lm_head", model.train())._forward_pre_hooks


def test_a_comment_makes_a_conversation():
    row = {"text": "Nice.", "label": "positive", "rating": 2.6, "platform": "movies"}
    messages = sources.conversation(row)
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]
    assert messages[1]["content"] == "Nice."
    answer = json.loads(messages[2]["content"])
    assert (answer["sentiment"], answer["strength"]) == ("positive", 3)
