"""What an answer costs on this machine's CPU, rung by rung, for `chat.py`: one thread, 200 comments at once,
each rung in a process of its own, three times, of which the fastest counts, in seconds of the processor.

Energy is not measured: it is the seconds times the power that chapter 01 assumes for a computer at work.
Weights decide nothing about the time of an answer, so the tuned model is the untuned one with an adapter that
was merged, and its answers are as long as the right ones.
"""

import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from by_turns import Worker, own_environment, serve

COMMENTS, REPEATS = 200, 3
WATTS = 30  # of a computer at work: an assumption, the same as in chapter 01
RUNGS = {  # names, and the ladder's rungs whose score stands beside
    "vader": "vader",
    "tfidf": "tfidf",
    "minilm": "minilm",
    "zero-shot by label": "zero-shot",
    "tuned by label": "lora",
    "tuned, whole JSON answer": "lora",
}


def rungs(bench, store) -> None:
    """Seconds, joules, megabytes and peak memory of each rung."""
    import joblib

    from chat_small import tfidf

    rows = bench.parts["validation"].head(COMMENTS)
    rows = rows[["text", "label", "rating", "platform"]].to_dict("records")
    environment = own_environment() | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(tfidf(bench.drawn(2000, 1)), Path(folder) / "tfidf.joblib")
        (Path(folder) / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        for name in RUNGS:

            def run(name=name):
                worker = Worker(Path(__file__), name, folder, environment=environment)
                worker.receive()
                found = worker.ask()
                worker.close()
                return found

            store.measure({"part": "rungs", "rung": name}, run)


def prepare(name: str, folder: str):
    """Load one rung; what answers all rows, three times, when it is asked."""
    rows = json.loads((Path(folder) / "rows.json").read_text(encoding="utf-8"))
    answer, size, more = ready(name, rows, Path(folder) / "tfidf.joblib")

    def measure() -> dict:
        seconds = []
        for _ in range(REPEATS):
            start = time.process_time()  # of the one thread: what else runs here does not count
            answer()
            seconds.append(time.process_time() - start)
        thousand = 1000 * min(seconds) / len(rows)
        return more | {
            "comments": len(rows), "threads": 1, "repeats": REPEATS, "seconds_of_each": seconds,
            "seconds_per_1000": thousand, "joules_per_1000": thousand * WATTS, "watts_assumed": WATTS,
            "megabytes": size,
            "peak_bytes": peak_bytes(),
        }  # fmt: skip

    return measure


def ready(name: str, rows: list[dict], model: Path):
    """What answers all rows when it is called, the megabytes of its files, and what else is to be said."""
    texts = [row["text"] for row in rows]
    if name == "vader":
        import vaderSentiment
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        analyzer = SentimentIntensityAnalyzer()
        files = Path(vaderSentiment.__file__).parent.glob("*.txt")
        answer = lambda: [analyzer.polarity_scores(text) for text in texts]
        return answer, megabytes(*files), {}
    if name == "tfidf":
        import joblib

        pipeline = joblib.load(model)
        return lambda: pipeline.predict(texts), megabytes(model), {}
    return minilm(texts) if name == "minilm" else language(name, rows)


def minilm(texts: list[str]):
    """MiniLM as `helpers` loads and reads, tokenising included."""
    import pandas as pd

    from helpers import assets
    from helpers.data.sources import SENTIMENTS
    from helpers.models.pretrained import text_classifier
    from helpers.runs import recipes
    from helpers.training.loop import predict_logits
    from helpers.training.runtime import Runtime

    classifier, frame = text_classifier("minilm", SENTIMENTS), pd.DataFrame({"text": texts})
    runtime = Runtime(classifier.model)
    answer = lambda: predict_logits(
        classifier.model, recipes.evaluation_loader(classifier, frame, num_workers=0), runtime
    )
    return answer, megabytes(assets.path("minilm") / "model.safetensors"), {"batch": 128}


def language(name: str, rows: list[dict]):
    """SmolLM2 in float32, by the sentiments' probabilities or by its whole answer."""
    import pandas as pd

    from chat_models import label_logits, written
    from chat_parts import ZERO_SHOT
    from helpers import assets
    from helpers.data.sources import conversation
    from helpers.models.language import language_model

    lm, frame = language_model("smollm2"), pd.DataFrame(rows)
    size = megabytes(assets.path("smollm2") / "model.safetensors")
    if name == "zero-shot by label":
        return lambda: label_logits(lm, frame, ZERO_SHOT), size, {"batch": 16}
    size += 2_442_240 * 4 / 1e6  # the adapter of rank 8 in float32
    if name == "tuned by label":
        return lambda: label_logits(lm, frame), size, {"batch": 16}
    rights = [conversation(row)[2]["content"] for row in rows]
    length = round(sum(len(lm.tokenizer(right)["input_ids"]) + 1 for right in rights) / len(rights))
    options = {"max_new_tokens": length, "min_new_tokens": length, "do_sample": False}
    asked = [conversation(row)[:2] for row in rows]
    return lambda: written(lm, asked, **options), size, {"batch": 32, "tokens_per_answer": length}


def peak_bytes() -> int | None:
    """The most memory that this process has held, with what it imported; None where the system does not say.

    Not `ru_maxrss`, which begins at what the parent process held.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def megabytes(*files: Path) -> float:
    """Of files, together."""
    return sum(Path(file).stat().st_size for file in files) / 1e6


if __name__ == "__main__":
    serve(partial(prepare, *sys.argv[1:]))
