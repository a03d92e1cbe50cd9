"""V-JEPA in plain torch: I-JEPA's step on clips, from section 3 of Bardes et al. 2024 (arXiv 2404.08471), with L1."""

from tests.oracles import i_jepa


class Oracle(i_jepa.Oracle):
    """Two masks, each with all of its hidden places predicted together; the mean is over the tokens of both."""

    start_tau, beta = 0.998, 0.0
