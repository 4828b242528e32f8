"""Promises for any rows, lengths, batches, processes and resume points: more than 2,000 drawn cases."""

import csv
import io
import json
import unicodedata

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import own
from helpers.data import cleaning, splits
from helpers.data.collate import PadCollate
from helpers.data.samplers import BucketBatchSampler
from helpers.errors import InputError
from helpers.own.labels import alike, label_key
from helpers.training.checkpoints import load_checkpoint, save_checkpoint

FAST = {"deadline": None, "suppress_health_check": list(HealthCheck)}
SIZES = st.lists(st.integers(1, 300), min_size=1, max_size=120)
# Everything that people type: quotation marks, separators, line breaks, signs of many scripts, emoji.
TEXTS = st.text(
    st.sampled_from("ab ,;\t\"'\n.:)(5%-+#éßあ好कीŁ\u200d\U0001f600\U0001f1e6")
    | st.characters(codec="utf-8"),
    max_size=25,
)


@settings(max_examples=500, **FAST)
@given(SIZES, st.integers(1, 40), st.integers(1, 4), st.integers(0, 3), st.booleans(), st.data())
def test_each_row_comes_once_for_any_batch_process_epoch_and_resume_point(
    sizes, batch_size, processes, epoch, shuffle, data
):
    many = processes > 1
    if len(sizes) < processes or (many and batch_size < 2 * processes):
        with pytest.raises(InputError):
            BucketBatchSampler(sizes, batch_size, num_processes=processes)
        return
    samplers = [
        BucketBatchSampler(sizes, batch_size, shuffle=shuffle, num_processes=processes, process_index=index)
        for index in range(processes)
    ]
    start = data.draw(st.integers(0, len(samplers[0])))
    seen, steps = [], set()
    for sampler in samplers:
        sampler.set_epoch(epoch)
        before = list(sampler)[:start]
        sampler.set_epoch(epoch, start)  # stopped there, and gone on
        whole = before + list(sampler)
        assert all(0 < len(batch) <= batch_size for batch in whole)
        steps.add(len(whole))
        seen += [row for batch in whole for row in batch]
    assert sorted(seen) == list(range(len(sizes)))
    assert steps == {len(samplers[0])}


@settings(max_examples=300, **FAST)
@given(st.lists(st.lists(st.integers(1, 999), max_size=30), min_size=1, max_size=12), st.integers(1, 16))
def test_a_batch_of_texts_holds_them_and_padding_alone(rows, multiple):
    samples = [{"input_ids": ids, "index": number} for number, ids in enumerate(rows)]
    batch = PadCollate(0, multiple)(samples)
    length = batch["input_ids"].shape[1]
    assert length % multiple == 0
    assert length < max(map(len, rows)) + multiple
    for ids, found, mask in zip(rows, batch["input_ids"].tolist(), batch["attention_mask"].tolist()):
        assert found == ids + [0] * (length - len(ids))
        assert mask == [1] * len(ids) + [0] * (length - len(ids))


def usable(text: str) -> bool:
    """A field that a table may hold: it shows something, and no control character tears its line."""
    return not cleaning.is_invisible(text) and not any(unicodedata.category(c) in ("Cs", "Cc") for c in text)


LINES = st.tuples(TEXTS.filter(usable), st.sampled_from(["good", "bad, so", 'a "b"', "好"]))


@settings(max_examples=400, **FAST)
@given(st.lists(LINES, min_size=1, max_size=15), st.sampled_from(",;"), st.sampled_from(["\n", "\r\n"]))
def test_a_table_that_a_program_wrote_is_read_as_it_is(tmp_path_factory, lines, separator, end):
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator=end)
    writer.writerows([("text", "label"), *lines])
    file = tmp_path_factory.getbasetemp() / "drawn.csv"
    file.write_bytes(buffer.getvalue().encode())
    frame, problems = own.from_table(file)
    assert problems == []
    assert frame[["text", "label"]].values.tolist() == [[text.strip(), label] for text, label in lines]


@settings(max_examples=300, **FAST)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=15))
def test_every_line_of_json_is_a_row_or_named(tmp_path_factory, lines):
    file = tmp_path_factory.getbasetemp() / "drawn.jsonl"
    objects = [json.dumps({"text": text, "label": label}) for text, label in lines]
    file.write_text("\n".join(objects) + "\n", encoding="utf-8")
    try:
        frame, problems = own.from_table(file, on_bad="skip")
    except InputError as error:
        assert "no usable row" in str(error)  # noqa: PT017  (it need not come)
        return
    assert len(frame) + len(problems) == len(lines)
    kept = [(text.strip(), label.strip()) for text, label in lines]
    assert frame[["text", "label"]].apply(tuple, axis=1).tolist() == [kept[int(n) - 1] for n in frame["id"]]


@settings(max_examples=300, **FAST)
@given(st.lists(st.tuples(TEXTS, st.sampled_from("xyz")), min_size=1, max_size=30))
def test_cleaning_counts_whatever_it_drops_and_merges_nothing(rows):
    frame = pd.DataFrame(rows, columns=["text", "label"]).assign(group=[str(n) for n in range(len(rows))])
    kept, counts = cleaning.clean_comments(frame)
    dropped = counts["empty_dropped"] + counts["conflicting_dropped"] + counts["duplicates_dropped"]
    assert counts["rows_in"] - dropped == counts["rows_out"] == len(kept)
    expected = {}
    for text, label in rows:
        expected.setdefault(cleaning.clean_text(text), set()).add(label)
    found = dict(zip(kept["text"], kept["label"]))
    assert found == {text: labels.pop() for text, labels in expected.items() if text and len(labels) == 1}
    keys = kept["text"].map(cleaning.letters_key)
    assert (kept.groupby(keys)["group"].nunique() <= 1).all()


@settings(max_examples=150, **FAST)
@given(st.lists(st.integers(0, 40), min_size=60, max_size=200), st.integers(0, 3))
def test_a_split_holds_each_row_once_and_tears_no_group(groups, seed):
    labels = np.random.default_rng(seed).choice(["a", "b"], size=len(groups))
    frame = pd.DataFrame({"id": range(len(groups)), "group": list(map(str, groups)), "label": labels})
    try:
        parts = splits.split(frame, seed=seed)
    except InputError as error:
        assert "group" in str(error) or "independent rows" in str(error)  # noqa: PT017  (it need not come)
        return
    ids = np.concatenate([part["id"] for part in parts.values()])
    assert sorted(ids) == list(range(len(groups)))
    sides = pd.concat([part[["group"]].assign(side=name) for name, part in parts.items()])
    assert (sides.groupby("group")["side"].nunique() == 1).all()


@settings(max_examples=150, **FAST)
@given(
    st.lists(st.lists(st.floats(width=32), max_size=9), max_size=5), st.dictionaries(TEXTS, TEXTS), st.data()
)
def test_a_checkpoint_comes_back_whole_or_is_refused(tmp_path_factory, arrays, rest, data):
    file = tmp_path_factory.getbasetemp() / "drawn.safetensors"
    tensors = {f"model.{number}": torch.tensor(array) for number, array in enumerate(arrays)}
    save_checkpoint(file, tensors, {"rest": rest})
    found, said = load_checkpoint(file)
    assert said == {"rest": rest}
    assert all(torch.equal(found[name].nan_to_num(), tensors[name].nan_to_num()) for name in tensors)
    assert set(found) == set(tensors)
    whole = file.read_bytes()
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(InputError, match="is no whole safetensors file"):
        load_checkpoint(file)


@settings(max_examples=150, **FAST)
@given(st.lists(TEXTS, min_size=1, max_size=10))
def test_labels_that_look_alike_are_those_of_one_key(labels):
    groups = alike(labels)
    assert all(len({label_key(label) for label in group}) == 1 < len(group) for group in groups)
    keys = {label_key(label) for label in set(labels)}
    assert len(keys) == len(set(labels)) - sum(len(group) - 1 for group in groups)
