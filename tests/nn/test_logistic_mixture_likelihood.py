"""The mixture of discretized logistics as a likelihood: on the data's scale, its mean and samples, in a VAE."""

import pytest
import torch

import genkern as gk
from genkern.nn import VAE, DiscretizedLogisticMixtureLikelihood, MLPDecoder, MLPEncoder

M = 2


def parameters(channels: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(3, channels, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_range_of_the_data_does_not_change_a_probability() -> None:
    levels = torch.randint(256, (3, 3, 4, 5), generator=torch.Generator().manual_seed(1)).double()
    params = parameters(10 * M)
    expected = -gk.discretized_logistic_mixture_nll(levels / 127.5 - 1, params, mixtures=M)
    for low, high in [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)]:
        likelihood = DiscretizedLogisticMixtureLikelihood(M, low=low, high=high)
        x = low + levels * ((high - low) / 255)
        torch.testing.assert_close(likelihood.log_prob(x, params), expected, rtol=1e-11, atol=0)  # x is rounded


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("rgb_coupling", [True, False])
def test_mean_and_samples_agree(channels: int, rgb_coupling: bool) -> None:
    likelihood = DiscretizedLogisticMixtureLikelihood(M, rgb_coupling=rgb_coupling)
    count = likelihood.param_channels(channels)
    params = 0.3 * parameters(count)[:1, :, :1, :2]
    # Narrow enough that the edges of the range cut nothing off.
    scales = params[:, M:].unflatten(1, (channels, -1, M))
    scales[:, :, 1] -= 4.0
    mean = likelihood.mean(params)
    assert mean.shape == (1, channels, 1, 2)
    draws = likelihood.sample(params.expand(10_000, -1, -1, -1), key=gk.random.key(3))
    levels = draws * 255
    assert torch.equal(levels.round(), levels.round().clamp(0, 255))
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-10)  # rounding of level / 255
    error = (draws.mean(0) - mean[0]).abs() / (draws.std(0) / 10_000**0.5)
    assert error.max() < 4.5  # standard errors, of at most 6 numbers


def test_a_vae_trains_with_it() -> None:
    torch.manual_seed(0)
    x = torch.randint(256, (16, 1, 4, 4)).float() / 255
    likelihood = DiscretizedLogisticMixtureLikelihood(M)
    vae = VAE(MLPEncoder((1, 4, 4), 2), MLPDecoder((likelihood.param_channels(1), 4, 4), 2), likelihood=likelihood)
    optimiser = torch.optim.Adam(vae.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = vae.loss(x, key=gk.random.key(1))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1  # nats
    assert vae.sample(3, key=gk.random.key(2)).shape == (3, 1, 4, 4)
    assert vae.reconstruct(x).shape == x.shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_log_prob_of_half_precision_is_float32(dtype: torch.dtype) -> None:
    x, params = torch.zeros(3, 3, 4, 5), parameters(10 * M).to(dtype)
    log_prob = DiscretizedLogisticMixtureLikelihood(M, low=-1.0, high=1.0).log_prob(x.to(dtype), params)
    assert log_prob.dtype == torch.float32
    expected = gk.discretized_logistic_mixture_nll(x.double(), params.double(), mixtures=M)
    torch.testing.assert_close(log_prob.double(), -expected, rtol=1e-5, atol=0.0)  # float32, the arguments exact


def test_the_name_makes_one_of_ten_components() -> None:
    vae = VAE(MLPEncoder((3, 2, 2), 2), MLPDecoder((100, 2, 2), 2), likelihood="discretized_logistic")
    assert vae.elbo(torch.rand(4, 3, 2, 2)).reconstruction.shape == (4,)


def test_what_does_not_fit_is_named() -> None:
    likelihood = DiscretizedLogisticMixtureLikelihood(M)
    with pytest.raises(ValueError, match="params: expected M \\+ 2 M C channels"):
        likelihood.mean(parameters(7))
    with pytest.raises(ValueError, match="mixtures: expected an int >= 1"):
        DiscretizedLogisticMixtureLikelihood(0)
    with pytest.raises(ValueError, match="high: expected a number above low"):
        DiscretizedLogisticMixtureLikelihood(low=1.0)
