"""Text from a language model: whole answers in batches, or one piece by piece as it is written (chapter 10).

`generate` of transformers does the work; what a model's own `generation_config.json` says of temperature or
penalties does not count here: how an answer was drawn stands in `Sampling` alone.
"""

import copy
import queue
import re
import threading
import zlib
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from jinja2 import TemplateError
from transformers import GenerationConfig, generation

from helpers.data.chat import prompt_ids
from helpers.errors import InputError
from helpers.models.language import LanguageModel
from helpers.safety.values import MOST, check_types
from helpers.tuning.freezing import evaluating

BATCH = 16
HALF = "\ufffd"  # what a decoder shows for a character of which some bytes are missing
PLAIN = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}


@dataclass(frozen=True)
class Sampling:
    """How each token is chosen, and where an answer ends; a value that cannot be raises an InputError.

    Attributes:
        max_new_tokens: an answer has at most so many, its end sign included.
        temperature: the scores are divided by it before a token is drawn; 0 takes the best one (greedy).
        top_p: only the best tokens that together have this probability are drawn.
        top_k: only so many of the best tokens are drawn; 0 is all.
        stop: texts before which an answer ends, too.
        seed: of the draws; each conversation has draws of its own, whatever else is in its batch.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self):
        check_types(self)
        ranges = {"max_new_tokens": (1, MOST), "temperature": (0, 100), "top_p": (0, 1), "top_k": (0, MOST)}
        for name, (least, most) in ranges.items():
            if not least <= getattr(self, name) <= most:
                raise InputError(f"{name} must be from {least} to {most}, found {getattr(self, name)}")
        if not all(isinstance(text, str) and text for text in self.stop):
            raise InputError(f"stop must hold texts that are not empty, found {self.stop!r}")


GREEDY = Sampling()


class TooLong(InputError):
    """A conversation and its answer are longer than what the model reads."""


@dataclass(frozen=True)
class Written:
    """An answer, the tokens of prompt and answer, and why it ended: "stop", or "length" where it was cut."""

    text: str
    prompt_tokens: int
    new_tokens: int
    finish: str


def generate(lm: LanguageModel, conversations: Sequence[list], sampling: Sampling = GREEDY) -> list[Written]:
    """One answer to each conversation, in their order, written where the model is.

    Example: `generate(lm, [[{"role": "user", "content": "What is the capital of France?"}]])[0].text`

    Raises TooLong: a conversation does not fit with its answer; then none is answered.
    """
    prompts = [_prompt(lm, messages, sampling, number) for number, messages in enumerate(conversations, 1)]
    # Prompts of similar length together: what is padded is computed, too.
    order, written = sorted(range(len(prompts)), key=lambda place: len(prompts[place])), {}
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        written |= zip(places, _write(lm, [prompts[place] for place in places], places, sampling))
    return [written[place] for place in range(len(prompts))]


def stream(
    lm: LanguageModel, messages: list[dict], sampling: Sampling = GREEDY, stop_event=None
) -> Generator[str, None, Written]:
    """The answer to one conversation in pieces of whole characters; the generator returns it as `Written`.

    Example: `for piece in stream(lm, messages): print(piece, end="", flush=True)`

    A thread writes. It ends after its current token when the generator is closed, which leaving the loop
    does, or when `stop_event` (a threading.Event) is set. Raises TooLong: as `generate`.
    """
    prompt, texts, sent, closed = _prompt(lm, messages, sampling), queue.SimpleQueue(), 0, threading.Event()
    events = [event for event in (closed, stop_event) if event]
    is_over = lambda: any(event.is_set() for event in events)
    with ThreadPoolExecutor(1, "writing") as thread:
        writing = thread.submit(_write, lm, [prompt], [0], sampling, texts.put, is_over)
        writing.add_done_callback(lambda _: texts.put(None))
        try:
            for text in iter(texts.get, None):
                if len(text) > sent:
                    yield text[sent:]
                    sent = len(text)
        finally:
            closed.set()
    written = writing.result()[0]
    if len(written.text) > sent:
        yield written.text[sent:]
    return written


def _prompt(lm: LanguageModel, messages: list[dict], sampling: Sampling, number: int = 1) -> list[int]:
    for message in messages:
        signs = [sign for sign in lm.tokenizer.all_special_tokens if sign in message["content"]]
        signs += re.findall("[\ud800-\udfff]", message["content"])  # halves of a pair
        if signs:
            what = f"conversation {number} holds {signs[0]!r}, which is a sign for the model, or no text"
            raise InputError(f"{what}; write it in another way")
    try:
        prompt, new = prompt_ids(messages, lm.tokenizer, lm.system), sampling.max_new_tokens
    except TemplateError as error:
        what = f"the model's template refuses conversation {number} ({error})"
        raise InputError(f"{what}; let user and assistant take turns, the user first") from error
    if len(prompt) + new > lm.max_length:
        what = f"conversation {number} has {len(prompt):,} tokens, with {new:,} new ones more than the"
        raise TooLong(f"{what} {lm.max_length:,} of this model; shorten it, or ask for a shorter answer")
    return prompt


def _write(lm, prompts, places, sampling, tell=None, is_over=lambda: False) -> list[Written]:
    """The answers of one batch, whose rows draw by their `places`; `tell` hears the first one's text grow."""
    longest, device = max(map(len, prompts)), next(lm.model.parameters()).device
    pads, padding = [longest - len(prompt) for prompt in prompts], lm.tokenizer.pad_token_id
    # On the left: an answer continues the last token of its row, which must be one of the prompt.
    ids = torch.tensor([[padding] * n + prompt for n, prompt in zip(pads, prompts)], device=device)  # (B, L)
    mask = torch.tensor([[0] * n + [1] * (longest - n) for n in pads], device=device)
    named = getattr(getattr(lm.model, "generation_config", None), "eos_token_id", None)  # some have two signs
    ends = {lm.tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])} - {None}
    news, done, stop = [[] for _ in prompts], [False] * len(prompts), sampling.stop

    def watch(ids, scores, **_) -> torch.Tensor:
        """Keep what each row has written; which of them are done, bool (B,)."""
        for row, new in enumerate(ids[:, longest:].tolist()):
            if not done[row]:
                text, news[row] = lm.tokenizer.decode(new, **PLAIN) if stop or tell else "", new
                done[row] = is_over() or new[-1] in ends or any(part in text for part in stop)
                if tell and not done[row]:
                    tell(_settled(text, stop))
        return torch.tensor(done, device=ids.device)

    options = {"eos_token_id": sorted(ends), "pad_token_id": padding, "do_sample": False, "num_beams": 1}
    options = GenerationConfig(max_new_tokens=sampling.max_new_tokens, use_cache=True, **options)
    hooks = {"logits_processor": _choice(sampling, places, device), "stopping_criteria": [watch]}
    with evaluating(lm.model):
        model = copy.copy(lm.model)  # the same weights; `generate` would fill every gap from the model's own
        model.generation_config = GenerationConfig()
        model.generate(ids, attention_mask=mask, generation_config=options, **hooks)
    answers = []
    for prompt, new, is_done in zip(prompts, news, done):
        text = lm.tokenizer.decode(new, **PLAIN)
        cuts = [text.index(part) for part in stop if part in text]
        if not cuts and new[-1] not in ends:
            text = text.rstrip(HALF)
        finish = "stop" if is_done else "length"
        answers.append(Written(text[: min(cuts, default=None)], len(prompt), len(new), finish))
    return answers


def _settled(text: str, stop: tuple[str, ...]) -> str:
    """A text without an end that may become another character, or a stop text."""
    text = text.rstrip(HALF)
    for size in range(min(len(text), max(map(len, stop), default=0)), 0, -1):
        if any(part.startswith(text[-size:]) for part in stop):
            return text[:-size]
    return text


def _choice(sampling: Sampling, places: list[int], device: torch.device) -> list:
    """What changes the scores (B, V) so that the best one is the token to take."""
    if sampling.temperature == 0:
        return []
    seeds = [zlib.crc32(f"{sampling.seed}/{place}".encode()) for place in places]
    generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def draw(ids, scores) -> torch.Tensor:
        # The largest score with Gumbel noise is a draw from the softmax. So each row has a generator of its
        # own, and torch's, which is the caller's, is left alone.
        noise = [torch.empty_like(row).exponential_(generator=g) for row, g in zip(scores, generators)]
        return scores - torch.stack(noise).log()

    steps = [generation.TemperatureLogitsWarper(max(sampling.temperature, 1e-6))]
    steps += [generation.TopKLogitsWarper(sampling.top_k)] if sampling.top_k else []
    return [*steps, generation.TopPLogitsWarper(sampling.top_p), draw]
