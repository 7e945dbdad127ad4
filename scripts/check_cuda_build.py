"""Imports genkern and fails unless its binary was built with CUDA for every architecture of a default build."""

from __future__ import annotations

import os
import sys

from build_plan import DEFAULT_CUDA_ARCHS


def main() -> int:
    import genkern as gk

    wanted = os.environ.get("TORCH_CUDA_ARCH_LIST") or DEFAULT_CUDA_ARCHS
    info = gk.info()
    if info["backend"] != "native":
        print(f"cuda-build: genkern runs on the {info['backend']}: {info['reason']}")
        return 1
    cuda = info["cuda"]
    if cuda["archs"] != wanted:
        print(f"cuda-build: expected CUDA for {wanted}, and the binary holds {cuda['archs']}: {cuda['reason']}")
        return 1
    print(f"cuda-build: {gk.__file__} imported; torch {info['torch']['running']}, toolkit {cuda['toolkit']}, {wanted}")
    print(f"cuda-build: kernels for CUDA tensors: {'registered' if cuda['built'] else cuda['reason']}")
    print(f"cuda-build: device: {cuda['device'] or cuda['device_reason'].splitlines()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
