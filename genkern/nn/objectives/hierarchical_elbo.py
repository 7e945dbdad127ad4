"""The evidence lower bound of a hierarchy of latents, and its usual weightings."""

from collections.abc import Sequence

import torch
from torch import Tensor

from genkern import _checks
from genkern.functional import _ordered
from genkern.nn.objectives._warmup import Warmup
from genkern.nn.objectives.objective import check_parts

__all__ = ["HierarchicalELBO"]

FREE_BITS_OVER = ("level", "group")
_LEAST = 0.01  # nats that NVAE adds to each level's KL where it balances them


class HierarchicalELBO(Warmup):
    """The negative evidence lower bound of a hierarchy, averaged over the batch, with its KL weighted as asked.

    Parameters
    ----------
    beta : float
        Weight of the KL. 1 is the bound itself.
    warmup : int
        Steps over which that weight grows linearly from 0 (Sønderby et al. 2016). 0: none.
    free_bits : float
        KL below this many nats is not penalised: max(KL, free_bits) of a level's or a group's mean over the batch
        (Kingma et al. 2016, appendix C.8).
    free_bits_over : {"level", "group"}
        The values that the threshold applies to; a group is the levels of one resolution.
    balance : bool
        While the warm-up lasts, levels are weighted in proportion to their KL a latent, by weights that add up to the
        number of levels and have no gradient: a level that is little used is hardly penalised (Vahdat & Kautz 2020,
        appendix A, where "proportional to the size" is a misprint, as its authors say, for its inverse, which their
        code has). Free bits apply to the KL as it is, before the weights, and to levels only.

    Attributes
    ----------
    step : Tensor
        Calls in training mode so far, int64; kept in the ``state_dict``, so a resumed run goes on where it stopped.

    See Also
    --------
    HierarchicalVAE : takes it
    ELBO : the same of one level

    Notes
    -----
    ``forward(reconstruction, kl_levels, groups=None, sizes=None)``: ``[B]`` and ``[B, L]`` in nats, and a group and a
    number of latents a level, → a scalar to be minimised. No synchronisation with the host.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import HierarchicalELBO
    >>> HierarchicalELBO(free_bits=1.0)(torch.tensor([-3.0, -5.0]), torch.tensor([[0.0, 4.0], [1.0, 2.0]])).item()
    8.0
    """

    def __init__(
        self,
        beta: float = 1.0,
        *,
        warmup: int = 0,
        free_bits: float = 0.0,
        free_bits_over: str = "level",
        balance: bool = False,
    ) -> None:
        super().__init__(warmup)
        self.beta = _checks.number("beta", beta, minimum=0)
        self.free_bits = _checks.number("free_bits", free_bits, minimum=0)
        _checks.choice("free_bits_over", free_bits_over, FREE_BITS_OVER)
        self.free_bits_over = free_bits_over
        self.balance = _checks.boolean("balance", balance)
        if self.balance and not self.warmup:
            raise ValueError("balance: expected False without a warmup, for it lasts as long, got True")
        if self.balance and free_bits and free_bits_over == "group":
            raise ValueError("balance: expected False with free bits over groups, got True")

    def forward(
        self,
        reconstruction: Tensor,
        kl_levels: Tensor,
        groups: Sequence[int] | None = None,
        sizes: Sequence[int] | None = None,
    ) -> Tensor:
        _checks.tensors(reconstruction=reconstruction, kl_levels=kl_levels)
        if kl_levels.ndim != 2 or kl_levels.shape[1] == 0:
            raise ValueError(f"kl_levels: expected shape (B, L), got {_checks.shape_text(kl_levels.shape)}")
        check_parts(reconstruction=reconstruction, kl_levels=kl_levels[:, 0])
        by_group = bool(self.free_bits) and self.free_bits_over == "group"
        groups = self._of_levels("groups", groups, kl_levels.shape[1], by_group)
        sizes = self._of_levels("sizes", sizes, kl_levels.shape[1], self.balance)
        levels = [_ordered.mean(level) for level in kl_levels.unbind(1)]
        kl = torch.stack(levels)
        shares = self._shares(levels, sizes) if self.balance else 1.0
        if by_group:
            of = {group: [k for k, own in zip(levels, groups, strict=True) if own == group] for group in groups}
            kl = torch.stack([torch.stack(parts).sum() for parts in of.values()])
        if self.free_bits:
            kl = kl.clamp(min=self.free_bits)
        weight = self.beta * self._progress()
        self._advance()
        return weight * (shares * kl).sum() - _ordered.mean(reconstruction)

    def extra_repr(self) -> str:
        return (
            f"beta={self.beta}, warmup={self.warmup}, free_bits={self.free_bits} over {self.free_bits_over}, "
            f"balance={self.balance}"
        )

    def _shares(self, levels: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
        wanted = torch.stack([(kl.detach() + _LEAST) / max(size, 1) for kl, size in zip(levels, sizes, strict=True)])
        shares = wanted / wanted.mean()
        return torch.where(self.step < self.warmup, shares, torch.ones_like(shares))

    @staticmethod
    def _of_levels(name: str, given: Sequence[int] | None, count: int, needed: object) -> Sequence[int]:
        if given is None and not needed:
            return [1] * count
        if given is not None:
            given = _checks.sizes(name, given)
        if given is None or len(given) != count:
            got = None if given is None else len(given)
            raise ValueError(f"{name}: expected one of each of {count} levels, got {got}")
        return given
