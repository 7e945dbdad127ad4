"""A GAN that draws the digit it is told to, judged by a classifier that has learned from real ones.

python examples/conditional_gan.py                # a projection discriminator
python examples/conditional_gan.py --auxiliary    # one that names the class instead
"""

import argparse

import torch
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import genkern as gk
from genkern.nn import GAN, AdversarialSteps, ConvDiscriminator, ConvGenerator

SHAPE, LATENT, CLASSES, BATCH = (1, 8, 8), 16, 10, 64


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a conditional GAN on scikit-learn's digits.")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--auxiliary", action="store_true", help="Odena et al. 2017; else Miyato & Koyama 2018")
    options = parser.parse_args()

    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(data.target)
    held_out = torch.arange(len(images)) % 5 == 0
    x, y = images[~held_out], labels[~held_out]

    torch.manual_seed(0)
    conditional = "auxiliary" if options.auxiliary else "projection"
    gan = GAN(
        ConvGenerator(SHAPE, LATENT, num_classes=CLASSES),
        ConvDiscriminator(SHAPE, num_classes=CLASSES, conditional=conditional),
        penalty="r1",
        penalty_weight=0.5,
    )
    adam = [
        torch.optim.Adam(part.parameters(), lr=1e-3, betas=(0.0, 0.99)) for part in (gan.generator, gan.discriminator)
    ]
    train = AdversarialSteps(gan, *adam)
    for step in range(1, options.steps + 1):
        rows = torch.randint(len(x), (BATCH,))
        terms = train(x[rows], condition=y[rows])
        if step % 500 == 0 or step == options.steps:
            print(f"step {step:5d}   discriminator {terms.discriminator.loss:.3f}   generator {terms.generator:.3f}")

    judge = SVC().fit(x.flatten(1), y)
    wanted = torch.arange(CLASSES).repeat_interleave(100)
    drawn = gan.sample(len(wanted), condition=wanted, key=gk.random.key(1))
    of_real = judge.score(images[held_out].flatten(1), labels[held_out])
    print(
        f"recognised: {judge.score(drawn.flatten(1), wanted):.3f} of drawn digits, {of_real:.3f} of held-out real ones"
    )


if __name__ == "__main__":
    main()
