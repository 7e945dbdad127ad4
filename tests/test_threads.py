"""Small calls stay on the thread that makes them; large ones are shared."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.backends import NATIVE

_ROOT = Path(__file__).parents[1]
# A pool of threads is started by the first call that needs one, so how many a process has tells whether one did.
_PROGRAM = """
import json, os
import torch
import genkern as gk

torch.set_num_threads(2)
small, images, large = torch.randn(2, 256, 64), torch.rand(2, 4, 3, 32, 32), torch.empty(2, 8192, 64)
counts = {}

def count(name):
    counts[name] = len(os.listdir("/proc/self/task"))

count("before")
loc, logvar = small
with torch.no_grad():
    gk.gaussian_rsample_kl(loc, logvar)
    gk.gaussian_kl(loc, logvar)
    gk.gaussian_nll(loc, loc, logvar, reduction="batchmean")
    gk.bernoulli_nll(images[0], images[1])
    gk.categorical_kl(loc, logvar)
    gk.gumbel_softmax(loc)
    gk.gan_discriminator_loss(real=loc, fake=logvar, kind="hinge")
    gk.gaussian_mixture_log_prob(loc[:8, :4], loc[:8, :4], logvar[:8, :4])
    gk.mmd(loc[:8], logvar[:8], kernel="imq", scales=(1.0,))
    gk.random.normal(gk.random.key(0), (256, 64))
    gk.ema_update_(list(small[0]), list(small[1]), 0.9)
    count("small")
    gk.gaussian_rsample_kl(*large)
    count("large")
print(json.dumps(counts))
"""


@pytest.mark.skipif(NATIVE.missing() is not None, reason=str(NATIVE.missing()))
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the system does not list a process's threads")
def test_small_calls_start_no_threads_and_a_large_one_does() -> None:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "GENKERN_BACKEND": "native"}
    environment.pop("OMP_NUM_THREADS", None)
    done = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True)
    counts = json.loads(done.stdout)
    assert counts["small"] == counts["before"] < counts["large"]
