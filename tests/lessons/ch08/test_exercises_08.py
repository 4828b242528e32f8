"""Chapter 08's exercises refuse the typical wrong attempts with a sentence that helps."""

import pytest
import torch

from lessons.ch08 import answers, services
from lessons.ch08 import exercises as ch08


def silenced(query, key, value, output, kept, width):
    rows = torch.cat([torch.arange(head * width, (head + 1) * width) for head in kept])
    mask = torch.zeros(output.in_features).index_fill(0, rows, 1.0)
    new = torch.nn.Linear(output.in_features, output.out_features)
    new.weight.data, new.bias.data = output.weight.data * mask, output.bias.data.clone()
    return query, key, value, new


def every_nth_row(query, key, value, output, kept, width):
    heads = output.in_features // width
    rows = [number for number in range(output.in_features) if number % heads in kept]
    return with_rows(query, key, value, output, rows)


def with_rows(query, key, value, output, rows):
    made = []
    for weight, bias in (
        *((layer.weight[rows], layer.bias[rows]) for layer in (query, key, value)),
        (output.weight[:, rows], output.bias),
    ):
        made.append(torch.nn.Linear(weight.shape[1], weight.shape[0]))
        made[-1].weight.data, made[-1].bias.data = weight.detach().clone(), bias.detach().clone()
    return tuple(made)


def without_output_bias(*given):
    made = answers.keep_heads(*given)
    made[3].bias.data.zero_()
    return made


def old_biases(*given):
    made = answers.keep_heads(*given)
    for old, new in zip(given[:3], made):
        new.bias.data = old.bias.data[: len(new.bias)].clone()
    return made


def in_place(query, key, value, output, kept, width):
    made = answers.keep_heads(query, key, value, output, kept, width)
    query.weight.data = made[0].weight.data
    return made


def three_layers(*given):
    return [layer.weight for layer in answers.keep_heads(*given)]


def the_best(points, megabytes, milliseconds):
    return points["macro_f1"].idxmax()


def by_size_alone(points, megabytes, milliseconds):
    return points.loc[points["MB"] <= megabytes, "macro_f1"].idxmax()


def the_smallest(points, megabytes, milliseconds):
    return points["MB"].idxmin()


def the_row(points, megabytes, milliseconds):
    return points.loc[answers.choose_model(points, megabytes, milliseconds)]["macro_f1"]


def swapped():
    return {"a": "other preprocessing", "b": "label order changed", "c": "no attention mask"}


def all_one():
    return dict.fromkeys("abc", "no attention mask")


def list_of_faults():
    return ["no attention mask", "label order changed", "other preprocessing"]


WRONG = [
    (ch08.keep_heads, silenced, "zeros are not smaller"),
    (ch08.keep_heads, every_nth_row, "head h owns the rows"),
    (ch08.keep_heads, without_output_bias, "its bias belongs to no head"),
    (ch08.keep_heads, old_biases, "weights and biases"),
    (ch08.keep_heads, in_place, "were changed"),
    (ch08.keep_heads, three_layers, "four layers of nn.Linear"),
    (ch08.choose_model, the_best, "which takes"),
    (ch08.choose_model, by_size_alone, "which takes"),
    (ch08.choose_model, the_smallest, "was to be had within the budget"),
    (ch08.choose_model, the_row, "expected the name of a method"),
    (ch08.three_services, swapped, "1 of 3 are right"),
    (ch08.three_services, all_one, "1 of 3 are right"),
    (ch08.three_services, list_of_faults, "expected a dictionary"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)


def test_a_smaller_model_inside_the_band_passes(capsys):
    def smaller(points, megabytes, milliseconds):
        fits = points[(points["MB"] <= megabytes) & (points["ms"] <= milliseconds)]
        near = fits[fits["macro_f1"] >= fits["macro_f1"].max() - 0.005]
        return near["MB"].idxmin()

    ch08.choose_model.check(smaller)
    assert capsys.readouterr().out.startswith("Right.")


def test_the_faults_show_in_the_logs_as_the_exercise_says(text_classifier):
    """With random answers there is little to see, so the head is one that depends on the words."""
    with torch.no_grad():
        text_classifier.model.classifier.weight.normal_(std=2.0)
    texts = ["short", "a somewhat longer comment about the weather in the hills", "not good", "who is it"] * 4
    found = services.logs(text_classifier, texts, batch=8)
    assert found.loc["a", "same label, one by one"] == 1.0
    assert found.loc["b", "same label, one by one"] == found.loc["b", "same label, in batches"] == 0.0
    assert found.loc["c", "same label, one by one"] == found.loc["c", "same label, in batches"]
    shares = found[list(text_classifier.classes)]
    assert shares.sum(axis=1).tolist() == pytest.approx([1, 1, 1])


def test_rows_of_silence_keep_the_chosen_heads():
    """The check itself: the right answer with the heads in another order is right, too."""
    ch08.keep_heads.verify(lambda *given: answers.keep_heads(*given[:4], list(reversed(given[4])), given[5]))
