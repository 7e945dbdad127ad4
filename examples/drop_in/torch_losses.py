"""torch's Gaussian likelihood with a learned variance: one import changes."""

import torch

# from torch.nn.functional import gaussian_nll_loss
from genkern.compat.torch import gaussian_nll_loss

x = torch.linspace(-1, 1, 256).unsqueeze(1)
y = x.sin() + 0.1 * torch.randn_like(x)
model = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(200):
    mean, raw = model(x).chunk(2, dim=1)
    loss = gaussian_nll_loss(mean, y, raw.exp())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"nll {loss.item():.3f} nats a point")
