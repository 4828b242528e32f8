"""Appendix B's exercises refuse the typical wrong attempts with a sentence that helps."""

import pytest

from lessons.appendix_b import exercises as ch_b
from lessons.workflows import DEVELOPMENT, anchor


def alphabetical():
    return sorted(DEVELOPMENT.steps)


def augments_first():
    return [
        "Collect",
        "Clean",
        "Augment",
        "Split",
        "Preprocess",
        "Design",
        "Train",
        "Evaluate",
        "Test once",
        "Deploy",
    ]


def splits_first():
    return [
        "Collect",
        "Split",
        "Clean",
        "Augment",
        "Preprocess",
        "Design",
        "Train",
        "Evaluate",
        "Test once",
        "Deploy",
    ]


def standardises_first():
    return [
        "Collect",
        "Clean",
        "Preprocess",
        "Split",
        "Augment",
        "Design",
        "Train",
        "Evaluate",
        "Test once",
        "Deploy",
    ]


def augments_too_late():
    return [
        "Collect",
        "Clean",
        "Split",
        "Preprocess",
        "Design",
        "Train",
        "Augment",
        "Evaluate",
        "Test once",
        "Deploy",
    ]


def opens_the_test_rows_early():
    return [
        "Collect",
        "Clean",
        "Split",
        "Augment",
        "Preprocess",
        "Design",
        "Train",
        "Test once",
        "Evaluate",
        "Deploy",
    ]


def one_is_missing():
    return DEVELOPMENT.steps[:-1]


def all_seen_in_evaluation(failure):
    return "Evaluate"


def unknown_step(failure):
    return "Debug"


def only_files(links, headings):
    return [link for link in links if link.partition("#")[0] not in headings]


def any_file(links, headings):
    known = {anchor(heading) for texts in headings.values() for heading in texts}
    return [
        link
        for link in links
        if link.partition("#")[0] not in headings or ("#" in link and link.partition("#")[2] not in known)
    ]


def without_case(links, headings):
    known = {name: [anchor(heading).lower() for heading in texts] for name, texts in headings.items()}
    return [
        link
        for link in links
        if link not in headings
        and link.partition("#")[2].lower() not in known.get(link.partition("#")[0], [])
    ]


def everything(links, headings):
    return list(links)


def only_the_beginning(links, headings):
    def leads(link):
        file, _, fragment = link.partition("#")
        return file in headings and (
            not fragment or any(anchor(h).startswith(fragment) for h in headings[file])
        )

    return [link for link in links if not leads(link)]


WRONG = [
    (ch_b.order, alphabetical, "stands before"),
    (ch_b.order, augments_first, "changed copies of one row land on both sides"),
    (ch_b.order, splits_first, "Split stands before Clean"),
    (ch_b.order, standardises_first, "means and vocabularies would be learnt from validation rows"),
    (ch_b.order, augments_too_late, "never see the changed rows"),
    (ch_b.order, opens_the_test_rows_early, "while you may still go back"),
    (ch_b.order, one_is_missing, "each of these once"),
    (ch_b.diagnose, all_seen_in_evaluation, "is not mended in the step Evaluate"),
    (ch_b.diagnose, unknown_step, "found 'Debug'"),
    (ch_b.dead, only_files, "capital letters count"),
    (ch_b.dead, any_file, "the heading stands in another file"),
    (ch_b.dead, without_case, "capital letters count"),
    (ch_b.dead, everything, "leads somewhere"),
    (ch_b.dead, only_the_beginning, "only the beginning of the heading"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)


def test_the_order_of_the_chart_is_right(capsys):
    ch_b.order.check(lambda: DEVELOPMENT.steps)
    assert capsys.readouterr().out.startswith("Right. ")


@pytest.mark.parametrize("moved", [["Preprocess", "Augment"], ["Augment", "Preprocess"]])
def test_augment_and_preprocess_may_change_places(moved, capsys):
    ch_b.order.check(
        lambda: ["Collect", "Clean", "Split", *moved, "Design", "Train", "Evaluate", "Test once", "Deploy"]
    )
    assert capsys.readouterr().out.startswith("Right. ")


def test_design_may_come_earlier(capsys):
    ch_b.order.check(
        lambda: [
            "Collect",
            "Design",
            *[step for step in DEVELOPMENT.steps if step not in ("Collect", "Design")],
        ]
    )
    assert capsys.readouterr().out.startswith("Right. ")
