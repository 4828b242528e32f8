"""What a run reached, in words (chapters 06 and 07 show them)."""

from pathlib import Path


def score_text(metrics: dict) -> str:
    """Accuracy and macro-F1 with its interval, in words; of a language model what it has instead."""
    if "pair_accuracy" in metrics:
        return preference_text(metrics)
    if "perplexity" in metrics:
        bits = f"{metrics['bits_per_byte']:.3f} bits per byte of the answers"
        loss = f"loss {metrics['loss']:.3f} (perplexity {metrics['perplexity']:.2f})"
        return f"{loss}, {bits}; {answers_text(metrics)}"
    low, high = metrics["macro_f1_interval"]
    f1 = f"macro-F1 {metrics['macro_f1']:.3f} (95% interval {low:.3f} to {high:.3f})"
    return f"accuracy {metrics['accuracy']:.3f}, {f1}, loss {metrics['loss']:.3f}"


def preference_text(metrics: dict) -> str:
    """How often the better answer won, beside the rules that know nothing of it, in words."""
    low, high = metrics["pair_accuracy_interval"]
    pairs = f"pair accuracy {metrics['pair_accuracy']:.3f} (95% interval {low:.3f} to {high:.3f})"
    rules = f"the longer answer wins: {metrics['longer_wins']:.3f}"
    rules += f"; the one likelier before the training: {metrics['likelier_wins']:.3f}"
    return f"{pairs}, loss {metrics['loss']:.3f} ({rules}); {answers_text(metrics)}"


def answers_text(metrics: dict) -> str:
    """What a language model's answers are like, in words."""
    names = {
        "exact_match": "right to the letter", "valid_json": "valid JSON", "stopped": "ended by themselves",
        "accuracy": "right sentiment",
    }  # fmt: skip
    shares = [f"{metrics[name]:.1%} {words}" for name, words in names.items() if name in metrics]
    f1 = f", macro-F1 {metrics['macro_f1']:.3f}" if "macro_f1" in metrics else ""
    return f"of {metrics['answered']:,} answers {', '.join(shares)}{f1}"


def summary(metrics: dict, folder: Path) -> str:
    """What a person wants to know after a training run."""
    lines = [f"test, {metrics['test']['n']:,} rows: {score_text(metrics['test'])}"]
    if "majority_baseline" in metrics:
        majority = metrics["majority_baseline"]
        lines.append(
            f"always answering {majority['class']!r} would score accuracy {majority['accuracy']:.3f}"
        )
    if "one_person" in metrics:
        scores = "accuracy {accuracy:.3f}, macro-F1 {macro_f1:.3f}".format(**metrics["one_person"])
        lines.append(f"one person against the mean of the others, same rows: {scores}")
    if metrics["skipped"]:
        listed = f"listed in {folder / 'skipped.csv'}"
        lines.append(f"{metrics['skipped']} bad rows or files were left out, {listed}")
    lines += metrics["noticed"]
    rows = metrics["rows"]
    for name, kept in metrics["rows_kept"].items():
        if kept < rows[name]:
            part = f"{kept:,} of the {rows[name]:,} {name} rows"
            lines.append(f"the run folder keeps {part}, more would not fit")
    work = f"{metrics['optimizer_steps']:,} optimizer steps on {rows['train']:,} rows"
    place = f"{metrics['seconds']:.0f} s ({metrics['device']}, {metrics['precision']})"
    lines.append(f"{work} in {place}; report: {folder / 'report.html'}")
    return "\n".join(lines)
