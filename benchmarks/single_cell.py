"""scvi-tools' SCVI on made data with and without genkern's drop-in: time of an epoch, share of the likelihood, memory,
bound and gradients as it learns.

python -m benchmarks.single_cell   measures; benchmarks.report writes docs/counts.md
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine, plot
from benchmarks.chapter import Chapter, Measured, provenance, ratio_of, size_text
from benchmarks.measure import Timing, alternate, peak_memory, timing
from benchmarks.results import FOLDER, format_time
from genkern.compat import scvi as fused

_CELLS, _GENES, _BATCH, _EPOCHS, _ROUNDS = 3072, 4000, 128, 3, 3
_CURVE_EPOCHS = 20
_LIKELIHOODS = {"zinb": "zero-inflated negative binomial", "nb": "negative binomial"}
_DROP_INS: dict[str, Callable[[], Any]] = {
    "without": nullcontext,
    "with": fused.patch,
    "with, scvi's numbers": partial(fused.patch, legacy=True),
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.single_cell", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--cells", type=int, default=_CELLS, help=f"default: {_CELLS}")
    parser.add_argument("--genes", type=int, nargs="+", default=[_GENES], help=f"default: {_GENES}")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"default: {_ROUNDS}; 0: the curves alone")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="default: 1 2")
    parser.add_argument("--curve", type=int, default=_CURVE_EPOCHS, metavar="EPOCHS", help=f"default: {_CURVE_EPOCHS}")
    parser.add_argument(
        "--results", type=Path, default=FOLDER, metavar="FOLDER", help="where single_cell/<machine>.json goes"
    )
    options = parser.parse_args(argv)
    path = CHAPTER.path(options.results)
    if not options.rounds and path.exists() and json.loads(path.read_text(encoding="utf-8"))["rows"]:
        parser.error(f"--rounds: expected at least 1, as {path} has epochs that were timed, got 0")
    importlib.import_module("scvi").settings.verbosity = logging.ERROR
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    rows, zeros = [], {}
    for genes in options.genes:
        cells = made_counts(options.cells, genes)
        zeros[genes] = 1 - np.count_nonzero(cells) / cells.size
        for threads in options.threads if options.rounds else []:
            torch.set_num_threads(threads)
            for likelihood in _LIKELIHOODS:
                row = {"genes": genes, "threads": threads, "likelihood": likelihood}
                rows.append({**row, **measure(cells, likelihood, options.rounds)})
                print(rows[-1], flush=True)
    found = {"cells": options.cells, "batch": _BATCH, "zeros": zeros, "rows": rows}
    cells = made_counts(options.cells, min(options.genes))
    found["curve"] = {"genes": min(options.genes), "likelihood": "zinb", "runs": curves(cells, "zinb", options.curve)}
    print(CHAPTER.keep(options.results, found))
    print("tables: python -m benchmarks.report")
    return 0


def made_counts(cells: int, genes: int) -> np.ndarray:
    """Eight kinds of cells; means of genes and sizes of cells are log-normal, counts overdispersed, most of them 0."""
    random = np.random.default_rng(0)
    means = np.exp(random.normal(-1.5, 1.5, genes)) * np.exp(random.normal(0, 0.3, (cells, 1)))
    means = means * np.exp(0.5 * random.normal(size=(8, genes)))[random.integers(8, size=cells)]
    return random.poisson(random.gamma(2.0, means / 2.0)).astype(np.float32)


def measure(cells: np.ndarray, likelihood: str, rounds: int) -> dict[str, Any]:
    """Epochs in alternating rounds, the likelihood's own time in one, the memory that training adds, and the bounds."""
    run = {"before": Training(cells, likelihood, "without"), "after": Training(cells, likelihood, "with")}
    seconds: dict[str, list[float]] = {name: [] for name in run}
    for _ in range(rounds):
        for name, training in run.items():
            seconds[name] += training.epochs()
    heads = {name: training.of_the_likelihood() for name, training in run.items()}
    batches = -(-len(cells) // _BATCH)
    return {
        "epochs": {name: asdict(timing(found)) for name, found in seconds.items()},
        "share": {name: batches * heads[name].median / timing(seconds[name]).median for name in run},
        "peak": {name: peak_memory(training.step) for name, training in run.items()},
        "bound": {name: training.bounds[-1] for name, training in run.items()},
    }


def curves(cells: np.ndarray, likelihood: str, epochs: int) -> dict[str, Any]:
    """The bound of every epoch and the gradient's norm at every step with each drop-in, from one seed and network."""
    found = {}
    for drop_in in _DROP_INS:
        training = Training(cells, likelihood, drop_in, begin=False)
        norms = training.gradient_norms(epochs)
        found[drop_in] = {"negative_elbo": training.bounds, "gradient_norm": norms}
    return found


class Training:
    """One model of scvi's, trained epoch after epoch, with a drop-in or without."""

    def __init__(self, cells: np.ndarray, likelihood: str, drop_in: str, begin: bool = True) -> None:
        self._scvi = importlib.import_module("scvi")
        data = importlib.import_module("anndata").AnnData(importlib.import_module("scipy.sparse").csr_matrix(cells))
        self._likelihood, self._in_place = likelihood, _DROP_INS[drop_in]
        self._scvi.settings.seed = 0
        self._scvi.model.SCVI.setup_anndata(data)
        self._model = self._scvi.model.SCVI(data, gene_likelihood=likelihood)
        self.bounds: list[float] = []
        generator = torch.Generator().manual_seed(0)
        self._x = torch.from_numpy(cells[:_BATCH])
        self._leaves = [
            torch.rand(self._x.shape, generator=generator).requires_grad_(),
            torch.rand(self._x.shape[1], generator=generator).add(0.5).requires_grad_(),
            torch.randn(self._x.shape, generator=generator).requires_grad_(),
        ]
        if begin:
            self.epochs()  # what is done once

    def epochs(self) -> list[float]:
        """Seconds of each of a few epochs; what a trainer does before and after them is not counted."""
        clock = _Clock()
        self._train(_EPOCHS, on_train_epoch_start=clock.start, on_train_epoch_end=clock.end)
        return clock.seconds

    def gradient_norms(self, epochs: int) -> list[float]:
        """The norm of the gradient of all parameters, at each step."""
        norms: list[float] = []

        def note(_: object, module: torch.nn.Module, *__: object) -> None:
            gradients = [p.grad for p in module.parameters() if p.grad is not None]
            norms.append(float(torch.nn.utils.get_total_norm(gradients)))

        self._train(epochs, on_before_optimizer_step=note)
        return norms

    def _train(self, epochs: int, **watched: Callable[..., None]) -> None:
        callback = importlib.import_module("lightning.pytorch.callbacks").LambdaCallback(**watched)
        with self._in_place(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model.train(
                max_epochs=epochs,
                callbacks=[callback],
                accelerator="cpu",
                train_size=1.0,
                batch_size=_BATCH,
                enable_progress_bar=False,
                enable_model_summary=False,
                logger=None,
            )
        self.bounds += self._model.history["elbo_train"].to_numpy(dtype=float)[-epochs:, 0].tolist()

    def of_the_likelihood(self) -> Timing:
        with self._in_place():
            return alternate({self._likelihood: self._score}, 15)[self._likelihood]

    def _score(self) -> None:
        """The likelihood of a batch and its gradients."""
        mu, theta, logits = self._leaves
        laws = importlib.import_module("scvi.distributions")
        if self._likelihood == "nb":
            leaves, law = [mu, theta], laws.NegativeBinomial(mu=mu, theta=theta)
        else:
            leaves, law = self._leaves, laws.ZeroInflatedNegativeBinomial(mu=mu, theta=theta, zi_logits=logits)
        torch.autograd.grad(law.log_prob(self._x).sum(-1).mean(), leaves)

    def step(self) -> None:
        """Forward and backward of a batch."""
        module = self._model.module
        batch = {"X": self._x, "batch": torch.zeros(len(self._x), 1), "labels": torch.zeros(len(self._x), 1)}
        with self._in_place(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, _, losses = module(batch)
            losses.loss.backward()
            module.zero_grad()


class _Clock:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def start(self, *_: object) -> None:
        self._started = time.perf_counter()

    def end(self, *_: object) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def block(measured: Measured, picture: str | None) -> str:
    shares = ", ".join(f"{zeros:.0%}" for zeros in measured["zeros"].values())
    said = (
        f"{provenance(measured)}. {measured['cells']} cells, of whose counts {shares} are 0, in batches of "
        f"{measured['batch']}; scvi's defaults."
    )
    if measured["rows"]:
        said += f" {_COLUMNS}\n\n{_table(measured['rows'])}"
    if curve := measured.get("curve"):
        ends = ", ".join(f"{run['negative_elbo'][-1]:.1f} {name}" for name, run in curve["runs"].items())
        epochs = len(next(iter(curve["runs"].values()))["negative_elbo"])
        said += (
            f"\n\nFrom one seed, {curve['genes']} genes, {_LIKELIHOODS[curve['likelihood']]}: the bound after {epochs} "
            f"epochs, in nats a cell, is {ends}."
        )
        if picture:
            said += f"\n\n![Bound and gradient norm with and without the drop-in]({picture})"
    return said


_COLUMNS = (
    "Medians over epochs that alternate; the share is that of the likelihood, forward and backward; memory is what a "
    "batch adds at its peak; the bound is that of the last of as many epochs, whose noise differs. Unclear: the spread "
    "exceeds the difference."
)


def _table(rows: Sequence[Measured]) -> str:
    lines = [
        "| likelihood | genes | threads | epoch, without | with | × | its share, without | with | memory | with | "
        "bound, nats | with |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        epochs = row["epochs"]
        cells = [_LIKELIHOODS[row["likelihood"]], str(row["genes"]), str(row["threads"])]
        cells += [format_time(epochs[name]["median"]) for name in ("before", "after")]
        cells.append(ratio_of(epochs["before"], epochs["after"]))
        cells += [f"{row['share'][name]:.0%}" for name in ("before", "after")]
        cells += [size_text(row["peak"][name]) for name in ("before", "after")]
        cells += [f"{row['bound'][name]:.1f}" for name in ("before", "after")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(measured: Measured, path: Path) -> None:
    from matplotlib.figure import Figure

    if "curve" not in measured:
        return
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    bound, gradient = figure.subplots(1, 2)
    curve = measured["curve"]
    for (name, run), (color, _), width in zip(curve["runs"].items(), plot.STYLES, (5.0, 1.6, 1.2), strict=False):
        of_the_line = {"color": color, "linewidth": width, "label": f"{name} the drop-in" if "," not in name else name}
        bound.plot(range(1, len(run["negative_elbo"]) + 1), run["negative_elbo"], **of_the_line)
        gradient.plot(range(1, len(run["gradient_norm"]) + 1), run["gradient_norm"], **of_the_line)
    bound.set(xlabel="epoch", ylabel="negative ELBO, nats a cell")
    gradient.set(xlabel="step", ylabel="gradient norm", yscale="log")
    for ax in (bound, gradient):
        plot.plain(ax)
    bound.legend(frameon=False)
    figure.suptitle(
        f"SCVI, {_LIKELIHOODS[curve['likelihood']]}, {curve['genes']} genes\n{machine.title(measured['machine'])}",
        fontsize=11,
    )
    plot.save(figure, path)


CHAPTER = Chapter("single_cell", "docs/counts.md", block, draw)

if __name__ == "__main__":
    sys.exit(main())
