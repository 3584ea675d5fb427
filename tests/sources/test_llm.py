"""Asking a language model: a real server on loopback that answers well, badly, late and never."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

from pyg_kgtransfer.sources.llm import (
    LLM,
    BudgetSpentError,
    LLMOptions,
    NoAnswerError,
    OpenAIChat,
    UnavailableError,
    json_object,
)

QUESTION = [{"role": "user", "content": "Name the cluster of Athens and Rome."}]
needs_openai = pytest.mark.skipif(find_spec("openai") is None, reason="the extra llm is missing")


class Scripted:
    """A model that gives its answers in turn; an exception is raised."""

    key = "scripted"

    def __init__(self, *answers: str | Exception) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, messages) -> str:
        self.asked += 1
        answer = self.answers[min(self.asked, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def named(text: str) -> str:
    found = json_object(text)
    if not isinstance(found.get("name"), str):
        raise ValueError("a name is wanted")
    return found["name"]


FAST = LLMOptions(wait=0.0)


def test_answers_are_kept_and_paid_once(tmp_path: Path) -> None:
    model = Scripted('{"name": "cities"}')
    first = LLM(model, tmp_path, FAST)
    assert not first.knows(QUESTION)
    assert [first.ask(QUESTION, named) for _ in range(2)] == ["cities", "cities"]
    later = LLM(model, tmp_path, LLMOptions(max_calls=0))
    assert later.knows(QUESTION)
    assert later.ask(QUESTION, named) == "cities"
    assert (model.asked, later.num_calls, later.num_known) == (1, 0, 1)
    [path] = tmp_path.iterdir()
    path.write_text("half", encoding="utf-8")
    assert LLM(model, tmp_path, FAST).ask(QUESTION, named) == "cities"
    assert model.asked == 2


def test_models_are_told_apart(tmp_path: Path) -> None:
    one, other = Scripted('{"name": "a"}'), Scripted('{"name": "b"}')
    other.key = "another"
    assert LLM(one, tmp_path).ask(QUESTION, named) == "a"
    assert LLM(other, tmp_path).ask(QUESTION, named) == "b"


def test_what_cannot_be_used_is_asked_again_and_not_kept(tmp_path: Path) -> None:
    model = Scripted("I think", '{"name": 3}', UnavailableError("busy"), '```{"name": "cities"}```')
    llm = LLM(model, tmp_path, FAST)
    assert llm.ask(QUESTION, named) == "cities"
    assert llm.num_calls == 4
    bad = LLM(Scripted("no"), tmp_path / "bad", LLMOptions(tries=2, wait=0.0))
    with pytest.raises(NoAnswerError, match=r"scripted: 2 tries, at last: .*JSON object.*'no'"):
        bad.ask(QUESTION, named)
    assert not (tmp_path / "bad").exists()


def test_waits_double(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(NoAnswerError):
        LLM(Scripted("no"), options=LLMOptions(tries=4, wait=0.5)).ask(QUESTION, named)
    assert waits == [0.5, 1.0, 2.0]


def test_a_budget_of_calls_and_of_tokens_is_kept() -> None:
    llm = LLM(Scripted("no"), options=LLMOptions(max_calls=2, wait=0.0))
    with pytest.raises(BudgetSpentError, match="2 calls"):
        llm.ask(QUESTION, named)
    assert llm.num_calls == 2
    words = len(QUESTION[0]["content"]) // 4
    llm = LLM(Scripted('{"name": "cities"}'), options=LLMOptions(max_tokens=words + 8))
    llm.ask(QUESTION, named)
    with pytest.raises(BudgetSpentError, match="tokens is spent"):
        llm.ask(QUESTION, named)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"tries": 0}, "tries must be at least 1"), ({"wait": -1}, "wait must be at least 0"),
     ({"max_calls": -1}, "max_calls must be at least 0")],
)  # fmt: skip
def test_options_out_of_range_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        LLMOptions(**options)


Reply = Callable[[BaseHTTPRequestHandler], None]


def said(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "m",
                       "choices": [choice]}).encode()  # fmt: skip


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, length: int = -1) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body) if length < 0 else length))
    handler.end_headers()
    handler.wfile.write(body)


GOOD: Reply = lambda h: send(h, 200, said('{"name": "cities"}'))  # noqa: E731
REPLIES: dict[str, Reply] = {
    "429": lambda h: send(h, 429, b'{"error": {"message": "slow down"}}'),
    "500": lambda h: send(h, 500, b'{"error": {"message": "oops"}}'),
    "half a JSON answer": lambda h: send(h, 200, said('{"name": "cit')),
    "half a body": lambda h: send(h, 200, said('{"name": "cities"}')[:40]),
    "a cut connection": lambda h: send(h, 200, b"{", length=1000),
    "another answer": lambda h: send(h, 200, b'{"choices": []}'),
    "no JSON": lambda h: send(h, 200, b"<html>"),
    "silence": lambda h: time.sleep(0.6),
}


@pytest.fixture
def server() -> Iterator[tuple[str, list[Reply]]]:
    """An endpoint, and the replies that it gives in turn; then good ones."""
    replies: list[Reply] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            (replies.pop(0) if replies else GOOD)(self)

        def log_message(self, *arguments: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}/v1", replies
    running.shutdown()
    running.server_close()


@pytest.fixture
def chat(server, monkeypatch: pytest.MonkeyPatch) -> OpenAIChat:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    return OpenAIChat("m", base_url=server[0], timeout=0.3)


@needs_openai
@pytest.mark.parametrize("trouble", REPLIES)
def test_an_endpoint_in_trouble_is_asked_again(trouble: str, server, chat) -> None:
    server[1].append(REPLIES[trouble])
    llm = LLM(chat, options=FAST)
    assert llm.ask(QUESTION, named) == "cities"
    assert llm.num_calls == 2


@needs_openai
def test_an_endpoint_that_stays_in_trouble_is_told(server, chat) -> None:
    server[1].extend([REPLIES["500"]] * 2)
    with pytest.raises(NoAnswerError, match=r"2 tries, at last: .*500"):
        LLM(chat, options=LLMOptions(tries=2, wait=0.0)).ask(QUESTION, named)


@needs_openai
def test_an_endpoint_that_refuses_is_not_asked_again(server, chat) -> None:
    server[1].append(lambda h: send(h, 401, b'{"error": {"message": "wrong key"}}'))
    llm = LLM(chat, options=FAST)
    with pytest.raises(ValueError, match=r"refuses to answer \(401\).*wrong key"):
        llm.ask(QUESTION, named)
    assert llm.num_calls == 1


@needs_openai
def test_an_endpoint_that_is_down_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    chat = OpenAIChat("m", base_url="http://127.0.0.1:9/v1", timeout=0.3)
    with pytest.raises(NoAnswerError, match="Connection error"):
        LLM(chat, options=LLMOptions(tries=2, wait=0.0)).ask(QUESTION, named)


def test_the_key_comes_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("pyg_kgtransfer.sources.llm.find_spec", lambda name: name)
    with pytest.raises(ValueError, match="environment variable OPENAI_API_KEY"):
        OpenAIChat("m")
    monkeypatch.setattr("pyg_kgtransfer.sources.llm.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install pyg-kgtransfer\[llm\]"):
        OpenAIChat("m")
