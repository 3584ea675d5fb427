"""Carry what was learned on some knowledge graphs over to another.

The public names. Each is imported when it is first asked for, so that importing the package costs
next to nothing.

Example:
    >>> import pyg_kgtransfer as kgt
    >>> graph = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")], name="world")
    >>> recipe = kgt.Recipe(training=kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu"))
    >>> teacher = kgt.pretrain(kgt.link([graph], []), recipe=recipe)
    >>> len(kgt.Predictor(teacher).tails("Athens", "capital_of"))
    2
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyg_kgtransfer.evaluation.bias import BiasResult
    from pyg_kgtransfer.evaluation.comparison import compare
    from pyg_kgtransfer.evaluation.copy_rule import CopyRule
    from pyg_kgtransfer.evaluation.entity_alignment import EntityAlignment
    from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
    from pyg_kgtransfer.evaluation.result import LinkPredictionResult
    from pyg_kgtransfer.evaluation.supplied_ranking import SuppliedRanking
    from pyg_kgtransfer.evaluation.triple_classification import (
        LabelledTriples,
        TripleClassification,
    )
    from pyg_kgtransfer.evaluation.word_similarity import analogies, neighbours, word_similarity
    from pyg_kgtransfer.graph.clustering import ClusterOptions, seed_hierarchy
    from pyg_kgtransfer.graph.hierarchy import Hierarchy
    from pyg_kgtransfer.graph.knowledge_graph import GraphTensors, KnowledgeGraph
    from pyg_kgtransfer.graph.known_triples import KnownTriples
    from pyg_kgtransfer.graph.leakage import copyable, leakage_report
    from pyg_kgtransfer.graph.neighbours import FanOut, Neighbours
    from pyg_kgtransfer.graph.rules import Rule, mine_rules, propose_facts
    from pyg_kgtransfer.graph.splits import (
        HeldOut,
        Split,
        few_shot_split,
        inductive_split,
        random_split,
    )
    from pyg_kgtransfer.graph.supplied_negatives import SuppliedNegatives
    from pyg_kgtransfer.graph.vocabulary import Vocabulary
    from pyg_kgtransfer.kernels.engines import forced_engine
    from pyg_kgtransfer.kernels.relational_csr import RelationalCSR
    from pyg_kgtransfer.kernels.relational_spmm import relational_spmm
    from pyg_kgtransfer.linking.alignment import Alignment, Pairs
    from pyg_kgtransfer.linking.linked import link, linked_subgraph
    from pyg_kgtransfer.linking.linked_kg import LinkedKG
    from pyg_kgtransfer.linking.matching import match_keys, match_labels, match_similar
    from pyg_kgtransfer.models.build import ModelConfig, build_model
    from pyg_kgtransfer.models.compgcn import CompGCN, CompGCNConv
    from pyg_kgtransfer.models.decoders import ComplEx, Decoder, DistMult, RotatE, TransE
    from pyg_kgtransfer.models.encoder import Encoder, Representations
    from pyg_kgtransfer.models.foundation import FoundationModel, relation_graph
    from pyg_kgtransfer.models.inputs import EntityInput, Features, Lookup, Shallow, TextMixture
    from pyg_kgtransfer.models.kg_model import GraphModel, KGModel
    from pyg_kgtransfer.models.mapped_features import MappedFeatures
    from pyg_kgtransfer.models.matrix_decoders import ConvE, TransR, TuckER
    from pyg_kgtransfer.models.phase_decoders import HAKE, PRotatE
    from pyg_kgtransfer.models.rgcn import RGCN, RGCNConv
    from pyg_kgtransfer.objectives.alignment import AlignmentObjective
    from pyg_kgtransfer.objectives.anchor import Anchor
    from pyg_kgtransfer.objectives.augmentation import ProposedFacts
    from pyg_kgtransfer.objectives.auxiliary import AuxiliaryConfig
    from pyg_kgtransfer.objectives.build import ObjectiveConfig, build_objective
    from pyg_kgtransfer.objectives.distillation import (
        FeatureDistillation,
        FlowDistillation,
        HiddenDistillation,
        PredictionDistillation,
        Teacher,
    )
    from pyg_kgtransfer.objectives.domain import MMD, DomainAdversary, domain_gap
    from pyg_kgtransfer.objectives.glove import GloVeObjective, GloVeOptions
    from pyg_kgtransfer.objectives.hierarchy import HierarchyObjective, HierarchyOptions
    from pyg_kgtransfer.objectives.link_prediction import N3, KvsAll, NegativeSampling, OneVsAll
    from pyg_kgtransfer.objectives.objective import Batch, Mixture, Objective
    from pyg_kgtransfer.objectives.sampled import OnNeighbours
    from pyg_kgtransfer.objectives.self_supervision import (
        ContrastiveViews,
        MaskedEdges,
        RelationPrediction,
    )
    from pyg_kgtransfer.serving.bias_plot import plot_bias
    from pyg_kgtransfer.serving.predictor import Predictor
    from pyg_kgtransfer.serving.reliability_plot import plot_reliability
    from pyg_kgtransfer.serving.tree_view import draw_subtree, tree_around
    from pyg_kgtransfer.sources.atlas import load_atlas, load_atlas_names
    from pyg_kgtransfer.sources.cooccurrence import Cooccurrences, count_cooccurrences
    from pyg_kgtransfer.sources.corpus import Corpus, count_words
    from pyg_kgtransfer.sources.datasets import load as load_dataset
    from pyg_kgtransfer.sources.datasets import load_descriptions, load_inductive
    from pyg_kgtransfer.sources.entity_groups import read_entity_groups
    from pyg_kgtransfer.sources.entity_text import read_entity_text
    from pyg_kgtransfer.sources.entity_words import EntityWords, entity_words
    from pyg_kgtransfer.sources.files import read_split, read_triples, write_triples
    from pyg_kgtransfer.sources.hierarchies import (
        read_hierarchy,
        read_nested_hierarchy,
        write_hierarchy,
        write_nested_hierarchy,
    )
    from pyg_kgtransfer.sources.llm import LLM, LLMOptions, OpenAIChat
    from pyg_kgtransfer.sources.mapped import read_features, read_mapped, write_mapped
    from pyg_kgtransfer.sources.ogb import load_ogb
    from pyg_kgtransfer.sources.refinement import RefineOptions, refine
    from pyg_kgtransfer.sources.refiners import LLMRefiner, LocalRefiner
    from pyg_kgtransfer.sources.synthetic import planted
    from pyg_kgtransfer.sources.synthetic_large import LargeOptions, large_planted
    from pyg_kgtransfer.sources.text import CachedText, SentenceText, TfidfText, text_vectors
    from pyg_kgtransfer.sources.word_vectors import (
        WordVectors,
        read_word_vectors,
        write_word_vectors,
    )
    from pyg_kgtransfer.training.batches import BatchOptions, TripleBatches
    from pyg_kgtransfer.training.checkpoint import Checkpoint
    from pyg_kgtransfer.training.config import TrainConfig
    from pyg_kgtransfer.training.foundation_weights import read_foundation, write_foundation
    from pyg_kgtransfer.training.glove import GloVeTraining, train_glove
    from pyg_kgtransfer.training.partition import Partition
    from pyg_kgtransfer.training.rowwise_adagrad import RowwiseAdagrad
    from pyg_kgtransfer.training.trainer import Trainer
    from pyg_kgtransfer.transfer.adapt import AdaptConfig, adapt
    from pyg_kgtransfer.transfer.bias import measure_bias
    from pyg_kgtransfer.transfer.calibrate import calibrate
    from pyg_kgtransfer.transfer.distill import DistillConfig, distill
    from pyg_kgtransfer.transfer.episodes import (
        Episode,
        entity_episode,
        few_shot_curve,
        relation_episode,
    )
    from pyg_kgtransfer.transfer.few_shot import FewShotConfig, few_shot
    from pyg_kgtransfer.transfer.finetune import FinetuneConfig, finetune, grown
    from pyg_kgtransfer.transfer.importance import fact_importance
    from pyg_kgtransfer.transfer.inductive import encode_unseen
    from pyg_kgtransfer.transfer.joint_glove import JointGloVeConfig, joint_glove
    from pyg_kgtransfer.transfer.kg_fit import KGFitConfig, kg_fit
    from pyg_kgtransfer.transfer.pretrain import pretrain
    from pyg_kgtransfer.transfer.pretrain_partitioned import PartitionedModel, pretrain_partitioned
    from pyg_kgtransfer.transfer.ranking import evaluate, ranking_of
    from pyg_kgtransfer.transfer.recipe import Recipe
    from pyg_kgtransfer.transfer.search_space import SearchSpace
    from pyg_kgtransfer.transfer.tune import TuneResult, tune
    from pyg_kgtransfer.transfer.tune_config import TuneConfig, TuneInputs
    from pyg_kgtransfer.transfer.zero_shot import zero_shot

__version__ = "0.1.0"

# Where each public name is, under which name there.
_HOMES = {
    "planted": "sources.synthetic",
    "PartitionedModel": "transfer.pretrain_partitioned",
    "OnNeighbours": "objectives.sampled",
    "FanOut": "graph.neighbours",
    "Neighbours": "graph.neighbours",
    "RowwiseAdagrad": "training.rowwise_adagrad",
    "LargeOptions": "sources.synthetic_large",
    "large_planted": "sources.synthetic_large",
    "MappedFeatures": "models.mapped_features",
    "read_features": "sources.mapped",
    "write_mapped": "sources.mapped",
    "read_mapped": "sources.mapped",
    "pretrain_partitioned": "transfer.pretrain_partitioned",
    "Partition": "training.partition",
    "KGFitConfig": "transfer.kg_fit",
    "kg_fit": "transfer.kg_fit",
    "ClusterOptions": "graph.clustering",
    "seed_hierarchy": "graph.clustering",
    "Hierarchy": "graph.hierarchy",
    "HierarchyObjective": "objectives.hierarchy",
    "HierarchyOptions": "objectives.hierarchy",
    "read_hierarchy": "sources.hierarchies",
    "write_hierarchy": "sources.hierarchies",
    "read_nested_hierarchy": "sources.hierarchies",
    "write_nested_hierarchy": "sources.hierarchies",
    "text_vectors": "sources.text",
    "TfidfText": "sources.text",
    "SentenceText": "sources.text",
    "CachedText": "sources.text",
    "LLM": "sources.llm",
    "LLMOptions": "sources.llm",
    "OpenAIChat": "sources.llm",
    "refine": "sources.refinement",
    "RefineOptions": "sources.refinement",
    "LLMRefiner": "sources.refiners",
    "LocalRefiner": "sources.refiners",
    "read_entity_text": "sources.entity_text",
    "read_entity_groups": "sources.entity_groups",
    "load_descriptions": "sources.datasets",
    "load_atlas_names": "sources.atlas",
    "Corpus": "sources.corpus",
    "count_words": "sources.corpus",
    "Cooccurrences": "sources.cooccurrence",
    "count_cooccurrences": "sources.cooccurrence",
    "WordVectors": "sources.word_vectors",
    "read_word_vectors": "sources.word_vectors",
    "write_word_vectors": "sources.word_vectors",
    "EntityWords": "sources.entity_words",
    "entity_words": "sources.entity_words",
    "GloVeObjective": "objectives.glove",
    "GloVeOptions": "objectives.glove",
    "GloVeTraining": "training.glove",
    "train_glove": "training.glove",
    "JointGloVeConfig": "transfer.joint_glove",
    "joint_glove": "transfer.joint_glove",
    "word_similarity": "evaluation.word_similarity",
    "neighbours": "evaluation.word_similarity",
    "analogies": "evaluation.word_similarity",
    "RelationalCSR": "kernels.relational_csr",
    "relational_spmm": "kernels.relational_spmm",
    "forced_engine": "kernels.engines",
    "Vocabulary": "graph.vocabulary",
    "GraphTensors": "graph.knowledge_graph",
    "KnowledgeGraph": "graph.knowledge_graph",
    "KnownTriples": "graph.known_triples",
    "HeldOut": "graph.splits",
    "Split": "graph.splits",
    "SuppliedNegatives": "graph.supplied_negatives",
    "few_shot_split": "graph.splits",
    "inductive_split": "graph.splits",
    "random_split": "graph.splits",
    "leakage_report": "graph.leakage",
    "copyable": "graph.leakage",
    "read_split": "sources.files",
    "read_triples": "sources.files",
    "write_triples": "sources.files",
    "load_dataset": "sources.datasets:load",
    "load_ogb": "sources.ogb",
    "load_atlas": "sources.atlas",
    "Alignment": "linking.alignment",
    "Pairs": "linking.alignment",
    "link": "linking.linked",
    "linked_subgraph": "linking.linked",
    "LinkedKG": "linking.linked_kg",
    "match_keys": "linking.matching",
    "match_labels": "linking.matching",
    "match_similar": "linking.matching",
    "Encoder": "models.encoder",
    "Representations": "models.encoder",
    "EntityInput": "models.inputs",
    "Features": "models.inputs",
    "Lookup": "models.inputs",
    "Shallow": "models.inputs",
    "TextMixture": "models.inputs",
    "RGCN": "models.rgcn",
    "RGCNConv": "models.rgcn",
    "CompGCN": "models.compgcn",
    "CompGCNConv": "models.compgcn",
    "ComplEx": "models.decoders",
    "Decoder": "models.decoders",
    "DistMult": "models.decoders",
    "RotatE": "models.decoders",
    "TransE": "models.decoders",
    "ConvE": "models.matrix_decoders",
    "TransR": "models.matrix_decoders",
    "TuckER": "models.matrix_decoders",
    "HAKE": "models.phase_decoders",
    "PRotatE": "models.phase_decoders",
    "GraphModel": "models.kg_model",
    "KGModel": "models.kg_model",
    "FoundationModel": "models.foundation",
    "relation_graph": "models.foundation",
    "read_foundation": "training.foundation_weights",
    "write_foundation": "training.foundation_weights",
    "zero_shot": "transfer.zero_shot",
    "calibrate": "transfer.calibrate",
    "Rule": "graph.rules",
    "mine_rules": "graph.rules",
    "propose_facts": "graph.rules",
    "DomainAdversary": "objectives.domain",
    "MMD": "objectives.domain",
    "domain_gap": "objectives.domain",
    "adapt": "transfer.adapt",
    "AdaptConfig": "transfer.adapt",
    "encode_unseen": "transfer.inductive",
    "Episode": "transfer.episodes",
    "entity_episode": "transfer.episodes",
    "few_shot_curve": "transfer.episodes",
    "relation_episode": "transfer.episodes",
    "few_shot": "transfer.few_shot",
    "FewShotConfig": "transfer.few_shot",
    "load_inductive": "sources.datasets",
    "ModelConfig": "models.build",
    "build_model": "models.build",
    "Batch": "objectives.objective",
    "Mixture": "objectives.objective",
    "Objective": "objectives.objective",
    "N3": "objectives.link_prediction",
    "KvsAll": "objectives.link_prediction",
    "NegativeSampling": "objectives.link_prediction",
    "OneVsAll": "objectives.link_prediction",
    "AlignmentObjective": "objectives.alignment",
    "FeatureDistillation": "objectives.distillation",
    "FlowDistillation": "objectives.distillation",
    "HiddenDistillation": "objectives.distillation",
    "PredictionDistillation": "objectives.distillation",
    "Teacher": "objectives.distillation",
    "Anchor": "objectives.anchor",
    "ProposedFacts": "objectives.augmentation",
    "ContrastiveViews": "objectives.self_supervision",
    "MaskedEdges": "objectives.self_supervision",
    "RelationPrediction": "objectives.self_supervision",
    "AuxiliaryConfig": "objectives.auxiliary",
    "ObjectiveConfig": "objectives.build",
    "build_objective": "objectives.build",
    "BatchOptions": "training.batches",
    "TripleBatches": "training.batches",
    "TrainConfig": "training.config",
    "Trainer": "training.trainer",
    "Checkpoint": "training.checkpoint",
    "LinkPrediction": "evaluation.link_prediction",
    "LinkPredictionResult": "evaluation.result",
    "SuppliedRanking": "evaluation.supplied_ranking",
    "LabelledTriples": "evaluation.triple_classification",
    "TripleClassification": "evaluation.triple_classification",
    "EntityAlignment": "evaluation.entity_alignment",
    "CopyRule": "evaluation.copy_rule",
    "BiasResult": "evaluation.bias",
    "compare": "evaluation.comparison",
    "Recipe": "transfer.recipe",
    "pretrain": "transfer.pretrain",
    "SearchSpace": "transfer.search_space",
    "TuneConfig": "transfer.tune_config",
    "TuneInputs": "transfer.tune_config",
    "TuneResult": "transfer.tune",
    "tune": "transfer.tune",
    "DistillConfig": "transfer.distill",
    "distill": "transfer.distill",
    "FinetuneConfig": "transfer.finetune",
    "fact_importance": "transfer.importance",
    "finetune": "transfer.finetune",
    "grown": "transfer.finetune",
    "evaluate": "transfer.ranking",
    "ranking_of": "transfer.ranking",
    "measure_bias": "transfer.bias",
    "Predictor": "serving.predictor",
    "plot_bias": "serving.bias_plot",
    "plot_reliability": "serving.reliability_plot",
    "draw_subtree": "serving.tree_view",
    "tree_around": "serving.tree_view",
}

__all__ = [
    "HAKE",
    "LLM",
    "MMD",
    "N3",
    "RGCN",
    "AdaptConfig",
    "Alignment",
    "AlignmentObjective",
    "Anchor",
    "AuxiliaryConfig",
    "Batch",
    "BatchOptions",
    "BiasResult",
    "CachedText",
    "Checkpoint",
    "ClusterOptions",
    "CompGCN",
    "CompGCNConv",
    "ComplEx",
    "ContrastiveViews",
    "ConvE",
    "Cooccurrences",
    "CopyRule",
    "Corpus",
    "Decoder",
    "DistMult",
    "DistillConfig",
    "DomainAdversary",
    "Encoder",
    "EntityAlignment",
    "EntityInput",
    "EntityWords",
    "Episode",
    "FanOut",
    "FeatureDistillation",
    "Features",
    "FewShotConfig",
    "FinetuneConfig",
    "FlowDistillation",
    "FoundationModel",
    "GloVeObjective",
    "GloVeOptions",
    "GloVeTraining",
    "GraphModel",
    "GraphTensors",
    "HeldOut",
    "HiddenDistillation",
    "Hierarchy",
    "HierarchyObjective",
    "HierarchyOptions",
    "JointGloVeConfig",
    "KGFitConfig",
    "KGModel",
    "KnowledgeGraph",
    "KnownTriples",
    "KvsAll",
    "LLMOptions",
    "LLMRefiner",
    "LabelledTriples",
    "LargeOptions",
    "LinkPrediction",
    "LinkPredictionResult",
    "LinkedKG",
    "LocalRefiner",
    "Lookup",
    "MappedFeatures",
    "MaskedEdges",
    "Mixture",
    "ModelConfig",
    "NegativeSampling",
    "Neighbours",
    "Objective",
    "ObjectiveConfig",
    "OnNeighbours",
    "OneVsAll",
    "OpenAIChat",
    "PRotatE",
    "Pairs",
    "Partition",
    "PartitionedModel",
    "PredictionDistillation",
    "Predictor",
    "ProposedFacts",
    "RGCNConv",
    "Recipe",
    "RefineOptions",
    "RelationPrediction",
    "RelationalCSR",
    "Representations",
    "RotatE",
    "RowwiseAdagrad",
    "Rule",
    "SearchSpace",
    "SentenceText",
    "Shallow",
    "Split",
    "SuppliedNegatives",
    "SuppliedRanking",
    "Teacher",
    "TextMixture",
    "TfidfText",
    "TrainConfig",
    "Trainer",
    "TransE",
    "TransR",
    "TripleBatches",
    "TripleClassification",
    "TuckER",
    "TuneConfig",
    "TuneInputs",
    "TuneResult",
    "Vocabulary",
    "WordVectors",
    "adapt",
    "analogies",
    "build_model",
    "build_objective",
    "calibrate",
    "compare",
    "copyable",
    "count_cooccurrences",
    "count_words",
    "distill",
    "domain_gap",
    "draw_subtree",
    "encode_unseen",
    "entity_episode",
    "entity_words",
    "evaluate",
    "fact_importance",
    "few_shot",
    "few_shot_curve",
    "few_shot_split",
    "finetune",
    "forced_engine",
    "grown",
    "inductive_split",
    "joint_glove",
    "kg_fit",
    "large_planted",
    "leakage_report",
    "link",
    "linked_subgraph",
    "load_atlas",
    "load_atlas_names",
    "load_dataset",
    "load_descriptions",
    "load_inductive",
    "load_ogb",
    "match_keys",
    "match_labels",
    "match_similar",
    "measure_bias",
    "mine_rules",
    "neighbours",
    "planted",
    "plot_bias",
    "plot_reliability",
    "pretrain",
    "pretrain_partitioned",
    "propose_facts",
    "random_split",
    "ranking_of",
    "read_entity_groups",
    "read_entity_text",
    "read_features",
    "read_foundation",
    "read_hierarchy",
    "read_mapped",
    "read_nested_hierarchy",
    "read_split",
    "read_triples",
    "read_word_vectors",
    "refine",
    "relation_episode",
    "relation_graph",
    "relational_spmm",
    "seed_hierarchy",
    "text_vectors",
    "train_glove",
    "tree_around",
    "tune",
    "word_similarity",
    "write_foundation",
    "write_hierarchy",
    "write_mapped",
    "write_nested_hierarchy",
    "write_triples",
    "write_word_vectors",
    "zero_shot",
]


def __getattr__(name: str) -> Any:
    home, _, original = _HOMES.get(name, "").partition(":")
    if not home:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), original or name)
    globals()[name] = value  # found at once the next time
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
