"""PNG or JPEG bytes → the pixels of an image input: one function for training and serving."""

from __future__ import annotations

import io
import warnings
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from clipmax.problems import Problem

Color = Literal["gray", "rgb"]
_PIL_MODES: dict[Color, Literal["L", "RGB"]] = {"gray": "L", "rgb": "RGB"}
_FORMATS = ("PNG", "JPEG")


def decode(data: bytes, *, height: int, width: int, color: Color, pointer: str = "") -> npt.NDArray[np.uint8]:
    """Decode one encoded image that must already have the model's size.

    The size is read from the header and compared before any pixel is decoded, so a decompression bomb costs
    nothing. Nothing is resized: the model was trained on this size, and how to resize is the caller's choice.

    Returns:
        uint8 [height, width] for `gray`, [height, width, 3] for `rgb`.

    Raises:
        Problem: IMAGE_INVALID (not a PNG or JPEG, broken, another size) or IMAGE_TOO_LARGE.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                _check_size(image.size, (width, height), pointer)
                return np.asarray(image.convert(_PIL_MODES[color]), dtype=np.uint8)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Problem("IMAGE_TOO_LARGE", f"the model needs {width}×{height} pixels", pointer=pointer) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise Problem("IMAGE_INVALID", "the image is not a readable PNG or JPEG", pointer=pointer) from error


def _check_size(found: tuple[int, int], expected: tuple[int, int], pointer: str) -> None:
    if found == expected:
        return
    code = "IMAGE_TOO_LARGE" if found[0] * found[1] > 64 * expected[0] * expected[1] else "IMAGE_INVALID"
    detail = f"the image has {found[0]}×{found[1]} pixels, the model needs {expected[0]}×{expected[1]}"
    raise Problem(code, detail, pointer=pointer)
