"""The commands of models that write: generate, chat, and what export and serve do with them (chapter 10).

RUN is a finished run, `smollm2`, or a folder of transformers.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from helpers.display import counting
from helpers.errors import InputError
from helpers.runs.commands import WRITING

PORTION = 64  # answers between two writes


def add_commands(command: Callable) -> None:
    """Add the commands by `command(name, function, help_text)`, which returns their parser."""
    add_writing_options(command("chat", chat, "talk with a language model in the terminal"))
    parser = command("generate", generate, "answer prompts with a language model")
    add_writing_options(parser)
    add = parser.add_argument
    add("inputs", nargs="*", metavar="PROMPT")
    add("--input", type=Path, metavar="FILE", help="prompts: .jsonl, a table, or .txt with one per line")
    add("--output", type=Path, metavar="OUT.jsonl", help="write prompts and answers there, as they come")
    add("--json", action="store_true", help="print one JSON object per prompt")
    add("--on-bad", choices=("stop", "skip"), default="stop", help="what to do with bad rows")


def add_writing_options(parser) -> None:
    """RUN and the options of `generation.Sampling`."""
    add = parser.add_argument
    add("folder", type=Path, metavar="RUN", help="a finished run, smollm2, or a folder of transformers")
    add("--max-new-tokens", type=int, default=256, metavar="N", help="of an answer, at most (default: 256)")
    add("--temperature", type=float, default=0.0, metavar="X", help="0 takes the best token (default)")
    add("--top-p", type=float, default=1.0, metavar="X", help="draw from the best tokens of this probability")
    add("--seed", type=int, default=0, metavar="N", help="of the draws (default: 0)")


def is_writer(run: Path) -> bool:
    """Whether it is the course's language model, a run that trained one, or a folder of transformers."""
    if str(run) == "smollm2":
        return True
    try:
        return json.loads((run / "config.json").read_bytes()).get("task", "chat") in WRITING
    except (OSError, ValueError, AttributeError):
        return False


def load(run: Path):
    """The language model of RUN; an InputError says that it is something else."""
    from helpers.models import language

    if not is_writer(run):
        what = "is no language model" if (run / "config.json").is_file() else "does not exist"
        known = "`train chat` or `train preference`, smollm2, or a folder of transformers"
        raise InputError(f"{run} {what}; give a run of {known}")
    if not (run / "model").is_dir():
        return language.language_model(str(run))
    return language.load_language_model(run / "model")


def sampling_of(options):
    """`generation.Sampling` of the options."""
    from helpers.generation import Sampling

    names = ("max_new_tokens", "temperature", "top_p", "seed")
    return Sampling(**{name: getattr(options, name) for name in names})


def chat(options) -> None:
    """Talk until the end of the input; exit status 0, 2 for bad input."""
    from helpers.deployment import terminal

    terminal.chat(load(options.folder), sampling_of(options))


def serve(options) -> None:
    """As `commands.serve`, for a language model."""
    from helpers.deployment import service
    from helpers.deployment.chat_service import create_chat_app

    if options.engine != "torch":
        raise InputError(f"--{options.engine} has no effect on a language model; leave it out")
    make_app = lambda hosts: create_chat_app(
        load(options.folder), name=options.folder.absolute().name, hosts=hosts
    )
    service.serve(make_app, f"{options.folder} (chat)", host=options.host, port=options.port)


def export(options) -> None:
    """As `commands.export`, for a language model: a folder of transformers, or a GGUF file."""
    from helpers.deployment.gguf import export_gguf, export_merged

    lm, output = load(options.folder), options.output
    if options.format == "gguf":
        kind = options.quantise or "f16"
        done = export_gguf(lm, output or options.folder / f"model-{kind}.gguf", kind=kind)
    else:
        done = export_merged(lm, output or options.folder / "merged")
    parity = done.parity
    if options.json:
        print(json.dumps({"file": str(done.file), "bytes": done.bytes} | asdict(parity)))
        return
    print(f"{done.file}: {done.bytes / 1e6:.1f} MB")
    print(f"the same next token as the model in {parity.agreement:.2%} of {parity.rows:,} places")
    if lm.system is not None:
        print(f"use it with the system message that it was trained with: {lm.system}")


def generate(options) -> None:
    """Print the answers, or write them to OUT.jsonl; exit status 2 for bad input."""
    if bool(options.inputs) == bool(options.input):
        found = "both" if options.input else "none"
        raise InputError(f"generate needs either prompts or --input FILE, found {found}")
    if options.output:
        check_output(options.output, options.input)
    sampling = sampling_of(options)
    from helpers.own.messages import prompts_from

    lm = load(options.folder)
    inputs, problems = prompts_from(options.input or options.inputs, on_bad=options.on_bad)
    for line in [*(f"skipped {problem}" for problem in problems), *inputs.noticed]:
        print(line, file=sys.stderr)
    if not options.output:
        for line, text in written(lm, inputs, sampling, 0):
            print(line if options.json else text, flush=True)
        return
    from helpers.deployment.labelling import Partial

    weights = sorted((options.folder / "model").glob("*.safetensors"))
    about = [
        lm.name,
        lm.system,
        asdict(sampling),
        [file.stat().st_mtime_ns for file in weights],
        inputs.values,
    ]
    partial_ = Partial(options.output, hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12])
    kept, total = partial_.rows, len(inputs.values)
    with counting(total, "answers") as advance:
        advance(kept)
        for start in range(kept, total, PORTION):
            lines = [line for line, _ in written(lm, inputs, sampling, start, start + PORTION)]
            partial_.append("".join(f"{line}\n" for line in lines), rows=len(lines))
            advance(len(lines))
    partial_.finish(options.output)
    print(f"{total:,} answers written to {options.output}, {kept:,} of them by an earlier call")


def written(lm, inputs, sampling, start: int, end: int | None = None):
    """A line of JSON, and the text alone, for each input from `start` on."""
    from helpers import generation

    for first in range(start, min(end or len(inputs.values), len(inputs.values)), PORTION):
        rows = slice(first, first + PORTION)
        own = replace(sampling, seed=sampling.seed + first)  # or equal prompts would draw the same answer
        answers = generation.generate(lm, inputs.values[rows], own)
        for number, messages, answer in zip(inputs.numbers[rows], inputs.values[rows], answers):
            said = {"answer": answer.text} | {k: v for k, v in asdict(answer).items() if k != "text"}
            yield json.dumps({"row": number, "messages": messages} | said, ensure_ascii=False), answer.text


def check_output(output: Path, source: Path | None) -> None:
    """Raises InputError: it is the input, or holds what this command did not make, or cannot be written."""
    from helpers.deployment.labelling import check_place

    if output.suffix != ".jsonl":
        raise InputError(f"answers are written as JSON Lines, found the name {output.name}; end it in .jsonl")
    check_place(output, source)
    if not output.exists():
        return
    try:
        with output.open(encoding="utf-8") as lines:
            is_ours = {"row", "messages", "answer", "finish"} <= set(json.loads(next(lines)))
    except (OSError, ValueError, StopIteration, TypeError):
        is_ours = False
    if not is_ours:
        raise InputError(f"{output} exists and is no output of this command; choose another file")
