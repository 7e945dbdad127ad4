"""Every module of genkern.nn as a thing that is copied, stored, moved and compiled: it gives the same as before.

A module joins by a line in `MODULES`.
"""

import copy
import inspect
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from support.batch_ranks import energy_distance
from torch import Tensor, nn

import genkern as gk
import genkern.nn as gnn

KEY = gk.random.key(3, 1)
IMAGE = (2, 9, 7)
LATENT = 3


@dataclass(frozen=True)
class Form:
    """A module, what is called of it with tensors of which shapes, and what its text shows."""

    make: Callable[[], nn.Module]
    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    shows: str


def vae(likelihood: object, outputs: int = 2, objective: gnn.Objective | None = None) -> gnn.VAE:
    return gnn.VAE(
        gnn.ConvEncoder(IMAGE, LATENT, width=4),
        gnn.ConvDecoder(IMAGE, LATENT, width=4, out_channels=outputs),
        likelihood=likelihood,
        objective=objective or gnn.ELBO(beta=2.0, warmup=5),
        scale_param="logstd",
    )


def call(module: nn.Module, *values: Tensor) -> Any:
    return module(*values)


def log_prob(module: gnn.Likelihood, x: Tensor, params: Tensor) -> Tensor:
    return module.log_prob(x, params)


def log_prob_of_counts(module: nn.Module, x: Tensor, params: Tensor) -> Tensor:
    return module.log_prob(x.square(), params)


def with_key(module: nn.Module, value: Tensor) -> Any:
    return module(value, key=KEY)


def gan(**options: Any) -> gnn.GAN:
    return gnn.GAN(gnn.ConvGenerator(IMAGE, LATENT, width=4), gnn.ConvDiscriminator(IMAGE, width=4), **options)


def conditional_vae(**options: Any) -> gnn.VAE:
    networks = (part(IMAGE, LATENT, width=4, num_classes=4) for part in (gnn.ConvEncoder, gnn.ConvDecoder))
    return gnn.VAE(*networks, prior=gnn.ClassPrior(4, LATENT), **options)


def conditional_gan(norm: str, conditional: str) -> gnn.GAN:
    generator = gnn.ConvGenerator(IMAGE, LATENT, width=4, num_classes=4, norm=norm)
    return gnn.GAN(generator, gnn.ConvDiscriminator(IMAGE, width=4, num_classes=4, conditional=conditional))


def hierarchical(**options: Any) -> gnn.HierarchicalVAE:
    likelihood = gnn.DiscretizedLogisticMixtureLikelihood(2)
    decoder = gnn.LadderDecoder(
        IMAGE, (2, 1), width=4, latent_channels=3, out_channels=likelihood.param_channels(2), num_classes=4
    )
    return gnn.HierarchicalVAE(
        gnn.LadderEncoder(IMAGE, (2, 1), width=4, num_classes=4), decoder, likelihood=likelihood, **options
    )


def with_labels(module: nn.Module, value: Tensor) -> Any:
    return module(value, LABELS)


def conditional(module: nn.Module, x: Tensor) -> Any:
    return module(x, condition=LABELS, key=KEY)


def both_conditional_steps(module: gnn.GAN, real: Tensor) -> list[Tensor]:
    of_both = {"condition": LABELS, "key": KEY}
    return [*module(real, **of_both), module(real, step="generator", **of_both)]


def vae_gan() -> gnn.VAEGAN:
    networks = gnn.ConvEncoder(IMAGE, LATENT, width=4), gnn.ConvGenerator(IMAGE, LATENT, width=4)
    return gnn.VAEGAN(*networks, gnn.ConvDiscriminator(IMAGE, width=4), gamma=0.3)


def both_steps(module: gnn.GAN, real: Tensor) -> list[Tensor]:
    return [*module(real, key=KEY), module(real, step="generator", key=KEY)]


LABELS = torch.tensor([3, 0, 3])
ROWS = (4, 6)
PIXELS = (4, 2, 5)
IMAGES = (3, *IMAGE)
MODULES: dict[str, list[Form]] = {
    "GaussianHead": [
        Form(lambda: gnn.GaussianHead(6, 3, clamp=(-9.0, 9.0)), lambda m, h: m(h, key=KEY), (ROWS,), "(-9.0, 9.0)")
    ],
    "GaussianNLLLoss": [Form(lambda: gnn.GaussianNLLLoss(full=False), call, (ROWS,) * 3, "full=False")],
    "GaussianKLLoss": [Form(lambda: gnn.GaussianKLLoss(units="bits"), call, (ROWS,) * 4, "units='bits'")],
    "BernoulliNLLLoss": [
        Form(lambda: gnn.BernoulliNLLLoss(reduction="sum"), lambda m, x, y: m(x.sigmoid(), y), (ROWS,) * 2, "'sum'")
    ],
    "GaussianLikelihood": [
        Form(lambda: gnn.GaussianLikelihood(0.4), log_prob, (PIXELS,) * 2, "sigma=0.4"),
        Form(lambda: gnn.GaussianLikelihood(channels=2), log_prob, (PIXELS,) * 2, "'learned'"),
        Form(lambda: gnn.GaussianLikelihood("decoder"), log_prob, (PIXELS, (4, 4, 5)), "'decoder'"),
        Form(lambda: gnn.GaussianLikelihood("optimal"), log_prob, (PIXELS,) * 2, "'optimal'"),
    ],
    "LaplaceNLLLoss": [Form(lambda: gnn.LaplaceNLLLoss(full=False), call, (ROWS,) * 3, "full=False")],
    "DiscretizedGaussianNLLLoss": [Form(lambda: gnn.DiscretizedGaussianNLLLoss(bins=9), call, (ROWS,) * 3, "bins=9")],
    "LaplaceLikelihood": [
        Form(lambda: gnn.LaplaceLikelihood(0.4), log_prob, (PIXELS,) * 2, "sigma=0.4"),
        Form(lambda: gnn.LaplaceLikelihood(channels=2), log_prob, (PIXELS,) * 2, "'learned'"),
    ],
    "DiscretizedGaussianLikelihood": [
        Form(lambda: gnn.DiscretizedGaussianLikelihood(bins=9), log_prob, (PIXELS,) * 2, "bins=9")
    ],
    "DiscretizedLogisticMixtureLikelihood": [
        Form(lambda: gnn.DiscretizedLogisticMixtureLikelihood(mixtures=2), log_prob, (PIXELS, (4, 10, 5)), "mixtures=2")
    ],
    "BernoulliLikelihood": [
        Form(gnn.BernoulliLikelihood, lambda m, x, y: m.log_prob(x.sigmoid(), y), (ROWS,) * 2, "BernoulliLikelihood()")
    ],
    "PoissonLikelihood": [Form(gnn.PoissonLikelihood, log_prob_of_counts, (ROWS,) * 2, "PoissonLikelihood()")],
    "NegativeBinomialLikelihood": [
        Form(lambda: gnn.NegativeBinomialLikelihood(genes=6), log_prob_of_counts, (ROWS,) * 2, "genes=6"),
        Form(lambda: gnn.NegativeBinomialLikelihood(True, "cell"), log_prob_of_counts, (ROWS, (4, 13)), "'cell'"),
        Form(lambda: gnn.NegativeBinomialLikelihood(True, "decoder"), log_prob_of_counts, (ROWS, (4, 18)), "=True"),
    ],
    "ELBO": [Form(lambda: gnn.ELBO(capacity=2.0, warmup=5), call, ((4,),) * 2, "capacity=2.0")],
    "IWAE": [Form(lambda: gnn.IWAE(4, "renyi", alpha=0.5), call, (ROWS,), "alpha=0.5")],
    "BetaTCVAE": [Form(lambda: gnn.BetaTCVAE(0.5, dataset_size=70), call, ((4,),) * 4, "dataset_size=70")],
    "InfoVAE": [
        Form(gnn.InfoVAE, call, ((4,), (4,), ()), "alpha=0.0"),
        Form(lambda: gnn.InfoVAE(energy_distance, alpha=0.5), call, ((4,), (4,), ()), "alpha=0.5"),
    ],
    "VampPrior": [Form(lambda: gnn.VampPrior(5, IMAGE, warmup=5), call, ((4,),) * 2, "(5, 2, 9, 7)")],
    "HierarchicalELBO": [
        Form(lambda: gnn.HierarchicalELBO(free_bits=0.5), lambda m, r, kl: m(r, kl.square()), ((4,), ROWS), "=0.5"),
        Form(
            lambda: gnn.HierarchicalELBO(warmup=5, balance=True),
            lambda m, r, kl: m(r, kl.square(), (0, 0, 1, 1, 2, 2), (1, 2, 3, 4, 5, 6)),
            ((4,), ROWS),
            "balance=True",
        ),
    ],
    "ConvEncoder": [
        Form(lambda: gnn.ConvEncoder(IMAGE, LATENT, width=4), call, (IMAGES,), "Conv2d"),
        Form(lambda: gnn.ConvEncoder(IMAGE, LATENT, width=4, num_classes=4), with_labels, (IMAGES,), "4, 4"),
    ],
    "ConvDecoder": [
        Form(lambda: gnn.ConvDecoder(IMAGE, LATENT, width=4), call, ((3, LATENT),), "Conv2d"),
        Form(lambda: gnn.ConvDecoder(IMAGE, LATENT, width=4, num_classes=4), with_labels, ((3, LATENT),), "ClassTable"),
    ],
    "MLPEncoder": [
        Form(lambda: gnn.MLPEncoder(IMAGE, LATENT), call, (IMAGES,), "Linear"),
        Form(lambda: gnn.MLPEncoder(IMAGE, LATENT, num_classes=4), with_labels, (IMAGES,), "ClassTable"),
    ],
    "MLPDecoder": [
        Form(lambda: gnn.MLPDecoder(IMAGE, LATENT), call, ((3, LATENT),), "Linear"),
        Form(lambda: gnn.MLPDecoder(IMAGE, LATENT, hidden=(), num_classes=4), call, ((3, LATENT), (3, 4)), "(4, 126)"),
    ],
    "ClassPrior": [Form(lambda: gnn.ClassPrior(4, (2, 3)), call, ((3, 4),), "4, 12")],
    "LadderEncoder": [Form(lambda: gnn.LadderEncoder(IMAGE, (1, 1), width=4), call, (IMAGES,), "ResidualBlock")],
    "LadderDecoder": [
        Form(
            lambda: gnn.LadderDecoder(IMAGE, (1, 1), width=4, latent_channels=2),
            lambda m, z: m.finish(m.levels[0].merge(m.start(3), z)),
            ((3, 2, 5, 4),),
            "LadderLevel",
        )
    ],
    "LadderLevel": [
        Form(
            lambda: gnn.LadderLevel((4, 3), 0, width=4, latent_channels=2),
            lambda m, h, z: [*m.prior(h), *m.posterior(h, h), m.merge(h, z)],
            ((2, 4, 4, 3), (2, 2, 4, 3)),
            "GELU",
        )
    ],
    "ResidualBlock": [
        Form(lambda: gnn.ResidualBlock(2, 2, 3, (4, 5), residual=True), call, ((3, 2, 4, 5),), "residual=True")
    ],
    "VAE": [
        Form(lambda: vae("gaussian"), with_key, (IMAGES,), "warmup=5"),
        Form(lambda: vae("bernoulli"), lambda m, x: m.elbo(x.sigmoid(), key=KEY), (IMAGES,), "BernoulliLikelihood"),
        Form(lambda: vae(gnn.GaussianLikelihood("optimal")), with_key, (IMAGES,), "'optimal'"),
        Form(lambda: vae("gaussian", objective=gnn.VampPrior(5, IMAGE)), with_key, (IMAGES,), "pseudo_inputs"),
        Form(lambda: vae("gaussian", objective=gnn.IWAE(3, "dreg")), with_key, (IMAGES,), "'dreg'"),
        Form(lambda: vae(gnn.GaussianLikelihood("decoder"), 4), with_key, (IMAGES,), "scale_param='logstd'"),
        Form(conditional_vae, conditional, (IMAGES,), "ClassPrior"),
        Form(lambda: conditional_vae(objective=gnn.IWAE(3)), conditional, (IMAGES,), "k=3"),
    ],
    "HierarchicalVAE": [
        Form(lambda: hierarchical(checkpoint=True), conditional, (IMAGES,), "checkpoint=True"),
        Form(lambda: hierarchical(posterior="absolute"), conditional, (IMAGES,), "posterior='absolute'"),
    ],
    "GAN": [
        Form(lambda: gan(penalty_interval=4), both_steps, (IMAGES,), "penalty_interval=4"),
        Form(lambda: gan(loss="relativistic", ema_decay=None), both_steps, (IMAGES,), "loss='relativistic'"),
        Form(lambda: conditional_gan("pixel", "projection"), both_conditional_steps, (IMAGES,), "ClassTable"),
        Form(lambda: conditional_gan("batch", "auxiliary"), both_conditional_steps, (IMAGES,), "class_weight=1.0"),
    ],
    "VAEGAN": [Form(vae_gan, both_steps, (IMAGES,), "gamma=0.3")],
    "GANDiscriminatorLoss": [Form(lambda: gnn.GANDiscriminatorLoss("lsgan"), call, (ROWS,) * 2, "kind='lsgan'")],
    "GANGeneratorLoss": [Form(lambda: gnn.GANGeneratorLoss("relativistic"), call, (ROWS,) * 2, "kind='relativistic'")],
    "MinibatchStddev": [Form(lambda: gnn.MinibatchStddev(2), call, (PIXELS,), "group_size=2")],
    "ConvGenerator": [Form(lambda: gnn.ConvGenerator(IMAGE, LATENT, width=4), call, ((3, LATENT),), "Conv2d")],
    "ConvDiscriminator": [Form(lambda: gnn.ConvDiscriminator(IMAGE, width=4), call, (IMAGES,), "MinibatchStddev")],
    "ConditionalBatchNorm2d": [Form(lambda: gnn.ConditionalBatchNorm2d(2, 4), with_labels, (IMAGES,), "BatchNorm2d")],
}
DRAWING = {"GaussianHead", "VAE", "GAN", "VAEGAN", "HierarchicalVAE"}  # whose noise is another one in float64
ABSTRACT = {"Likelihood", "Objective"}  # what the likelihoods and the objectives are of
FORMS = [pytest.param(form, id=f"{name}-{i}") for name, forms in MODULES.items() for i, form in enumerate(forms)]

every_form = pytest.mark.parametrize("form", FORMS)


def made(form: Form, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return form.make()


def inputs(form: Form, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in form.shapes]


def outputs(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)


def run(form: Form, module: nn.Module, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return outputs(form.call(module, *inputs(form, dtype)))


def assert_goes_on_as(form: Form, other: nn.Module, module: nn.Module) -> None:
    """Both give the same, now and at the next step, and each has a state of its own."""
    for _ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(run(form, other), run(form, module), strict=True))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.no_grad():
        for value in other.state_dict().values():
            value.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def used(form: Form) -> nn.Module:
    """A module after three steps of training, which schedules and running means count."""
    module = made(form)
    for _ in range(3):
        run(form, module)
    return module


def test_no_module_is_left_out() -> None:
    public = {n for n in gnn.__all__ if inspect.isclass(c := getattr(gnn, n)) and issubclass(c, nn.Module)}
    assert public - ABSTRACT == MODULES.keys()
    assert all(type(made(form)).__name__ == name for name, forms in MODULES.items() for form in forms)


def stored(value: object, **options: Any) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, **options)


COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "torch.save": lambda module: stored(module, weights_only=False),
}


@every_form
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_goes_on_as_the_module_would(form: Form, copied: Callable[[nn.Module], nn.Module]) -> None:
    module = used(form)
    other = copied(module)
    assert repr(other) == repr(module)
    assert_goes_on_as(form, other, module)


@every_form
def test_a_fresh_module_goes_on_from_the_stored_state(form: Form) -> None:
    module, fresh = used(form), made(form, seed=1)
    state = stored(module.state_dict(), weights_only=True)
    assert all(isinstance(value, Tensor) for value in state.values())
    fresh.load_state_dict(state, strict=True)
    assert_goes_on_as(form, fresh, module)


@every_form
def test_a_module_made_without_memory_goes_on_from_the_stored_state(form: Form) -> None:
    module = used(form)
    with torch.device("meta"):
        fresh = form.make()
    assert {t.device.type for t in fresh.state_dict().values()} <= {"meta"}
    fresh.to_empty(device="cpu").load_state_dict(module.state_dict(), strict=True)
    assert_goes_on_as(form, fresh, module)


@every_form
def test_a_state_that_does_not_fit_is_refused(form: Form) -> None:
    module = made(form)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        module.load_state_dict({**module.state_dict(), "bogus": torch.zeros(())}, strict=True)
    if state := module.state_dict():
        state.popitem()
        with pytest.raises(RuntimeError, match="Missing key"):
            made(form).load_state_dict(state, strict=True)


@every_form
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_a_module_moves_to_another_dtype(form: Form, dtype: torch.dtype) -> None:
    module = used(form)
    moved = copy.deepcopy(module).to(dtype)
    for name, value in module.state_dict().items():
        expected = dtype if value.is_floating_point() else value.dtype  # a count stays an integer
        assert moved.state_dict()[name].dtype == expected
    for value, right in zip(run(form, moved, dtype), run(form, module), strict=True):
        assert value.dtype in (dtype, torch.promote_types(dtype, torch.float32))
        assert value.isfinite().all()
        if dtype == torch.float64 and type(module).__name__ not in DRAWING:
            torch.testing.assert_close(value.float(), right, rtol=1e-5, atol=1e-5)  # which rounds to float32 all along


@every_form
def test_its_text_shows_what_it_is(form: Form) -> None:
    text = repr(made(form))
    assert text.startswith(type(made(form)).__name__)
    assert form.shows in text


@every_form
def test_it_compiles_whole_and_trains_as_uncompiled(form: Form) -> None:
    torch._dynamo.reset()
    module = made(form)
    twin = copy.deepcopy(module)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda *values: form.call(module, *values), fullgraph=True, backend=counter)
    for _ in range(3):
        values = [value.requires_grad_() for value in inputs(form)]
        result, expected = outputs(compiled(*values)), outputs(form.call(twin, *values))
        torch.testing.assert_close(result, expected)
    got, right = (
        torch.autograd.grad(
            [value.sum() for value in results if value.requires_grad],
            [*values, *(p for p in of.parameters() if p.requires_grad)],
            materialize_grads=True,
        )
        for results, of in ((result, module), (expected, twin))
    )
    torch.testing.assert_close(got, right, rtol=1e-5, atol=1e-5)  # float32, summed in another order
    torch.testing.assert_close(module.state_dict(), twin.state_dict())
    assert counter.frame_count == 1
