"""How genkern.nn is called: each constructor, followed by a use of what it made, and each public method."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import genkern as gk
import genkern.nn as gnn
from support.batch_ranks import energy_distance
from support.cases import KEY

IMAGE = (1, 4, 4)
LATENT = 2


@dataclass(frozen=True)
class Call:
    """A function, and arguments that fit it."""

    function: Callable[..., Any]
    good: dict[str, Any]


def ones(*shape: int) -> Tensor:
    return torch.ones(shape)


def encoder() -> nn.Module:
    return gnn.MLPEncoder(IMAGE, LATENT, hidden=(3,))


def decoder() -> nn.Module:
    return gnn.MLPDecoder(IMAGE, LATENT, hidden=(3,))


def options(function: Callable[..., Any], without: Iterable[str] = ()) -> list[inspect.Parameter]:
    """The keyword options of a function that a module passes on."""
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in without]


def signed(call: Callable[..., Any], like: Callable[..., Any], more: list[inspect.Parameter]) -> Callable[..., Any]:
    own = [p for p in inspect.signature(like).parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    known = {p.name for p in own}
    call.__signature__ = inspect.Signature([*own, *(p for p in more if p.name not in known)])  # type: ignore[attr-defined]
    return call


def constructor(
    make: type[nn.Module], use: Callable[[Any], Any], more: Iterable[inspect.Parameter] = (), **good: Any
) -> Call:
    """Makes one, with the same weights at every call, and uses it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        torch.manual_seed(0)
        return use(make(*args, **kwargs))

    return Call(signed(call, make, list(more)), good)


def method(make: Callable[[], nn.Module], name: str, more: Iterable[inspect.Parameter] = (), **good: Any) -> Call:
    """A method of a module that is made anew for every call."""

    def call(*args: Any, **kwargs: Any) -> Any:
        torch.manual_seed(0)
        return getattr(make(), name)(*args, **kwargs)

    return Call(signed(call, getattr(make(), name), list(more)), good)


def like_parameters(module: nn.Module, *shape: int) -> Tensor:
    return torch.ones(shape, dtype=next((p.dtype for p in module.parameters()), None))


def classes_of(module: nn.Module) -> Tensor | None:
    """A condition, for a module that takes one."""
    return 0 * LABELS if module.takes_condition else None


def told(module: nn.Module, *shape: int) -> Any:
    return module(like_parameters(module, 2, *shape), classes_of(module))


def score(likelihood: gnn.GaussianLikelihood) -> Tensor:
    channels = likelihood.channels or 1
    return likelihood.log_prob(ones(2, channels, 3), ones(2, 2 if likelihood.sigma == "decoder" else channels, 3))


def score_counts(likelihood: gnn.NegativeBinomialLikelihood) -> Tensor:
    genes = likelihood.genes or 3
    parts = 1 + likelihood.zero_inflated + (likelihood.dispersion == "decoder")
    return likelihood.log_prob(ones(2, genes), ones(2, genes * parts + (likelihood.dispersion == "cell")))


def made_likelihood(likelihood: str | gnn.Likelihood) -> Tensor:
    return gnn.make_likelihood(likelihood).mean(ROWS)


def of_logistics() -> gnn.DiscretizedLogisticMixtureLikelihood:
    return gnn.DiscretizedLogisticMixtureLikelihood(mixtures=2)


def head() -> gnn.GaussianHead:
    return gnn.GaussianHead(4, LATENT)


def vae() -> gnn.VAE:
    return gnn.VAE(encoder(), decoder())


def conv_encoder() -> gnn.ConvEncoder:
    return gnn.ConvEncoder(IMAGE, LATENT, width=2)


def conv_decoder() -> gnn.ConvDecoder:
    return gnn.ConvDecoder(IMAGE, LATENT, width=2)


def generator() -> gnn.ConvGenerator:
    return gnn.ConvGenerator(IMAGE, LATENT, width=2)


def discriminator() -> gnn.ConvDiscriminator:
    return gnn.ConvDiscriminator(IMAGE, width=2)


def ladder_encoder() -> gnn.LadderEncoder:
    return gnn.LadderEncoder(IMAGE, (1, 1), width=2)


def ladder_decoder() -> gnn.LadderDecoder:
    return gnn.LadderDecoder(IMAGE, (1, 1), width=2, latent_channels=2)


def ladder_level() -> gnn.LadderLevel:
    return gnn.LadderLevel((4, 4), 0, width=2, latent_channels=2, enters=True)


def hierarchical() -> gnn.HierarchicalVAE:
    return gnn.HierarchicalVAE(ladder_encoder(), ladder_decoder())


def clipped(parameters: Any, *, clip: Any = None, skip: Any = None) -> Tensor:
    return torch.tensor(gnn.clip_or_skip(parameters, clip=clip, skip=skip))


def gan() -> gnn.GAN:
    return gnn.GAN(generator(), discriminator(), penalty="gp")


def vae_gan() -> gnn.VAEGAN:
    return gnn.VAEGAN(encoder(), generator(), discriminator())


def steps() -> gnn.AdversarialSteps:
    return gnn.AdversarialSteps(*trained())


def trained() -> tuple[gnn.GAN, torch.optim.Optimizer, torch.optim.Optimizer]:
    """A GAN and its optimisers."""
    model = gan()
    return model, *(torch.optim.SGD(part.parameters(), 0.1) for part in (model.generator, model.discriminator))


def adversarial(module: gnn.GAN) -> tuple[Tensor, ...]:
    return (
        *module.discriminator_step(IMAGES, key=KEY),
        module.generator_step(IMAGES, key=KEY),
        module.sample(2, key=KEY),
    )


def averaged(module: gnn.GAN) -> Tensor:
    module.update_average()
    return module.sample(2, key=KEY)


def resumed(state_dict: Any) -> Tensor:
    made = steps()
    made.load_state_dict(state_dict)
    return torch.tensor(made.steps)


def averaged_gradients(params: Any) -> Tensor:
    gnn.average_gradients(params)
    return ones()


def corrected(lr: Any, betas: Any, interval: Any) -> Tensor:
    found = gnn.lazy_adam(lr, betas, interval)
    return torch.tensor([found["lr"], *found["betas"]])


ROWS = ones(2, 4)
IMAGES = ones(2, *IMAGE)
STATE = ones(2, 2, 4, 4)
LABELS = torch.tensor([3, 0])
SCALE = tuple(head().scale_options)
FIXED = ("latent_channels", *SCALE)  # by the head
BOUND = ("dim", "latent")  # given by the loss
PARTS = ("reconstruction", "mutual_information", "total_correlation", "dimension_wise_kl")
CALLS: dict[str, Call] = {
    "GaussianHead": constructor(
        gnn.GaussianHead, lambda m: m(like_parameters(m, 2, m.in_features), key=KEY), in_features=4, latent_dim=2
    ),
    "GaussianHead.forward": method(head, "forward", options(gk.gaussian_rsample_kl_packed, FIXED), h=ROWS, key=KEY),
    "GaussianHead.moments": method(head, "moments", h=ROWS),
    "GaussianNLLLoss": constructor(gnn.GaussianNLLLoss, lambda m: m(ROWS, ROWS, ROWS), options(gk.gaussian_nll)),
    "GaussianNLLLoss.forward": method(gnn.GaussianNLLLoss, "forward", x=ROWS, loc=ROWS, scale=ROWS),
    "GaussianKLLoss": constructor(gnn.GaussianKLLoss, lambda m: m(ROWS, ROWS), options(gk.gaussian_kl)),
    "GaussianKLLoss.forward": method(gnn.GaussianKLLoss, "forward", loc=ROWS, scale=ROWS),
    "BernoulliNLLLoss": constructor(gnn.BernoulliNLLLoss, lambda m: m(ROWS, ROWS), options(gk.bernoulli_nll)),
    "BernoulliNLLLoss.forward": method(gnn.BernoulliNLLLoss, "forward", x=ROWS, logits=ROWS),
    "GaussianLikelihood": constructor(gnn.GaussianLikelihood, score),
    "GaussianLikelihood.log_prob": method(gnn.GaussianLikelihood, "log_prob", x=ROWS, params=ROWS),
    "GaussianLikelihood.mean": method(gnn.GaussianLikelihood, "mean", params=ROWS),
    "GaussianLikelihood.sample": method(gnn.GaussianLikelihood, "sample", params=ROWS, key=KEY),
    "LaplaceNLLLoss": constructor(gnn.LaplaceNLLLoss, lambda m: m(ROWS, ROWS, ROWS), options(gk.laplace_nll)),
    "LaplaceNLLLoss.forward": method(gnn.LaplaceNLLLoss, "forward", x=ROWS, loc=ROWS, scale=ROWS),
    "DiscretizedGaussianNLLLoss": constructor(
        gnn.DiscretizedGaussianNLLLoss, lambda m: m(ROWS, ROWS, ROWS), options(gk.discretized_gaussian_nll)
    ),
    "DiscretizedGaussianNLLLoss.forward": method(
        gnn.DiscretizedGaussianNLLLoss, "forward", x=ROWS, loc=ROWS, scale=ROWS
    ),
    "LaplaceLikelihood": constructor(gnn.LaplaceLikelihood, score),
    "LaplaceLikelihood.log_prob": method(gnn.LaplaceLikelihood, "log_prob", x=ROWS, params=ROWS),
    "LaplaceLikelihood.mean": method(gnn.LaplaceLikelihood, "mean", params=ROWS),
    "LaplaceLikelihood.sample": method(gnn.LaplaceLikelihood, "sample", params=ROWS, key=KEY),
    "DiscretizedGaussianLikelihood": constructor(gnn.DiscretizedGaussianLikelihood, score),
    "DiscretizedGaussianLikelihood.log_prob": method(
        gnn.DiscretizedGaussianLikelihood, "log_prob", x=ROWS, params=ROWS
    ),
    "DiscretizedGaussianLikelihood.mean": method(gnn.DiscretizedGaussianLikelihood, "mean", params=ROWS),
    "DiscretizedGaussianLikelihood.sample": method(gnn.DiscretizedGaussianLikelihood, "sample", params=ROWS, key=KEY),
    "DiscretizedLogisticMixtureLikelihood": constructor(
        gnn.DiscretizedLogisticMixtureLikelihood, lambda m: m.log_prob(ones(2, 1), ones(2, 3 * m.mixtures))
    ),
    "DiscretizedLogisticMixtureLikelihood.log_prob": method(of_logistics, "log_prob", x=ones(2, 1), params=ones(2, 6)),
    "DiscretizedLogisticMixtureLikelihood.mean": method(of_logistics, "mean", params=ones(2, 6)),
    "DiscretizedLogisticMixtureLikelihood.sample": method(of_logistics, "sample", params=ones(2, 6), key=KEY),
    "DiscretizedLogisticMixtureLikelihood.param_channels": Call(
        lambda channels: torch.tensor(of_logistics().param_channels(channels)), {"channels": 3}
    ),
    "BernoulliLikelihood": constructor(gnn.BernoulliLikelihood, lambda m: m.log_prob(ROWS, ROWS)),
    "BernoulliLikelihood.log_prob": method(gnn.BernoulliLikelihood, "log_prob", x=ROWS, params=ROWS),
    "BernoulliLikelihood.mean": method(gnn.BernoulliLikelihood, "mean", params=ROWS),
    "BernoulliLikelihood.sample": method(gnn.BernoulliLikelihood, "sample", params=ROWS, key=KEY),
    "PoissonLikelihood": constructor(gnn.PoissonLikelihood, lambda m: m.log_prob(ROWS, ROWS)),
    "PoissonLikelihood.log_prob": method(gnn.PoissonLikelihood, "log_prob", x=ROWS, params=ROWS),
    "PoissonLikelihood.mean": method(gnn.PoissonLikelihood, "mean", params=ROWS),
    "PoissonLikelihood.sample": method(gnn.PoissonLikelihood, "sample", params=ROWS, key=KEY),
    "NegativeBinomialLikelihood": constructor(gnn.NegativeBinomialLikelihood, score_counts),
    "NegativeBinomialLikelihood.log_prob": method(gnn.NegativeBinomialLikelihood, "log_prob", x=ROWS, params=ROWS),
    "NegativeBinomialLikelihood.mean": method(gnn.NegativeBinomialLikelihood, "mean", params=ROWS),
    "NegativeBinomialLikelihood.sample": method(gnn.NegativeBinomialLikelihood, "sample", params=ROWS, key=KEY),
    "make_likelihood": Call(made_likelihood, {"likelihood": "gaussian"}),
    "ELBO": constructor(gnn.ELBO, lambda m: m(ones(2), ones(2))),
    "ELBO.forward": method(gnn.ELBO, "forward", reconstruction=ones(2), kl=ones(2)),
    "IWAE": constructor(gnn.IWAE, lambda m: m(ones(m.k, 2)), options(gk.importance_weighted_bound, BOUND), k=4),
    "IWAE.forward": method(lambda: gnn.IWAE(2, "dreg"), "forward", log_w=ROWS, latent=ones(2, 4, 3)),
    "BetaTCVAE": constructor(
        gnn.BetaTCVAE, lambda m: m(*ones(4, 2)), options(gk.total_correlation, SCALE), dataset_size=9
    ),
    "BetaTCVAE.forward": method(lambda: gnn.BetaTCVAE(dataset_size=9), "forward", **{name: ones(2) for name in PARTS}),
    "InfoVAE": constructor(gnn.InfoVAE, lambda m: m(ones(2), ones(2), m.mmd(ROWS, ROWS)), mmd=energy_distance),
    "InfoVAE.forward": method(
        lambda: gnn.InfoVAE(energy_distance), "forward", reconstruction=ones(2), kl=ones(2), divergence=ones()
    ),
    "VampPrior": constructor(gnn.VampPrior, lambda m: m(ones(2), ones(2)), components=2, data_shape=IMAGE),
    "VampPrior.forward": method(lambda: gnn.VampPrior(2, IMAGE), "forward", reconstruction=ones(2), kl=ones(2)),
    "ConvEncoder": constructor(
        gnn.ConvEncoder, lambda m: told(m, *m.image_shape), image_shape=IMAGE, latent_dim=2, width=2
    ),
    "ConvEncoder.forward": method(conv_encoder, "forward", x=IMAGES),
    "ClassPrior": constructor(gnn.ClassPrior, lambda m: m(0 * LABELS), num_classes=4, latent_dim=2),
    "ClassPrior.forward": method(lambda: gnn.ClassPrior(4, 2), "forward", condition=LABELS),
    "HierarchicalELBO": constructor(gnn.HierarchicalELBO, lambda m: m(ones(2), ROWS, (0, 0, 1, 1), (1, 2, 3, 4))),
    "HierarchicalELBO.forward": method(gnn.HierarchicalELBO, "forward", reconstruction=ones(2), kl_levels=ROWS),
    "HierarchicalVAE": constructor(
        gnn.HierarchicalVAE,
        lambda m: (m.loss(IMAGES, key=KEY), m.sample(2, key=KEY)),
        encoder=ladder_encoder(),
        decoder=ladder_decoder(),
    ),
    "HierarchicalVAE.forward": method(hierarchical, "forward", options(gnn.HierarchicalVAE.elbo), x=IMAGES, key=KEY),
    "HierarchicalVAE.loss": method(hierarchical, "loss", options(gnn.HierarchicalVAE.elbo), x=IMAGES, key=KEY),
    "HierarchicalVAE.elbo": method(hierarchical, "elbo", x=IMAGES, key=KEY),
    "HierarchicalVAE.sample": method(hierarchical, "sample", num=2, key=KEY),
    "HierarchicalVAE.reconstruct": method(hierarchical, "reconstruct", x=IMAGES),
    "HierarchicalVAE.log_weights": method(hierarchical, "log_weights", x=IMAGES, keys=gk.random.split(KEY, 3)),
    "HierarchicalVAE.log_marginal": method(
        hierarchical, "log_marginal", x=IMAGES, num_samples=3, chunk_size=2, key=KEY
    ),
    "clip_or_skip": Call(clipped, {"parameters": [ones(2)]}),
    "LadderEncoder": constructor(
        gnn.LadderEncoder,
        lambda m: tuple(told(m, *m.image_shape)),
        image_shape=IMAGE,
        levels=(1, 1),
        width=2,
    ),
    "LadderEncoder.forward": method(ladder_encoder, "forward", x=IMAGES),
    "LadderDecoder": constructor(
        gnn.LadderDecoder,
        lambda m: m.finish(m.start(2, classes_of(m))),
        image_shape=IMAGE,
        levels=(1, 1),
        width=2,
        latent_channels=2,
    ),
    "LadderDecoder.start": method(ladder_decoder, "start", num=2),
    "LadderDecoder.finish": method(ladder_decoder, "finish", h=STATE),
    "LadderLevel": constructor(
        gnn.LadderLevel,
        lambda m: m.prior(like_parameters(m, 2, m.width, *m.size)),
        size=(4, 4),
        group=0,
        width=2,
        latent_channels=2,
    ),
    "LadderLevel.enter": method(ladder_level, "enter", h=STATE),
    "LadderLevel.prior": method(ladder_level, "prior", h=STATE),
    "LadderLevel.posterior": method(ladder_level, "posterior", h=STATE, features=STATE),
    "LadderLevel.merge": method(ladder_level, "merge", h=STATE, z=STATE),
    "ResidualBlock": constructor(
        gnn.ResidualBlock,
        lambda m: m(like_parameters(m, 2, *m.shape)),
        in_channels=2,
        out_channels=2,
        middle=1,
        size=(4, 4),
    ),
    "ResidualBlock.forward": method(lambda: gnn.ResidualBlock(2, 2, 1, (4, 4)), "forward", x=STATE),
    "ConditionalBatchNorm2d": constructor(
        gnn.ConditionalBatchNorm2d,
        lambda m: m(like_parameters(m, 2, m.norm.num_features, 4, 4), classes_of(m.modulation)),
        channels=2,
        num_classes=4,
    ),
    "ConditionalBatchNorm2d.forward": method(
        lambda: gnn.ConditionalBatchNorm2d(2, 4), "forward", x=STATE, condition=LABELS
    ),
    "ConvDecoder": constructor(
        gnn.ConvDecoder, lambda m: told(m, *m.latent_shape), image_shape=IMAGE, latent_dim=2, width=2
    ),
    "ConvDecoder.forward": method(conv_decoder, "forward", z=ones(2, LATENT)),
    "MLPEncoder": constructor(
        gnn.MLPEncoder, lambda m: told(m, *m.event_shape), event_shape=IMAGE, latent_dim=2, hidden=(3,)
    ),
    "MLPEncoder.forward": method(encoder, "forward", x=IMAGES),
    "MLPDecoder": constructor(
        gnn.MLPDecoder,
        lambda m: told(m, *m.latent_shape),
        event_shape=IMAGE,
        latent_dim=2,
        hidden=(3,),
    ),
    "MLPDecoder.forward": method(decoder, "forward", z=ones(2, LATENT)),
    "VAE": constructor(
        gnn.VAE, lambda m: (m.loss(IMAGES, key=KEY), m.sample(2, key=KEY)), encoder=encoder(), decoder=decoder()
    ),
    "VAE.forward": method(vae, "forward", options(gnn.VAE.loss), x=IMAGES, key=KEY),
    "VAE.loss": method(vae, "loss", x=IMAGES, key=KEY),
    "VAE.elbo": method(vae, "elbo", x=IMAGES, key=KEY),
    "VAE.encode": method(vae, "encode", x=IMAGES),
    "VAE.moments": method(vae, "moments", x=IMAGES),
    "VAE.decode": method(vae, "decode", z=ones(2, LATENT)),
    "VAE.sample": method(vae, "sample", num=2, key=KEY),
    "VAE.reconstruct": method(vae, "reconstruct", x=IMAGES),
    "VAE.log_weights": method(vae, "log_weights", x=IMAGES, keys=gk.random.split(KEY, 3)),
    "VAE.log_marginal": method(vae, "log_marginal", x=IMAGES, num_samples=3, chunk_size=2, key=KEY),
    "GAN": constructor(gnn.GAN, adversarial, generator=generator(), discriminator=discriminator(), penalty="r1"),
    "GAN.forward": method(
        gan, "forward", options(gnn.GAN.discriminator_step, ("penalized",)), real=IMAGES, step="generator", key=KEY
    ),
    "GAN.discriminator_step": method(gan, "discriminator_step", real=IMAGES, key=KEY),
    "GAN.generator_step": method(gan, "generator_step", real=IMAGES, key=KEY),
    "GAN.sample": method(gan, "sample", num=2, key=KEY),
    "GAN.update_average": Call(lambda: averaged(gan()), {}),
    "VAEGAN": constructor(
        gnn.VAEGAN, adversarial, encoder=encoder(), generator=generator(), discriminator=discriminator()
    ),
    "VAEGAN.forward": method(
        vae_gan, "forward", options(gnn.VAEGAN.encoder_step), real=IMAGES, step="encoder", key=KEY
    ),
    "VAEGAN.discriminator_step": method(vae_gan, "discriminator_step", real=IMAGES, key=KEY),
    "VAEGAN.generator_step": method(vae_gan, "generator_step", real=IMAGES, key=KEY),
    "VAEGAN.encoder_step": method(vae_gan, "encoder_step", real=IMAGES, key=KEY),
    "VAEGAN.decoder_step": method(vae_gan, "decoder_step", real=IMAGES, key=KEY),
    "VAEGAN.sample": method(vae_gan, "sample", num=2, key=KEY),
    "VAEGAN.reconstruct": method(vae_gan, "reconstruct", x=IMAGES),
    "VAEGAN.update_average": Call(lambda: averaged(vae_gan()), {}),
    "AdversarialSteps": Call(
        signed(lambda **given: gnn.AdversarialSteps(**given).gan.sample(2, key=KEY), gnn.AdversarialSteps, []),
        dict(zip(("gan", "generator_optimizer", "discriminator_optimizer"), trained(), strict=True)),
    ),
    "AdversarialSteps.state_dict": Call(lambda: torch.tensor(steps().state_dict()["steps"]), {}),
    "AdversarialSteps.load_state_dict": Call(resumed, {"state_dict": steps().state_dict()}),
    "average_gradients": Call(averaged_gradients, {"params": [ones(2)]}),
    "lazy_adam": Call(corrected, {"lr": 0.1, "betas": (0.0, 0.9), "interval": 4}),
    "GANDiscriminatorLoss": constructor(
        gnn.GANDiscriminatorLoss, lambda m: m(ROWS, ROWS), options(gk.gan_discriminator_loss, ("real", "fake"))
    ),
    "GANDiscriminatorLoss.forward": method(gnn.GANDiscriminatorLoss, "forward", real=ROWS, fake=ROWS),
    "GANGeneratorLoss": constructor(gnn.GANGeneratorLoss, lambda m: m(ROWS, ROWS)),
    "GANGeneratorLoss.forward": method(gnn.GANGeneratorLoss, "forward", fake=ROWS),
    "MinibatchStddev": constructor(gnn.MinibatchStddev, lambda m: m(ones(4, 4, 2))),
    "MinibatchStddev.forward": method(gnn.MinibatchStddev, "forward", x=ROWS),
    "ConvGenerator": constructor(
        gnn.ConvGenerator, lambda m: told(m, *m.latent_shape), image_shape=IMAGE, latent_dim=2, width=2
    ),
    "ConvGenerator.forward": method(generator, "forward", z=ones(2, LATENT)),
    "ConvDiscriminator": constructor(
        gnn.ConvDiscriminator, lambda m: told(m, *m.image_shape), image_shape=IMAGE, width=2
    ),
    "ConvDiscriminator.forward": method(discriminator, "forward", x=IMAGES),
    "ConvDiscriminator.features": method(discriminator, "features", x=IMAGES),
    "ConvDiscriminator.classify": method(discriminator, "classify", features=ones(2, 2, 4, 4)),
}

NOT_CALLED = {
    "AdversarialTerms": "a tuple, which the library makes",
    "GANTerms": "a tuple, which the library makes",
    "ELBOTerms": "a tuple, which the library makes",
    "HierarchicalTerms": "a tuple, which the library makes",
    "Level": "what a hierarchy asks of its levels",
    "LIKELIHOODS": "a dict",
    "Likelihood": "what the likelihoods are of",
    "Objective": "what the objectives are of",
}


TORCHS = ("extra_repr", "train", "get_extra_state", "set_extra_state")  # to call


def public_calls() -> set[str]:
    """Every function, constructor and method of genkern.nn that a user may call."""
    found = set()
    for name in set(gnn.__all__) - NOT_CALLED.keys():
        value = getattr(gnn, name)
        found.add(name)
        if inspect.isclass(value):
            methods = {m for cls in value.__mro__ if cls.__module__.startswith("genkern") for m in vars(cls)}
            found |= {f"{name}.{m}" for m in methods if callable(getattr(value, m)) and not m.startswith("_")}
            found -= {f"{name}.{m}" for m in TORCHS}
            if issubclass(value, gnn.Objective):
                found -= {f"{name}.loss", f"{name}.prior"}  # the VAE's to call
    found -= {"VAE.reconstruction_and_kl", "VAE.weighted_draws"}  # the objective's
    return found
