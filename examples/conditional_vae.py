"""A VAE that draws the digit it is told to, judged by a classifier that has learned from real ones.

    python examples/conditional_vae.py

The condition goes to the encoder, the decoder and the prior: p(x | y) = ∫ p(x | z, y) p(z | y) dz.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import genkern as gk
from genkern.nn import VAE, ClassPrior, ConvDecoder, ConvEncoder

SHAPE, LATENT, CLASSES, BATCH = (1, 8, 8), 8, 10, 128


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a conditional VAE on scikit-learn's digits.")
    parser.add_argument("--steps", type=int, default=2000)
    steps = parser.parse_args().steps

    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(data.target)
    held_out = torch.arange(len(images)) % 5 == 0
    x, y = images[~held_out], labels[~held_out]

    torch.manual_seed(0)
    vae = VAE(
        ConvEncoder(SHAPE, LATENT, num_classes=CLASSES),
        ConvDecoder(SHAPE, LATENT, num_classes=CLASSES),
        prior=ClassPrior(CLASSES, LATENT),
        likelihood="bernoulli",
    )
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    for step in range(1, steps + 1):
        rows = torch.randint(len(x), (BATCH,))
        optimizer.zero_grad()
        loss = vae.loss(x[rows], condition=y[rows])
        loss.backward()
        optimizer.step()
        if step % 500 == 0 or step == steps:
            log_p = vae.log_marginal(images[held_out], 100, condition=labels[held_out]).mean()
            print(f"step {step:5d}   loss {loss.item():7.2f}   held out: log p(x | y) {log_p.item():7.2f} nats")

    judge = SVC().fit(x.flatten(1), y)
    wanted = torch.arange(CLASSES).repeat_interleave(100)
    drawn = vae.sample(len(wanted), condition=wanted, key=gk.random.key(1))
    of_real = judge.score(images[held_out].flatten(1), labels[held_out])
    print(
        f"recognised: {judge.score(drawn.flatten(1), wanted):.3f} of drawn digits, {of_real:.3f} of held-out real ones"
    )


if __name__ == "__main__":
    main()
