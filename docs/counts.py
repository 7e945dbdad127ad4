"""The figures and the picture of docs/counts.md: three laws fitted to counts of made genes by genkern's operations.

python docs/counts.py            # writes both
python docs/counts.py --check    # says whether the page has the figures that come out
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch
from torch import Tensor

import genkern as gk

PAGE = Path(__file__).with_suffix(".md")
PICTURE = PAGE.with_suffix(".png")
START, END = "<!-- figures:start -->\n", "<!-- figures:end -->\n"
CELLS, MOST = 4000, 30
LAWS = ("Poisson", "negative binomial", "zero-inflated")
COLORS = ("#0072B2", "#D55E00", "#009E73")


def genes() -> dict[str, Tensor]:
    """Counts of 4000 cells, of mean 6 and inverse dispersion 1.5, and the same where a third of them is lost."""
    mean, theta = torch.full((CELLS,), 6.0, dtype=torch.float64), torch.tensor(1.5, dtype=torch.float64)
    logits = torch.tensor(1 / 3, dtype=torch.float64).logit()
    return {
        "as counted": gk.negative_binomial_sample(mean, theta, key=gk.random.key(0)),
        "a third lost": gk.zero_inflated_negative_binomial_sample(mean, theta, logits, key=gk.random.key(0)),
    }


def nll(law: str, x: Tensor, parameters: Tensor) -> Tensor:
    """The loss of each count; the parameters are log mean, log theta and the logits of being lost."""
    log_mean, log_theta, logits = parameters.double()
    if law == "Poisson":
        return gk.poisson_nll(x, log_mean, rate_param="log", reduction="none")
    forms = {"mean_param": "log", "dispersion_param": "log", "reduction": "none"}
    if law == "negative binomial":
        return gk.negative_binomial_nll(x, log_mean, log_theta, **forms)
    return gk.zero_inflated_negative_binomial_nll(x, log_mean, log_theta, logits, **forms)


def fit(law: str, x: Tensor) -> Tensor:
    """The parameters of most likelihood."""
    parameters = torch.tensor([x.mean().log(), 0.0, -1.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = nll(law, x, parameters).mean()
        value.backward()
        return value

    optimizer.step(closure)
    return parameters.detach()


def figures() -> str:
    lines = ["| counts | " + " | ".join(f"{law}, nats a count" for law in LAWS) + " | θ found | share lost, found |"]
    lines.append("|---|" + "---:|" * 5)
    for name, x in genes().items():
        found = {law: fit(law, x) for law in LAWS}
        values = [f"{nll(law, x, found[law]).mean().item():.3f}" for law in LAWS]
        _, log_theta, logits = found["zero-inflated"]
        lines.append(
            f"| {name} | {' | '.join(values)} | {log_theta.exp().item():.2f} | {logits.sigmoid().item():.3f} |"
        )
    return "\n".join(lines) + "\n"


def differences_of_log_gammas(x: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
    """The formula as it is written down."""
    total = theta + mean
    gammas = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
    return -(gammas + theta * (theta.log() - total.log()) + x * (mean.log() - total.log()))


def draw(path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 3.9), layout="constrained")
    *histograms, errors = figure.subplots(1, 3)
    values = torch.arange(MOST + 1, dtype=torch.float64)
    for ax, (name, x) in zip(histograms, genes().items(), strict=True):
        shares = torch.bincount(x.long(), minlength=MOST + 1)[: MOST + 1].double() / CELLS
        ax.bar(values, shares, width=1.0, color="0.85", label="counts")
        for law, color, line in zip(LAWS, COLORS, ("-", "-", "--"), strict=True):
            ax.plot(values, torch.exp(-nll(law, values, fit(law, x))), line, color=color, label=law, linewidth=1.6)
        ax.set(title=f"counts of a gene, {name}", xlabel="count", ylabel="share of cells")
        ax.legend()
    theta = torch.logspace(0, 12, 121)
    x, mean = torch.tensor(3.0), torch.tensor(2.0)
    truth = gk.negative_binomial_nll(x.double(), mean.double(), theta.double(), reduction="none")
    of = {
        "differences of log Γ": (differences_of_log_gammas, COLORS[1]),
        "genkern": (lambda *given: gk.negative_binomial_nll(*given, reduction="none"), COLORS[2]),
    }
    for name, (formula, color) in of.items():
        error = ((formula(x, mean, theta).double() - truth) / truth).abs().clamp(min=1e-9)
        errors.loglog(theta, error, color=color, label=name, linewidth=1.6)
    errors.set(title="−log p(3) in float32, mean 2", xlabel="inverse dispersion θ", ylabel="relative error")
    errors.legend()
    for ax in (*histograms, errors):
        ax.spines[["top", "right"]].set_visible(False)
    beside = path.with_name(f"{path.stem}.part.png")
    figure.savefig(beside, dpi=120, metadata={"Software": None})
    os.replace(beside, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(START)
    written = before + START + figures() + END + rest.split(END)[1]
    if check:
        print("counts.md:", "as computed" if page == written else "differs from what is computed")
        return int(page != written)
    PAGE.write_text(written, encoding="utf-8")
    draw(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
