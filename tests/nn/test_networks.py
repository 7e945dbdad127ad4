"""The shipped networks: shapes, and refusals."""

import pytest
import torch
from torch import nn

from genkern.nn import ConvDecoder, ConvDiscriminator, ConvEncoder, ConvGenerator, MLPDecoder, MLPEncoder

SHAPES = [(1, 25, 25), (3, 32, 48), (1, 8, 8), (2, 1, 7), (4, 65, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_convolutional_pair_fits_any_image(shape, batch):
    encoder, decoder = ConvEncoder(shape, 5, width=4), ConvDecoder(shape, 5, width=4)
    assert encoder(torch.zeros(batch, *shape)).shape == (batch, 10)
    assert decoder(torch.zeros(batch, 5)).shape == (batch, *shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_adversarial_pair_fits_any_image(shape, batch):
    generator, discriminator = ConvGenerator(shape, 5, width=4), ConvDiscriminator(shape, width=4)
    images = generator(torch.randn(batch, 5))
    assert images.shape == (batch, *shape)
    assert ((images > 0) & (images < 1)).all()
    assert discriminator(images).shape == (batch,)


def test_the_discriminator_sees_how_much_a_batch_varies_if_it_is_to():
    x = torch.rand(4, 1, 9, 9)
    for seen in (True, False):
        discriminator = ConvDiscriminator((1, 9, 9), width=4, minibatch_stddev=seen)
        assert torch.equal(discriminator(x), discriminator.classify(discriminator.features(x)))
        alone = torch.cat([discriminator(row) for row in x.split(1)])
        assert torch.allclose(discriminator(x), alone, rtol=1e-5, atol=1e-6) is not seen


@pytest.mark.parametrize("shape", [*SHAPES, (17,)])
def test_perceptron_pair_fits_any_datum(shape):
    assert MLPEncoder(shape, 5)(torch.zeros(3, *shape)).shape == (3, 10)
    assert MLPDecoder(shape, 5)(torch.zeros(3, 5)).shape == (3, *shape)


def test_decoder_gives_as_many_channels_as_asked():
    assert ConvDecoder((3, 9, 9), 2, width=4, out_channels=6)(torch.zeros(1, 2)).shape == (1, 6, 9, 9)


def test_every_parameter_has_a_gradient():
    for encoder, decoder in (
        (ConvEncoder((1, 9, 9), 2, width=4), ConvDecoder((1, 9, 9), 2, width=4)),
        (MLPEncoder((1, 9, 9), 2), MLPDecoder((1, 9, 9), 2)),
        (ConvEncoder((1, 9, 9), 2, width=4), nn.Sequential(ConvGenerator((1, 9, 9), 2), ConvDiscriminator((1, 9, 9)))),
    ):
        decoder(encoder(torch.rand(2, 1, 9, 9))[:, :2]).square().sum().backward()
        assert all(p.grad is not None for module in (encoder, decoder) for p in module.parameters())


def test_no_hidden_layer_gives_a_linear_map():
    decoder = MLPDecoder((4,), 2, hidden=())
    a, b = torch.randn(2, 1, 2).unbind()
    torch.testing.assert_close(decoder(a + b) + decoder(0 * a), decoder(a) + decoder(b))


@pytest.mark.parametrize("make", [ConvEncoder, ConvDecoder, ConvGenerator])
def test_impossible_sizes_are_refused_by_name(make):
    with pytest.raises(ValueError, match="^image_shape: expected"):
        make((1, 0, 8), 2)
    with pytest.raises(ValueError, match="^latent_dim: expected"):
        make((1, 8, 8), 0)
    with pytest.raises(ValueError, match="^width: expected"):
        make((1, 8, 8), 2, width=0)


@pytest.mark.parametrize("make", [MLPEncoder, MLPDecoder])
def test_impossible_event_shapes_are_refused_by_name(make):
    with pytest.raises(ValueError, match="^event_shape: expected"):
        make((), 2)
    with pytest.raises(ValueError, match="^latent_dim: expected"):
        make((8,), -1)
