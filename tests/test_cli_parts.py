"""What the commands are made of: data, baselines, the plain-torch rival, units."""

import math
from dataclasses import replace

import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.neighbors import KernelDensity
from support.command import tiny_images

import genkern as gk
from genkern.cli.augmentation import augmented
from genkern.cli.data import Pixels, load_images
from genkern.cli.errors import CommandError
from genkern.cli.units import bits_per_dim
from genkern.cli.vae.evaluation import evaluate
from genkern.cli.vae.examination import examine
from genkern.cli.vae.settings import LIKELIHOODS, VAESettings, build_vae
from genkern.cli.vae.timing import compare_step_times, plain_loss
from genkern.cli.vae.trainer import VAETrainer


def tiny_settings(**changes):
    return VAESettings(model="mlp", latent_dim=2, batch_size=4, interval=5).changed(**changes)


def test_faces_are_the_first_hundred_and_every_fifth_is_held_out():
    images = load_images("faces", 64)
    assert images.shape == (1, 25, 25)
    assert (len(images.train), len(images.held_out)) == (80, 20)
    assert images.augment and images.train[:].min() >= 0 and images.train[:].max() <= 1


def test_digits_are_in_the_unit_interval():
    images = load_images("digits", 64)
    assert images.shape == (1, 8, 8)
    assert len(images.train) + len(images.held_out) == 1797
    assert images.train[:].max() == 1.0 and not images.augment


def test_folder_images_are_cropped_about_their_centre(tmp_path):
    for index in range(5):
        picture = Image.new("RGB", (30, 10), (255, 0, 0))
        picture.paste((0, 255, 0), (10, 0, 20, 10))
        picture.save(tmp_path / f"{index}.png")
    images = load_images(str(tmp_path), 10)
    assert images.train.shape == (4, 3, 10, 10)
    green = torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1).expand(3, 10, 10)
    torch.testing.assert_close(images.train[0], green)


def test_fingerprint_tells_data_apart():
    images = tiny_images()
    assert images.fingerprint == tiny_images().fingerprint
    pixels = images.train[:]
    pixels[0, 0, 0, 0] += 0.5
    assert images.fingerprint != replace(images, train=Pixels.of(pixels)).fingerprint


def test_every_epoch_shows_every_image_once():
    images = tiny_images(augment=False, num=8)
    trainer = VAETrainer(tiny_settings(), images)
    shown = []
    for trainer.step in range(6):
        shown += [int((images.train[:] == x).flatten(1).all(1).nonzero()) for x in trainer.batches[trainer.step]]
    epochs = [shown[at : at + 8] for at in range(0, 24, 8)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert epochs[0] != epochs[1] or epochs[1] != epochs[2]


def parameters_after(steps: int, **settings: object) -> torch.Tensor:
    trainer = VAETrainer(tiny_settings().changed(batch_size=8, **settings), tiny_images())
    for _ in range(steps):
        trainer.advance()
    return torch.nn.utils.parameters_to_vector(trainer.vae.parameters()).detach()


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_parts_of_a_batch_have_the_gradient_of_the_whole(parts):
    whole, accumulated = parameters_after(3), parameters_after(3, accumulate=parts)
    torch.testing.assert_close(accumulated, whole, rtol=1e-4, atol=1e-6)
    assert not torch.equal(whole, parameters_after(2))


def test_a_gradient_is_clipped_to_its_norm(monkeypatch):
    seen = []
    trainer = VAETrainer(tiny_settings().changed(clip=0.5), tiny_images())
    step = trainer.optimizer.step

    def look():
        seen.append(torch.nn.utils.get_total_norm([p.grad for p in trainer.vae.parameters()]).item())
        step()

    monkeypatch.setattr(trainer.optimizer, "step", look)
    trainer.advance()
    assert seen == [pytest.approx(0.5, rel=1e-4)]


def test_the_learning_rate_grows_and_falls_along_a_cosine():
    trainer = VAETrainer(tiny_settings().changed(cosine=1000, learning_rate=0.1), tiny_images())
    rates = []
    for trainer.step in (0, 99, 500, 1000, 2000):
        rates.append(trainer.learning_rate())
    assert rates == pytest.approx([0.001, 0.1 * 0.5 * (1 + math.cos(0.099 * math.pi)), 0.05, 0.0, 0.0])
    trainer = VAETrainer(tiny_settings().changed(learning_rate=0.1), tiny_images())
    trainer.step = 5000
    assert trainer.learning_rate() == 0.1


def test_binarized_images_are_white_with_the_intensity_for_a_probability(monkeypatch):
    images = tiny_images(augment=False, num=8)
    trainer = VAETrainer(tiny_settings(batch_size=8, likelihood="bernoulli", binarize=True), images)
    seen = []
    elbo = trainer.vae.elbo
    monkeypatch.setattr(trainer.vae, "elbo", lambda x, **noise: seen.append(x) or elbo(x, **noise))
    for _ in range(400):
        trainer.advance()
    drawn = torch.stack(seen)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert (drawn.mean(dim=(0, 1)) - images.train.mean()).abs().max() < 5 * 0.5 / 400**0.5
    held_out = trainer.images.held_out
    assert set(held_out[:].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(held_out[torch.tensor([1, 0])], held_out[:][[1, 0]])  # whoever reads them, in any order
    mean = torch.stack([images.held_out.binarized(gk.random.key(n))[:] for n in range(400)]).mean(dim=0)
    assert (mean - images.held_out[:]).abs().max() < 5 * 0.5 / 400**0.5
    assert set(trainer.images.train[:].unique().tolist()) == {0.0, 1.0}  # what the examination compares with
    assert "black and white" in evaluate(trainer)["measure"]
    assert "black and white" in examine(trainer, 4, untracked)["held_out"]["measure"]


def test_binarized_images_have_a_bernoulli_likelihood():
    with pytest.raises(CommandError, match="^--binarize: expected --likelihood bernoulli beside it, got 'gaussian'$"):
        VAESettings(binarize=True)


@pytest.mark.parametrize("options", [{"objective": "info"}, {"warmup": 5}, {"sigma": "optimal"}])
def test_what_takes_a_batch_as_a_whole_is_not_accumulated(options):
    with pytest.raises(CommandError, match="^--accumulate: expected 1 with --"):
        VAESettings(accumulate=2, **options)


def test_augmented_images_stay_images_and_half_are_mirrored():
    ramp = torch.linspace(0.2, 0.8, 25).expand(64, 1, 25, 25)
    x = augmented(ramp, gk.random.key(0), 64, slice(0, 64))
    assert x.shape == ramp.shape and x.min() >= 0 and x.max() <= 1
    mirrored = (x[:, 0, 12, 0] > x[:, 0, 12, -1]).sum().item()
    # 64 fair coins fall outside this with probability 1e-6.
    assert 12 < mirrored < 52


@pytest.mark.parametrize(
    "options",
    [{"sigma": s} for s in ("learned", "optimal", "decoder", "0.3")]
    + [{"likelihood": "bernoulli"}, {"likelihood": "discretized_logistic"}]
    + [{"likelihood": name, "sigma": s} for name in ("laplace", "discretized_gaussian") for s in ("0.3", "decoder")],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_plain_torch_rival_computes_the_same_loss(options, channels, monkeypatch):
    images = tiny_images(channels=channels)
    vae = build_vae(tiny_settings(beta=2.0, **options), images)
    key = gk.random.key(5)
    monkeypatch.setattr(torch, "randn_like", lambda loc: gk.random.normal(key, loc.shape))
    torch.testing.assert_close(plain_loss(vae, images.train[:]), vae.loss(images.train[:], key=key))


def test_timing_leaves_the_model_alone(monkeypatch):
    monkeypatch.setattr("genkern.cli.vae.timing._BUDGET_S", 0.0)
    images = tiny_images()
    vae = build_vae(tiny_settings(), images)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    times = compare_step_times(vae, images.train[:])
    assert times["rounds"] == 3
    assert times["plain_over_genkern"] == times["plain_torch_ms"] / times["genkern_ms"]
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


def test_building_a_model_leaves_torchs_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    build_vae(tiny_settings(seed=7), tiny_images())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("model", ["mlp", "conv", "hybrid"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_fresh_model_decodes_near_the_average_image(model, likelihood, channels):
    images = tiny_images(channels=channels)
    vae = build_vae(tiny_settings(model=model, likelihood=likelihood), images)
    with torch.no_grad():
        shown = vae.likelihood.mean(vae.decode(torch.zeros(1, 2)))
    # Other layers' random start moves it a little.
    assert (shown.mean() - images.train[:].mean()).abs() < 0.2


def test_baselines_are_scikit_learns_and_torchs():
    images = tiny_images(augment=False, num=40)
    held_out = evaluate(VAETrainer(tiny_settings(), images))
    train, test = images.train[:].flatten(1).double(), images.held_out[:].flatten(1).double()
    expected = PCA(2, svd_solver="full").fit(train.numpy()).score(test.numpy())
    assert held_out["baselines_nats"]["ppca_2"] == pytest.approx(expected)
    pixel = torch.distributions.Normal(train.mean(0), train.std(0)).log_prob(test).sum(1).mean().item()
    assert held_out["baselines_nats"]["gaussian_per_pixel"] == pytest.approx(pixel)


def test_held_out_figures_agree_with_each_other():
    trainer = VAETrainer(tiny_settings(), tiny_images())
    for _ in range(10):
        trainer.advance()
    held_out = evaluate(trainer)
    assert held_out == evaluate(trainer)
    assert held_out["elbo_nats"] == pytest.approx(held_out["reconstruction_nats"] - held_out["kl_nats"])
    assert held_out["log_likelihood_nats"] > held_out["elbo_nats"]
    bits = held_out["log_likelihood_bits_per_dim"]
    assert bits == pytest.approx(-held_out["log_likelihood_nats"] / math.log(2) / 42)
    assert held_out["log_likelihood_bits_per_dim_256_levels"] == pytest.approx(bits + 8)


def untracked(items, description):
    return items


def trained(**changes):
    trainer = VAETrainer(tiny_settings(**changes), tiny_images(num=20))
    for _ in range(30):
        trainer.advance()
    return trainer


@pytest.mark.parametrize("options", [{}, {"sigma": "optimal"}, {"sigma": "decoder"}, {"likelihood": "bernoulli"}])
def test_examination_agrees_with_the_runs_own_figures(options):
    trainer = trained(**options)
    held_out, own = examine(trainer, 500, untracked)["held_out"], evaluate(trainer)
    assert held_out["measure"] == own["measure"]
    for name in held_out.keys() - {"measure"}:
        assert held_out[name] == pytest.approx(own[name], rel=1e-5)


def test_examined_latents_are_those_of_the_exact_aggregate_posterior():
    trainer = trained()
    latent = examine(trainer, 1, untracked)["latent"]
    loc, logvar = (t.double() for t in trainer.average.encode(trainer.images.train[:]))
    q = torch.distributions.Normal(loc, (0.5 * logvar).exp())
    closed_form = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1).mean().item()
    # By many more draws than the examination's 20 of each of 20 images, of noise of its own.
    z = q.sample((2000,))
    each = q.log_prob(z[:, :, None])
    joint = each.sum(-1).logsumexp(-1) - math.log(20)
    marginal = (each.logsumexp(-2) - math.log(20)).sum(-1)
    parts = {
        "kl_nats": closed_form,
        "mutual_information_nats": (q.log_prob(z).sum(-1) - joint).mean().item(),
        "total_correlation_nats": (joint - marginal).mean().item(),
        "dimension_wise_kl_nats": (marginal - torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)).mean().item(),
    }
    for name, expected in parts.items():
        # 400 draws of terms with a standard deviation near 1: 5 standard errors.
        assert latent[name] == pytest.approx(expected, abs=0.25), name
    variances = loc.var(0)
    assert latent["posterior_mean_variances"] == pytest.approx(variances.tolist(), rel=1e-5)
    assert latent["active_units"] == int((variances > 0.01).sum())
    assert latent["mutual_information_limit_nats"] == pytest.approx(math.log(20))


def test_examined_parzen_window_is_scikit_learns():
    trainer = trained()
    parzen = examine(trainer, 1, untracked)["parzen"]
    key = gk.random.split(gk.random.key(0), 10)[-1]
    samples = trainer.average.sample(parzen["samples"], key=key).flatten(1).double().numpy()
    window = KernelDensity(bandwidth=parzen["bandwidth"], leaf_size=len(samples)).fit(samples)
    held_out = window.score_samples(trainer.images.held_out[:].flatten(1).double().numpy()).mean()
    assert parzen["log_likelihood_nats"] == pytest.approx(held_out, rel=1e-4)
    train = trainer.images.train[:].flatten(1).double().numpy()

    def score(bandwidth):
        return KernelDensity(bandwidth=bandwidth, leaf_size=len(samples)).fit(samples).score_samples(train).mean()

    step = 10**0.2
    assert score(parzen["bandwidth"]) > max(score(parzen["bandwidth"] * step), score(parzen["bandwidth"] / step))


def test_examination_of_more_samples_takes_no_more_memory(monkeypatch):
    trainer = trained()
    rows = []
    decode = trainer.average.decode
    monkeypatch.setattr(type(trainer.average), "decode", lambda _, z, **told: rows.append(len(z)) or decode(z, **told))
    most = []
    for samples in (200, 2000):
        rows.clear()
        examine(trainer, samples, untracked)
        most.append(max(rows))
    assert most[0] == most[1] <= 4096


@pytest.mark.parametrize("likelihood", ["discretized_gaussian", "discretized_logistic"])
def test_a_probability_of_grey_levels_has_no_eight_bits_added(likelihood):
    trainer = VAETrainer(tiny_settings(likelihood=likelihood), tiny_images())
    held_out = evaluate(trainer)
    assert held_out["log_likelihood_bits_per_dim_256_levels"] == held_out["log_likelihood_bits_per_dim"] > 0
    assert set(held_out["baselines_nats"]) == {"discretized_gaussian_per_pixel"}
    # As good as the density of the same Gaussian times the width of a level, to what the rounding changes.
    density = evaluate(VAETrainer(tiny_settings(), tiny_images()))["baselines_nats"]["gaussian_per_pixel"]
    expected = density - tiny_images().held_out.dims * math.log(255)
    assert held_out["baselines_nats"]["discretized_gaussian_per_pixel"] == pytest.approx(expected, rel=1e-3)


def test_a_scale_that_a_likelihood_does_not_have_is_refused():
    with pytest.raises(CommandError, match="^--sigma: expected learned, decoder or a positive number for"):
        tiny_settings(likelihood="laplace", sigma="optimal")
    with pytest.raises(CommandError, match="^--sigma: expected another --likelihood, discretized_logistic"):
        tiny_settings(likelihood="discretized_logistic", sigma="0.1")


def test_uniform_density_costs_eight_bits_a_grey_level():
    assert bits_per_dim(0.0, 625) == 0.0
    assert bits_per_dim(-625 * math.log(256), 625) == pytest.approx(8.0)
