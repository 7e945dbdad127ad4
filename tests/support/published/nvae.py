"""NVAE's model, as Vahdat & Kautz 2020 and their code have it, with batch normalisation of one process."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli
from torch.nn import functional as F

from support.published.nvae_distributions import DiscMixLogistic, Normal, NormalDecoder


class Conv2D(nn.Conv2d):
    """A convolution whose weight has a norm of its own for each channel."""

    def __init__(self, inside: int, outside: int, size: int, stride: int = 1) -> None:
        super().__init__(inside, outside, size, stride, padding=size // 2)
        self.log_weight_norm = nn.Parameter((self._norm() + 1e-2).log())

    def _norm(self) -> Tensor:
        return self.weight.square().sum((1, 2, 3), keepdim=True).sqrt()

    def forward(self, x: Tensor) -> Tensor:
        weight = self.log_weight_norm.exp() * self.weight / (self._norm() + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class SyncBatchNormSwish(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.silu(super().forward(x))


class BNSwishConv(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.upsample = stride < 0
        self.bn_act = SyncBatchNormSwish(inside, eps=1e-5, momentum=0.05)
        self.conv_0 = Conv2D(inside, outside, 3, abs(stride))

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn_act(x)
        return self.conv_0(F.interpolate(x, scale_factor=2) if self.upsample else x)


class FactorizedReduce(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        for i in range(4):
            self.add_module(f"conv_{i + 1}", Conv2D(inside, outside // 4, 1, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(x)
        return torch.cat(
            [self.conv_1(x), self.conv_2(x[..., 1:, 1:]), self.conv_3(x[..., 1:]), self.conv_4(x[..., 1:, :])], dim=1
        )


class UpSample(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class SE(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(width // 16, 4)
        self.se = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.se(x.mean((2, 3)))[..., None, None]


class Cell(nn.Module):
    def __init__(self, inside: int, outside: int, cell_type: str) -> None:
        super().__init__()
        self.cell_type = cell_type
        self.skip: nn.Module = nn.Identity()
        stride = 1
        if cell_type.startswith("down"):
            self.skip, stride = FactorizedReduce(inside, outside), 2
        elif cell_type.startswith("up"):
            self.skip, stride = nn.Sequential(UpSample(), Conv2D(inside, outside, 1)), -1
        self._ops = nn.ModuleList([BNSwishConv(inside, outside, stride), BNSwishConv(outside, outside, 1)])
        self.se = SE(outside)

    def forward(self, s: Tensor) -> Tensor:
        found = s
        for operation in self._ops:
            found = operation(found)
        return self.skip(s) + 0.1 * self.se(found)


class EncCombinerCell(nn.Module):
    cell_type = "combiner_enc"

    def __init__(self, of_encoder: int, of_decoder: int) -> None:
        super().__init__()
        self.conv = Conv2D(of_decoder, of_encoder, 1)

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        return encoded + self.conv(decoded)


class DecCombinerCell(nn.Module):
    cell_type = "combiner_dec"

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.conv = Conv2D(width + latent, width, 1)

    def forward(self, decoded: Tensor, z: Tensor) -> Tensor:
        return self.conv(torch.cat([decoded, z], dim=1))


class Shift(nn.Module):
    """A flow in place of NVAE's autoregressive ones: z less what the features say, of no volume."""

    def __init__(self, latent: int, features: int) -> None:
        super().__init__()
        self.conv = Conv2D(features, latent, 1)

    def forward(self, z: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        return z - self.conv(features), torch.full_like(z, 0.1)


class AutoEncoder(nn.Module):
    """Groups of latents at two scales, the coarser first."""

    def __init__(
        self, dataset: str, size: int, width: int = 8, latent: int = 3, groups: tuple[int, int] = (1, 2), **options: Any
    ) -> None:
        super().__init__()
        self.dataset, self.latent = dataset, latent
        self.res_dist = options.get("res_dist", True)
        self.num_mix_output = options.get("num_mixture_dec", 3)
        self.num_bits = options.get("num_x_bits", 8)
        self.num_flows = options.get("num_nf", 0)
        coarse = 4 * width
        self.prior_ftr0 = nn.Parameter(torch.rand(coarse, size // 4, size // 4))
        self.stem = Conv2D(1 if dataset == "mnist" else 3, width, 3)
        self.pre_process = nn.ModuleList([Cell(width, width, "normal_pre"), Cell(width, 2 * width, "down_pre")])
        per_group = [
            width_of for width_of, number in zip((coarse, 2 * width), groups, strict=True) for _ in range(number)
        ]
        enc_tower, dec_tower = [], []
        for own, coarser in pairwise([*reversed(per_group), 0]):
            enc_tower.append(Cell(own, own, "normal_enc"))
            if coarser:
                enc_tower.append(EncCombinerCell(own, own))
            if coarser > own:
                enc_tower.append(Cell(own, coarser, "down_enc"))
        for i, (own, finer) in enumerate(pairwise([*per_group, 0])):
            dec_tower += [Cell(own, own, "normal_dec")] if i else []
            dec_tower.append(DecCombinerCell(own, latent))
            dec_tower += [Cell(own, finer, "up_dec")] if 0 < finer < own else []
        self.enc_tower, self.dec_tower = nn.ModuleList(enc_tower), nn.ModuleList(dec_tower)
        self.enc0 = nn.Sequential(nn.ELU(), Conv2D(coarse, coarse, 1), nn.ELU())
        self.enc_sampler = nn.ModuleList(Conv2D(own, 2 * latent, 3) for own in per_group)
        self.dec_sampler = nn.ModuleList(nn.Sequential(nn.ELU(), Conv2D(own, 2 * latent, 1)) for own in per_group[1:])
        self.nf_cells = nn.ModuleList(Shift(latent, own) for own in per_group for _ in range(self.num_flows))
        self.post_process = nn.ModuleList([Cell(2 * width, width, "up_post"), Cell(width, width, "normal_post")])
        channels = 1 if dataset == "mnist" else 6 if self.num_mix_output == 1 else 10 * self.num_mix_output
        self.image_conditional = nn.Sequential(nn.ELU(), Conv2D(width, channels, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]:
        s = self.stem(2 * x - 1.0)
        for cell in self.pre_process:
            s = cell(s)
        combined = []
        for cell in self.enc_tower:
            if cell.cell_type == "combiner_enc":
                combined.append((cell, s))
            else:
                s = cell(s)
        features = self.enc0(s)
        mu_p = log_sig_p = torch.zeros_like(self.enc_sampler[0](features).chunk(2, dim=1)[0])
        levels, group = [], 0
        s = self.prior_ftr0.expand(len(x), -1, -1, -1)
        for cell in self.dec_tower:
            if cell.cell_type != "combiner_dec":
                s = cell(s)
                continue
            if group:
                mu_p, log_sig_p = self.dec_sampler[group - 1](s).chunk(2, dim=1)
                combiner, encoded = combined.pop()
                features = combiner(encoded, s)
            mu_q, log_sig_q = self.enc_sampler[group](features).chunk(2, dim=1)
            residual = self.res_dist and group > 0
            q = Normal(mu_p + mu_q, log_sig_p + log_sig_q) if residual else Normal(mu_q, log_sig_q)
            z, _ = q.sample()
            log_q = q.log_p(z)
            for flow in self.nf_cells[group * self.num_flows : (group + 1) * self.num_flows]:
                z, log_det = flow(z, features)
                log_q -= log_det
            p = Normal(mu_p, log_sig_p)
            log_p = p.log_p(z)
            levels.append((log_q, log_p, log_q - log_p if self.num_flows else q.kl(p)))
            s = cell(s, z)
            group += 1
        log_q, log_p = (sum(level[i].sum((1, 2, 3)) for level in levels) for i in (0, 1))
        kl_all = [kl.sum((1, 2, 3)) for _, _, kl in levels]
        return self._logits(s), log_q, log_p, kl_all, [kl.sum((2, 3)).mean(0) for _, _, kl in levels]

    def sample(self, num_samples: int, t: float) -> Tensor:
        s = self.prior_ftr0.expand(num_samples, -1, -1, -1)
        mu = log_sigma = s.new_zeros(num_samples, self.latent, *s.shape[2:])
        group = 0
        for cell in self.dec_tower:
            if cell.cell_type != "combiner_dec":
                s = cell(s)
                continue
            if group:
                mu, log_sigma = self.dec_sampler[group - 1](s).chunk(2, dim=1)
            z, _ = Normal(mu, log_sigma, t).sample()
            s = cell(s, z)
            group += 1
        return self._logits(s)

    def _logits(self, s: Tensor) -> Tensor:
        for cell in self.post_process:
            s = cell(s)
        return self.image_conditional(s)

    def decoder_output(self, logits: Tensor) -> Any:
        if self.dataset == "mnist":
            return Bernoulli(logits=logits)
        if self.num_mix_output == 1:
            return NormalDecoder(logits, num_bits=self.num_bits)
        return DiscMixLogistic(logits, self.num_mix_output, num_bits=self.num_bits)


def reconstruction_loss(decoder: Any, x: Tensor) -> Tensor:
    log_p = decoder.log_prob(x)
    return -log_p.sum((1, 2)) if isinstance(decoder, DiscMixLogistic) else -log_p.sum((1, 2, 3))
