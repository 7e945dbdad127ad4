"""The figures and the picture of docs/information.md, from scikit-learn's digits and by genkern's own operations.

python docs/information.py            # writes both
python docs/information.py --check    # says whether the page has the figures that come out
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor

import genkern as gk

PAGE = Path(__file__).with_suffix(".md")
PICTURE = PAGE.with_suffix(".png")
START, END = "<!-- figures:start -->\n", "<!-- figures:end -->\n"
LEVELS = 17
BINS, REACH = 61, 3.0
CENTRES = torch.linspace(-REACH, REACH, BINS, dtype=torch.float64)


def grey_levels() -> tuple[Tensor, Tensor]:
    """Pixels of 1797 images of 8 x 8, each an integer from 0 to 16, and what digit they show."""
    digits = load_digits()
    return torch.from_numpy(digits.data).long(), torch.from_numpy(digits.target)


def frequencies(pixels: Tensor) -> Tensor:
    return torch.bincount(pixels.flatten(), minlength=LEVELS).double() / pixels.numel()


def positions(pixels: Tensor, labels: Tensor) -> Tensor:
    """Where images of 0 and of 1 lie on the line through the two means, at -1 and 1: masses in bins, of two modes."""
    images = pixels[labels < 2].double()
    zero, one = (images[labels[labels < 2] == digit].mean(0) for digit in (0, 1))
    along = 2 * (images - zero) @ (one - zero) / (one - zero).square().sum() - 1
    nearest = ((along + REACH) * (BINS - 1) / (2 * REACH)).round().long().clamp(0, BINS - 1)
    counts = torch.bincount(nearest, minlength=BINS).double() + 0.5  # Jeffreys's prior: no bin is impossible
    return counts / counts.sum()


def rounded_gaussian(loc: Tensor, log_std: Tensor) -> Tensor:
    """The mass that N(loc, exp(2 log_std)) has in each bin."""
    edges = {"bins": BINS, "low": -REACH, "high": REACH}
    return torch.exp(-gk.discretized_gaussian_nll(CENTRES[:, None], loc, log_std, scale_param="logstd", **edges))


def fit(p: Tensor, forwards: bool) -> tuple[Tensor, float]:
    """The Gaussian nearest to p, by KL(p || q) or by KL(q || p), and that divergence in bits."""
    best: tuple[float, Tensor] | None = None
    for start in (-0.9, 0.0, 0.9):  # KL(q || p) has a minimum at each mode
        parameters = torch.tensor([start, -1.0], dtype=torch.float64, requires_grad=True)

        def divergence(parameters: Tensor = parameters) -> Tensor:
            q = rounded_gaussian(*parameters)
            return gk.discrete_kl(*((p, q) if forwards else (q, p)), units="bits")

        optimizer = torch.optim.LBFGS([parameters], max_iter=500, line_search_fn="strong_wolfe", tolerance_change=1e-14)

        def closure(parameters: Tensor = parameters, optimizer: torch.optim.LBFGS = optimizer) -> Tensor:
            optimizer.zero_grad()
            value = divergence(parameters)
            value.backward()
            return value

        optimizer.step(closure)
        found = divergence().item()
        if best is None or found < best[0]:
            best = found, rounded_gaussian(*parameters).detach()
    assert best is not None
    return best[1], best[0]


def figures() -> str:
    """Three tables: of all pixels, of those of 0 and of 1, and of Gaussians."""
    pixels, labels = grey_levels()
    everything = frequencies(pixels)
    uniform = torch.full((LEVELS,), 1 / LEVELS, dtype=torch.float64)

    def row(name: str, nats: float, bits: float) -> str:
        return f"| {name} | {nats:.6f} | {bits:.6f} |"

    def both(name: str, of: object, *arguments: Tensor) -> str:
        return row(name, *(of(*arguments, units=units).item() for units in ("nats", "bits")))  # type: ignore[operator]

    lines = ["| of the pixels of all images | nats | bits |", "|---|---:|---:|"]
    lines.append(both("entropy of the grey level", gk.discrete_entropy, everything))
    lines.append(both("entropy of the uniform distribution", gk.discrete_entropy, uniform))
    lines.append(both("KL to the uniform distribution", gk.discrete_kl, everything, uniform))
    lines += ["", "| of the pixels of 0 and of 1 | nats | bits |", "|---|---:|---:|"]
    zero, one = (frequencies(pixels[labels == digit]) for digit in (0, 1))
    names = "0", "1"
    for (p, q), (a, b) in (((zero, one), names), ((one, zero), names[::-1])):
        code = [gk.discrete_entropy(p, units=u) + gk.discrete_kl(p, q, units=u) for u in ("nats", "bits")]
        lines.append(both(f"entropy of {a}", gk.discrete_entropy, p))
        lines.append(row(f"cross-entropy, {a} in the code of {b}", *(value.item() for value in code)))
        lines.append(both(f"KL({a} ‖ {b}), the difference", gk.discrete_kl, p, q))
    lines += ["", "| nearest Gaussian | KL, bits | mean | standard deviation |", "|---|---:|---:|---:|"]
    p = positions(pixels, labels)
    for forwards, name in ((True, "by KL(p ‖ q): all of p is covered"), (False, "by KL(q ‖ p): one mode is sought")):
        q, divergence = fit(p, forwards)
        mean = (q * CENTRES).sum()
        std = (q * (CENTRES - mean).square()).sum().sqrt()
        lines.append(f"| {name} | {divergence:.4f} | {mean.item():.2f} | {std.item():.2f} |")
    return "\n".join(lines) + "\n"


def draw(path: Path) -> None:
    from matplotlib.figure import Figure

    pixels, labels = grey_levels()
    of_digits = torch.stack([frequencies(pixels[labels == digit]) for digit in range(10)])
    figure = Figure(figsize=(13.0, 3.9), layout="constrained")
    histogram, matrix, fits = figure.subplots(1, 3)

    for digit, color in ((0, "#0072B2"), (1, "#E69F00")):
        histogram.stairs(of_digits[digit], torch.arange(LEVELS + 1) - 0.5, color=color, label=f"{digit}", linewidth=1.6)
    histogram.set(title="grey levels of two digits", xlabel="grey level", ylabel="frequency")
    histogram.legend(title="digit")

    divergences = gk.discrete_kl(of_digits[:, None], of_digits[None], reduction="none", units="bits")
    image = matrix.imshow(divergences, cmap="viridis")
    matrix.set(title="KL(row ‖ column), bits: not symmetric", xlabel="q: pixels of", ylabel="p: pixels of")
    matrix.set_xticks(range(10))
    matrix.set_yticks(range(10))
    figure.colorbar(image, ax=matrix)

    p = positions(pixels, labels)
    fits.bar(CENTRES, p, width=2 * REACH / (BINS - 1), color="0.8", label="p: images of 0 and of 1")
    for forwards, color, label in ((True, "#009E73", "least KL(p ‖ q)"), (False, "#D55E00", "least KL(q ‖ p)")):
        fits.plot(CENTRES, fit(p, forwards)[0], color=color, linewidth=1.6, label=f"q of {label}")
    fits.set(title="a Gaussian for two modes", xlabel="from the mean 0 (-1) to the mean 1 (1)", ylabel="mass of a bin")
    fits.legend()
    for ax in (histogram, fits):
        ax.spines[["top", "right"]].set_visible(False)
    beside = path.with_name(f"{path.stem}.part.png")
    figure.savefig(beside, dpi=120, metadata={"Software": None})
    os.replace(beside, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    page = PAGE.read_text()
    before, rest = page.split(START)
    written = before + START + figures() + END + rest.split(END)[1]
    if check:
        print("information.md:", "as computed" if page == written else "differs from what is computed")
        return int(page != written)
    PAGE.write_text(written)
    draw(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
