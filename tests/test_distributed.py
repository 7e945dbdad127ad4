"""Several processes compute what one does: DTensors, DistributedDataParallel, fully_shard, by gloo."""

import functools
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import matrix, ranks
from support.cases import CASES, Case, evaluate
from support.once import made_once
from support.wrapped import WRAPPERS, train

pytestmark = pytest.mark.late

Results = Callable[[int], dict[str, Any]]
WORLDS = (2, 4)
every_world = pytest.mark.parametrize("world", WORLDS, ids="{} processes".format)
UNEVENLY = "sharded unevenly"


def of_full(world: int, placement: str) -> bool:
    """Whether the other number of processes shows the same of the placement."""
    return world == 4 and placement in ranks.placements(2) and placement != UNEVENLY


every_placement = pytest.mark.parametrize(
    ("world", "placement"),
    [
        pytest.param(w, p, id=f"{w} processes, {p}", marks=pytest.mark.full if of_full(w, p) else ())
        for w in WORLDS
        for p in ranks.placements(w)
    ],
)
every_case = pytest.mark.parametrize("case", [case for case in CASES if case.by_rows], ids=str)
TOGETHER = {case.name: "mixes the rows of a batch" for case in CASES if not case.by_rows}


def wanted(items: Iterable[pytest.Item], world: int) -> dict[str, list[str]]:
    """The cases that the tests of this run ask of each placement."""
    found: dict[str, dict[str, None]] = {}
    for item in items:
        params = item.callspec.params if item.path == Path(__file__) and hasattr(item, "callspec") else {}
        if params.get("world") == world and "case" in params:
            found.setdefault(params.get("placement", UNEVENLY), {})[params["case"].name] = None
    return {placement: list(names) for placement, names in found.items()}


@pytest.fixture(scope="module")
def of_world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What so many processes made of everything: they are started once."""

    @functools.cache
    def results(world: int) -> dict[str, Any]:
        def make(path: Path) -> None:
            path.with_suffix(".wanted").write_text(json.dumps(wanted(request.session.items, world)))
            ranks.launch(ranks.__file__, world, str(path))

        return torch.load(made_once(f"ranks-{world}", make, tmp_path_factory), weights_only=False)

    return results


@matrix.covers("distributed", except_=TOGETHER)
@every_placement
@every_case
def test_dtensors_have_the_numbers_of_one_process(of_world: Results, world: int, case: Case, placement: str) -> None:
    found = of_world(world)["cases"][f"{placement}: {case.name}"]
    tensors = case.inputs((ranks.PLACEMENTS[placement][0], ranks.COLUMNS), torch.float64)
    for how, options in {repr(o): o for o in ranks.options_of(case, placement)}.items():
        assert_same(found[how]["values"], evaluate(case, tensors, options), how)
    with torch.random.fork_rng():
        assert_same(found["reference"]["values"], evaluate(case, tensors, {}), "reference", exact=False)
        if case.keyed:
            torch.manual_seed(ranks.SEED)
            assert_same(found["draw"]["values"], evaluate(case, tensors, {"generator": None}), "draw")


@every_placement
@every_case
def test_dtensors_stay_where_they_are(of_world: Results, world: int, case: Case, placement: str) -> None:
    """Rows stay on their ranks and nothing is sent, but for totals of the batch that the definition itself needs."""
    _, _, where = ranks.PLACEMENTS[placement]
    found = of_world(world)["cases"][f"{placement}: {case.name}"]
    for how, result in found.items():
        if how == "second":
            continue
        totals = "'free_bits_over': 'batch'" in how or case.name == "gaussian_nll-optimal"
        sharded = any(p.is_shard() for p in where)
        for direction, sent in result["sent"].items():
            assert not sent or (totals and sharded and set(sent) == {"c10d_functional.all_reduce"}), (
                how,
                direction,
                sent,
            )
        for name, placements in result["placements"].items():
            assert [p != "R" for p in placements] == [p.is_shard() for p in where], (how, name)


@every_world
@every_case
def test_second_derivatives_are_those_of_one_process(of_world: Results, world: int, case: Case) -> None:
    rows, _, _ = ranks.PLACEMENTS[UNEVENLY]
    leaves = {name: t.requires_grad_() for name, t in case.inputs((rows, ranks.COLUMNS), torch.float64).items()}
    found = of_world(world)["cases"][f"{UNEVENLY}: {case.name}"]["second"]
    for name, value in ranks.second_derivatives(case, leaves).items():
        # float64: the same terms, summed rank by rank
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-11, msg=name)


def test_several_samples_of_given_noise_are_those_of_one_process(of_world: Results) -> None:
    found, expected = of_world(2)["several samples of eps"]
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", ranks.COMPILED)
def test_a_compiled_call_has_the_bits_of_an_eager_one(of_world: Results, name: str) -> None:
    assert of_world(2)["compiled"][name]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("columns", r"ValueError: loc: expected placements S\(0\) or Replicate\(\), got"),
        ("partial", r"ValueError: scale: expected placements S\(0\) or Replicate\(\), got"),
        ("differently", r"ValueError: scale: expected placements \(Shard\(dim=0\),\) as loc, got \(Replicate\(\),\)"),
        ("prior", r"ValueError: prior_loc: expected placements Replicate\(\), as it has no rows, got"),
        ("plain", "TypeError: scale: expected a DTensor as loc, got a Tensor: distribute it first"),
        ("plain first", "TypeError: loc: expected a DTensor as scale, got a Tensor"),
        ("plain first, drawn", "TypeError: loc: expected a DTensor as scale, got a Tensor"),
        ("eps", "TypeError: eps: expected a DTensor as loc, got a Tensor"),
        ("key", "TypeError: key: expected a Tensor, the same on every rank, got a DTensor"),
        ("mesh", r"ValueError: scale: expected DeviceMesh\(.*\) as loc, got DeviceMesh"),
        ("event", "ValueError: event_ndim: expected at most 1, as dimension 0 is sharded, got 2"),
        ("chunk", "ValueError: chunk_dim: expected another dimension than 0, which is sharded, got 0"),
        ("classes", "ValueError: dim: expected another dimension than 0, which is sharded, got -2"),
        ("channels", "ValueError: channel_dim: expected another dimension than 0, which is sharded, got 0"),
        ("event of classes", "ValueError: event_ndim: expected at most 0, as dimension 0 is sharded, got 1"),
        ("ragged", "ValueError: scale: expected 2 rows on this rank, as torch.chunk divides 4, got 1"),
        ("shape", r"ValueError: scale: expected a shape that broadcasts with loc \(4, 6\), got \(3, 6\)"),
    ],
)
def test_what_would_need_communication_is_refused_by_name(of_world: Results, call: str, message: str) -> None:
    assert re.match(message, of_world(2)["refusals"][call]), of_world(2)["refusals"][call]


@every_world
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_vae_trains_as_one_process_does(of_world: Results, world: int, wrapper: str) -> None:
    found, expected = of_world(world)[wrapper], train()
    for name, value in expected["weights"].items():
        # float64; the optimiser divides by the size of gradients, whose sums differ in their last bits
        torch.testing.assert_close(found["weights"][name], value, rtol=1e-9, atol=1e-9, msg=name)
    for name in ("losses", "bounds", "samples"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-9, msg=name)


def assert_same(values: dict[str, Any], expected: dict[str, Any], how: str, *, exact: bool = True) -> None:
    assert values.keys() == expected.keys()
    for name, value in values.items():
        if exact and name.startswith("sample"):
            assert torch.equal(value, expected[name]), f"{how}: {name}"
        # float64: the same terms, summed rank by rank
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12, msg=f"{how}: {name}")
