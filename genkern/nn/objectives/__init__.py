"""What a VAE is trained by, one module an idea; :class:`Objective` is what a new one fills in."""

from genkern.nn.objectives.aggregate import BetaTCVAE, InfoVAE
from genkern.nn.objectives.elbo import ELBO
from genkern.nn.objectives.iwae import IWAE
from genkern.nn.objectives.objective import Objective
from genkern.nn.objectives.vampprior import VampPrior

__all__ = ["ELBO", "IWAE", "BetaTCVAE", "InfoVAE", "Objective", "VampPrior"]
