"""How near samples are to images that training never saw, without a network to be downloaded.

Distances are taken in the principal components of the training images, which are the same for every model and run.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from genkern import functional, random
from genkern.cli.data import Images
from genkern.cli.errors import optional

_DIMS = 16
_MOST, _NUMBERS = 2000, 2**23
_EXACT = 500
_NEIGHBOURS = 3  # Kynkäänniemi et al. 2019
_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Scales of the kernels, in median squared distances of two training images."""


def most_at_once(dims: int) -> int:
    """How many images of so many numbers are in memory at once: fewer of large ones."""
    return min(_MOST, max(64, _NUMBERS // dims))


class Space:
    """The first principal components of the training images, mirrored ones included where they are as good."""

    def __init__(self, images: Images, dims: int = _DIMS) -> None:
        images = images.on(torch.device("cpu"))
        self.mirrored = images.augment
        self._images = images.train
        most = most_at_once(images.train.dims)
        fitted = self._with_mirrored(images.train[:most]).flatten(1).double()
        fit = principal_components(fitted, min(dims, len(fitted) - 1, fitted.shape[1]))
        self._mean, self._axes = torch.as_tensor(fit.mean_), torch.as_tensor(fit.components_)
        self.dims = fit.n_components_
        shares = torch.as_tensor(fit.explained_variance_ratio_)
        self.explained = shares.nan_to_num().sum().item()  # of images that are all alike there is none
        points = [self(part) for _, part in images.train.parts(1024)]
        if self.mirrored:
            points += [self(part.flip(-1)) for _, part in images.train.parts(1024)]
        self.train = torch.cat(points)
        self.held_out = self(self._with_mirrored(images.held_out[:most]))

    def __call__(self, images: Tensor) -> Tensor:
        """Images as points ``[N, dims]``, float64."""
        return (images.flatten(1).cpu().double() - self._mean) @ self._axes.T

    def training_images(self, which: Tensor) -> Tensor:
        """The images whose points are these rows of `train`."""
        images = self._images[which % len(self._images)]
        return torch.where((which < len(self._images)).view(-1, 1, 1, 1), images, images.flip(-1))

    def _with_mirrored(self, images: Tensor) -> Tensor:
        return torch.cat([images, images.flip(-1)]) if self.mirrored else images


def principal_components(rows: Tensor, count: int) -> Any:
    """scikit-learn's PCA of float64 rows: exact for few, by a random projection, always the same, for many."""
    decomposition = optional("sklearn.decomposition", "principal components")
    solver = "full" if min(rows.shape) <= _EXACT else "randomized"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows that are all alike
        return decomposition.PCA(count, svd_solver=solver, random_state=0).fit(rows.numpy())


@torch.no_grad()
def quality(images: Images, sample: Callable[[int], Tensor]) -> dict[str, Any]:
    """Figures of samples, and of three others in their place: `sample` gives so many images.

    The training images are what a model could hope for; a Gaussian of their mean and covariance, the same for every
    run, is what it should surpass where the data are no Gaussian.
    """
    space = Space(images)
    train = space.train[: most_at_once(images.train.dims)]
    samples = space(sample(len(train)))
    sets = {"samples": samples, "training": train, "gaussian": _gaussian(space.train, len(train))}
    distances = torch.pdist(train).square()
    scale = distances.median().item() or distances.mean().item() or 1.0  # of images that are all alike
    scales = [factor * scale for factor in _SCALES]
    usual = nearest(space.held_out, space.train)[0].median()
    figures: dict[str, Any] = {
        "space": {"principal_components": space.dims, "explained_variance": space.explained},
        "images": {"samples": len(samples), "held_out": len(space.held_out), "mirrored": space.mirrored},
        "mmd_scales": scales,
        "neighbours": _NEIGHBOURS,
    }
    for name, points in sets.items():
        figures[name] = {
            "mmd": functional.mmd(points, space.held_out, scales=scales).item() / len(scales),
            "precision": coverage(points, space.held_out),
            "recall": coverage(space.held_out, points),
        }
        if name != "training":
            distance = nearest(points, space.train)[0].median()
            figures[name]["nearest_training_ratio"] = (distance / usual).item() if usual else None
    return figures


def coverage(points: Tensor, of: Tensor, neighbours: int = _NEIGHBOURS) -> float:
    """The share of `points` that lie in the ball of a point of the other set, as wide as its k-th neighbour is far.

    It is the precision for samples by data, the recall for data by samples (Kynkäänniemi et al. 2019, equations 1, 2).
    """
    among = torch.cdist(of, of)
    radii = among.kthvalue(min(neighbours + 1, len(of)), dim=1).values  # the first is the point itself
    inside = [(torch.cdist(part, of) <= radii).any(dim=1) for part in points.split(256)]
    return torch.cat(inside).double().mean().item()


def nearest(points: Tensor, of: Tensor) -> tuple[Tensor, Tensor]:
    """The distance of each point to the nearest one of the other set, and which one that is."""
    neighbours = optional("sklearn.neighbors", "distances").NearestNeighbors(n_neighbors=1).fit(of.numpy())
    distances, which = neighbours.kneighbors(points.numpy())
    return torch.as_tensor(distances[:, 0]).to(points.dtype), torch.as_tensor(which[:, 0])


def _gaussian(points: Tensor, num: int) -> Tensor:
    noise = random.normal(random.key(0), (num, points.shape[1]), dtype=points.dtype)
    # Few points have no covariance of full rank.
    values, vectors = torch.linalg.eigh(torch.cov(points.T).reshape(points.shape[1], -1))
    return points.mean(dim=0) + noise * values.clamp(min=0).sqrt() @ vectors.T


def report_quality(figures: dict[str, Any], console: Console) -> None:
    """The figures as a table, and in words what they are."""
    space, images = figures["space"], figures["images"]
    table = Table(
        title=f"{images['samples']} samples beside {images['held_out']} held-out images"
        f"{', mirrored ones included' if images['mirrored'] else ''}, in {space['principal_components']} principal "
        f"components of the training images ({space['explained_variance']:.0%} of their variance)",
        title_justify="left",
    )
    for heading in ("", "samples", "training images", "a Gaussian"):
        table.add_column(heading, justify="left" if heading == "" else "right")
    sets, k = [figures[name] for name in ("samples", "training", "gaussian")], figures["neighbours"]
    table.add_row("MMD² to held-out images, × 1000", *(f"{1000 * each['mmd']:.2f}" for each in sets))
    table.add_row(f"precision, {k} neighbours", *(f"{each['precision']:.2f}" for each in sets))
    table.add_row(f"recall, {k} neighbours", *(f"{each['recall']:.2f}" for each in sets))
    ratios = [each.get("nearest_training_ratio") for each in sets]
    table.add_row(
        "distance to the nearest training image, held-out images' = 1",
        *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
    )
    console.print(table)
    if ratios[0] is None:
        return
    console.print(
        f"The median sample is {ratios[0]:.2f} times as far from its nearest training image as a new image is; "
        "copies would be 0 times as far."
    )
