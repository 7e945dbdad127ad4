"""A VAE written with torch.distributions: one import changes."""

import torch
from sklearn.datasets import load_digits
from torch.distributions import Independent, kl_divergence

# from torch.distributions import Normal
from genkern.distributions import Normal

x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
encoder, decoder = torch.nn.Linear(64, 16), torch.nn.Linear(8, 64)
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-2)
for _ in range(100):
    loc, raw = encoder(x).chunk(2, dim=1)
    q = Independent(Normal(loc, torch.exp(0.5 * raw)), 1)
    p = Independent(Normal(torch.zeros_like(loc), 1.0), 1)
    reconstruction = Independent(Normal(decoder(q.rsample()), 0.3), 1).log_prob(x)
    loss = (kl_divergence(q, p) - reconstruction).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"ELBO {-loss.item():.1f} nats a digit")
