"""The settings of a VAE's run, and the model they describe."""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor
from typer import Option

from genkern import nn
from genkern.cli.data import Images
from genkern.cli.errors import CommandError
from genkern.cli.settings import RunSettings
from genkern.nn.networks import halvings

MODELS = ("conv", "mlp", "hybrid", "hierarchical")
"""Two convolutional halves, two perceptrons, a convolutional encoder with a perceptron for a decoder, or a ladder."""
LIKELIHOODS = ("gaussian", "bernoulli", "laplace", "discretized_gaussian", "discretized_logistic")
_WITHOUT_SIGMA = ("bernoulli", "discretized_logistic")
OBJECTIVES = ("elbo", "iwae", "beta-tcvae", "info", "vampprior")
_WEIGHTED = ("elbo", "beta-tcvae", "vampprior")
"""The objectives in which a weight beta has a place."""
_WARMED = ("elbo", "vampprior")
_IWAE_DRAWS = 5
_MOST_PSEUDO_INPUTS = 100
_LOGISTIC_SPREAD = 0.25
_LOGISTIC_LOG_SCALE = -2.0
SIGMAS = ("learned", "optimal", "decoder")


@dataclass(frozen=True)
class VAESettings(RunSettings):
    """Likelihood, objective, networks."""

    rate_warmup: int = 100
    likelihood: Annotated[str, Option(help=f"Likelihood of a pixel: {', '.join(LIKELIHOODS)}.")] = "gaussian"
    binarize: Annotated[
        bool, Option("--binarize", help="Of --likelihood bernoulli: black and white pixels, drawn anew at every step.")
    ] = False
    sigma: Annotated[
        str, Option(help="Scale of the likelihoods that have one: learned, decoder, a number; gaussian also: optimal.")
    ] = "learned"
    model: Annotated[
        str, Option(help="conv, mlp, hybrid (conv encoder, mlp decoder), hierarchical (latents on many levels).")
    ] = "hybrid"
    latent_dim: Annotated[int, Option(help="Latent dimensions; channels of a level of a hierarchy.")] = 16
    objective: Annotated[str, Option(help=f"Objective of the training: {', '.join(OBJECTIVES)}.")] = "elbo"
    beta: Annotated[float, Option(help="Weight of the KL term; of the total correlation.")] = 1.0
    warmup: Annotated[int, Option(help="Steps over which that weight grows from 0.")] = 0
    accumulate: Annotated[int, Option(help="Parts of a batch, one after the other, for memory.")] = 1
    levels: Annotated[str, Option(help="Levels of a hierarchy at each resolution, the coarsest first: 2,4,4,2.")] = ""
    width: Annotated[int, Option(help="Channels of a hierarchy.")] = 32
    free_bits: Annotated[float, Option(help="Nats of a hierarchy's level that cost nothing.")] = 0.0
    skip: Annotated[float | None, Option(help="Norm above which a step's gradient is left out.")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, default in (("levels", ""), ("width", 32), ("free_bits", 0.0)):
            if self.model != "hierarchical" and getattr(self, name) != default:
                option = f"--{name.replace('_', '-')}"
                raise CommandError(f"{option}: expected --model hierarchical beside it, got {self.model!r}")
        if self.model == "hierarchical" and self.objective != "elbo":
            raise CommandError(f"--objective: expected elbo with --model hierarchical, got {self.objective!r}")
        if self.conditional and self.objective == "vampprior":
            raise CommandError("--conditional: expected another --objective, the inputs of vampprior have no class")
        if self.levels and not all(count.strip().isdecimal() for count in self.levels.split(",")):
            raise CommandError(f"--levels: expected numbers, such as 2,4,4,2, got {self.levels!r}")
        if self.skip is not None and not self.skip > 0:
            raise CommandError(f"--skip: expected a positive number, got {self.skip}")
        self.require_one_of(LIKELIHOODS, "likelihood")
        if self.binarize and self.likelihood != "bernoulli":
            raise CommandError(f"--binarize: expected --likelihood bernoulli beside it, got {self.likelihood!r}")
        self.require_one_of(MODELS, "model")
        self.require_one_of(OBJECTIVES, "objective")
        self.require_at_least(1, "latent_dim", "width")
        self.require_at_least(0, "beta", "warmup", "free_bits")
        self.require_at_least(1, "accumulate")
        whole = self.of_the_batch() or ("--warmup" if self.warmup else None)
        if self.accumulate > 1 and whole:
            raise CommandError(f"--accumulate: expected 1 with {whole}, which takes a batch as a whole")
        for name, default, objectives in (("beta", 1.0, _WEIGHTED), ("warmup", 0, _WARMED)):
            if getattr(self, name) != default and self.objective not in objectives:
                raise CommandError(f"--{name}: expected --objective {' or '.join(objectives)}, got {self.objective!r}")
        if _sigma(self.sigma) == "optimal" and self.likelihood not in ("gaussian", "bernoulli"):
            raise CommandError(
                f"--sigma: expected learned, decoder or a positive number for --likelihood {self.likelihood}, "
                "got 'optimal'"
            )
        if self.sigma != "learned" and self.likelihood == "discretized_logistic":
            raise CommandError(
                "--sigma: expected another --likelihood, discretized_logistic has the decoder give every component's "
                f"scale, got {self.sigma!r}"
            )

    def of_the_batch(self) -> str | None:
        """The option by which the loss is more than a mean over the images of a batch."""
        if self.objective in ("beta-tcvae", "info"):
            return f"--objective {self.objective}"
        if self.free_bits:
            return "--free-bits"
        return "--sigma optimal" if (self.likelihood, self.sigma) == ("gaussian", "optimal") else None

    def levels_of(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """How many levels each resolution has: two at both ends and four between them, unless it is said."""
        if self.levels:
            return tuple(int(count) for count in self.levels.split(","))
        return tuple(2 if size in (shape[1:], halvings(*shape[1:])[-1]) else 4 for size in halvings(*shape[1:]))


def build_vae(settings: VAESettings, images: Images) -> nn.VAE | nn.HierarchicalVAE:
    """The model of a run, its parameters a function of the seed; torch's own generator is left as it was."""
    shape = images.shape
    channels = shape[0]
    sigma = () if settings.likelihood in _WITHOUT_SIGMA else (_sigma(settings.sigma),)
    likelihood = nn.LIKELIHOODS[settings.likelihood](*sigma)
    outputs = _outputs(likelihood, channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        mean = images.train.mean().cpu()
        told: dict[str, Any] = {"num_classes": settings.num_classes(images)}
        if settings.model == "hierarchical":
            return _hierarchy(settings, shape, mean, likelihood, told)
        encoder: torch.nn.Module
        if settings.model == "mlp":
            encoder = nn.MLPEncoder(shape, settings.latent_dim, hidden=(512, 256), **told)
        else:
            encoder = nn.ConvEncoder(shape, settings.latent_dim, width=16, **told)
        decoder: torch.nn.Module
        if settings.model == "conv":
            decoder = nn.ConvDecoder(shape, settings.latent_dim, width=16, out_channels=outputs, **told)
            _start_at(decoder.head.bias, mean.mean(dim=(1, 2)), likelihood)
        else:
            decoder = nn.MLPDecoder((outputs, *shape[1:]), settings.latent_dim, hidden=(256, 512), **told)
            _start_at(decoder.layers[-1].bias, mean, likelihood)
    return nn.VAE(encoder, decoder, likelihood=likelihood, objective=_objective(settings, images))


def _hierarchy(
    settings: VAESettings, shape: tuple[int, int, int], mean: Tensor, likelihood: nn.Likelihood, told: dict[str, Any]
) -> nn.HierarchicalVAE:
    levels, made = settings.levels_of(shape), {"width": settings.width, **told}
    channels: dict[str, Any] = {"latent_channels": settings.latent_dim, "out_channels": _outputs(likelihood, shape[0])}
    try:
        encoder, decoder = nn.LadderEncoder(shape, levels, **made), nn.LadderDecoder(shape, levels, **made, **channels)
    except ValueError as error:  # which names levels
        raise CommandError(f"--{error}") from error
    _start_at(decoder.head.bias, mean.mean(dim=(1, 2)), likelihood)
    objective = nn.HierarchicalELBO(settings.beta, warmup=settings.warmup, free_bits=settings.free_bits)
    return nn.HierarchicalVAE(encoder, decoder, likelihood=likelihood, objective=objective)


def _objective(settings: VAESettings, images: Images) -> nn.Objective:
    if settings.objective == "iwae":
        return nn.IWAE(_IWAE_DRAWS)
    if settings.objective == "beta-tcvae":
        # Few images make an epoch shorter than a batch.
        return nn.BetaTCVAE(beta=settings.beta, dataset_size=max(len(images.train), settings.batch_size))
    if settings.objective == "info":
        return nn.InfoVAE()
    if settings.objective == "vampprior":
        return nn.VampPrior(images.train[:_MOST_PSEUDO_INPUTS].cpu(), beta=settings.beta, warmup=settings.warmup)
    return nn.ELBO(settings.beta, warmup=settings.warmup)


def _outputs(likelihood: nn.Likelihood, channels: int) -> int:
    if isinstance(likelihood, nn.DiscretizedLogisticMixtureLikelihood):
        return likelihood.param_channels(channels)
    return 2 * channels if getattr(likelihood, "sigma", None) == "decoder" else channels


@torch.no_grad()
def _start_at(bias: Any, mean: Tensor, likelihood: nn.Likelihood) -> None:
    """A decoder that starts at the average image spends no steps on finding it; log-variances may follow the means."""
    start = mean
    if isinstance(likelihood, nn.BernoulliLikelihood):
        start = mean.clamp(0.01, 0.99).logit()
    elif isinstance(likelihood, nn.DiscretizedLogisticMixtureLikelihood):
        start = _logistic_start(likelihood, mean)
    bias[: start.numel()] = start.flatten()


def _logistic_start(likelihood: nn.DiscretizedLogisticMixtureLikelihood, mean: Tensor) -> Tensor:
    """Components of equal weight a little to either side of the average image: alike, they would stay alike."""
    channels, mixtures = len(mean), likelihood.mixtures
    params = mean.new_zeros(likelihood.param_channels(channels), *mean.shape[1:])
    of_channels = params[mixtures:].unflatten(0, (channels, -1, mixtures))
    spread = torch.linspace(-_LOGISTIC_SPREAD, _LOGISTIC_SPREAD, mixtures).view(-1, *[1] * (mean.ndim - 1))
    of_channels[:, 0] = (2 * mean - 1).unsqueeze(1) + spread
    of_channels[:, 1] = _LOGISTIC_LOG_SCALE
    return params


def _sigma(text: str) -> str | float:
    if text in SIGMAS:
        return text
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise CommandError(f"--sigma: expected {', '.join(SIGMAS)} or a positive number, got {text!r}")
    return value
