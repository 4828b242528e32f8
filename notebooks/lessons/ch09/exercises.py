"""Exercises of chapter 09: three to diagnose, three to choose and defend, four to build."""

import functools
import math
import random

import torch
from safetensors.torch import load_file

from helpers import assets
from helpers.data import cleaning, sources
from helpers.data.token_stream import positions
from lessons.ch09 import answers
from lessons.ch09.decoder import Decoder, DecoderConfig, KVCache, document_mask, rotation
from lessons.ch09.writing import keep_top_p
from lessons.exercise import Exercise

SIGN = 0  # of SmolLM2's vocabulary: <|endoftext|>
STORY = (
    "the old man sat by the sea and mended the net. the sea was calm and the sun was low. the boy came down "
    "the path and sat with the old man, and the two looked at the sea. then the wind came, and the net was "
    "done, and the man and the boy went home by the path with the net and the last of the bread. "
)


def _returned(attempt):
    """What the learner's function returns; the value itself is as good."""
    return attempt() if callable(attempt) else attempt


def _named(attempt, names: set[str], right: dict[str, str], clue: dict[str, str]) -> None:
    """Check an attempt {"a": name, ...}: the form first, then how many are right, then a clue for one."""
    attempt = _returned(attempt)
    if not isinstance(attempt, dict) or set(attempt) != set(right):
        raise AssertionError(f"expected a dictionary with the keys a, b and c, found {attempt!r}")
    for letter, name in attempt.items():
        if name not in names:
            raise AssertionError(f"{letter} must be one of {', '.join(sorted(names))}, found {name!r}")
    if len(set(attempt.values())) < len(attempt):
        raise AssertionError("each name belongs to one letter: two of yours are the same")
    wrong = [letter for letter, name in attempt.items() if right[letter] != name]
    if wrong:
        raise AssertionError(f"{len(wrong)} of 3 are wrong; {clue[right[wrong[0]]]}")


def _counted(shift: int) -> tuple[float, str]:
    """Loss (nats per letter) and writing of a model that counts what stands `shift` behind three letters."""
    followers = {}
    for place in range(2, len(STORY) - shift):
        for size in (1, 2, 3):  # fewer letters are asked where three were never seen
            followers.setdefault(STORY[place - size + 1 : place + 1], []).append(STORY[place + shift])
    loss = 0.0
    for place in range(2, len(STORY) - shift):
        seen = followers[STORY[place - 2 : place + 1]]
        loss += math.log(len(seen) / seen.count(STORY[place + shift]))
    draw, written = random.Random(0), "the"
    for _ in range(45):
        known = next(written[-size:] for size in (3, 2, 1) if written[-size:] in followers)
        written += draw.choice(followers[known])
    return loss / (len(STORY) - shift - 2), written


def three_shifts_answers() -> None:
    """Print what the three learners of exercise 9.2 saw."""
    for letter, shift in {"a": 2, "b": 0, "c": 1}.items():
        loss, written = _counted(shift)
        print(f"{letter}: loss {loss:.2f} nats per letter, writes {written!r}")


three_shifts = Exercise(
    verify=lambda attempt: _named(
        attempt,
        {"none", "once", "twice"},
        answers.three_shifts(),
        {
            "none": "whose task is so easy that nothing can be learnt from it?",
            "once": "which text has words of the story in it?",
            "twice": "which model leaves letters out?",
        },
    ),
    hints=(
        "Look at the losses first: one is too good to be true. What is easiest to predict from a letter?",
        "A model that predicts two ahead writes every second letter of something.",
    ),
    answer=answers.three_shifts,
    praise="A loss of 0 and a text of one letter is copying; a text with holes is a shift too many.",
)


def _verify_ruler(attempt):
    for text, count in (("plain text", 3), ("Great 😍🔥", 4), ("我爱", 5)):
        log_p = torch.linspace(-1, -3, count)
        found = attempt(log_p, text)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise AssertionError(f"expected a Python number, found {type(found).__name__}; .item() makes one")
        right = answers.ruler(log_p, text)
        if math.isclose(found, -right, rel_tol=1e-5):
            raise AssertionError(f"{found:.3f} bits per byte is negative: logarithms of chances are below 0")
        if math.isclose(found, right * math.log(2), rel_tol=1e-5):
            raise AssertionError("these are nats per byte; a nat is 1 / ln 2 bits")
        if math.isclose(found, right * len(text.encode()) / len(text), rel_tol=1e-5) and not text.isascii():
            raise AssertionError(f"{text!r} has {len(text)} characters, but {len(text.encode())} bytes")
        if math.isclose(found, right * len(text.encode()) / count, rel_tol=1e-5):
            raise AssertionError("these are bits per token; divide by the bytes of the text")
        if not math.isclose(found, right, rel_tol=1e-5):
            raise AssertionError(f"for {text!r} and {count} tokens expected {right:.3f}, found {found:.3f}")


ruler = Exercise(
    verify=_verify_ruler,
    hints=("The sum of the logarithms, not their mean.", "`len(text.encode())` counts bytes."),
    answer=answers.ruler,
    praise="Sum over tokens, divide by bytes: this number can be compared between all tokenizers.",
)


def _verify_whole_documents(attempt):
    draw, length, sign = random.Random(0), 64, 0
    documents = [[draw.randrange(1, 50) for _ in range(draw.randrange(2, 24))] for _ in range(60)]
    rows = attempt(documents, length, sign)
    samples = [rows[place] for place in range(len(rows))]
    for place, sample in enumerate(samples):
        if not isinstance(sample, dict) or set(sample) != {"input_ids", "position_ids"}:
            raise AssertionError("a sample must be a dictionary with input_ids and position_ids")
        for name, tensor in sample.items():
            shape, dtype = getattr(tensor, "shape", None), getattr(tensor, "dtype", None)
            if shape != (length,) or dtype != torch.int64:
                raise AssertionError(
                    f"{name} of sample {place} must be int64 ({length},), found {dtype} "
                    f"{tuple(shape) if shape is not None else type(tensor).__name__}"
                )
    ids = torch.cat([sample["input_ids"] for sample in samples]) if samples else torch.zeros(0)
    found = [part for part in _between(ids.tolist(), sign) if part]
    if found != documents:
        lost = len(documents) - len(found)
        what = f"{len(found)} documents came back, expected {len(documents)}" if lost else "one was changed"
        raise AssertionError(f"the documents must come back whole and in order: {what}")
    if any(sample["input_ids"][0] != sign for sample in samples):
        raise AssertionError("each block must begin with the sign of its first document: one was cut in two")
    for place, sample in enumerate(samples):
        if not torch.equal(sample["position_ids"], positions(sample["input_ids"], sign)):
            raise AssertionError(f"position_ids of sample {place} must be 0 at each sign and then count up")
    filling = 1 - sum(len(document) + 1 for document in documents) / len(ids)
    if filling > 0.25:
        raise AssertionError(f"{filling:.0%} of all places are filling; put more documents into a block")


def _between(ids: list[int], sign: int) -> list[list[int]]:
    parts = [[]]
    for number in ids:
        if number == sign:
            parts.append([])
        else:
            parts[-1].append(number)
    return parts


whole_documents = Exercise(
    verify=_verify_whole_documents,
    hints=(
        "Decide in `__init__` which documents share a block; `__getitem__` then only fills and converts.",
        "A document needs 1 + len(document) places. Does it still fit? Else begin a new block.",
        "Positions: 0 at each sign, the filling included, else one more than before.",
    ),
    answer=answers.WholeDocuments,
    praise="No document is cut, and the positions say where each begins.",
)


@functools.cache
def _tiny() -> Decoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Decoder(DecoderConfig(51, 32, layers=2, heads=4, key_value_heads=2, intermediate=64)).eval()


def _packed_logits(documents, kind: str) -> torch.Tensor:
    model = _tiny()
    ids = torch.tensor([[number for document in documents for number in (0, *document)]])
    places = positions(ids[0], 0)[None]
    if kind == "no boundaries":
        places = torch.arange(ids.shape[1])[None]
    mask = document_mask(places, ids.shape[1])
    if kind == "sees the future":
        mask = mask | mask.mT
    with torch.inference_mode():
        x, turn = model.embed_tokens(ids), rotation(places, 8, 1e5)
        for layer in model.layers:
            x = layer(x, turn, mask)
        return model.logits(model.norm(x))[0]


def packers():
    """Three functions from documents (lists of ids 1 to 50) to logits (L, V), in the order a, b, c."""
    return tuple(
        functools.partial(_packed_logits, kind=kind) for kind in ("sees the future", "no boundaries", "right")
    )


three_packers = Exercise(
    verify=lambda attempt: _named(
        attempt,
        {"right", "no boundaries", "sees the future"},
        answers.three_packers(),
        {
            "no boundaries": "change one document and look at the logits of its neighbour",
            "sees the future": "change the last token of a document and look at the logits before it",
            "right": "which one moves in neither experiment?",
        },
    ),
    hints=(
        "One experiment for each fault: change something that must have no effect, and compare logits.",
        "`(a([[5, 6, 7], [8, 9]]) - a([[5, 6, 9], [8, 9]])).abs().amax(-1)`: which rows may move?",
    ),
    answer=answers.three_packers,
    praise="Two experiments, two faults: that is how a packing is tested.",
)


@functools.cache
def _hidden_lengths() -> list[int]:
    """Tokens of hidden comments, each with its sign."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(assets.path("smollm2"))
    return [1 + len(ids) for ids in tokenizer(_hidden_texts(29))["input_ids"]]


@functools.cache
def _hidden_texts(every: int) -> list[str]:
    return [cleaning.clean_text(text) for text in sources.comments()["text"].iloc[7::every]]


def _verify_block_length(attempt):
    attempt = _returned(attempt)
    if isinstance(attempt, bool) or not isinstance(attempt, int) or attempt < 1:
        raise AssertionError(f"expected a whole number of tokens, found {attempt!r}")
    if attempt > 512:
        raise AssertionError(f"in a block of {attempt:,} tokens the last one looks at more than 512 places")
    starts, cut, place = attempt, 0, 0
    for length in _hidden_lengths():
        cut += place // starts != (place + length - 1) // starts
        place += length
    share = cut / len(_hidden_lengths())
    if share > 1 / 8:
        raise AssertionError(
            f"blocks of {attempt} tokens cut {share:.0%} of the hidden comments in two; choose longer blocks"
        )


block_length = Exercise(
    verify=_verify_block_length,
    hints=(
        "A cut falls every `length` tokens, and nearly each cut hits a document.",
        "Comments have about 25 tokens. How many of them lie in a block, and how many of these are cut?",
    ),
    answer=answers.block_length,
    praise="Few comments are cut, and attention stays affordable; any length in this band is a good answer.",
)


def _verify_sliding_cache(attempt):
    torch.manual_seed(0)
    parts = [torch.randn(2, 1, 2, size, 4) for size in (5, 1, 1, 3)]  # keys and values of each call
    cache, everything, place = attempt(3), KVCache(), 0
    for call, part in enumerate(parts):
        kept, size = min(3, place), part.shape[3]
        places = torch.arange(place, place + size)[None]
        expected = everything.see(places)[:, -(kept + size) :]
        found = cache.see(places)
        if not isinstance(found, torch.Tensor) or not torch.equal(found, expected):
            raise AssertionError(
                f"call {call + 1} of see must return the {kept} positions that were kept and the {size} new "
                f"ones, {expected.tolist()}, found {found.tolist() if hasattr(found, 'tolist') else found!r}"
            )
        for layer in (0, 1):
            wanted = everything.append(layer, *(part * (layer + 1)))
            got = cache.append(layer, *(part * (layer + 1)))
            for name, one, other in zip(("keys", "values"), got, wanted):
                if not torch.equal(one, other[:, :, -(kept + size) :]):
                    raise AssertionError(
                        f"call {call + 1} of append, layer {layer}: expected {kept + size} {name} (kept and "
                        f"new), found {one.shape[2]}, or others"
                    )
        place += size
    held = [t for t in vars(cache).values() if isinstance(t, torch.Tensor)]
    held += [t for d in vars(cache).values() if isinstance(d, dict) for t in d.values()]
    if any(max(t.shape[1:3]) > 3 for t in held if t.ndim in (2, 4)):
        raise AssertionError("the cache still holds more than `window` places: the memory grows")


sliding_cache = Exercise(
    verify=_verify_sliding_cache,
    hints=(
        "Begin with a copy of KVCache. What is returned and what is stored need not be the same tensor.",
        "Store `keys[:, :, -window:]`, return `keys`; the same for values, and for positions along dim 1.",
    ),
    answer=answers.SlidingCache,
    praise="The text may grow for ever, the memory does not; mistral's sliding window does the same.",
)


def _verify_min_p(attempt):
    logits = torch.tensor([[0.6, 0.3, 0.07, 0.03], [0.25, 0.25, 0.25, 0.25]]).log()
    before = logits.clone()
    for share, wanted in ((0.45, [[0, 1], [0, 1, 2, 3]]), (0.08, [[0, 1, 2], [0, 1, 2, 3]])):
        found = attempt(logits, share)
        if not isinstance(found, torch.Tensor) or found.shape != logits.shape:
            what = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise AssertionError(f"expected logits of shape (2, 4), found {what}")
        if not torch.equal(logits, before):
            raise AssertionError("the given logits were changed in place; make new ones")
        kept = [row.isfinite().nonzero()[:, 0].tolist() for row in found]
        if kept != wanted:
            raise AssertionError(
                f"with chances 60%, 30%, 7%, 3% and share {share} the places {wanted[0]} stay, and of four "
                f"equal ones all; found {kept[0]} and {kept[1]}"
            )
        if not torch.equal(found[found.isfinite()], logits[found.isfinite()]):
            raise AssertionError("logits that stay must not change")


min_p = Exercise(
    verify=_verify_min_p,
    hints=(
        "The limit differs from row to row: `p.amax(-1, keepdim=True)`.",
        "`logits.masked_fill(p < limit, -torch.inf)` makes new logits.",
    ),
    answer=answers.keep_min_p,
    praise="This cut adapts to how sure the model is, without any sorting.",
)


def _always_the_same(logits, top_p):
    return int(
        keep_top_p(logits, top_p).softmax(-1).multinomial(1, generator=torch.Generator().manual_seed(1))
    )


def _cuts_too_early(logits, top_p):
    values, order = logits.softmax(-1).sort(descending=True)
    kept = (values.cumsum(-1) <= top_p).index_fill(0, torch.tensor([0]), True)
    return int(order[torch.where(kept, values, 0).multinomial(1)])


def _right(logits, top_p):
    return int(keep_top_p(logits, top_p).softmax(-1).multinomial(1))


def samplers():
    """Three functions from logits (V,) and top_p to one drawn token, in the order a, b, c."""
    return _always_the_same, _cuts_too_early, _right


three_samplers = Exercise(
    verify=lambda attempt: _named(
        attempt,
        {"right", "cuts too early", "always the same"},
        answers.three_samplers(),
        {
            "right": "with top_p 1 and equal logits each token must come sometimes",
            "cuts too early": "take chances 60%, 30%, 10% and top_p 0.7: two tokens must be possible",
            "always the same": "draw ten times from equal logits",
        },
    ),
    hints=(
        "Choose logits whose answer you know: `torch.tensor([0.6, 0.3, 0.1]).log()`.",
        "Top-p keeps the token that *reaches* p. With top_p 0.7 that is the second one here.",
    ),
    answer=answers.three_samplers,
    praise="Known chances, many draws: a sampler is tested like a die.",
)


@functools.cache
def _hidden_places() -> tuple[torch.Tensor, torch.Tensor]:
    """What likelier tokens have together, at T places of hidden comments.

    For all tokens, the likeliest first (T, V), and for those that people wrote there (T,).
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(assets.path("smollm2"))
    tensors = load_file(assets.path("smollm2") / "model.safetensors")
    with torch.device("meta"):
        model = Decoder(DecoderConfig())
    model.load_state_dict({n.removeprefix("model."): t.float() for n, t in tensors.items()}, assign=True)
    before, of_written = [], []
    for ids in tokenizer(_hidden_texts(2000))["input_ids"]:
        x = torch.tensor([SIGN, *ids])
        with torch.inference_mode():
            values, order = model(x[None])[0, :-1].softmax(-1).sort(descending=True)
        before.append(values.cumsum(-1) - values)
        of_written.append(before[-1].gather(1, (order == x[1:, None]).int().argmax(1, keepdim=True))[:, 0])
    return torch.cat(before), torch.cat(of_written)


def kept_by(top_p: float) -> tuple[float, float]:
    """On hidden comments: share of the written tokens that pass `top_p`, and tokens left per place."""
    before, of_written = _hidden_places()
    return (of_written < top_p).float().mean().item(), (before < top_p).sum(1).float().mean().item()


def _verify_nucleus(attempt):
    attempt = _returned(attempt)
    if isinstance(attempt, bool) or not isinstance(attempt, int | float) or not 0 < attempt <= 1:
        raise AssertionError(f"expected a number above 0 and at most 1, found {attempt!r}")
    share, left = kept_by(attempt)
    found = (
        f"top_p {attempt} lets {share:.0%} of the written tokens through, and leaves {left:,.0f} per place"
    )
    if share < 0.8:
        raise AssertionError(f"{found}: people say what this model cannot say; choose a larger one")
    if left > 2000:
        raise AssertionError(f"{found}: too much noise; choose a smaller one")


nucleus = Exercise(
    verify=_verify_nucleus,
    hints=(
        "If the model were well calibrated, top_p would be the share of written tokens that pass. It is too "
        "sure of itself on these comments: take more.",
        "The number of tokens that are left grows very fast near 1.",
    ),
    answer=answers.nucleus,
    praise="The model may say nearly all that people say, and the tail of the vocabulary is cut off.",
)


@functools.cache
def _hidden_matrices() -> list[torch.Tensor]:
    tensors = load_file(assets.path("smollm2") / "model.safetensors")
    names = ("7.mlp.down_proj", "22.mlp.up_proj", "13.self_attn.q_proj")
    return [tensors[f"model.layers.{name}.weight"].float() for name in names]


def scheme_costs(bits: int, block: int) -> tuple[float, float]:
    """Megabytes of all weights, and the relative error of hidden matrices."""
    linear, others = 106_168_320, 28_346_688  # parameters of SmolLM2-135M
    size = (linear * (bits + 16 / block) + others * 16) / 8 / 1e6
    errors = []
    for weight in _hidden_matrices():
        groups, most = weight.reshape(-1, block), 2 ** (bits - 1) - 1
        scale = groups.abs().amax(1, keepdim=True) / most
        errors.append((((groups / scale).round() * scale - groups).norm() / groups.norm()).item())
    return size, sum(errors) / len(errors)


def _verify_scheme(attempt):
    attempt = _returned(attempt)
    if not isinstance(attempt, dict) or set(attempt) != {"bits", "block"}:
        raise AssertionError(f'expected {{"bits": ..., "block": ...}}, found {attempt!r}')
    bits, block = attempt["bits"], attempt["block"]
    if bits not in range(2, 9) or block not in (16, 32, 64, 96):
        raise AssertionError(f"bits must be 2 to 8 and block 16, 32, 64 or 96, found {bits!r} and {block!r}")
    size, error = scheme_costs(bits, block)
    found = f"{bits} bits with blocks of {block} take {size:.0f} MB, with an error of {error:.0%}"
    if size > 115:
        raise AssertionError(f"{found}: more than 115 MB; where can half a bit per weight be saved?")
    if error > 0.15:
        raise AssertionError(f"{found}: there is a choice of this size with half the error")


scheme = Exercise(
    verify=_verify_scheme,
    hints=(
        "A block of n weights costs 16 / n bits per weight for its scale. What is left of your budget?",
        "Compare 3 bits in the smallest blocks with 4 bits in large ones.",
    ),
    answer=answers.scheme,
    praise="A bit more per weight halves the steps; a smaller block only shortens those of quiet blocks.",
)
