"""Images for the commands: faces from scikit-image, digits from scikit-learn, or a folder of the user's."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from genkern.cli.errors import CommandError, optional

_HELD_OUT_EVERY = 5
_FACES = 100
_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Images:
    """A data set, split: every fifth image is held out, whatever the seed, so that runs can be compared."""

    name: str
    train: Tensor
    """``[N, C, H, W]`` float32 in [0, 1]."""
    held_out: Tensor
    augment: bool
    """Whether a mirrored or slightly shifted image is as good a datum; so for photographs, not for digits."""

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.train.shape[1:]
        return channels, height, width

    def fingerprint(self) -> str:
        """Tells a resumed run that its data have changed."""
        digest = hashlib.sha256()
        for part in (self.train, self.held_out):
            digest.update(repr(tuple(part.shape)).encode())
            digest.update(part.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def load_images(data: str, size: int) -> Images:
    """``"faces"``, ``"digits"``, or the path of a folder whose images are cropped to squares of `size` pixels."""
    if data == "faces":
        return _split("faces", _faces(), augment=True)
    if data == "digits":
        return _split("digits", _digits(), augment=False)
    return _split(Path(data).name, _folder(Path(data), size), augment=True)


def _split(name: str, images: Tensor, *, augment: bool) -> Images:
    if len(images) < _HELD_OUT_EVERY:
        raise CommandError(f"--data: expected at least {_HELD_OUT_EVERY} images, got {len(images)}")
    held_out = torch.arange(len(images)) % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1
    return Images(name, images[~held_out].contiguous(), images[held_out].contiguous(), augment)


def _faces() -> Tensor:
    faces = optional("skimage.data", "--data faces").lfw_subset()
    # The other hundred images of the subset are patches of background.
    return torch.as_tensor(faces[:_FACES], dtype=torch.float32).unsqueeze(1)


def _digits() -> Tensor:
    digits = optional("sklearn.datasets", "--data digits").load_digits()
    return torch.as_tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16


def _folder(folder: Path, size: int) -> Tensor:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file())
    except OSError as error:
        raise CommandError(
            f"--data: expected 'faces', 'digits' or a folder of images, got {str(folder)!r} ({error.strerror})"
        ) from error
    if not files:
        raise CommandError(f"--data: no images ({', '.join(sorted(_SUFFIXES))}) in the folder {str(folder)!r}")
    return torch.stack([_image(path, size) for path in files])


def _image(path: Path, size: int) -> Tensor:
    pil, ops = (optional(f"PIL.{name}", "--data FOLDER") for name in ("Image", "ImageOps"))
    try:
        with pil.open(path) as image:
            square = ops.fit(ops.exif_transpose(image).convert("RGB"), (size, size), pil.Resampling.LANCZOS)
    except (OSError, pil.DecompressionBombError, SyntaxError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CommandError(f"--data: cannot read the image {str(path)!r}: {reason}") from error
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(size, size, 3)
    return pixels.permute(2, 0, 1).contiguous().float() / 255
