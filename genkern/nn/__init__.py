"""Modules: heads, losses, likelihoods, objectives, and the VAE and GAN families."""

from genkern.nn.adversarial import AdversarialSteps, AdversarialTerms, average_gradients, lazy_adam
from genkern.nn.gan import GAN, GANTerms
from genkern.nn.gan_networks import ConvDiscriminator, ConvGenerator, MinibatchStddev
from genkern.nn.heads import GaussianHead
from genkern.nn.likelihoods import (
    LIKELIHOODS,
    BernoulliLikelihood,
    DiscretizedGaussianLikelihood,
    DiscretizedLogisticMixtureLikelihood,
    GaussianLikelihood,
    LaplaceLikelihood,
    Likelihood,
    make_likelihood,
)
from genkern.nn.losses import (
    BernoulliNLLLoss,
    DiscretizedGaussianNLLLoss,
    GANDiscriminatorLoss,
    GANGeneratorLoss,
    GaussianKLLoss,
    GaussianNLLLoss,
    LaplaceNLLLoss,
)
from genkern.nn.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from genkern.nn.objectives import ELBO, IWAE, BetaTCVAE, InfoVAE, Objective, VampPrior
from genkern.nn.vae import VAE, ELBOTerms
from genkern.nn.vae_gan import VAEGAN

__all__ = [
    "ELBO",
    "GAN",
    "IWAE",
    "LIKELIHOODS",
    "VAE",
    "VAEGAN",
    "AdversarialSteps",
    "AdversarialTerms",
    "BernoulliLikelihood",
    "BernoulliNLLLoss",
    "BetaTCVAE",
    "ConvDecoder",
    "ConvDiscriminator",
    "ConvEncoder",
    "ConvGenerator",
    "DiscretizedGaussianLikelihood",
    "DiscretizedGaussianNLLLoss",
    "DiscretizedLogisticMixtureLikelihood",
    "ELBOTerms",
    "GANDiscriminatorLoss",
    "GANGeneratorLoss",
    "GANTerms",
    "GaussianHead",
    "GaussianKLLoss",
    "GaussianLikelihood",
    "GaussianNLLLoss",
    "InfoVAE",
    "LaplaceLikelihood",
    "LaplaceNLLLoss",
    "Likelihood",
    "MLPDecoder",
    "MLPEncoder",
    "MinibatchStddev",
    "Objective",
    "VampPrior",
    "average_gradients",
    "lazy_adam",
    "make_likelihood",
]
