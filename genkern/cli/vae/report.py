"""The figures of a VAE as tables."""

from typing import Any

from rich.console import Console
from rich.table import Table

from genkern.cli.quality import report_quality


def report(figures: dict[str, Any], console: Console) -> None:
    """The held-out figures beside those of the baselines; the quality of samples and the step's time, if measured."""
    held_out = figures["held_out"]
    table = _bounds(held_out, "ELBO", f"{held_out['images']} held-out images ({held_out['measure']})")
    per_nat = held_out["elbo_bits_per_dim"] / held_out["elbo_nats"]
    for name, value in held_out["baselines_nats"].items():
        _add(table, f"log p(x), baseline {name}", value, value * per_nat)
    console.print(table)
    _report_classes(held_out, console)
    if "quality" in figures:
        report_quality(figures["quality"], console)
    if times := figures.get("step_time"):
        console.print(
            f"training step, batch {times['batch_size']}, {times['threads']} threads: "
            f"genkern {times['genkern_ms']:.2f} ms, plain torch {times['plain_torch_ms']:.2f} ms, "
            f"ratio {times['plain_over_genkern']:.2f} (medians of {times['rounds']} interleaved rounds)"
        )


def report_examination(figures: dict[str, Any], console: Console) -> None:
    """The findings of ``genkern evaluate`` as a table."""
    held_out, parzen = figures["held_out"], figures["parzen"]
    console.print(f"{figures['checkpoint']}, step {figures['steps']}; {held_out['measure']}")
    table = _bounds(held_out, f"ELBO, {held_out['images']} held-out images")
    window = f"Parzen window of {parzen['samples']} samples, σ = {parzen['bandwidth']:.3g}"
    _add(table, window, parzen["log_likelihood_nats"], parzen["log_likelihood_bits_per_dim"])
    table.add_section()
    if "latent" in figures:
        _add_latent(table, figures["latent"])
    for level, kl in enumerate(held_out.get("kl_levels_nats", ()), start=1):
        _add(table, f"KL of level {level}", kl)
    console.print(table)
    _report_classes(held_out, console)


def _add_latent(table: Table, latent: dict[str, Any]) -> None:
    _add(table, f"KL, {latent['images']} training images", latent["kl_nats"])
    most = f"at most {latent['mutual_information_limit_nats']:.2f}"
    _add(table, f"  mutual information ({most})", latent["mutual_information_nats"])
    _add(table, "  total correlation", latent["total_correlation_nats"])
    _add(table, "  dimension-wise KL", latent["dimension_wise_kl_nats"])
    table.add_section()
    table.add_row("active units", f"{latent['active_units']} of {latent['units']}", "")


def _report_classes(held_out: dict[str, Any], console: Console) -> None:
    """The bounds of each class, in nats an image."""
    if "classes" not in held_out:
        return
    table = Table()
    for heading in ("class", "images", "ELBO", "log p(x|z)", "KL", "log p(x)"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for name, found in held_out["classes"].items():
        nats = (found[f"{figure}_nats"] for figure in ("elbo", "reconstruction", "kl", "log_likelihood"))
        table.add_row(name, str(found["images"]), *("" if value is None else f"{value:.2f}" for value in nats))
    console.print(table)


def _bounds(held_out: dict[str, Any], elbo: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in ("nats/image", "bits/dim"):
        table.add_column(heading, justify="right")
    _add(table, elbo, held_out["elbo_nats"], held_out["elbo_bits_per_dim"])
    _add(table, "  log p(x|z)", held_out["reconstruction_nats"])
    _add(table, "  KL(q(z|x) ‖ p(z))", held_out["kl_nats"])
    of = (
        ""
        if held_out["log_likelihood_images"] == held_out["images"]
        else f", {held_out['log_likelihood_images']} images"
    )
    samples = f"log p(x), {held_out['importance_samples']} importance samples{of}"
    _add(table, samples, held_out["log_likelihood_nats"], held_out["log_likelihood_bits_per_dim"])
    return table


def _add(table: Table, name: str, nats: float, bits: float | None = None) -> None:
    table.add_row(name, f"{nats:.2f}", "" if bits is None else f"{bits:.4f}")
