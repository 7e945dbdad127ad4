"""scvi-tools' SCVI on made counts, trained with the drop-in: one line more."""

import anndata
import scvi
import torch

import genkern as gk
from genkern.compat import scvi as fused

fused.patch()

means = torch.rand(500, generator=torch.Generator().manual_seed(0)) * 3  # of 500 genes
counts = gk.negative_binomial_sample(means.expand(600, -1), torch.tensor(2.0), key=gk.random.key(0))
adata = anndata.AnnData(counts.numpy())
scvi.settings.seed = 0
scvi.model.SCVI.setup_anndata(adata)
model = scvi.model.SCVI(adata, gene_likelihood="nb")
model.train(max_epochs=3, accelerator="cpu", enable_progress_bar=False, logger=None)
print(f"bound after 3 epochs: {model.history['elbo_train'].iloc[-1, 0]:.1f} nats")
fused.unpatch()
