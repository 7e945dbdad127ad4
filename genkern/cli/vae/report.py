"""The figures of a VAE as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["report", "report_examination", "report_step_time"]


def report(held_out: dict[str, Any], console: Console) -> None:
    """The held-out figures, beside those of the baselines."""
    table = Table(title=f"{held_out['images']} held-out images ({held_out['measure']})", title_justify="left")
    for heading in ("", "nats/image", "bits/dim"):
        table.add_column(heading, justify="left" if heading == "" else "right")
    per_nat = held_out["elbo_bits_per_dim"] / held_out["elbo_nats"]
    table.add_row("ELBO", f"{held_out['elbo_nats']:.2f}", f"{held_out['elbo_bits_per_dim']:.4f}")
    table.add_row("  log p(x|z)", f"{held_out['reconstruction_nats']:.2f}", "")
    table.add_row("  KL(q(z|x) ‖ p(z))", f"{held_out['kl_nats']:.2f}", "")
    table.add_row(
        f"log p(x), {held_out['importance_samples']} importance samples",
        f"{held_out['log_likelihood_nats']:.2f}",
        f"{held_out['log_likelihood_bits_per_dim']:.4f}",
    )
    for name, value in held_out["baselines_nats"].items():
        table.add_row(f"log p(x), baseline {name}", f"{value:.2f}", f"{value * per_nat:.4f}")
    console.print(table)


def report_step_time(times: dict[str, Any], console: Console) -> None:
    """The training step beside plain torch's."""
    console.print(
        f"training step, batch {times['batch_size']}, {times['threads']} threads: "
        f"genkern {times['genkern_ms']:.2f} ms, plain torch {times['plain_torch_ms']:.2f} ms, "
        f"ratio {times['plain_over_genkern']:.2f} (medians of {times['rounds']} interleaved rounds)"
    )


def report_examination(figures: dict[str, Any], console: Console) -> None:
    """What ``genkern evaluate`` found."""
    held_out, latent, parzen = figures["held_out"], figures["latent"], figures["parzen"]
    console.print(f"{figures['checkpoint']}, step {figures['steps']}; {held_out['measure']}")
    table = Table()
    for heading in ("", "nats/image", "bits/dim"):
        table.add_column(heading, justify="left" if heading == "" else "right")

    def add(name: str, nats: float, bits: float | None = None) -> None:
        table.add_row(name, f"{nats:.2f}", "" if bits is None else f"{bits:.4f}")

    add(f"ELBO, {held_out['images']} held-out images", held_out["elbo_nats"], held_out["elbo_bits_per_dim"])
    add("  log p(x|z)", held_out["reconstruction_nats"])
    add("  KL(q(z|x) ‖ p(z))", held_out["kl_nats"])
    add(
        f"log p(x), {held_out['importance_samples']} importance samples",
        held_out["log_likelihood_nats"],
        held_out["log_likelihood_bits_per_dim"],
    )
    add(
        f"Parzen window of {parzen['samples']} samples, σ = {parzen['bandwidth']:.3g}",
        parzen["log_likelihood_nats"],
        parzen["log_likelihood_bits_per_dim"],
    )
    table.add_section()
    add(f"KL, {latent['images']} training images", latent["kl_nats"])
    add(
        f"  mutual information (at most {latent['mutual_information_limit_nats']:.2f})",
        latent["mutual_information_nats"],
    )
    add("  total correlation", latent["total_correlation_nats"])
    add("  dimension-wise KL", latent["dimension_wise_kl_nats"])
    table.add_section()
    table.add_row("active units", f"{latent['active_units']} of {latent['units']}", "")
    console.print(table)
