"""Asking a language model: any endpoint, with retries, a budget, and every answer kept on disk."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pyg_kgtransfer.sources.whole_file import whole_file

log = logging.getLogger(__name__)
Message = Mapping[str, str]
Answer = TypeVar("Answer")


class UnavailableError(ConnectionError):
    """The model gave no answer, now; asking again may help."""


class BudgetSpentError(RuntimeError):
    """A further call would exceed the budget."""


class NoAnswerError(RuntimeError):
    """The model was asked as often as allowed and gave no answer that could be used."""


class Complete(Protocol):
    """What answers a conversation.

    Attributes:
        key: Names the model: answers of different models are kept apart by it.
    """

    key: str

    def __call__(self, messages: Sequence[Message]) -> str:
        """The answer to ``messages``, each with ``role`` and ``content``.

        Raises:
            UnavailableError: If there is none now.
        """
        ...


class OpenAIChat:
    """A chat model behind an OpenAI-compatible endpoint.

    Args:
        model: Its name at that address.
        base_url: The endpoint, any that speaks the protocol; ``None``: OpenAI's.
        timeout: Seconds to wait for an answer, above 0.
        key_variable: The environment variable that holds the key, the only place it is read from.

    Raises:
        ImportError: If the package ``openai`` is not installed.
        ValueError: If the variable is not set.

    Example:
        >>> chat = OpenAIChat("llama3", base_url="http://127.0.0.1:8000/v1")  # doctest: +SKIP
        >>> chat([{"role": "user", "content": "Say yes."}])  # doctest: +SKIP
        'yes'
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        timeout: float = 60.0,
        key_variable: str = "OPENAI_API_KEY",
    ) -> None:
        if find_spec("openai") is None:
            raise ImportError("a chat model needs `pip install pyg-kgtransfer[llm]`")
        if key_variable not in os.environ:
            raise ValueError(
                f"the environment variable {key_variable} must hold the key of the endpoint (got "
                "none); an endpoint that asks for no key takes any text"
            )
        import openai

        self.model, self.key = model, f"{base_url or 'openai'} {model}"
        self._errors = openai
        self._client = openai.OpenAI(
            api_key=os.environ[key_variable], base_url=base_url, timeout=timeout, max_retries=0
        )

    def __call__(self, messages: Sequence[Message]) -> str:
        given: Any = [dict(message) for message in messages]
        try:
            found = self._client.chat.completions.create(
                model=self.model, messages=given, temperature=0.0
            )
        except (
            self._errors.APIConnectionError,
            self._errors.RateLimitError,
            self._errors.InternalServerError,
            self._errors.APIResponseValidationError,
        ) as error:
            raise UnavailableError(_first_line(error)) from error
        except self._errors.APIStatusError as error:
            raise ValueError(
                f"{self.key} refuses to answer ({error.status_code}): {_first_line(error)}"
            ) from error
        except json.JSONDecodeError as error:
            raise UnavailableError(f"half an answer: {_first_line(error)}") from error
        choices = getattr(found, "choices", None)
        if not choices or choices[0].message.content is None:
            raise UnavailableError("an answer without text")
        return str(choices[0].message.content)


@dataclass(frozen=True)
class LLMOptions:
    """How often and how long a model is asked.

    Attributes:
        max_calls: Calls in all, failed ones too; ``None``: no limit.
        max_tokens: Tokens in all, of questions and answers, counted as four letters each; ``None``:
            no limit.
        tries: Calls for one question, at least 1.
        wait: Seconds before the second try, at least 0; each further wait is twice as long.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> LLMOptions(max_calls=100).tries
        4
    """

    max_calls: int | None = None
    max_tokens: int | None = None
    tries: int = 4
    wait: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("max_calls", 0), ("max_tokens", 0), ("tries", 1), ("wait", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least} (got {value})")


class LLM:
    """Asks a model, checks what it says, and never pays twice for one answer.

    Args:
        complete: The model.
        folder: Where answers are kept, a file each; ``None``: nowhere.
        options: Retries and budget; defaults if ``None``.

    Attributes:
        num_calls: Calls so far, failed ones too.
        num_tokens: Tokens so far, about.
        num_known: Questions answered from the folder.

    Example:
        >>> class Says:
        ...     key = "a model"
        ...     def __call__(self, messages):
        ...         return "yes"
        >>> llm = LLM(Says())
        >>> llm.ask([{"role": "user", "content": "Well?"}], str.upper), llm.num_calls
        ('YES', 1)
    """

    def __init__(
        self, complete: Complete, folder: Path | None = None, options: LLMOptions | None = None
    ) -> None:
        self.complete, self.folder = complete, folder
        self.options = LLMOptions() if options is None else options
        self.num_calls = self.num_tokens = self.num_known = 0

    def knows(self, messages: Sequence[Message]) -> bool:
        """Whether the answer to ``messages`` is kept."""
        path = self._path(messages)
        return path is not None and path.exists()

    def ask(self, messages: Sequence[Message], check: Callable[[str], Answer]) -> Answer:
        """What ``check`` makes of the answer to ``messages``.

        Args:
            messages: The conversation.
            check: Raises ``ValueError`` for an answer that cannot be used; the model is asked again
                then, as after one that did not come.

        Raises:
            BudgetSpentError: If a call would exceed the budget.
            NoAnswerError: If all tries failed.
            ValueError: If the endpoint refuses (a wrong key, an unknown model).
        """
        path = self._path(messages)
        if path is not None and path.exists():
            try:
                answer = check(json.loads(path.read_text(encoding="utf-8"))["answer"])
            except (ValueError, KeyError, TypeError, OSError) as error:
                log.warning("%s cannot be used, the model is asked again: %s", path, error)
            else:
                self.num_known += 1
                return answer
        trouble = ""
        for turn in range(self.options.tries):
            if turn:
                time.sleep(self.options.wait * 2 ** (turn - 1))
            self._spend(messages)
            try:
                text = self.complete(messages)
            except UnavailableError as error:
                trouble = str(error)
                continue
            self.num_tokens += _tokens(text)
            try:
                answer = check(text)
            except ValueError as error:
                trouble = f"{error} (the answer: {text[:80]!r})"
                continue
            if path is not None:
                self._keep(path, messages, text)
            return answer
        raise NoAnswerError(f"{self.complete.key}: {self.options.tries} tries, at last: {trouble}")

    def _spend(self, messages: Sequence[Message]) -> None:
        cost = sum(_tokens(message["content"]) for message in messages)
        calls, tokens = self.options.max_calls, self.options.max_tokens
        if calls is not None and self.num_calls >= calls:
            raise BudgetSpentError(f"the budget of {calls} calls is spent")
        if tokens is not None and self.num_tokens + cost > tokens:
            raise BudgetSpentError(
                f"the budget of {tokens} tokens is spent ({self.num_tokens} used, {cost} wanted)"
            )
        self.num_calls += 1
        self.num_tokens += cost

    def _path(self, messages: Sequence[Message]) -> Path | None:
        if self.folder is None:
            return None
        asked = json.dumps([self.complete.key, [dict(m) for m in messages]], sort_keys=True)
        return self.folder / f"{hashlib.sha256(asked.encode()).hexdigest()[:32]}.json"

    def _keep(self, path: Path, messages: Sequence[Message], answer: str) -> None:
        content = {
            "model": self.complete.key,
            "messages": [dict(message) for message in messages],
            "answer": answer,
        }
        with whole_file(path) as part:
            part.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def json_object(text: str) -> dict[str, Any]:
    """The JSON object in an answer; words and fences around it are let pass.

    Raises:
        ValueError: If there is none, or half of one.
    """
    start, stop = text.find("{"), text.rfind("}")
    if start < 0 or stop < start:
        raise ValueError("an answer must hold a JSON object (got none)")
    try:
        found = json.loads(text[start : stop + 1])
    except json.JSONDecodeError as error:
        raise ValueError(f"an answer must hold a JSON object ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"an answer must hold a JSON object (got {type(found).__name__})")
    return found


def _tokens(text: str) -> int:
    return (len(text) + 3) // 4


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
