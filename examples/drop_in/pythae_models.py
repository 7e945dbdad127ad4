"""pythae's models with fused heads and losses: built inside the patch."""

import pythae.models
import torch
from sklearn.datasets import load_digits

from genkern.compat import pythae as fused

with fused.patch():
    config = pythae.models.BetaTCVAEConfig(input_dim=(1, 8, 8), latent_dim=4, beta=2.0)
    model = pythae.models.BetaTCVAE(config)

x = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for step in range(10):
    result = model({"data": x[64 * step : 64 * (step + 1)]}, dataset_size=len(x))
    optimizer.zero_grad()
    result.loss.backward()
    optimizer.step()
print(f"loss {result.loss.item():.2f} = {result.recon_loss.item():.2f} + {result.reg_loss.item():.2f}")
