"""β-TC-VAE in disentangling-vae: in disvae/models/losses.py, import these in place of its own."""

import torch

from genkern.compat.disentangling_vae import _get_log_pz_qz_prodzi_qzCx, _reconstruction_loss

data = torch.rand(32, 1, 8, 8)
logits = torch.randn(32, 1, 8, 8, requires_grad=True)
mean, logvar = torch.randn(2, 32, 10).requires_grad_()
sample = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
log_pz, log_qz, log_prod_qzi, log_q_zCx = _get_log_pz_qz_prodzi_qzCx(sample, (mean, logvar), n_data=1797)
mutual_information, total_correlation = (log_q_zCx - log_qz).mean(), (log_qz - log_prod_qzi).mean()
dimension_wise_kl = (log_prod_qzi - log_pz).mean()
loss = _reconstruction_loss(data, logits.sigmoid()) + mutual_information + 6 * total_correlation + dimension_wise_kl
loss.backward()
print(f"loss {loss.item():.1f}, of it MI {mutual_information.item():.2f}, TC 6 × {total_correlation.item():.2f}")
