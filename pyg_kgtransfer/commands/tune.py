"""``kgt tune``: search for the recipe by which ``kgt pretrain`` does best on validation facts."""

import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands import pretrain
from pyg_kgtransfer.commands.devices import check_accelerator
from pyg_kgtransfer.commands.outputs import Json, Show
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.sources.whole_file import whole_file
from pyg_kgtransfer.transfer.recipe import Recipe
from pyg_kgtransfer.transfer.search_space import SearchSpace
from pyg_kgtransfer.transfer.study import BEGUN, STUDY, TriedRecipe, check_installed
from pyg_kgtransfer.transfer.tune import TuneResult, tune
from pyg_kgtransfer.transfer.tune_config import TuneConfig, TuneInputs

USAGE = "kgt tune --data DATA [DATA ...] [--links A~B.tsv ...] [--space FILE.yaml] --out DIR"
BEST, SPACE = "best.yaml", "space.yaml"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt tune``."""
    pretrain.add_graph_arguments(parser)
    parser.add_argument(
        "--space",
        type=str | None,
        metavar="FILE",
        help="what to try, in YAML, a line for each option of --recipe: a list of choices "
        "('model.width: [64, 128]'), or a range ('training.learning_rate: {low: 0.001, high: 0.1, "
        "log: true}', or with a step). Default: what suits the recipe; DIR/space.yaml then has it",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder for the study and the best recipe (best.yaml): the same command goes on with "
        "the study there, after an interruption, with more --trials, or beside a running one",
    )
    parser.add_class_arguments(TuneConfig)
    parser.add_class_arguments(Recipe, "recipe")


def run(options: Namespace, show: Show) -> Json:
    """Read, try, tell what was best, and write it so that ``kgt pretrain`` reads it."""
    check_installed()
    check_accelerator(options.recipe.training.accelerator)
    out = _checked_study(Path(options.out))
    space = (
        SearchSpace.for_recipe(options.recipe)
        if options.space is None
        else SearchSpace(_read_space(Path(options.space)), options.recipe)
    )
    config = TuneConfig(**{field.name: options[field.name] for field in fields(TuneConfig)})
    given = pretrain.joint_data(options, show)
    show(report.facts_table("space", space.to_plain()))
    found = tune(
        given.linked,
        given.splits,
        space=space,
        inputs=TuneInputs(groups=given.groups, alignment_weight=options.alignment_weight),
        config=config,
        run_dir=out,
    )
    with whole_file(out / SPACE) as part:
        part.write_text(_yaml(space.to_plain()), encoding="utf-8")
    with whole_file(out / BEST) as part:
        part.write_text(_for_pretrain(options, found.recipe), encoding="utf-8")
    _show(found, show)
    show(f"train by the best: kgt pretrain --config {out / BEST} --out MODEL_DIR")
    return {
        "study": str(out / STUDY),
        "config": str(out / BEST),
        "monitor": found.monitor,
        "value": found.value,
        "parameters": found.parameters,
        "importance": found.importance,
        "trials": [trial._asdict() for trial in found.trials],
    }


def _checked_study(out: Path) -> Path:
    """The folder of a study; what can be seen to fail is seen before any trial."""
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"a folder is wanted for the study (got the file {out})")
    others = [path for path in out.iterdir() if path.name not in BEGUN] if out.is_dir() else []
    if others and not (out / STUDY).exists():
        raise FileExistsError(f"{out} exists and holds no study, so nothing is put there")
    out.parent.mkdir(parents=True, exist_ok=True)
    there = out if out.is_dir() else out.parent
    if not os.access(there, os.W_OK):
        raise PermissionError(f"{there} is not writable, so no study can be kept there")
    return out


def _read_space(path: Path) -> dict[str, Any]:
    """The ranges of a YAML file."""
    import yaml

    if not path.is_file():
        raise FileNotFoundError(f"there is no file of a search space {path}")
    try:
        ranges = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{path} must be YAML (got: {told})") from error
    if not isinstance(ranges, dict):
        raise ValueError(
            f"{path} must have a line for each option, such as 'model.width: [64, 128]' "
            f"(got {type(ranges).__name__})"
        )
    return {str(name): given for name, given in ranges.items()}


def _yaml(content: Mapping[str, Any]) -> str:
    import yaml

    text: str = yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=None)
    return text


def _for_pretrain(options: Namespace, recipe: Recipe) -> str:
    """The configuration of ``kgt pretrain`` with the same data, less where its model goes."""
    parser = ArgumentParser(exit_on_error=False)
    pretrain.add_graph_arguments(parser)
    parser.add_class_arguments(Recipe, "recipe")
    known = parser.get_defaults().as_dict()
    given = {name: options[name] for name in known if name in options and name != "recipe"}
    values = parser.parse_object({**given, "recipe": asdict(recipe)})
    text: str = parser.dump(values)
    return text


def _show(found: TuneResult, show: Show) -> None:
    """The trials, what decided, and the best."""
    show(report.records_table("trials", (_row(trial, found) for trial in found.trials)))
    if found.importance:
        show(report.facts_table("share in how it varies", found.importance))
    best = {f"best {found.monitor}": found.value, "trial": found.best.number}
    show(report.facts_table("best", {**best, **found.parameters}))


def _row(trial: TriedRecipe, found: TuneResult) -> Json:
    short = {name.rpartition(".")[2]: value for name, value in trial.parameters.items()}
    names = trial.parameters if len(short) < len(trial.parameters) else short
    return {
        "trial": trial.number,
        found.monitor: trial.value,
        **names,
        "seconds": round(trial.seconds, 1),
        "": "best" if trial.number == found.best.number else trial.reason,
    }
