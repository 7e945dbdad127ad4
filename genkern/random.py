"""Keys and noise: a value is a pure function of (seed, offset, element index), the same on every device.

A key is a uint64 tensor of shape (2,), (seed, offset). docs/random.md defines the stream bit by bit; it is
that of ``torch.func._random``.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from genkern import _backend, _checks
from genkern._library import Op
from genkern.reference import random as reference

__all__ = ["fold_in", "key", "normal", "reserve", "split", "uniform"]


def key(seed: int, offset: int = 0, device: torch.device | str | None = None) -> Tensor:
    """Make a key, a uint64 tensor of shape (2,).

    Parameters
    ----------
    seed, offset : int
        Taken modulo 2**64. Keys of one seed and neighbouring offsets share one stream, shifted by 4 elements (2 in
        float64) an offset: for a rank, a step or a layer use `fold_in` or `split`, never ``key(seed, rank)``.
    device : torch.device, optional
        Where the key lies; a CUDA key is read by the kernel that uses it, without a host sync.

    See Also
    --------
    split : keys that are independent of it
    fold_in : the key of a step or a layer
    reserve : a key from a torch generator

    Examples
    --------
    >>> import genkern as gk
    >>> gk.random.key(42)
    tensor([42,  0], dtype=torch.uint64)
    >>> here, next_offset = (gk.random.normal(gk.random.key(42, rank), (8,)) for rank in (0, 1))
    >>> bool((here[4:] == next_offset[:4]).all())  # the same numbers on two ranks
    True
    >>> here, next_rank = (gk.random.normal(gk.random.fold_in(gk.random.key(42), rank), (8,)) for rank in (0, 1))
    >>> bool((here[4:] == next_rank[:4]).any())
    False
    """
    words = [_checks.whole(name, value) % 2**64 for name, value in (("seed", seed), ("offset", offset))]
    where = None if device is None else _checks.device("device", device)
    return torch.tensor(words, dtype=torch.uint64, device=where)


def split(key: Tensor, num: int = 2) -> Tensor:
    """Derive `num` independent keys, ``[num, 2]``, of which row i does not depend on `num`.

    See Also
    --------
    fold_in : one key, by its number

    Examples
    --------
    >>> import genkern as gk
    >>> encoder_key, decoder_key = gk.random.split(gk.random.key(42))
    """
    return _split(key, num)


def fold_in(key: Tensor, data: int) -> Tensor:
    """Derive the key of an integer, such as a training step: ``split(key, data + 1)[data]`` without the others.

    Parameters
    ----------
    key : Tensor
    data : int
        Not negative.

    See Also
    --------
    split : several keys at once
    key : the first key

    Examples
    --------
    >>> import genkern as gk
    >>> gk.random.fold_in(gk.random.key(42), 1000).shape
    torch.Size([2])
    """
    return _fold_in(key, data)


def reserve(generator: torch.Generator | None = None, device: torch.device | str | None = None) -> Tensor:
    """Draw a fresh key from a torch generator, as sampling operations do that are given neither key nor noise.

    Parameters
    ----------
    generator : torch.Generator, optional
        Advanced by one 64-bit draw; one of a GPU that has kernels, by 4 of its offset. Default: torch's default
        generator of `device`.
    device : torch.device, optional
        Whose default generator; default: the CPU's. Without meaning where `generator` is given.

    Returns
    -------
    Tensor
        A key on the generator's device. It is folded, so its stream shares nothing with torch's own
        kernels on that generator.

    Raises
    ------
    RuntimeError
        Under ``torch.func.vmap`` with ``randomness="error"``, its default, as for torch's own random functions:
        ``"same"`` draws one key for all rows, ``"different"`` one for each, in their order.

    See Also
    --------
    key : a key from a seed, without a generator

    Examples
    --------
    >>> import genkern as gk, torch
    >>> _ = torch.manual_seed(0)
    >>> first = gk.random.reserve()
    >>> _ = torch.manual_seed(0)
    >>> bool((gk.random.reserve() == first).all())
    True
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"generator: expected a torch.Generator or None, got {_checks.type_name(generator)}")
    if generator is not None:
        device = generator.device
    elif not isinstance(device, torch.device):
        device = torch.device("cpu") if device is None else _checks.device("device", device)
    if torch._C._are_functorch_transforms_active():
        return reference.reserve(generator, device)  # vmap must see the draw, whose rows it may want to differ
    # Otherwise as ops: a traced graph must draw anew at each run.
    if device.type == "cpu":
        return _reserve.op(generator)
    if device.type == "cuda" and _backend.has_native("cuda"):
        return _reserve_cuda.op(generator, device)
    return _reserve_on.op(generator, device)


def normal(
    key: Tensor,
    shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    element_offset: int = 0,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw standard normal noise.

    Parameters
    ----------
    key : Tensor
    shape : sequence of int
    dtype : torch.dtype
        float64 has a stream of its own; bfloat16 and float16 are the float32 values, rounded once.
    element_offset : int
        Index of the first element: a rank that holds rows r, r + 1, ... of a global batch passes r times the
        event size and draws exactly its part.
    device : torch.device, optional
        Default: the key's.

    Returns
    -------
    Tensor
        Noise of `shape`, in row-major order of the element index. No gradient.

    See Also
    --------
    uniform : noise in [0, 1)
    genkern.gaussian_rsample : a sample of any Gaussian

    Notes
    -----
    Philox4x32-10 (Salmon et al. 2011) and Box-Muller: docs/random.md.

    Examples
    --------
    >>> import genkern as gk
    >>> k = gk.random.key(42)
    >>> whole = gk.random.normal(k, (4, 3))
    >>> bool((gk.random.normal(k, (2, 3), element_offset=6) == whole[2:]).all())
    True
    """
    return _noise(_normal, key, shape, dtype, element_offset, device)


def uniform(
    key: Tensor,
    shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    element_offset: int = 0,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw uniform noise in [0, 1).

    The arguments, result and errors are those of `normal`. float32 has 24 random bits, float64 has 53;
    bfloat16 and float16 round the float32 value, so 1 can occur there.

    See Also
    --------
    normal : Gaussian noise

    Examples
    --------
    >>> import genkern as gk
    >>> gk.random.uniform(gk.random.key(42), (2,))
    tensor([0.9177, 0.9581])
    """
    return _noise(_uniform, key, shape, dtype, element_offset, device)


def _noise(
    op: Op,
    key: Tensor,
    shape: Sequence[int],
    dtype: torch.dtype,
    element_offset: int,
    device: torch.device | str | None,
) -> Tensor:
    if not isinstance(key, Tensor):
        _checks.key("key", key)
    if device is None:
        return op(key, shape, dtype, element_offset, key.device)
    device = _checks.device("device", device)
    if key.device.type != device.type and _backend.why_not(device.type):
        _checks.key("key", key, device=device)
        # An op runs where its tensors lie, and no kernel of the key's device makes noise on another without kernels.
        key = key.to(device)
    return op(key, shape, dtype, element_offset, device)


_NOISE = "(Tensor key, SymInt[] shape, ScalarType dtype, SymInt element_offset, Device device) -> Tensor"
_normal = Op(f"random_normal{_NOISE}", reference.random_normal).compile_call()
_uniform = Op(f"random_uniform{_NOISE}", reference.random_uniform).compile_call()
_split = Op("key_split(Tensor key, SymInt num) -> Tensor", reference.key_split).compile_call()
_fold_in = Op("key_fold_in(Tensor key, SymInt data) -> Tensor", reference.key_fold_in).compile_call()
_reserve = Op("key_reserve(Generator? generator) -> Tensor", reference.reserve, random=True, device_free=True)
_reserve_on = Op("key_reserve_on(Generator? generator, Device device) -> Tensor", reference.reserve, random=True)
_reserve_cuda = Op(
    "key_reserve_cuda(Generator? generator, Device device) -> Tensor",
    reference.reserve,
    random=True,
    device_free=_backend.has_native("cuda"),
)
