"""The heads of VDVAE's blocks and its likelihood: in vae_helpers.py, import these in place of its own."""

import torch

from genkern.compat.vdvae import (
    discretized_mix_logistic_loss,
    draw_gaussian_diag_samples,
    gaussian_analytical_kl,
    sample_from_discretized_mix_logistic,
)

posterior = torch.randn(2, 32, 8, 8, requires_grad=True)
prior = torch.randn(2, 32, 8, 8, requires_grad=True)
(qm, qv), (pm, pv) = posterior.chunk(2, dim=1), prior.chunk(2, dim=1)
z = draw_gaussian_diag_samples(qm, qv)
kl = gaussian_analytical_kl(qm, pm, qv, pv)
x = torch.randint(256, (2, 8, 8, 3)) / 127.5 - 1
parameters = torch.randn(2, 8, 8, 100, requires_grad=True)
loss = discretized_mix_logistic_loss(x, parameters).mean() + kl.sum() / x.numel() + 0 * z.sum()
loss.backward()
image = sample_from_discretized_mix_logistic(parameters, 10)
print(f"loss {loss.item():.2f} nats a value; a sample of shape {tuple(image.shape)}")
