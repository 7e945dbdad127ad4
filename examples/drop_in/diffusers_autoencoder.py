"""A step of a diffusers autoencoder: one line patches every autoencoder there."""

import torch
from diffusers import AutoencoderKL

from genkern.compat import diffusers as fused

fused.patch()  # fused.unpatch() takes it out again; `with fused.patch():` does both

model = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4, sample_size=16)
x = torch.rand(2, 3, 16, 16) * 2 - 1
posterior = model.encode(x).latent_dist
z = posterior.sample(torch.Generator().manual_seed(0))
kl = posterior.kl().mean()
loss = torch.nn.functional.mse_loss(model.decode(z).sample, x) + 1e-6 * kl
loss.backward()
print(f"{type(posterior).__module__}: loss {loss.item():.3f}, KL {kl.item():.1f} nats an image")
fused.unpatch()
