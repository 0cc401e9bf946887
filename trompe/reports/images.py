"""Pictures for a page: PNG in base64, and perturbations made visible."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

from trompe.reports.document import Image

__all__ = ["magnified", "png", "png_bytes", "read_png"]

# What a perturbation removes, leaves alone and adds: told apart by every common colour vision.
LESS = np.array([33, 102, 172], dtype=np.float64)
NONE = np.array([232, 232, 230], dtype=np.float64)
MORE = np.array([203, 84, 20], dtype=np.float64)


def png_bytes(image: Image) -> bytes:
    """A uint8 image (H, W, 3) as a PNG file; grey images are stored as grey."""
    from PIL import Image as Pillow

    grey = bool((image == image[:, :, :1]).all())
    buffer = io.BytesIO()
    Pillow.fromarray(image[:, :, 0] if grey else image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def png(image: Image) -> str:
    """A uint8 image (H, W, 3) as base64 PNG."""
    return base64.b64encode(png_bytes(image)).decode("ascii")


def read_png(text: str) -> Image:
    """The uint8 image (H, W, 3) in a base64 PNG.

    Raises:
        ValueError: where the text is not a PNG.
    """
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    try:
        data = base64.b64decode(text, validate=True)
        with Pillow.open(io.BytesIO(data), formats=("PNG",)) as picture:
            return np.asarray(picture.convert("RGB"), dtype=np.uint8)
    except (ValueError, OSError, UnidentifiedImageError, SyntaxError) as error:
        raise ValueError("expected a PNG image in base64") from error


def magnified(delta: NDArray[np.floating], gain: float | None = None) -> tuple[Image, float]:
    """A perturbation drawn so that it can be seen: orange where it adds, blue where it removes.

    An image of one channel is drawn on a scale of two colours; colours are drawn as grey plus
    gain times the perturbation.

    Args:
        delta: x_adv - x, shape (C, H, W) or (H, W), in units of the image.
        gain: by what it is multiplied; by default what makes its largest value full.

    Returns:
        The uint8 image (H, W, 3) and the gain, which belongs in the column's title.

    Example:
        >>> image, gain = magnified(np.array([[0.0, 0.05], [-0.05, 0.0]]))
        >>> image.shape, round(gain, 6)
        ((2, 2, 3), 20.0)
    """
    planes = np.asarray(delta, dtype=np.float64)
    planes = planes[None] if planes.ndim == 2 else planes
    peak = float(np.abs(planes).max(initial=0.0))
    gain = gain if gain is not None else (1.0 / peak if peak > 0 else 1.0)
    scaled = np.clip(gain * planes, -1.0, 1.0)
    if planes.shape[0] == 1:
        t = scaled[0][:, :, None]
        mixed = NONE + np.maximum(t, 0) * (MORE - NONE) + np.maximum(-t, 0) * (LESS - NONE)
    else:
        mixed = 127.5 + 127.5 * np.moveaxis(scaled[:3], 0, -1)
    return np.rint(mixed).astype(np.uint8), gain
