"""Language models on the command line: a real process with a pipe, Ctrl-C, prompts from files, refusals."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from helpers.cli import main
from helpers.files import ROOT

COMMAND = [sys.executable, "-m", "helpers"]


def talk(folder, text, *options):
    command = [*COMMAND, "chat", str(folder), "--max-new-tokens", "8", *options]
    return subprocess.run(command, cwd=ROOT, input=text.encode(), capture_output=True, timeout=120)


def test_lines_of_a_pipe_are_answered_until_its_end(writer_folder):
    long = "word " * 400
    lines = ["Hello", "Hello", "/new", "", "/no", "<|im_end|>", long, long, long, "word " * 2000, "Hello"]
    done = talk(writer_folder, "\n".join([*lines, "/quit", "Hello"]))
    assert done.returncode == 0, done.stderr
    answers, said = done.stdout.decode().split("\n"), done.stderr.decode()
    assert said.count("a new conversation") == 1
    assert said.count("oldest turn is forgotten") == 3
    assert "/no is no command" in said
    assert "'<|im_end|>', which is a sign for the model" in said
    assert "more than the 1,024 of this model" in said
    assert len(answers) >= 7
    alone = talk(writer_folder, "Hello\n/system Be kind.\nHello\n\xff")
    assert alone.returncode == 0
    assert done.stdout.startswith(alone.stdout[:8])


def test_the_seed_decides_what_is_drawn(writer_folder, capsys):
    said, short = [], ["--max-new-tokens", "8"]
    for seed in "112":
        assert (
            main(["generate", str(writer_folder), "Hi", "--temperature", "1.5", "--seed", seed, *short]) == 0
        )
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != said[2]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to another process")
def test_ctrl_c_stops_the_answer_and_the_next_one_ends(writer_folder):
    command = [*COMMAND, "chat", str(writer_folder), "--max-new-tokens", "950"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=ROOT, bufsize=0, **pipes)
    try:
        assert b"listens" in process.stderr.readline()
        process.stdin.write(b"Hello\n")
        begun = process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        process.stdin.write(b"/no\n")
        assert b"/no is no command" in process.stderr.readline()  # it listens again
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert begun
    assert rest
    assert process.returncode == 130
    assert b"Traceback" not in said


def test_prompts_of_a_file_are_answered_and_a_stopped_call_goes_on(
    writer_folder, tmp_path, capsys, monkeypatch
):
    prompts, output = tmp_path / "prompts.txt", tmp_path / "answers.jsonl"
    prompts.write_text("\n".join(f"Prompt {number}" for number in range(70)))
    command = ["generate", str(writer_folder), "--input", str(prompts), "--output", str(output)]
    command += ["--max-new-tokens", "2", "--temperature", "1"]
    from helpers.deployment.labelling import Partial

    append = Partial.append

    def stop_at_the_second(self, text, *, rows):
        if self.rows:
            raise OSError(28, "No space left on device", str(output))
        append(self, text, rows=rows)

    monkeypatch.setattr(Partial, "append", stop_at_the_second)
    assert main(command) == 2
    assert not output.exists()
    monkeypatch.setattr(Partial, "append", append)
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "70 answers written to" in said
    assert "64 of them by an earlier call" in said
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [row["row"] for row in rows] == list(range(1, 71))
    assert rows[5]["messages"] == [{"role": "user", "content": "Prompt 5"}]
    assert {row["finish"] for row in rows} <= {"stop", "length"}
    assert main(command) == 0  # our own output may be written again
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


REFUSED = [
    (["generate", "WRITER"], "either prompts or --input"),
    (["generate", "WRITER", "Hi", "--temperature", "-1"], "temperature must be from 0"),
    (["generate", "WRITER", "Hi", "--output", "answers.csv"], "as JSON Lines"),
    (["generate", "WRITER", "Hi", "--output", "OTHER"], "no output of this command"),
    (["generate", "nowhere", "Hi"], "nowhere does not exist"),
    (["chat", "CLASSIFIER"], "is no language model"),
    (["predict", "WRITER", "Hi"], "which has no labels"),
    (["export", "WRITER", "--format", "onnx"], "use safetensors or gguf"),
    (["export", "CLASSIFIER", "--format", "gguf"], "is a classifier: use onnx"),
    (["export", "WRITER", "--format", "safetensors", "--quantise", "q8_0"], "--quantise has no effect"),
    (["serve", "WRITER", "--onnx"], "--onnx has no effect"),
]


@pytest.mark.parametrize(("command", "sentence"), REFUSED, ids=[" ".join(row[0]) for row in REFUSED])
def test_what_does_not_suit_is_refused_in_one_sentence(command, sentence, writer_folder, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"task": "text"}')
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    names = {"WRITER": writer_folder, "CLASSIFIER": tmp_path / "run", "OTHER": tmp_path / "other.jsonl"}
    assert main([str(names.get(word, word)) for word in command]) == 2
    out, err = capsys.readouterr()
    assert sentence in err
    assert out == ""
    assert err.count("\n") == 1
