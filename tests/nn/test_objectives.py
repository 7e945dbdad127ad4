"""genkern.nn.ELBO: weights, capacity, warm-up, and what it keeps."""

import inspect

import pytest
import torch

from genkern.nn import ELBO, IWAE, VAE, BetaTCVAE, InfoVAE, MLPDecoder, MLPEncoder

RECONSTRUCTION = torch.tensor([-3.0, -5.0])
KL = torch.tensor([1.0, 3.0])


def test_plain_bound_is_the_mean_negative_elbo():
    assert ELBO()(RECONSTRUCTION, KL).item() == 6.0


def test_beta_weights_the_kl_alone():
    assert ELBO(beta=4.0)(RECONSTRUCTION, KL).item() == 4.0 + 4.0 * 2.0


@pytest.mark.parametrize(("capacity", "expected"), [(0.0, 2.0), (2.0, 0.0), (5.0, 3.0)])
def test_capacity_penalises_distance_from_it_on_either_side(capacity, expected):
    assert ELBO(beta=10.0, capacity=capacity)(RECONSTRUCTION, KL).item() == 4.0 + 10.0 * expected


def test_capacity_grows_linearly_over_the_warmup_and_stays():
    objective = ELBO(beta=1.0, capacity=2.0, warmup=4)
    distances = [objective(RECONSTRUCTION, KL).item() - 4.0 for _ in range(6)]
    assert distances == [2.0, 1.5, 1.0, 0.5, 0.0, 0.0]


def test_beta_grows_linearly_over_the_warmup_and_stays():
    objective = ELBO(beta=2.0, warmup=4)
    weights = [(objective(RECONSTRUCTION, KL).item() - 4.0) / 2.0 for _ in range(6)]
    assert weights == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]


def test_evaluation_does_not_advance_the_warmup():
    objective = ELBO(warmup=4).eval()
    objective(RECONSTRUCTION, KL)
    assert objective.step.item() == 0


def test_state_dict_keeps_the_step():
    first, second = ELBO(warmup=10), ELBO(warmup=10)
    for _ in range(3):
        first(RECONSTRUCTION, KL)
    second.load_state_dict(first.state_dict())
    assert second.step.item() == 3
    assert second(RECONSTRUCTION, KL) == first(RECONSTRUCTION, KL)


@pytest.mark.parametrize("over", ["dim", "event", "batch"])
def test_free_bits_are_a_floor_of_the_loss_and_leave_the_elbo_alone(over):
    torch.manual_seed(0)
    vae = VAE(MLPEncoder((6,), 3), MLPDecoder((6,), 3), objective=ELBO(free_bits=5.0, free_bits_over=over))
    x = torch.rand(4, 6)
    key = torch.tensor([1, 2], dtype=torch.uint64)
    terms = vae.elbo(x, key=key)
    floor = 15.0 if over == "dim" else 5.0
    assert (terms.kl < 1.0).all()
    torch.testing.assert_close(vae.loss(x, key=key), floor - terms.reconstruction.mean())


def test_free_bits_stop_the_gradient_of_a_kl_below_them():
    torch.manual_seed(0)
    x, key = torch.zeros(4, 6), torch.tensor([1, 2], dtype=torch.uint64)
    encoder = MLPEncoder((6,), 3)
    # A decoder that ignores z leaves the KL as the encoder's only teacher.
    decoder = MLPDecoder((6,), 3)
    for parameter in decoder.parameters():
        torch.nn.init.zeros_(parameter)
    VAE(encoder, decoder, objective=ELBO(free_bits=5.0)).loss(x, key=key).backward()
    assert all((parameter.grad == 0).all() for parameter in encoder.parameters())
    encoder.zero_grad()
    VAE(encoder, decoder).loss(x, key=key).backward()
    assert any((parameter.grad != 0).any() for parameter in encoder.parameters())


@pytest.mark.parametrize("options", [{"beta": -1.0}, {"free_bits": -0.1}, {"capacity": -1.0}, {"warmup": -1}])
def test_negative_options_are_refused_by_name(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        ELBO(**options)


def test_unknown_free_bits_scope_is_refused():
    with pytest.raises(ValueError, match="^free_bits_over: expected one of"):
        ELBO(free_bits_over="image")


PARTS = {
    "ELBO": (ELBO(), ("reconstruction", "kl")),
    "BetaTCVAE": (BetaTCVAE(dataset_size=9), ("mutual_information", "total_correlation", "dimension_wise_kl")),
    "InfoVAE": (InfoVAE(), ("reconstruction", "kl")),
}


@pytest.mark.parametrize("shape", [(), (1,), (4, 1), (1, 4), (3,)])
@pytest.mark.parametrize(("objective", "alike"), PARTS.values(), ids=PARTS)
def test_parts_of_other_data_are_refused_by_name(objective, alike, shape):
    names = [name for name in inspect.signature(objective.forward).parameters if name != "divergence"]
    parts = {name: torch.zeros(4) for name in names}
    scalar = {"divergence": torch.zeros(())} if isinstance(objective, InfoVAE) else {}
    assert objective(**parts, **scalar).shape == ()
    for name in alike[1:]:
        with pytest.raises(ValueError, match=rf"^{name}: expected shape \(4,\) as {alike[0]}, got"):
            objective(**{**parts, name: torch.zeros(shape)}, **scalar)
    with pytest.raises(TypeError, match=f"^{alike[0]}: expected a Tensor, got None"):
        objective(**{**parts, alike[0]: None}, **scalar)


@pytest.mark.parametrize("size", [40_000, 100_003])
@pytest.mark.parametrize("objective", [ELBO(), InfoVAE(), IWAE(1)], ids=lambda o: type(o).__name__)
def test_a_loss_has_the_same_bits_for_every_number_of_threads(objective, size):
    parts = [torch.randn(size) for _ in range(2)]
    if isinstance(objective, IWAE):
        parts = [torch.randn(1, size)]
    elif isinstance(objective, InfoVAE):
        parts.append(torch.zeros(()))
    losses = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        losses.append(objective(*parts))
    assert losses[0] == losses[1] == losses[2]
