"""Metrics of features that need no labels: pure functions of arrays, each with its source and what it can compare.

None of them is an accuracy. `docs/concepts/label-free.md` has how each tracks accuracy in our study.
"""

from ssl_zoo.collapse.metrics import effective_rank, normalised_std, scale
from ssl_zoo.evaluation.label_free.cka import linear_cka
from ssl_zoo.evaluation.label_free.dimensions import dead_dimensions, dimension_std, mean_absolute_correlation
from ssl_zoo.evaluation.label_free.dse import dense_structure
from ssl_zoo.evaluation.label_free.hypersphere import alignment, uniformity
from ssl_zoo.evaluation.label_free.idest import mst_dimension
from ssl_zoo.evaluation.label_free.lidar import lidar
from ssl_zoo.evaluation.label_free.spectrum import alpha_req, explained_variance_auc, rankme

__all__ = [
    "alignment",
    "alpha_req",
    "dead_dimensions",
    "dense_structure",
    "dimension_std",
    "effective_rank",
    "explained_variance_auc",
    "lidar",
    "linear_cka",
    "mean_absolute_correlation",
    "mst_dimension",
    "normalised_std",
    "rankme",
    "scale",
    "uniformity",
]
