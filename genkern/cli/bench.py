"""`genkern bench`: runs the benchmark suite, beside the package or within it, or compares two of its files."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

import genkern
from genkern.cli.errors import CommandError
from genkern.cli.job import console

_FAMILIES = ("gaussian", "likelihood", "counts", "discrete", "mixture", "gan", "random")


def bench(
    family: Annotated[list[str] | None, typer.Option(help=f"{', '.join(_FAMILIES)}; may be repeated. All.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Few shapes, few rounds.")] = False,
    threads: Annotated[str, typer.Option(help="CPU threads: a number, or all.")] = "1",
    isa: Annotated[str | None, typer.Option(help="Instruction set of the CPU's kernels; else the best.")] = None,
    select: Annotated[str | None, typer.Option("-k", help="An expression that names of cases must match.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder of results; else benchmarks/results.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Measure nothing: two files of results side by side.")
    ] = None,
) -> None:
    """Measure genkern beside eager torch, torch.distributions and torch.compile, and write files, tables and a page."""
    root = _suite()
    if compare is not None:
        _compare(*compare)
        return
    for name in family or ():
        if name not in _FAMILIES:
            raise CommandError(f"--family: expected one of {', '.join(_FAMILIES)}, got {name!r}")
    if device not in ("cpu", "cuda"):
        raise CommandError(f"--device: expected cpu or cuda, got {device!r}")
    for needed in ("pytest", "pytest_benchmark"):
        if importlib.util.find_spec(needed) is None:
            raise CommandError(f"benchmarks need {needed}, which is not installed: pip install 'genkern[bench]'")
    files = [str(root / "benchmarks" / f"test_{name}.py") for name in family or _FAMILIES]
    options = ["--benchmark-enable", "--benchmark-quiet", "--page", "-q", "--device", device, "--threads", threads]
    if out is None and root != Path(genkern.__file__).parents[1]:
        out = Path("genkern-bench")  # there is no checkout to keep results in
    results = None if out is None else str(out.absolute())
    options += ["--quick"] if quick else []
    for name, value in {"--isa": isa, "-k": select, "--results": results}.items():
        options += [] if value is None else [name, value]
    code = importlib.import_module("pytest").main([*files, *options])
    if code:
        raise typer.Exit(2 if int(code) == 4 else int(code))


def _suite() -> Path:
    """The folder that holds `benchmarks`: the checkout, or the copy that a wheel carries."""
    package = Path(genkern.__file__).parent
    for root in (package.parent, package / "_suite"):
        if (root / "benchmarks" / "cases.py").exists():
            sys.path.insert(0, str(root))
            return root
    raise CommandError("the benchmark suite was not installed with this genkern")


def _compare(before: Path, after: Path) -> None:
    results: Any = importlib.import_module("benchmarks.results")
    comparison: Any = importlib.import_module("benchmarks.compare")
    files = []
    for path in (before, after):
        try:
            files.append(results.load(path))
        except (OSError, ValueError) as error:
            raise CommandError(f"--compare: {error}") from error
    table = Table(title=f"{before} → {after}", title_justify="left")
    for name in ("operation", "shape", "dtype", "mode", "threads"):
        table.add_column(name)
    for name in ("before", "after", "times faster", "eager, times faster"):
        table.add_column(name, justify="right")
    tally = {"faster": 0, "slower": 0, "unclear": 0}
    for change in comparison.changes(*files):
        row = change.after
        tally[change.verdict] += 1
        table.add_row(
            *(row.op, str(list(row.shape)), row.dtype, row.mode, str(row.threads)),
            *(results.format_time(side.median) for side in (change.before, change.after)),
            *("unclear" if ratio is None else f"{ratio:.3g}" for ratio in (change.ratio, change.eager)),
        )
    console().print(table)
    for told in comparison.differing_conditions(*files):
        console().print(f"not the same conditions: {told}")
    console().print(", ".join(f"{count} {verdict}" for verdict, count in tally.items()))
