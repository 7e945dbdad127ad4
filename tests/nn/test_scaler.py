"""AdversarialSteps with a gradient scaler: the steps of one without, but for those that an overflow forbids."""

import copy

import pytest
import torch
from torch import nn
from torch.amp import GradScaler

import genkern as gk
from genkern.nn import GAN, VAEGAN, AdversarialSteps, ConvDiscriminator, ConvEncoder, ConvGenerator, average_gradients

SHAPE = (1, 8, 8)
X = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(0))


def gan():
    torch.manual_seed(0)
    return GAN(ConvGenerator(SHAPE, 3, width=4), ConvDiscriminator(SHAPE, width=4), penalty="r1")


def vae_gan():
    torch.manual_seed(0)
    return VAEGAN(ConvEncoder(SHAPE, 3, width=4), ConvGenerator(SHAPE, 3, width=4), ConvDiscriminator(SHAPE, width=4))


def steps_of(model, **options):
    made = [p for name, p in model.named_parameters() if not name.startswith(("discriminator", "average"))]
    optimizers = (torch.optim.Adam(params, 1e-3) for params in (made, model.discriminator.parameters()))
    return AdversarialSteps(model, *optimizers, **options)


def scaler(scale=2.0**10, interval=2000):
    return GradScaler("cpu", init_scale=scale, growth_interval=interval)


def take(step, first, last):
    return [step(X, key=gk.random.key(i)) for i in range(first, last)]


@pytest.mark.parametrize("build", [gan, vae_gan])
@pytest.mark.parametrize("n_critic", [1, 3])
@pytest.mark.parametrize("reduce_gradients", [None, average_gradients])
def test_a_scale_leaves_losses_and_steps_as_they_were(build, n_critic, reduce_gradients):
    plain, scaled = build(), build()
    options = {"n_critic": n_critic, "reduce_gradients": reduce_gradients}
    expected = take(steps_of(plain, **options), 0, 4)
    found = take(steps_of(scaled, scaler=scaler(), **options), 0, 4)
    for one, other in zip(found, expected, strict=True):
        assert not one.discriminator.loss.requires_grad
        torch.testing.assert_close(one.discriminator.loss, other.discriminator.loss)
        assert (one.generator is None) == (other.generator is None)
        torch.testing.assert_close(one.generator, other.generator) if other.generator is not None else None
    torch.testing.assert_close(scaled.state_dict(), plain.state_dict())


def test_reduced_gradients_are_those_without_a_scale():
    seen = {}
    for name, of in (("plain", None), ("scaled", scaler())):
        norms = seen.setdefault(name, [])

        def note(params, norms=norms):
            norms.append(nn.utils.get_total_norm([p.grad for p in params if p.grad is not None]))

        take(steps_of(gan(), scaler=of, reduce_gradients=note), 0, 1)
    torch.testing.assert_close(seen["scaled"], seen["plain"])


@pytest.mark.parametrize("reduce_gradients", [None, average_gradients])
def test_gradients_that_are_not_finite_are_no_step_and_halve_the_scale(reduce_gradients):
    model = gan()
    step = steps_of(model, scaler=scaler(), reduce_gradients=reduce_gradients)
    take(step, 0, 1)
    before = {name: p.clone() for name, p in model.state_dict().items() if not name.endswith("_extra_state")}
    handle = model.discriminator.head[-1].weight.register_hook(lambda grad: grad * float("inf"))
    step(X, key=gk.random.key(1))
    handle.remove()
    assert step.scaler.get_scale() == 2.0**9
    assert all(torch.equal(p, before[f"discriminator.{n}"]) for n, p in model.discriminator.state_dict().items())
    assert not all(torch.equal(p, before[f"generator.{n}"]) for n, p in model.generator.state_dict().items())
    take(step, 2, 3)
    assert all(p.isfinite().all() for p in model.parameters())
    assert not all(torch.equal(p, before[f"discriminator.{n}"]) for n, p in model.discriminator.state_dict().items())


def test_what_another_process_found_forbids_the_step_here():
    """Its gradients are in the mean, which is all that this one knows of them."""
    model = gan()

    def averaged_with_an_overflow(params):
        params[0].grad[0] = float("inf")

    step = steps_of(model, scaler=scaler(), reduce_gradients=averaged_with_an_overflow)
    before = copy.deepcopy(model)
    take(step, 0, 1)
    assert step.scaler.get_scale() == 2.0**9
    for part in ("generator", "discriminator"):
        pairs = zip(getattr(model, part).parameters(), getattr(before, part).parameters(), strict=True)
        assert all(torch.equal(p, q) for p, q in pairs)


def test_the_scale_is_updated_once_a_batch():
    step = steps_of(gan(), scaler=scaler(2.0, interval=2), n_critic=2)
    scales = []
    for i in range(4):
        take(step, i, i + 1)
        scales.append(step.scaler.get_scale())
    assert scales == [2.0, 4.0, 4.0, 8.0]


def test_a_resumed_run_has_the_scale_of_one_that_was_not_stopped():
    whole = gan()
    step = steps_of(whole, scaler=scaler(interval=3))
    take(step, 0, 4)
    stopped = gan()
    first = steps_of(stopped, scaler=scaler(interval=3))
    take(first, 0, 2)
    resumed = gan()
    second = steps_of(resumed, scaler=scaler(8.0, interval=3))
    resumed.load_state_dict(stopped.state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    take(second, 2, 4)
    assert second.scaler.get_scale() == step.scaler.get_scale() == 2.0**11
    assert all(torch.equal(p, q) for p, q in zip(resumed.parameters(), whole.parameters(), strict=True))


def test_a_state_without_its_scaler_is_refused_by_name():
    with pytest.raises(
        ValueError, match="^state_dict: expected steps, generator_optimizer, discriminator_optimizer, s"
    ):
        steps_of(gan(), scaler=scaler()).load_state_dict(steps_of(gan()).state_dict())
    with pytest.raises(
        ValueError, match="^state_dict: expected steps, generator_optimizer, discriminator_optimizer, g"
    ):
        steps_of(gan()).load_state_dict(steps_of(gan(), scaler=scaler()).state_dict())
    off = steps_of(gan(), scaler=GradScaler("cpu", enabled=False))
    off.load_state_dict(steps_of(gan()).state_dict())
    assert take(off, 0, 1)[0].generator.isfinite()


def test_what_is_no_scaler_is_refused_by_name():
    with pytest.raises(TypeError, match="^scaler: expected a GradScaler or None, got float"):
        steps_of(gan(), scaler=2.0)


def test_steps_under_autocast_of_float16_take_one():
    model = gan()
    step = steps_of(model, scaler=scaler())
    with torch.autocast("cpu", torch.float16):
        terms = take(step, 0, 2)
    assert all(t.discriminator.loss.isfinite() and t.generator.isfinite() for t in terms)
    assert all(p.isfinite().all() for p in model.parameters())
