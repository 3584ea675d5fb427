"""What ``kgt VERB --help`` says: the verb's own options first, those of its settings when asked."""

import difflib
import re
import textwrap
from argparse import SUPPRESS, Action
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser, DefaultHelpFormatter

ALL = "all"
_FEW = 12  # so many options are all told at once
_PRINT_CONFIG = "--print_config"
_NUMBERS = {"int": "N", "float": "X"}
_LONG = 60  # characters of a default that is shown whole


class PlainHelp(DefaultHelpFormatter):
    """Options in plain words: no markup, no types of Python, no default that says nothing."""

    def _get_help_string(self, action: Action) -> str:
        text = in_plain_words(action.help or "")
        notes = ["required"] if action.required else []
        told = _default_in_words(action, text)
        notes += [f"default: {told}"] if told else []
        return f"{text} ({', '.join(notes)})" if notes else text

    def _get_default_metavar_for_optional(self, action: Action) -> str:
        kind = (self._get_type_str(action) or "").split(" ")[0]
        return _NUMBERS.get(kind) or super()._get_default_metavar_for_optional(action)

    def _format_action_invocation(self, action: Action) -> str:
        if _PRINT_CONFIG in action.option_strings:
            return _PRINT_CONFIG
        return super()._format_action_invocation(action)


def asked_topic(arguments: Sequence[str]) -> str | None:
    """What help is asked about: a group of options, ``""`` for the verb itself.

    Returns:
        ``None`` where no help is asked.

    Example:
        >>> asked_topic(["--help", "recipe.model"]), asked_topic(["--help"]), asked_topic([])
        ('recipe.model', '', None)
    """
    for place, argument in enumerate(arguments):
        if argument in ("-h", "--help"):
            topic = arguments[place + 1 : place + 2]
            return topic[0].lstrip("-") if topic else ""
    return None


def explanation(parser: ArgumentParser, topic: str) -> str:
    """The help of a verb, for which the parser is used up.

    Args:
        parser: With all options of the verb.
        topic: ``""``: the verb's own options, and the settings in a line a group, where it has more
            than a few; ``"all"``: every option; else those whose names begin so.

    Raises:
        ValueError: If no option has such a name; the nearest groups are offered.
    """
    groups = _groups(parser)
    options = [action for actions in groups.values() for action in actions]
    _tidy(parser, list(groups))
    folded = list(groups) if topic == "" and len(options) > _FEW else []
    if topic not in ("", ALL):
        shown = [a for a in options if f"{a.dest}.".startswith(f"{topic}.")]
        if not shown:
            raise ValueError(_no_such_topic(topic, list(groups)))
        _hide([a for a in parser._actions if a not in shown])
    _hide([action for name in folded for action in groups[name]])
    text = str(parser.format_help()).rstrip()
    return f"{text}\n\n{_folded(parser, folded)}" if folded else text


def topics(parser: ArgumentParser) -> list[str]:
    """What help of a verb can be asked about: the dotted names of its groups of settings.

    Example:
        >>> parser = ArgumentParser()
        >>> _ = parser.add_argument("--cut.depth", default=1)
        >>> topics(parser)
        ['cut']
    """
    return list(_groups(parser))


def in_plain_words(text: str) -> str:
    """A line of a docstring as help of an option.

    Example:
        >>> in_plain_words('Either ``"adam"`` or ``"sgd"``; ``None``: neither.')
        "either 'adam' or 'sgd'; null: neither"
    """
    text = re.sub(r'``"(.*?)"``', r"'\1'", text)
    text = text.replace("``None``", "null").replace("``", "")
    if re.match(r"[A-Z][a-z]* |[A-Z][a-z]+\b", text):
        text = text[0].lower() + text[1:]
    return text.removesuffix(".") if ". " not in text else text


def _default_in_words(action: Action, text: str) -> str:
    """The default as one would write it; ``""`` where there is none, or the text tells of it."""
    default = action.default
    if default == SUPPRESS or "default:" in text or action.nargs == 0:
        return ""
    if default is None:
        return "null" if "null" in text else ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, (list, tuple)):
        return _listed(default) if default else ""
    return str(default)


def _listed(values: Sequence[Any]) -> str:
    text = f"[{','.join(map(str, values))}]"
    return text if len(text) <= _LONG else f"[{values[0]},{values[1]},...,{values[-1]}]"


def _groups(parser: ArgumentParser) -> dict[str, list[Action]]:
    """The options of settings, by the dotted name that they begin with, in the parser's order."""
    groups: dict[str, list[Action]] = {name: [] for name in parser.groups or {}}
    for action in parser._actions:
        if "." in action.dest and action.default != SUPPRESS:
            groups.setdefault(action.dest.rpartition(".")[0], []).append(action)
    return {name: actions for name, actions in groups.items() if actions}


def _tidy(parser: ArgumentParser, groups: Sequence[str]) -> None:
    """Words for what comes from the parser itself, and for titles."""
    for group in parser._action_groups:
        group.title = in_plain_words(group.title) if group.title else group.title
    for action in parser._actions:
        if action.dest == "help":
            action.help = "show this and exit" + (
                f"; --help {groups[0]}: the options that begin with {groups[0]}" if groups else ""
            )
        elif _PRINT_CONFIG in action.option_strings:
            action.help = "print all options as such a YAML file, and exit"
        elif action.metavar == "CONFIG" and action.default == SUPPRESS:
            action.help = SUPPRESS  # reads one group from a file; --config reads all


def _hide(actions: Sequence[Action]) -> None:
    for action in actions:
        action.help = SUPPRESS


def _folded(parser: ArgumentParser, names: Sequence[str]) -> str:
    """A line for each group of settings that is not shown."""
    titles = {name: group.title for name, group in (parser.groups or {}).items()}
    width = max(map(len, names)) + 6  # of "--NAME.*", and two spaces
    margin = " " * (width + 2)
    lines = [
        textwrap.fill(
            titles.get(name) or "further settings",
            PlainHelp(parser.prog)._width,
            initial_indent=f"  {f'--{name}.*':<{width}}",
            subsequent_indent=margin,
        )
        for name in names
    ]
    head = (
        f"settings ('{parser.prog} --help {names[-1]}' tells those of a line, '--help {ALL}' all):"
    )
    return "\n".join([head, *lines])


def _no_such_topic(topic: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(topic, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    known = ", ".join([*names, ALL])
    return f"--help takes the name of a group of options: {known} (got {topic!r}){hint}"
