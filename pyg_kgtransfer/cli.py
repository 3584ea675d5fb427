"""``kgt``: the verbs of the command line, each a module of ``commands`` imported when asked for."""

import argparse
import contextlib
import difflib
import errno
import importlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

import pyg_kgtransfer
from pyg_kgtransfer.process import place_among_processes, prepare

VERBS = {
    "demo": "run it all on three graphs of the world: teacher, student, what the transfer gained",
    "link": "find which entities of two graphs are the same; write them to a file",
    "pretrain": "train one model over several linked graphs, or over one",
    "tune": "search for the options by which pretrain does best on validation facts",
    "distill": "train a student for one graph, taught by a pre-trained model",
    "kg-fit": "train a model that starts from texts and stays near their clusters",
    "glove": "learn vectors of words from running text, alone or jointly with a graph's facts",
    "finetune": "move a trained model to another graph and train it on there",
    "adapt": "move a trained model to another graph until the two look alike to it",
    "few-shot": "teach a trained model relations or entities that it does not know, by a few facts",
    "zero-shot": "let a foundation model rank the facts of a graph it has never seen, untrained",
    "evaluate": "rank the held-out facts of a graph: MRR, hits@k, filtered, both sides",
    "calibrate": "turn a model's scores into probabilities, kept with it",
    "predict": "ask a model by name: the best tails, heads or relations",
    "words": "ask vectors of words: neighbours, analogies, agreement with people",
    "hierarchy make": "cluster entities by their texts, refine the tree, write it to a file",
    "hierarchy show": "show the tree around an entity, and draw it",
    "rules": "find rules that the facts of a graph follow, and how many facts each proposes",
    "info": "tell what is in a checkpoint or a data set, where it comes from, what leaks",
    "doctor": "tell versions, devices and extras of this installation",
}
# What torchrun or srun may start several times: one model is trained, and written once.
SHARED = ("pretrain", "distill", "finetune", "adapt", "few-shot")
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "NoneType": "null",
}
INTERRUPTED, WRONG, BROKEN_PIPE = 130, 2, 141  # exit statuses


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``kgt`` with ``arguments`` (default: those of the process).

    Returns:
        The exit status: 0, or 2 after an error, which is told in one paragraph on stderr, or 130
        after Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview(VERBS), file=sys.stdout if given else sys.stderr)
        return 0 if given else WRONG
    if given[0] == "--version":
        print(pyg_kgtransfer.__version__)
        return 0
    words = 2 if " ".join(given[:2]) in VERBS else 1
    verb = " ".join(given[:words])
    below = {known: what for known, what in VERBS.items() if known.startswith(f"{verb} ")}
    if below and len(given) > 1 and given[1] in ("-h", "--help"):  # kgt hierarchy --help
        print(overview(below))
        return 0
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return _told("kgt", f"the verbs are {', '.join(VERBS)} (got {verb!r}){hint}")
    prepare()  # before a command imports torch
    with _log_on_stderr() as said:
        try:
            return _run(verb, given[words:])
        except BrokenPipeError:  # the reader of our output has gone, as in `kgt info x | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        except (ValueError, OSError, ImportError) as error:
            message = in_words(error)
            return WRONG if message in said else _told(f"kgt {verb}", message)
        except KeyboardInterrupt as stop:
            message = str(stop) or "interrupted"
            if message not in said:
                _told(f"kgt {verb}", message)
            return INTERRUPTED


def in_words(error: Exception) -> str:
    """An error as one paragraph: what the system says of a file, with the file's name.

    Example:
        >>> in_words(FileNotFoundError(errno.ENOENT, "No such file or directory", "facts.tsv"))
        'facts.tsv: no such file or directory'
    """
    if isinstance(error, OSError) and error.errno is not None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = error.strerror or str(error)
        system = reason == os.strerror(error.errno)
        reason = "the disk is full" if full and system else reason
        reason = reason[:1].lower() + reason[1:] if system else reason
        return reason if error.filename is None else f"{error.filename}: {reason}"
    return str(error)


def _run(verb: str, arguments: list[str]) -> int:
    """Parse, run and report one verb."""
    from pyg_kgtransfer.commands.help import asked_topic, explanation
    from pyg_kgtransfer.serving.report import console

    command, parser = _command(verb), parser_of(verb)
    topic = asked_topic(arguments)
    if topic is not None:
        print(explanation(parser, topic))
        return 0
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as done:  # --print_config
        return int(done.code or 0)
    except argparse.ArgumentError as error:
        known = re.findall(r"--[\w.]+", parser.format_help())
        raise ValueError(_option_in_words(str(error), known)) from error
    options = parser.instantiate(parsed)
    rank, size = place_among_processes()
    is_first = rank == 0  # one tells what all have done
    if size > 1 and verb not in SHARED:
        raise ValueError(
            f"only {', '.join(SHARED)} train in several processes; start this one alone (got "
            f"{size} processes)"
        )
    is_quiet = options.json or not is_first
    show: Callable[[object], None] = _silence if is_quiet else console().print
    report = command.run(options, show)
    if options.json and is_first:
        print(json.dumps(report, allow_nan=False), flush=True)
    return 0


def parser_of(verb: str) -> Any:
    """The parser (jsonargparse) of the options of one verb of ``VERBS``."""
    from jsonargparse import ArgumentParser

    from pyg_kgtransfer.commands.help import PlainHelp

    command = _command(verb)
    parser = ArgumentParser(
        prog=f"kgt {verb}",
        usage=f"{command.USAGE} [options]",
        description=f"{VERBS[verb][0].upper()}{VERBS[verb][1:]}.",
        exit_on_error=False,
        formatter_class=PlainHelp,
    )
    command.add_arguments(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on stdout, and nothing else"
    )
    parser.add_argument(
        "--config", action="config", metavar="FILE", help="read options from a YAML file"
    )
    return parser


def _command(verb: str) -> Any:
    return importlib.import_module(f"pyg_kgtransfer.commands.{re.sub(r'[ -]', '_', verb)}")


def _option_in_words(message: str, known: Sequence[str]) -> str:
    """What the parser says of an option, on one line, with the nearest one where it is misspelt.

    Args:
        message: As jsonargparse has it.
        known: The options there are, with their dashes.
    """
    text = " ".join(re.sub(r'Parser key "([^"]+)":', r"--\1:", message).split())
    text = re.sub(r"Expected a (.*?)\. Got value: (.*)", r"\1 is wanted (got \2)", text)
    text = re.sub(
        r"Does not validate .*?Subtypes: \[(.*?)\] Errors: .*Given value: (.*)",
        r"\1 is wanted (got \2)",
        text,
    )
    text = re.sub(r"(?:typing\.)?Literal\[(.*?)\]", r"one of \1", text)
    for kind, words in _KINDS.items():
        text = text.replace(f"<class '{kind}'>", words)
    needed = re.search(r"arguments are required: (.*)", text)
    if needed:
        names = needed[1].split(", ")
        return f"{', '.join(f'--{n}' if f'--{n}' in known else n for n in names)} must be given"
    strange = re.search(r"unrecognized arguments: (--[\w.]+)", text, re.IGNORECASE)
    in_file = re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", text)
    name = strange[1] if strange else f"--{in_file[1]}.{in_file[2]}" if in_file else ""
    near = difflib.get_close_matches(name, known, n=1)
    return f"{text}; did you mean {near[0]}?" if near else text


def overview(verbs: Mapping[str, str]) -> str:
    """What ``kgt --help`` says, of these verbs."""
    width = max(map(len, verbs))
    lines = "\n".join(f"  {verb:<{width}}  {what}" for verb, what in verbs.items())
    return (
        "usage: kgt VERB [options]\n\n"
        "Carry what was learned on some knowledge graphs over to another.\n\n"
        f"verbs:\n{lines}\n\n"
        "'kgt VERB --help' tells the options of a verb, 'kgt VERB --help all' its settings, too.\n"
        "Each takes --json (one JSON object on stdout), --config FILE.yaml, and --print_config,\n"
        "which prints such a file.\n"
        "'kgt --version' prints the version."
    )


def _silence(what: object) -> None:
    """Shows nothing: under --json stdout has the object alone."""


def _told(who: str, message: str) -> int:
    print(f"{who}: {message}", file=sys.stderr)
    return WRONG


@contextlib.contextmanager
def _log_on_stderr() -> Iterator[list[str]]:
    """Warnings of the library go to stderr; what was said is in the list."""
    said: list[str] = []
    logger = logging.getLogger("pyg_kgtransfer")

    class Lines(logging.StreamHandler[TextIO]):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            super().emit(record)

    handler = Lines(sys.stderr)
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
