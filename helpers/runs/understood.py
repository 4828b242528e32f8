"""What was understood of the data, in lines that a person reads before a training begins (chapter 07)."""

from helpers.data.splits import missing_classes
from helpers.data.tokens import TokenCounts
from helpers.models.pretrained import Classifier
from helpers.own.labels import alike
from helpers.own.table import shortened
from helpers.runs.recipes import Prepared, RunConfig
from helpers.runs.rows import counted
from helpers.tasks import TASKS

SHOWN = 6  # classes that are listed; of more, the largest and the smallest three
IN_WORDS = {"train": "training", "validation": "validation", "test": "test"}


def cut_texts(classifier: Classifier, prepared: Prepared) -> TokenCounts | None:
    """What the model will not see of the rows that are used; None for pictures."""
    task = TASKS[classifier.task]
    counts = [task.token_counts(classifier, task.inputs(part)) for part in prepared.splits.values()]
    return None if None in counts else sum(counts[1:], start=counts[0])


def understood(config: RunConfig, prepared: Prepared, cut: TokenCounts | None) -> list[str]:
    """Rows, cleaning, classes, split, and whatever should make a person look again."""
    rows = sum(prepared.before.values())
    source = config.data or "the course's data"
    lines = [f"{source}: {rows:,} rows after cleaning ({counted(prepared.cleaning)})"]
    lines += [classes_line(prepared), split_line(config, prepared), *notices(prepared, cut)]
    if prepared.skipped:
        listed = "; ".join(map(str, prepared.skipped[:3]))
        lines.append(f"{len(prepared.skipped):,} bad rows or files are left out: {listed}")
    return lines


def notices(prepared: Prepared, cut: TokenCounts | None) -> list[str]:
    """What is dropped, cut, merged, or likely to be a mistake; nothing where all is well."""
    found = list(prepared.noticed)
    dropped = prepared.cleaning.get("conflicting_dropped", 0)
    if dropped:
        found.append(f"{dropped:,} rows are copies of each other with different labels; none of them is used")
    for labels in alike(prepared.classes):
        found.append(f"the labels {' and '.join(map(repr, labels))} look alike: are they one class?")
    untrained = missing_classes(prepared.splits, prepared.classes)
    if untrained:
        some = ", ".join(map(repr, untrained[:5]))
        what = f"{len(untrained):,} of {len(prepared.classes):,} classes have no training row ({some})"
        found.append(f"{what}; raise --limit, 0 uses all rows")
    return found + (cut.sentences() if cut else [])


def classes_line(prepared: Prepared) -> str:
    """The classes with their rows before any limit; of many, the largest and the smallest three."""
    named = [f"{shortened(name)!r} {count:,}" for name, count in prepared.class_counts.items()]
    if len(named) > SHOWN:
        named = [*named[:3], "...", *named[-3:]]
    return f"{len(prepared.classes):,} classes: {', '.join(named)}"


def split_line(config: RunConfig, prepared: Prepared) -> str:
    """Rows of each split, and how many a limit leaves out."""
    parts = []
    for name, used in prepared.rows.items():
        before = prepared.before[name]
        limited = f" of {before:,}" if used < before else ""
        parts.append(f"{used:,}{limited} {IN_WORDS[name]}")
    is_limited = sum(prepared.before.values()) > sum(prepared.rows.values())
    hint = f" (--limit {config.limit:,}; 0 uses all)" if is_limited else ""
    return f"rows: {', '.join(parts)}{hint}"
