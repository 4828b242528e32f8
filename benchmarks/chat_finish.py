"""The figures of chapter 10's page, from the runs of `chat.py`: benchmarks/results/chat.json."""

import json
import platform
from datetime import date

import numpy as np

import readme_tables
from chat_compare import Judge, as_scores, draws, table
from chat_models import MIDDLE, SIZES, Bench, Store, scored, targets_of
from chat_rungs import RUNGS
from chat_texts import of_texts
from helpers.data.sources import SENTIMENTS, one_person, sentiment
from helpers.files import ROOT, write_atomically

RESULTS = ROOT / "benchmarks" / "results" / "chat.json"
SENTIMENT = ROOT / "benchmarks" / "results" / "sentiment.json"  # MiniLM with all rows, of chapter 07
CHOSEN = {"part": "all", "recipe": 2, "seed": 1}  # the only one of the recipes for all rows that was finished
SHOWN = {  # rungs as the page names them
    "majority": "majority",
    "vader": "VADER",
    "tfidf": "TF-IDF + linear",
    "minilm": "MiniLM",
    "zero-shot": "zero-shot",
    "few-shot": "few-shot",
    "lora": "LoRA",
}
TAUGHT = "taught by the language model"
PERSON = "each rater in turn against the mean of the others of that comment"
NOTES = [
    "The language model's runs were made on one NVIDIA H100 80GB with 7 to 13 processes side by side: their "
    "seconds_training are of a shared card; peak_bytes are of each process.",
    "Of LoRA with 2,000 rows, seed 2 was stopped before its answers were written and is scored by its "
    "logits; seed 3 was not run.",
    "All are scored on the same validation rows by their last weights; targets are labels, without votes.",
    "Intervals of means and of differences: 95%, 2,000 draws of whole groups of validation rows, with the "
    "seeds as they are.",
    "In 'generated', 200 real rows were trained for 8 epochs, as many steps as 2 epochs of 800 rows, with "
    "the sentiment alone as answer: not the ladder's recipe.",
    "The base of lora-4bit was stored in the same 4 bits before it came here, so 4 bits lose little in this "
    "comparison: no result on other models.",
    "seconds_training of MiniLM, TF-IDF and VADER are of one core of a busy machine.",
    "Seconds of the rungs are processor time of one thread, the least of three; joules are these seconds "
    "times 30 W, an assumption.",
    "The teacher of 'distilled' is LoRA with 2,000 rows, seed 1; its pupils differ in the rows that it "
    "answered and in their first weights.",
]
UNFINISHED = (
    "Five recipes for all training rows were planned; the device's time ended when one was finished, with "
    "one seed: all weights, rate 1e-4, 2 epochs, batches of 32, labels without votes. So the validation rows "
    "chose nothing among recipes."
)


def finish(bench: Bench, store: Store) -> None:
    """Compare, test once, and write the page's figures."""
    judge = Judge(bench, store.content["runs"])
    found = {
        "machine": machine(judge),
        "notes": NOTES,
        "ladder": ladder(judge),
        "means": means(judge),
        "paired": pairs(judge),
        "rank": ranks(judge),
        "paired_rank": paired_ranks(judge),
        "ways": ways(judge),
        "paired_ways": paired_ways(judge),
        "generated": generated(bench, judge),
        "distilled": distilled(judge),
        "paired_distilled": paired_distilled(judge),
        "rungs": rungs(judge),
        "all_rows": all_rows(bench, judge),
    }
    write_atomically(RESULTS, (json.dumps(found, indent=1) + "\n").encode())
    readme_tables.write("chat", readme(found))


def readme(found: dict) -> str:
    """The ladder as the README shows it: macro-F1 by rung and training rows."""
    means = {(row["rung"], row["rows"]): row for row in found["means"]}
    sizes = (0, *SIZES)
    lines = [
        "| macro-F1 | no training | 200 comments | 600 comments | 2,000 comments |",
        "|---|---|---|---|---|",
    ]
    for rung in dict.fromkeys(row["rung"] for row in found["means"]):
        cells = [_cell(means.get((rung, size))) for size in sizes]
        lines.append(f"| {rung} | {' | '.join(cells)} |")
    wider = {32: "LoRA, rank 32", "full": "all weights of SmolLM2"}
    for name, label in wider.items():
        rows = [row for row in found["rank"] + found["ways"] if name in (row.get("rank"), row.get("way"))]
        mean = np.mean([row["macro_f1"] for row in rows])
        low, high = min(row["macro_f1"] for row in rows), max(row["macro_f1"] for row in rows)
        lines.append(f"| {label} | | | {mean:.3f} (seeds {low:.3f} to {high:.3f}) | |")
    return "\n".join(lines)


def _cell(row: dict | None) -> str:
    if row is None:
        return ""
    low, high = row["interval"]
    return f"{row['macro_f1']:.3f} ({low:.3f} to {high:.3f})"


def machine(judge: Judge) -> dict:
    """Where the runs were made."""
    gpu, cpu = judge.find(part="all")[0], judge.find(part="minilm")[0]
    shown = lambda run: ", ".join([run["device"], *map(" ".join, run["versions"].items())])
    return {
        "language_model": f"{shown(gpu)}, bf16 autocast",
        "others": f"{shown(cpu)}, {platform.machine()}, float32, one thread",
        "date": date.today().isoformat(),
    }


def lora(judge: Judge, rows: int) -> list[dict]:
    """The ladder's runs of the language model."""
    return judge.find(part="ladder", rung="lora", rows=rows)


def minilm(judge: Judge, rows: int) -> list[dict]:
    """The ladder's runs of MiniLM."""
    return judge.find(part="minilm", rows=rows)


def on_ladder(judge: Judge) -> list[dict]:
    """All runs that are rungs."""
    return [run for part in ("baselines", "minilm", "ladder") for run in judge.find(part=part)]


def ladder(judge: Judge) -> list[dict]:
    """Every run, and one person."""
    person = one_person(judge.rows["ratings"]) | {"note": PERSON}
    entries = [
        judge.entry(run, rung=SHOWN[run["key"]["rung"]], rows=run["key"]["rows"], seed=run["key"]["seed"])
        for run in on_ladder(judge)
    ]
    return [*entries, {"rung": "one person", "rows": 0, "seed": 0} | person]


def means(judge: Judge) -> list[dict]:
    """Each rung with each number of rows: the mean over its seeds, with its interval over other comments."""
    settings = {}
    for run in on_ladder(judge):
        settings.setdefault((run["key"]["rung"], run["key"]["rows"]), []).append(run)
    return [
        {"rung": SHOWN[rung], "rows": rows, "seeds": len(runs)} | judge.mean(runs)
        for (rung, rows), runs in settings.items()
    ]


def compared(judge: Judge, *settings: tuple) -> list[dict]:
    """One method minus another, (name, name, rows, runs, runs) each; left out if they share no seed yet."""
    found = [
        {"first": first, "second": second, "rows": rows} | judge.difference(*runs)
        for first, second, rows, *runs in settings
    ]
    return [entry for entry in found if entry["seeds"]]


def pairs(judge: Judge) -> list[dict]:
    """The language model minus MiniLM, by the number of rows."""
    settings = [("LoRA", "MiniLM", rows, lora(judge, rows), minilm(judge, rows)) for rows in SIZES]
    return compared(judge, *settings)


def ranks(judge: Judge) -> list[dict]:
    """Every run of another rank, and the ladder's."""
    runs = [*judge.find(part="rank", rank=2), *lora(judge, MIDDLE), *judge.find(part="rank", rank=32)]
    return [judge.entry(run, rank=run["rank"], rows=MIDDLE, seed=run["key"]["seed"]) for run in runs]


def paired_ranks(judge: Judge) -> list[dict]:
    """Ranks against the ladder's, and the largest against MiniLM."""
    eight, other = lora(judge, MIDDLE), lambda rank: judge.find(part="rank", rank=rank)
    return compared(
        judge,
        ("rank 2", "rank 8", MIDDLE, other(2), eight),
        ("rank 32", "rank 8", MIDDLE, other(32), eight),
        ("rank 32", "MiniLM", MIDDLE, other(32), minilm(judge, MIDDLE)),
    )


def ways(judge: Judge) -> list[dict]:
    """Every run of all weights and of LoRA on 4 bits, and the ladder's LoRA."""
    runs = [*judge.find(part="ways"), *lora(judge, MIDDLE)]
    return [judge.entry(run, way=run["way"], rows=MIDDLE, seed=run["key"]["seed"]) for run in runs]


def paired_ways(judge: Judge) -> list[dict]:
    """All weights and 4 bits against LoRA, and all weights of both models."""
    plain, way = lora(judge, MIDDLE), lambda name: judge.find(part="ways", way=name)
    return compared(
        judge,
        ("full", "lora", MIDDLE, way("full"), plain),
        ("lora-4bit", "lora", MIDDLE, way("lora-4bit"), plain),
        ("full", "MiniLM", MIDDLE, way("full"), minilm(judge, MIDDLE)),
    )


def generated(bench: Bench, judge: Judge) -> list[dict]:
    """What 200 rows teach with and without generated ones, and how good these are."""
    entries = []
    for run in judge.find(part="generated"):
        key = run["key"]
        if key["kind"] == "texts":
            entries.append(of_texts(bench, judge, run))
            continue
        kind = "200 real, 8 epochs" if key["kind"] == "real" else "200 real + 600 generated, 2 epochs"
        entries.append(judge.entry(run, kind=kind, rows=200, seed=key["seed"]))
    return entries


def distilled(judge: Judge) -> list[dict]:
    """MiniLM from labels, MiniLM from the language model's answers, and that model."""
    entries = []
    for run in sorted(judge.find(part="distilled"), key=lambda run: run["key"]["rows"]):
        rows, right = run["key"]["rows"], run["teacher_accuracy"]
        names = {"kind": f"MiniLM, {TAUGHT}, {rows:,} rows", "rows": rows, "seed": run["key"]["seed"]}
        entries.append(judge.entry(run, **names, teacher_accuracy=right))
    for run in minilm(judge, 2000):
        names = {"kind": "MiniLM, 2,000 labels", "rows": 2000, "seed": run["key"]["seed"]}
        entries.append(judge.entry(run, **names))
    teacher = lora(judge, 2000)[0]
    return [*entries, judge.entry(teacher, kind="the language model, 2,000 labels", rows=2000, seed=1)]


def paired_distilled(judge: Judge) -> list[dict]:
    """What the teacher's answers are worth: against labels alone, and against the teacher."""
    labels, teacher, settings = minilm(judge, 2000), lora(judge, 2000)[:1], []
    for rows in sorted({run["key"]["rows"] for run in judge.find(part="distilled")}):
        taught, name = judge.find(part="distilled", rows=rows), f"MiniLM, {TAUGHT}"
        settings.append((name, "MiniLM, 2,000 labels", rows, taught, labels))
        settings.append((name, "the language model, 2,000 labels", rows, taught, teacher))
    return compared(judge, *settings)


def rungs(judge: Judge) -> list[dict]:
    """What an answer costs, with the score of the same method after 2,000 rows beside it."""
    entries = []
    for run in (one for one in judge.own if one["key"]["part"] == "rungs"):
        name = run["key"]["rung"]
        scored_by = [one for one in on_ladder(judge) if one["key"]["rung"] == RUNGS[name]]
        scored_by = [one for one in scored_by if one["key"]["rows"] in (0, 2000)]
        figures = {key: value for key, value in run.items() if key not in ("key", "versions", "seconds_all")}
        score = judge.mean(scored_by)
        beside = {"macro_f1": score["macro_f1"], "accuracy": score["accuracy"]}
        entries.append({"rung": name, "rows": scored_by[0]["key"]["rows"]} | beside | figures)
    return entries


def all_rows(bench: Bench, judge: Judge) -> dict:
    """The finished recipe for all training rows on the test rows, once, beside one person."""
    test, run = bench.parts["test"], judge.find(**CHOSEN)[0]
    targets, answers = targets_of(test), judge.answers({"answers": run["answers_test"]})
    drawn = draws(test["group"].to_numpy())
    model, person = table(answers, targets, drawn), person_table(test["ratings"], drawn)
    margin = as_scores(model - person)
    by_platform = {}
    for name, places in test.groupby("platform").indices.items():
        own = scored(answers[places], targets[places])
        human = one_person(test["ratings"].iloc[places])
        by_platform[name] = own | {"person": human, "margin": own["macro_f1"] - human["macro_f1"]}
    smallest = min(by_platform, key=lambda name: by_platform[name]["margin"])
    minilm_test = json.loads(SENTIMENT.read_text(encoding="utf-8"))["test"]
    return as_scores(model) | {
        "rows": len(bench.parts["train"]), "n": len(test), "seed": CHOSEN["seed"], "note": UNFINISHED,
        "recipe": {name: run[name] for name in ("way", "rate", "epochs", "batch", "votes")},
        "validation": judge.entry(run), "person": one_person(test["ratings"]), "person_is": PERSON,
        "margin": margin["macro_f1"], "margin_interval": margin["interval"],
        "accuracy_margin": margin["accuracy"], "accuracy_margin_interval": margin["accuracy_interval"],
        "by_platform": by_platform,
        "smallest_margin": {"platform": smallest, "macro_f1": by_platform[smallest]["margin"]},
        "minilm_of_chapter_07": {
            name: minilm_test[name] for name in ("accuracy", "macro_f1", "macro_f1_interval")
        },
    }  # fmt: skip


def person_table(ratings, drawn: np.ndarray) -> np.ndarray:
    """`table` of one person, see `one_person`: each comment counts once, whatever its number of raters."""
    confusion = np.zeros((len(ratings), 3, 3))  # of each comment: target by guess
    for place, row in enumerate(ratings):
        row = np.asarray(row, dtype=float)
        others = (row.sum() - row) / (len(row) - 1)
        for target, guess in zip(sentiment(others), sentiment(row)):
            confusion[place, SENTIMENTS.index(target), SENTIMENTS.index(guess)] += 1 / len(row)
    counts = np.vstack([np.ones(len(ratings)), drawn])
    tables = (counts @ confusion.reshape(len(ratings), 9)).reshape(-1, 3, 3)
    hits, sums = np.diagonal(tables, axis1=1, axis2=2), tables.sum(1) + tables.sum(2)
    f1_scores = np.divide(2 * hits, sums, out=np.zeros_like(hits), where=sums > 0)
    return np.array([hits.sum(1) / tables.sum((1, 2)), f1_scores.mean(1)])
