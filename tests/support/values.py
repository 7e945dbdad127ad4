"""What an argument may be given, by its name: values that are right, and values that are not."""

from __future__ import annotations

from typing import Any

import torch

import genkern as gk
import genkern.nn
from genkern import _checks
from support.cases import CASES, KEY

WRONG_DTYPES = [torch.int64, torch.bool, torch.complex64, torch.uint64, torch.uint8]
WRONG_TYPES: list[Any] = [
    None,
    1,
    1.5,
    True,
    "logvar",
    b"x",
    [1.0],
    (),
    {},
    object(),
    float("nan"),
    -1,
    10**30,
    torch.float32,
]
KEYS = [KEY, KEY.view(torch.int64), gk.random.split(KEY, 1), KEY[:1]]

# What each argument may sensibly be given: right and wrong values.
VALUES: dict[str, list[Any]] = {
    "scale_param": ["logvar", "logstd", "std", "var", "softplus", "sigma", ""],
    "clamp_mode": ["hard", "straight_through", "softclip", "tanh", "soft"],
    "clamp": [
        None,
        (-1.0, 1.0),
        (None, 1.0),
        (-1, None),
        (1.0, -1.0),
        (0.0, 0.0),
        (-2.0, 1.0),
        (1.0,),
        ("a", "b"),
        3.0,
    ],
    "reduction": ["event", "none", "sum", "mean", "batchmean", "avg"],
    "units": ["nats", "bits", "bits_per_dim", "dits"],
    "event_ndim": [None, 0, 1, 2, 9, -1, 1.0, "1", True],
    "sample_shape": [(), (2,), [3], (0,), (2, 1), (-1,), (1.5,), 2, "2", None],
    "temperature": [1.0, 0, 0.5, -1.0, "hot", None, True],
    "element_offset": [0, 7, 2**40, -1, 1.5, None, True],
    "free_bits": [0.0, 0.5, 2, -0.1, float("nan"), "0", None, True],
    "free_bits_over": ["dim", "event", "batch", "row"],
    "grad_scale_q": [1.0, 0, 0.5, "1", None, True],
    "grad_scale_p": [1.0, 0, 0.5, "1", None, True],
    "scale_offset": [0.0, 0.5, 1, "0", None, True],
    "full": [True, False, 1, None, "yes"],
    "chunk_dim": [1, 0, -1, 5, -7, 1.0, None, "1", True],
    "latent_channels": [None, 1, 2, 3, 0, -1, 99, 1.5, True],
    "key": [KEY, *KEYS],
    "generator": [
        None,
        torch.Generator(),
        [torch.Generator()],
        [torch.Generator(), torch.Generator()],
        [],
        [1],
        "cpu",
        7,
    ],
    "mixtures": [1, 2, 0, -1, 2**62, 1.5, None, "1", True],
    "bins": [2, 256, 1, 0, -3, 2.5, None, "8", True],
    "low": [-1.0, 0, 1.0, 7, float("nan"), "0", None, True],
    "high": [1.0, 2, -1.0, -7, float("nan"), "0", None, True],
    "channel_dim": [1, 0, -1, -2, 5, -7, 1.0, None, "1", True],
    "zero_inflated": [False, True, 0, "yes"],
    "dispersion": ["gene", "cell", "decoder", "genes", None],
    "genes": [None, 3, 0, 2.0, "3"],
    "rgb_coupling": [True, False, 1, None, "yes"],
    "min_log_scale": [-7.0, 0, 3.5, "0", None, True],
    "num": [0, 1, 3, -1, 1.5, None, "2", True],
    "data": [torch.ones(3, 2), torch.ones(3), torch.ones(0, 2), 0, 1, 2**40, -1, 1.5, None, "2", True],
    "shape": [(), (3,), [2, 2], (0,), (-1,), (1.5,), 3, "3", None],
    "dtype": [*_checks.FLOATING, torch.int64, torch.complex64, torch.bool, "float32", None, 3],
    "device": [None, "cpu", torch.device("cpu"), "nowhere", 3.5],
    "dim": [0, 1, -1, 5, -7, 1.0, None, "1", True],
    "estimator": ["iwae", "vae", "ciwae", "miwae", "renyi", "dreg", "elbo", "", "u", "v"],
    "groups": [None, 1, 2, 3, 0, -1, 1.5, "2"],
    "alpha": [None, 0.0, 0.5, 1, 2.5, float("inf"), float("nan"), "0"],
    "seed": [0, 1, -1, 2**64, 2**70, 1.5, None, "1", True],
    "offset": [0, 1, -1, 2**64, 1.5, None, "1", True],
    "device_type": ["cpu", "cuda", "xpu", "cuda:0", "", torch.device("cpu")],
    "name": ["auto", "reference", "Native", "cuda", ""],
    # of modules
    **{
        name: [1, 2, 4, 0, -1, 1.5, "2", None, True]
        for name in ("in_features", "latent_dim", "width", "out_channels", "channels", "num_samples", "chunk_size")
    },
    "bias": [True, False, 1, None, "yes"],
    "image_shape": [(1, 4, 4), [2, 5, 3], (1, 4), (0, 4, 4), (1, 4, 1.5), ("a", "b", "c"), "abc", 4],
    "event_shape": [(4,), [2, 3], (), (0,), (-1,), (1.5,), "4", 4],
    "hidden": [(), (3,), [2, 2], (0,), (-1,), (1.5,), "3", 3],
    "latent_shape": [(2,), [2], (-2,), (1.5,), "2", 2],
    "sigma": ["learned", "decoder", "optimal", "fixed", 0.5, 1, 0, -1.0, float("nan")],
    "init": [0.1, 1, 0, -1.0, "0.1", None],
    "frozen": [True, False, 1, None, "yes"],
    "likelihood": ["gaussian", "bernoulli", "gauss", genkern.nn.GaussianLikelihood(0.5), torch.nn.Identity()],
    "objective": [None, genkern.nn.ELBO(beta=2.0), "elbo"],
    "encoder": [torch.nn.Identity(), "mlp"],
    "decoder": ["mlp"],
    "beta": [1.0, 0, 0.5, 4, -1.0, float("nan"), "1", None],
    "capacity": [None, 0.0, 2, -1.0, float("nan"), "1"],
    "warmup": [0, 3, -1, 1.5, "1", None],
    "k": [1, 2, 4, 0, -1, 1.5, "2", None, True],
    "keys": [gk.random.split(KEY, 2), KEY, gk.random.split(KEY, 0), None],
    "gamma": [1.0, 0, -1.0, float("nan"), "1", None],
    "global_batch": [True, False, 1, None, "yes"],
    "mmd": [torch.dist, None, "rbf"],
    "lambda_": [1000.0, 1, 0.5, -1.0, float("nan"), "1", None],
    "components": [1, 3, 0, -1, 1.5, "2", None, True],
    "data_shape": [(4,), [2, 3], (), (0,), (-1,), (1.5,), "4", 4, None],
    "observation_noise": [True, False, 1, None, "yes"],
    # of sets of points
    "kernel": ["rbf", "imq", "linear", ""],
    "scales": [
        (1.0,),
        [1, 2.5],
        (2.0,) * 16,
        (1.0,) * 17,
        (),
        (0.0,),
        (-1.0,),
        (float("nan"),),
        ("1",),
        1.0,
        None,
        "1",
    ],
    # of data and of classes
    "label_smoothing": [0.0, 0.1, 1, -0.1, 1.5, float("nan"), "0", None],
    "unimix": [0.0, 0.1, 1, -0.1, 1.5, float("nan"), "0", None],
    "tau": [1.0, 0, 0.5, -1.0, float("nan"), "1", None],
    "hard": [True, False, 1, None, "yes"],
    # of mixtures
    "marginals": [True, False, 1, None, "yes"],
    "bandwidth": [1.0, 1, 0, -1.0, float("nan"), torch.ones(3), "1", None],
    "dataset_size": [4, 100, 3, 0, -1, 1.5, "4", None],
    "weighting": ["mss", "mws", "stratified", ""],
    "mss_weights": ["paper", "legacy", "new"],
    "joint_weight": ["once", "per_dim", "twice"],
    # of GANs
    "kind": ["minimax", "non_saturating", "hinge", "lsgan", "wgan", "relativistic", "vanilla", ""],
    "hinge_scale": [1.0, 1, 0.5, -1.0, "1", None],
    "center": [1.0, 0, -1.0, float("inf"), "1", None],
    "group_size": [None, 1, 2, 4, 0, -1, 1.5, "2", True],
    "num_channels": [1, 2, 4, 3, 0, -1, 1.5, "2", None],
    "decay": [0.5, 0, 1, 1.5, -0.1, float("nan"), "0.5", None],
    "loss": ["minimax", "hinge", "relativistic", "vanilla", ""],
    "penalty": [None, "r1", "r2", "gp", "dragan", "r3", ""],
    "penalty_weight": [None, 1.0, 0, -1.0, float("nan"), "1"],
    "penalty_interval": [1, 3, 0, -1, 1.5, "1", None, True],
    "penalized": [None, True, False, 1, "yes"],
    "ema_decay": [None, 0.5, 0, 1, 1.5, float("nan"), "0.5"],
    "discriminator": [torch.nn.Identity(), "conv"],
    "step": ["discriminator", "generator", "encoder", "both", ""],
    "augment": [None, torch.neg, "flip"],
    "averaged": [True, False, 1, None, "yes"],
    "minibatch_stddev": [True, False, 1, None, "yes"],
    "gan": [torch.nn.Identity(), None],
    "generator_optimizer": [torch.optim.SGD([torch.ones(1)], 0.1), None],
    "discriminator_optimizer": [torch.optim.SGD([torch.ones(1)], 0.1), None],
    "n_critic": [1, 5, 0, -1, 1.5, "1", None, True],
    "reduce_gradients": [None, list, "mean"],
    "scaler": [None, torch.amp.GradScaler("cpu"), "dynamic"],
    "state_dict": [{}, {"steps": 1}, None],
    "lr": [0.1, 0, 1, -1.0, float("nan"), "1", None],
    "betas": [(0.0, 0.9), [0.5, 1], (0.5,), (0.5, 1.5), ("a", "b"), 0.5, None],
    "interval": [1, 16, 0, -1, 1.5, "1", None, True],
    "ema_params": [[torch.ones(2, 3)], [torch.ones(2, 3), torch.ones(4)], [], [1], ["a"], [torch.ones(2).int()]],
}
# Options that one family has: those of its cases, and wrong ones.
for case in CASES:
    for options in case.variants:
        for name in options.keys() - VALUES.keys():
            VALUES[name] = [*dict.fromkeys(o[name] for c in CASES for o in c.variants if name in o), "", None, 1.5]
