"""The variational bound of guided-diffusion: in gaussian_diffusion.py, import these in place of its losses.py."""

import torch

# from .losses import normal_kl, discretized_gaussian_log_likelihood
from genkern.compat.guided_diffusion import discretized_gaussian_log_likelihood, normal_kl

x_start = torch.randint(256, (2, 3, 8, 8)) / 127.5 - 1
mean = (x_start + 0.1 * torch.randn_like(x_start)).requires_grad_()
log_variance = torch.full_like(x_start, -4.0).requires_grad_()
kl = normal_kl(x_start, -4.5, mean, log_variance).mean(dim=(1, 2, 3))
decoder_nll = -discretized_gaussian_log_likelihood(x_start, means=mean, log_scales=0.5 * log_variance).mean((1, 2, 3))
(kl + decoder_nll).mean().backward()
bits = (kl + decoder_nll).mean().item() / torch.tensor(2.0).log().item()
print(f"{bits:.2f} bits a dimension")
