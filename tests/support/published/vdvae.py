"""VDVAE's model, as Child 2021 and its code have it."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from support.published.vdvae_helpers import DmolNet, HModule, draw_gaussian_diag_samples, gaussian_analytical_kl


class Block(nn.Module):
    def __init__(
        self, inside: int, middle: int, outside: int, resolution: int, down: int | None = None, residual: bool = False
    ) -> None:
        super().__init__()
        self.down, self.residual = down, residual
        size = 3 if resolution > 2 else 1
        self.c1 = nn.Conv2d(inside, middle, 1)
        self.c2 = nn.Conv2d(middle, middle, size, padding="same")
        self.c3 = nn.Conv2d(middle, middle, size, padding="same")
        self.c4 = nn.Conv2d(middle, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for convolution in (self.c1, self.c2, self.c3, self.c4):
            y = convolution(F.gelu(y))
        y = x + y if self.residual else y
        return y if self.down is None else F.avg_pool2d(y, self.down)


def layers(text: str) -> list[tuple[int, int | None]]:
    """`8x2,8d2,4m1` is two layers at 8, one that divides by 2 and one at 4 with what is mixed in from 1."""
    found: list[tuple[int, int | None]] = []
    for layer in text.split(","):
        if "x" in layer:
            resolution, number = layer.split("x")
            found += [(int(resolution), None)] * int(number)
        else:
            resolution, *other = layer.replace("d", "m").split("m")
            found.append((int(resolution), int(other[0]) if other else None))
    return found


def widths(H: Any) -> dict[int, int]:
    own = dict(tuple(map(int, pair.split(":"))) for pair in H.custom_width_str.split(",") if pair)
    return defaultdict(lambda: H.width, own)


class Encoder(HModule):
    def build(self) -> None:
        self.widths = widths(self.H)
        self.in_conv = nn.Conv2d(self.H.image_channels, self.H.width, 3, padding=1)
        self.enc_blocks = nn.ModuleList()
        for resolution, down in layers(self.H.enc_blocks):
            width = self.widths[resolution]
            middle = int(width * self.H.bottleneck_multiple)
            self.enc_blocks.append(Block(width, middle, width, resolution, down, residual=True))

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        x = self.in_conv(x.permute(0, 3, 1, 2).contiguous())
        activations = {x.shape[2]: x}
        for block in self.enc_blocks:
            x = block(x)
            x = F.pad(x, (0, 0, 0, 0, 0, self.widths[x.shape[2]] - x.shape[1]))
            activations[x.shape[2]] = x
        return activations


class DecBlock(nn.Module):
    def __init__(self, H: Any, resolution: int, mixin: int | None) -> None:
        super().__init__()
        self.base, self.mixin, self.zdim = resolution, mixin, H.zdim
        self.width = width = widths(H)[resolution]
        middle = int(width * H.bottleneck_multiple)
        self.enc = Block(2 * width, middle, 2 * H.zdim, resolution)
        self.prior = Block(width, middle, 2 * H.zdim + width, resolution)
        self.z_proj = nn.Conv2d(H.zdim, width, 1)
        self.resnet = Block(width, middle, width, resolution, residual=True)
        self.z_fn = lambda z: self.z_proj(z)

    def _of_prior(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.prior(x).split([self.zdim, self.zdim, self.width], dim=1)

    def sample(self, x: Tensor, acts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qm, qv = self.enc(torch.cat([x, acts], dim=1)).chunk(2, dim=1)
        pm, pv, added = self._of_prior(x)
        z = draw_gaussian_diag_samples(qm, qv)
        return z, x + added, gaussian_analytical_kl(qm, pm, qv, pv)

    def sample_uncond(self, x: Tensor, t: float | None = None, lvs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        pm, pv, added = self._of_prior(x)
        if lvs is None:
            lvs = draw_gaussian_diag_samples(pm, pv if t is None else pv + math.log(t))
        return lvs, x + added

    def _input(self, xs: dict[int, Tensor], like: Tensor) -> Tensor:
        x = xs.get(self.base, like.new_zeros(1, self.width, self.base, self.base))
        x = x if len(x) == len(like) else x.repeat(len(like), 1, 1, 1)
        if self.mixin is None:
            return x
        return x + F.interpolate(xs[self.mixin][:, : self.width], scale_factor=self.base // self.mixin)

    def _output(self, xs: dict[int, Tensor], x: Tensor, z: Tensor) -> dict[int, Tensor]:
        xs[self.base] = self.resnet(x + self.z_fn(z))
        return xs

    def forward(self, xs: dict[int, Tensor], activations: dict[int, Tensor], get_latents: bool = False) -> Any:
        acts = activations[self.base]
        z, x, kl = self.sample(self._input(xs, acts), acts)
        return self._output(xs, x, z), {"kl": kl} | ({"z": z.detach()} if get_latents else {})

    def forward_uncond(self, xs: dict[int, Tensor], t: float | None = None, lvs: Tensor | None = None) -> Any:
        z, x = self.sample_uncond(self._input(xs, next(iter(xs.values()))), t, lvs=lvs)
        return self._output(xs, x, z)


class Decoder(HModule):
    def build(self) -> None:
        H = self.H
        blocks = layers(H.dec_blocks)
        self.dec_blocks = nn.ModuleList(DecBlock(H, resolution, mixin) for resolution, mixin in blocks)
        resolutions = sorted({resolution for resolution, _ in blocks if resolution <= H.no_bias_above})
        self.bias_xs = nn.ParameterList(torch.zeros(1, widths(H)[size], size, size) for size in resolutions)
        self.out_net = DmolNet(H)
        self.gain = nn.Parameter(torch.ones(1, H.width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, H.width, 1, 1))

    def _final(self, xs: dict[int, Tensor]) -> Tensor:
        return xs[self.H.image_size] * self.gain + self.bias

    def forward(self, activations: dict[int, Tensor], get_latents: bool = False) -> tuple[Tensor, list[Any]]:
        xs, stats = {bias.shape[2]: bias for bias in self.bias_xs}, []
        for block in self.dec_blocks:
            xs, of_block = block(xs, activations, get_latents=get_latents)
            stats.append(of_block)
        return self._final(xs), stats

    def forward_uncond(self, n: int, t: float | None = None, latents: Any = ()) -> Tensor:
        xs = {bias.shape[2]: bias.repeat(n, 1, 1, 1) for bias in self.bias_xs}
        for i, block in enumerate(self.dec_blocks):
            xs = block.forward_uncond(xs, t, lvs=latents[i] if i < len(latents) else None)
        return self._final(xs)


class VAE(HModule):
    def build(self) -> None:
        self.encoder = Encoder(self.H)
        self.decoder = Decoder(self.H)

    def forward(self, x: Tensor, x_target: Tensor) -> dict[str, Tensor]:
        px_z, stats = self.decoder.forward(self.encoder.forward(x))
        distortion = self.decoder.out_net.nll(px_z, x_target)
        rate = torch.zeros_like(distortion)
        for of_block in stats:
            rate += of_block["kl"].sum(dim=(1, 2, 3))
        rate /= math.prod(x.shape[1:])
        return {"elbo": (distortion + rate).mean(), "distortion": distortion.mean(), "rate": rate.mean()}

    def forward_get_latents(self, x: Tensor) -> list[dict[str, Tensor]]:
        return self.decoder.forward(self.encoder.forward(x), get_latents=True)[1]

    def forward_uncond_samples(self, n_batch: int, t: float | None = None) -> Any:
        return self.decoder.out_net.sample(self.decoder.forward_uncond(n_batch, t=t))

    def forward_samples_set_latents(self, n_batch: int, latents: Any, t: float | None = None) -> Any:
        return self.decoder.out_net.sample(self.decoder.forward_uncond(n_batch, t=t, latents=latents))
