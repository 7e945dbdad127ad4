"""Objectives, by which a VAE is trained, one module an idea; a new one is a subclass of `Objective`."""

from genkern.nn.objectives.aggregate import BetaTCVAE, InfoVAE
from genkern.nn.objectives.elbo import ELBO
from genkern.nn.objectives.hierarchical_elbo import HierarchicalELBO
from genkern.nn.objectives.iwae import IWAE
from genkern.nn.objectives.objective import Objective
from genkern.nn.objectives.vampprior import VampPrior

__all__ = ["ELBO", "IWAE", "BetaTCVAE", "HierarchicalELBO", "InfoVAE", "Objective", "VampPrior"]
