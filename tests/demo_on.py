"""The demo on a device with its networks in bfloat16, beside the CPU's in float32; then that of a GAN.

python tests/demo_on.py DEVICE OUT
"""

import json
import subprocess
import sys
from pathlib import Path

_STEPS = 200
_CLOSE = 0.05


def main(device: str, out: Path) -> int:
    runs = [
        ("cpu-32", ["--device", "cpu"]),
        (f"{device.replace(':', '-')}-bf16", ["--device", device, "--precision", "bf16"]),
    ]
    records = []
    for name, options in runs:
        folder = out / f"demo-{name}"
        command = [sys.executable, "-m", "genkern.cli", "demo", "--out", str(folder), "--steps", str(_STEPS)]
        done = subprocess.run([*command, "--resume", "never", *options], check=False)
        if done.returncode:
            return done.returncode
        records.append(json.loads((folder / "metrics.json").read_text())["history"])
    for step, (expected, found) in enumerate(zip(*records, strict=True)):
        for figure in ("reconstruction", "held_out_reconstruction"):
            apart = abs(found[figure] - expected[figure]) / abs(expected[figure])
            print(f"step {expected['step']:.0f} {figure}: {found[figure]:.2f} and {expected[figure]:.2f}")
            if step == 0 and not apart < _CLOSE:
                print(f"the first interval differs by {apart:.1%}")
                return 1
    command = [sys.executable, "-m", "genkern.cli", "demo", "--model", "gan", "--out", str(out / "demo-gan")]
    done = subprocess.run([*command, "--steps", "100", "--resume", "never", "--device", device], check=False)
    if done.returncode:
        return done.returncode
    print(f"the demo on {device} in bf16 begins as that of the CPU in float32")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
