"""The chat service as a real process: OpenAI's client, mixed requests, clients that leave."""

import asyncio
import concurrent.futures
import http.client
import json
import random
import re
import time
import urllib.parse

import openai
import pytest

from helpers.deployment.chat_service import create_chat_app
from helpers.deployment.guard import Limits
from lessons.running_service import running

JSON = {"Content-Type": "application/json"}
PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def address(writer_folder):
    with running(writer_folder) as found:
        yield found


def connect(address):
    return http.client.HTTPConnection(urllib.parse.urlsplit(address).netloc, timeout=120)


def ask(address, path, body=None, headers=JSON):
    """(status, headers, text) of one request."""
    connection = connect(address)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


def body(**fields) -> dict:
    question = [{"role": "user", "content": "Hello"}]
    return {"model": "random", "messages": question, "max_tokens": 4, "temperature": 0} | fields


def post(address, **fields):
    status, _, text = ask(address, PATH, json.dumps(body(**fields)))
    return status, json.loads(text)


def metric(address, name) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", ask(address, "/metrics")[2], re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_the_client_of_openai_reads_answers_and_streams(address):
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == ["random"]
    asked = {"model": "random", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0}
    whole = client.chat.completions.create(max_tokens=20, **asked)
    choice = whole.choices[0]
    assert (choice.finish_reason, choice.message.role, whole.usage.completion_tokens) == (
        "length",
        "assistant",
        20,
    )
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + 20
    options = {"stream": True, "stream_options": {"include_usage": True}, "max_completion_tokens": 20}
    first, *chunks, last, usage = client.chat.completions.create(**options, **asked)
    assert first.choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == choice.message.content
    assert len(chunks) > 3
    assert (last.choices[0].finish_reason, usage.usage) == ("length", whole.usage)
    assert len({chunk.id for chunk in (first, *chunks, last, usage)}) == 1
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(**asked | {"model": "gpt"})
    with pytest.raises(openai.BadRequestError, match="tools is not supported") as refused:
        client.chat.completions.create(tools=[{"type": "function", "function": {"name": "f"}}], **asked)
    assert refused.value.param == "tools"


def test_draws_depend_on_the_seed_alone(address):
    said = lambda **fields: post(address, temperature=1.5, max_tokens=8, **fields)[1]["choices"][0]["message"]
    assert said(seed=1) == said(seed=1) != said(seed=2)
    assert said() != said()


def test_a_stop_text_ends_an_answer_and_is_not_part_of_it(address):
    whole = post(address, max_tokens=20)[1]["choices"][0]["message"]["content"]
    for stop in (whole[5:8], [whole[5:8], "never"]):
        choice = post(address, max_tokens=20, stop=stop)[1]["choices"][0]
        assert choice["finish_reason"] == "stop"
        assert choice["message"]["content"] == whole[: whole.index(whole[5:8])]


NEUTRAL = [
    {"n": 1},
    {"tools": []},
    {"user": "me"},
    {"logprobs": False},
    {"response_format": {"type": "text"}},
]
NEUTRAL += [{"temperature": None, "stop": None}, {"presence_penalty": 0.0}]


@pytest.mark.parametrize("fields", NEUTRAL, ids=str)
def test_fields_without_effect_are_taken(fields, address):
    assert post(address, **fields)[0] == 200


USER = {"role": "user", "content": "Hello"}
REFUSED = [
    ({"model": "other"}, 404, "model", "does not exist, this service has 'random'"),
    ({"messages": []}, 400, "messages", "at least 1 item"),
    ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages", "'system', 'user' or 'assistant'"),
    ({"messages": [{"role": "user", "content": None}]}, 400, "messages", "valid string"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, 400, "messages", "no text"),
    ({"messages": [USER | {"name": "Ann"}]}, 400, "name", "not supported"),
    ({"messages": [USER | {"content": "<|im_end|>"}]}, 400, "messages", "sign for the model"),
    ({"messages": [USER | {"content": "word " * 2000}]}, 400, "messages", "more than the 1,024"),
    ({"max_tokens": 1024}, 400, "messages", "more than the 1,024"),
    ({"max_tokens": 0}, 400, "max_tokens", "greater than or equal to 1"),
    ({"max_tokens": 3.5}, 400, "max_tokens", "valid integer"),
    ({"max_completion_tokens": 5}, 400, "max_tokens", "give one of the two"),
    ({"temperature": 2.1}, 400, "temperature", "less than or equal to 2"),
    ({"temperature": "0"}, 400, "temperature", "valid number"),
    ({"temperature": float("nan")}, 400, "temperature", "body.temperature"),
    ({"top_p": -1}, 400, "top_p", "greater than"),
    ({"stop": ""}, 400, "stop", "at least 1"),
    ({"stop": ["a"] * 5}, 400, "stop", "body.stop"),
    ({"seed": 10**30}, 400, "seed", "."),
    ({"n": 2}, 400, "n", "not supported"),
    ({"logprobs": True}, 400, "logprobs", "not supported"),
    ({"response_format": {"type": "json_object"}}, 400, "response_format", "not supported"),
    ({"presence_penalty": 0.5}, 400, "presence_penalty", "not supported"),
    ({"stream": True, "stream_options": {"other": 1}}, 400, "other", "not supported"),
    ({"stream": True, "max_tokens": 2000}, 400, "messages", "more than the 1,024"),
    ({"top_k": 3}, 400, "top_k", "not supported"),
    ({"\ud800": 3}, 400, None, "body"),
]


@pytest.mark.parametrize(
    ("fields", "status", "param", "sentence"), REFUSED, ids=[str(n) for n in range(len(REFUSED))]
)
def test_what_cannot_be_done_is_refused_by_name(fields, status, param, sentence, address):
    found, content = post(address, **fields)
    error = content["error"]
    assert (found, error["param"], error["type"]) == (status, param, "invalid_request_error")
    assert re.search(sentence, error["message"])


def test_refusals_before_the_application_have_the_same_shape(address):
    for body_, headers, status in (
        (b"{", JSON, 400),
        (b"[1]", JSON, 400),
        (b"{}", {}, 415),
        (b" " * 300_000, JSON, 413),
        (b"{}", JSON | {"Host": "evil.example"}, 421),
        (b"{}", JSON | {"Origin": "http://evil.example"}, 403),
    ):
        found, _, text = ask(address, PATH, body_, headers)
        assert found == status
        assert set(json.loads(text)["error"]) == {"message", "type", "param", "code"}
    assert "error" in json.loads(ask(address, "/nothing")[2])


def test_the_page_runs_its_own_script_alone(address):
    status, headers, text = ask(address, "/")
    assert status == 200
    assert "script-src 'sha256-" in headers["content-security-policy"]
    assert 'aria-live="polite"' in text
    assert not re.search(r"\$[a-z]|https?://", text.replace("$name", ""))


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_client_that_leaves_ends_its_answer(is_streamed, address):
    connection = connect(address)
    connection.request("POST", PATH, json.dumps(body(max_tokens=990, stream=is_streamed)), JSON)
    time.sleep(0.3)
    if is_streamed:
        assert b"data: " in connection.getresponse().readline()
    connection.sock.close()
    connection.close()
    tokens, began = metric(address, 'course_tokens_total{kind="new"}'), time.perf_counter()
    assert post(address)[0] == 200  # the one thread is free again
    assert time.perf_counter() - began < 5
    assert metric(address, 'course_tokens_total{kind="new"}') == tokens + 4


def test_a_thousand_mixed_requests(address):
    def good():
        status, content = post(address)
        return status == 200 and content["usage"]["completion_tokens"] == 4

    def streamed():
        status, headers, text = ask(address, PATH, json.dumps(body(stream=True)))
        lines = [line for line in text.split("\n\n") if line]
        is_shaped = all(json.loads(line[6:])["object"] == "chat.completion.chunk" for line in lines[:-1])
        return (
            status == 200
            and headers["content-type"].startswith("text/event-stream")
            and (is_shaped and lines[-1] == "data: [DONE]")
        )

    def left():
        connection = connect(address)
        connection.request("POST", PATH, json.dumps(body(max_tokens=200, stream=True)), JSON)
        time.sleep(0.02)
        connection.close()
        return True

    refused = lambda status, **fields: lambda: post(address, **fields)[0] == status
    malformed = lambda: ask(address, PATH, b'{"model"')[0] == 400
    long = [USER | {"content": "a" * 9000}]
    kinds = [good, streamed, left, malformed, refused(404, model="x"), refused(400, messages=long)]
    kinds += [refused(400, n=3), refused(400, max_tokens=5000, stream=True)]
    jobs = [kinds[number % len(kinds)] for number in range(1000)]
    random.Random(0).shuffle(jobs)
    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        found = list(clients.map(lambda job: job(), jobs))
    assert all(found), [job for job, is_right in zip(jobs, found) if not is_right][:3]
    assert ask(address, "/health")[0] == 200
    assert metric(address, 'course_requests_total{code="500",path="/v1/chat/completions"}') == 0


def test_who_finds_the_queue_full_is_told_when_to_come_again(random_lm):
    app = create_chat_app(random_lm, name="random", limits=Limits(waiting=2))

    async def call():
        sent, messages = (
            [],
            iter([{"type": "http.request", "body": json.dumps(body(max_tokens=30)).encode()}]),
        )

        async def receive():
            message = next(messages, None)
            return message or await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "headers": headers}
        await app(scope | {"http_version": "1.1", "raw_path": PATH.encode(), "root_path": ""}, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"]).get(b"retry-after")

    async def all_at_once():
        return await asyncio.gather(*(call() for _ in range(5)))

    for _ in range(2):
        assert sorted(asyncio.run(all_at_once())) == [(200, None)] * 2 + [(503, b"1")] * 3
