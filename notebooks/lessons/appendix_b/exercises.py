"""The exercises of appendix B: order the steps, name the step where a failure was made, find dead links."""

from lessons.appendix_b import answers
from lessons.exercise import Exercise
from lessons.workflows import DEVELOPMENT

# (earlier, later, what happens when they change places)
ORDER = (
    ("Collect", "Clean", "there is nothing to clean yet"),
    ("Clean", "Split", "copies that are removed later may lie on both sides until then"),
    ("Split", "Augment", "changed copies of one row land on both sides, and validation flatters the model"),
    ("Split", "Preprocess", "means and vocabularies would be learnt from validation rows, too"),
    ("Augment", "Train", "the network would never see the changed rows"),
    ("Preprocess", "Train", "the network would be trained on raw rows"),
    ("Design", "Train", "there is no network to train"),
    ("Train", "Evaluate", "you would judge weights that have learnt nothing"),
    ("Evaluate", "Test once", "the test rows would be open while you may still go back"),
    ("Test once", "Deploy", "users would be the first to find out how good it is"),
)


def _verify_order(attempt):
    found = attempt()
    if not isinstance(found, list | tuple) or sorted(map(str, found)) != sorted(DEVELOPMENT.steps):
        raise AssertionError(
            f"expected a list with each of these once: {', '.join(sorted(DEVELOPMENT.steps))}; found "
            f"{found!r}"
        )
    places = {step: place for place, step in enumerate(found)}
    for earlier, later, reason in ORDER:
        if places[earlier] > places[later]:
            raise AssertionError(f"{later} stands before {earlier}: {reason}")


order = Exercise(
    verify=_verify_order,
    hints=(
        "Ask of each pair: what would be wrong if they changed places? Two neighbours may indeed change "
        "places, and one step may stand much earlier.",
        "What is random or learnt from rows must come after the split. What users see comes last.",
    ),
    answer=answers.order,
    praise="Design may stand earlier, and Augment and Preprocess may change places; every other place has a "
    "reason.",
)


FAILURES = {
    "validation is far better than what users see: sentences of one review lie on both sides": "Split",
    "half of a class turned out to be logos: the web search was careless": "Collect",
    "names show up as 'JosÃ©' in the texts": "Clean",
    "the training loss is the same after every epoch": "Train",
    "a digit classifier confuses 6 and 9 since pictures are turned upside down at random": "Augment",
    "the model sees pixels from 0 to 255 that it was pretrained to see from -1 to 1": "Preprocess",
    "94 right answers of 100 were celebrated, but always the same answer gets 95 right": "Evaluate",
    "the test rows were opened after each of 30 changes, and the best score was reported": "Test once",
}


def _verify_diagnose(attempt):
    for failure, step in FAILURES.items():
        found = attempt(failure)
        if found not in DEVELOPMENT.steps:
            raise AssertionError(f"expected one of {', '.join(DEVELOPMENT.steps)}, found {found!r}")
        if found != step:
            raise AssertionError(
                f"'{failure}' is not mended in the step {found}; which step could have prevented it"
            )


diagnose = Exercise(
    verify=_verify_diagnose,
    hints=(
        "Ask where the failure was made, not where it was seen: most are seen in Evaluate.",
        "A dictionary of signs will do: if 'one review' is in the failure, the answer is 'Split'.",
    ),
    answer=answers.diagnose,
    praise="The chart tells you where to go back to, once you know where a failure was made.",
)


def _verify_dead(attempt):
    headings = {
        "a.ipynb": ["1.1 First things", "1.2 What, how?"],
        "b.ipynb": ["2.1 Second things"],
        "c.ipynb": [],
    }
    links = ["a.ipynb", "a.ipynb#1.1-First-things", "b.ipynb#2.1-Second-things", "a.ipynb#1.2-What,-how?"]
    wrong = {
        "d.ipynb": "the file does not exist",
        "d.ipynb#1.1-First-things": "the file does not exist",
        "a.ipynb#1.1-first-things": "capital letters count",
        "b.ipynb#1.1-First-things": "the heading stands in another file",
        "c.ipynb#2.1-Second-things": "the file has no headings",
        "a.ipynb#1.2": "only the beginning of the heading",
    }
    found = attempt(links + list(wrong), headings)
    if not isinstance(found, list):
        raise AssertionError(f"expected a list of links, found {found!r}")
    for link in links:
        if link in found:
            raise AssertionError(f"{link} leads somewhere, but your list calls it dead")
    for link, reason in wrong.items():
        if link not in found:
            raise AssertionError(f"{link} is dead ({reason}), but it is not in your list")


dead = Exercise(
    verify=_verify_dead,
    hints=(
        "Cut the link at the first '#': `file, _, fragment = link.partition('#')`. A link without a fragment "
        "only needs the file.",
        "Turn the file's headings into fragments with `anchor(heading)` and look whether the link's fragment "
        "is among them.",
        "`headings.get(file, [])` gives an empty list for a file that does not exist; ask for the file "
        "first, all the same.",
    ),
    answer=answers.dead_links,
    praise="This is the test that runs over every link of the course.",
)
