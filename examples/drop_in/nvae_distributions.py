"""The residual normals of NVAE: in model.py, import Normal from here in place of its distributions.py."""

import torch

# from distributions import Normal
from genkern.compat.nvae import Normal

mu_p, log_sig_p, mu_q, log_sig_q = torch.randn(4, 2, 20, 8, 8).requires_grad_()
prior = Normal(mu_p, log_sig_p)
posterior = Normal(mu_p + mu_q, log_sig_p + log_sig_q)
z, _ = posterior.sample()
kl = posterior.kl(prior).sum(dim=(1, 2, 3))
(kl.mean() + 0 * z.sum()).backward()
print(f"KL {kl.mean().item():.1f} nats an image, log q {posterior.log_p(z).sum((1, 2, 3)).mean().item():.1f}")
