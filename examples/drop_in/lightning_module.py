"""A VAE as a LightningModule: the module is torch's, so the trainer sees nothing special."""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import DataLoader

from genkern.nn import VAE, ConvDecoder, ConvEncoder


class DigitsVAE(lightning.LightningModule):
    def __init__(self, latent: int = 8) -> None:
        super().__init__()
        self.vae = VAE(ConvEncoder((1, 8, 8), latent), ConvDecoder((1, 8, 8), latent), likelihood="bernoulli")

    def training_step(self, batch: Tensor, batch_index: int) -> Tensor:
        loss = self.vae(batch)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


digits = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
model = DigitsVAE()
trainer = lightning.Trainer(
    max_steps=20,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(model, DataLoader(list(digits), batch_size=64))
print(f"loss {trainer.callback_metrics['loss'].item():.2f} nats a digit; {tuple(model.vae.sample(4).shape)} sampled")
