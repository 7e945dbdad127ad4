"""What the commands are made of: data, baselines, the plain-torch rival, units."""

import math

import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA

import genkern as gk
from genkern.cli.data import Images, load_images
from genkern.cli.evaluation import evaluate
from genkern.cli.settings import Settings, build_vae
from genkern.cli.timing import compare_step_times, plain_loss
from genkern.cli.trainer import Trainer
from genkern.cli.units import bits_per_dim


def tiny_images(augment=True, num=10):
    generator = torch.Generator().manual_seed(0)
    return Images(
        "tiny", torch.rand(num, 1, 7, 6, generator=generator), torch.rand(3, 1, 7, 6, generator=generator), augment
    )


def tiny_settings(**changes):
    return Settings(model="mlp", latent_dim=2, batch_size=4, interval=5).changed(**changes)


def test_faces_are_the_first_hundred_and_every_fifth_is_held_out():
    images = load_images("faces", 64)
    assert images.shape == (1, 25, 25)
    assert (len(images.train), len(images.held_out)) == (80, 20)
    assert images.augment and images.train.min() >= 0 and images.train.max() <= 1


def test_digits_are_in_the_unit_interval():
    images = load_images("digits", 64)
    assert images.shape == (1, 8, 8)
    assert len(images.train) + len(images.held_out) == 1797
    assert images.train.max() == 1.0 and not images.augment


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
    images, same = tiny_images(), tiny_images()
    assert images.fingerprint() == same.fingerprint()
    same.train[0, 0, 0, 0] += 0.5
    assert images.fingerprint() != same.fingerprint()


def test_every_epoch_shows_every_image_once():
    images = tiny_images(augment=False, num=8)
    trainer = Trainer(tiny_settings(), images)
    shown = []
    for trainer.step in range(6):
        shown += [int((images.train == x).flatten(1).all(1).nonzero()) for x in trainer._batch()]
    epochs = [shown[at : at + 8] for at in range(0, 24, 8)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert epochs[0] != epochs[1] or epochs[1] != epochs[2]


def test_augmented_images_stay_images_and_half_are_mirrored():
    ramp = torch.linspace(0.2, 0.8, 25).expand(64, 1, 25, 25)
    trainer = Trainer(tiny_settings(), Images("ramp", ramp.contiguous(), ramp[:1].contiguous(), True))
    x = trainer._augmented(ramp)
    assert x.shape == ramp.shape and x.min() >= 0 and x.max() <= 1
    mirrored = (x[:, 0, 12, 0] > x[:, 0, 12, -1]).sum().item()
    # 64 fair coins fall outside this with probability 1e-6.
    assert 12 < mirrored < 52


@pytest.mark.parametrize(
    "options", [{"sigma": s} for s in ("learned", "optimal", "decoder", "0.3")] + [{"likelihood": "bernoulli"}]
)
def test_plain_torch_rival_computes_the_same_loss(options, monkeypatch):
    images = tiny_images()
    vae = build_vae(tiny_settings(beta=2.0, **options), images)
    key = gk.random.key(5)
    monkeypatch.setattr(torch, "randn_like", lambda loc: gk.random.normal(key, loc.shape))
    torch.testing.assert_close(plain_loss(vae, images.train), vae.loss(images.train, key=key))


def test_timing_leaves_the_model_alone(monkeypatch):
    monkeypatch.setattr("genkern.cli.timing._BUDGET_S", 0.0)
    images = tiny_images()
    vae = build_vae(tiny_settings(), images)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    times = compare_step_times(vae, images.train)
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
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_a_fresh_model_decodes_near_the_average_image(model, likelihood):
    images = tiny_images()
    vae = build_vae(tiny_settings(model=model, likelihood=likelihood), images)
    with torch.no_grad():
        shown = vae.likelihood.mean(vae.decode(torch.zeros(1, 2)))
    # Other layers' random start moves it a little.
    assert (shown.mean() - images.train.mean()).abs() < 0.2


def test_baselines_are_scikit_learns_and_torchs():
    images = tiny_images(augment=False, num=40)
    held_out = evaluate(Trainer(tiny_settings(), images))
    train, test = images.train.flatten(1).double(), images.held_out.flatten(1).double()
    expected = PCA(2, svd_solver="full").fit(train.numpy()).score(test.numpy())
    assert held_out["baselines_nats"]["ppca_2"] == pytest.approx(expected)
    pixel = torch.distributions.Normal(train.mean(0), train.std(0)).log_prob(test).sum(1).mean().item()
    assert held_out["baselines_nats"]["gaussian_per_pixel"] == pytest.approx(pixel)


def test_held_out_figures_agree_with_each_other():
    trainer = Trainer(tiny_settings(), tiny_images())
    for _ in range(10):
        trainer.advance()
    held_out = evaluate(trainer)
    assert held_out == evaluate(trainer)
    assert held_out["elbo_nats"] == pytest.approx(held_out["reconstruction_nats"] - held_out["kl_nats"])
    assert held_out["log_likelihood_nats"] > held_out["elbo_nats"]
    bits = held_out["log_likelihood_bits_per_dim"]
    assert bits == pytest.approx(-held_out["log_likelihood_nats"] / math.log(2) / 42)
    assert held_out["log_likelihood_bits_per_dim_256_levels"] == pytest.approx(bits + 8)


def test_uniform_density_costs_eight_bits_a_grey_level():
    assert bits_per_dim(0.0, 625) == 0.0
    assert bits_per_dim(-625 * math.log(256), 625) == pytest.approx(8.0)
