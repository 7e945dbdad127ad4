"""Modules: heads, losses, likelihoods, objectives and the VAE family."""

from genkern.nn.heads import GaussianHead
from genkern.nn.likelihoods import LIKELIHOODS, BernoulliLikelihood, GaussianLikelihood, Likelihood, make_likelihood
from genkern.nn.losses import BernoulliNLLLoss, GaussianKLLoss, GaussianNLLLoss
from genkern.nn.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from genkern.nn.objectives import ELBO
from genkern.nn.vae import VAE, ELBOTerms

__all__ = [
    "ELBO",
    "LIKELIHOODS",
    "VAE",
    "BernoulliLikelihood",
    "BernoulliNLLLoss",
    "ConvDecoder",
    "ConvEncoder",
    "ELBOTerms",
    "GaussianHead",
    "GaussianKLLoss",
    "GaussianLikelihood",
    "GaussianNLLLoss",
    "Likelihood",
    "MLPDecoder",
    "MLPEncoder",
    "make_likelihood",
]
