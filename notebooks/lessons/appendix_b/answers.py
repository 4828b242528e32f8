"""One right answer to each exercise of appendix B, written as a learner would write it."""

from lessons.workflows import anchor


def order():
    return [
        "Collect",
        "Clean",
        "Split",
        "Augment",
        "Preprocess",
        "Design",
        "Train",
        "Evaluate",
        "Test once",
        "Deploy",
    ]


def diagnose(failure):
    signs = {
        "one review": "Split",
        "web search": "Collect",
        "names show up": "Clean",
        "training loss": "Train",
        "at random": "Augment",
        "pixels": "Preprocess",
        "celebrated": "Evaluate",
        "test rows": "Test once",
    }
    return next(step for sign, step in signs.items() if sign in failure)


def dead_links(links, headings):
    dead = []
    for link in links:
        file, _, fragment = link.partition("#")
        known = [anchor(heading) for heading in headings.get(file, [])]
        if file not in headings or (fragment and fragment not in known):
            dead.append(link)
    return dead
