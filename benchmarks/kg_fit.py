"""KG-FIT against its base models: what text, anchor and hierarchy add, one after the other.

    python -m benchmarks.kg_fit [--quick] [--data NAME ...] --out FILE.json

Nine base models on codex-s, three on umls and wn18rr, two on fb15k-237 with the hierarchies that
language models made there; each stage adds one part. Needs the extra ``text``; with --quick two
models on umls, with texts by TF-IDF.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import bootstrap
from torch import Tensor

from benchmarks.protocol import Benchmark, Found, fingerprints, parser
from benchmarks.timing import peak_bytes
from pyg_kgtransfer.graph.clustering import Clustered, seed_hierarchy
from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.objectives.hierarchy import HierarchyOptions
from pyg_kgtransfer.sources.datasets import Places, load, load_descriptions
from pyg_kgtransfer.sources.hierarchies import read_nested_hierarchy
from pyg_kgtransfer.sources.refinement import refine
from pyg_kgtransfer.sources.refiners import LocalRefiner
from pyg_kgtransfer.sources.text import CachedText, SentenceText, TextEncoder, TfidfText, text_vectors
from pyg_kgtransfer.training.batches import BatchOptions
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.kg_fit import KGFitConfig, kg_fit
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate
from pyg_kgtransfer.transfer.recipe import Recipe

GOAL = 0.06  # relative gain in hits@10
DATA = ("codex-s", "umls", "wn18rr", "fb15k-237")
FEW = 0.25  # facts whose rarer end is among the rarest such share count as of few-triple entities
```
