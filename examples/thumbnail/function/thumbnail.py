"""Makes a thumbnail of a photograph.

Event: {"image": Base64 of a JPEG, PNG or WebP file, "width": 160, "height": 160}
Answer: {"image": Base64 of a JPEG file, "width": …, "height": …}; the picture fits into width × height.
"""

import base64
import binascii
import io

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

SRGB = ImageCms.createProfile("sRGB")
LARGEST_SIDE = 1024  # pixels of a thumbnail


def handler(event, context):
    width, height = side(event, "width"), side(event, "height")
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(event["image"], validate=True)))
        picture = ImageOps.exif_transpose(picture)
        picture.thumbnail((width, height))
    except (KeyError, binascii.Error, UnidentifiedImageError, OSError) as error:
        raise ValueError("image must be a picture's file, in Base64") from error
    out = io.BytesIO()
    in_srgb(picture).save(out, "JPEG", quality=85)
    return {"image": base64.b64encode(out.getvalue()).decode(), "width": picture.width, "height": picture.height}


def side(event, name):
    pixels = event.get(name, 160)
    if not isinstance(pixels, int) or not 1 <= pixels <= LARGEST_SIDE:
        raise ValueError(f"{name} must be from 1 to {LARGEST_SIDE} pixels")
    return pixels


def in_srgb(picture):
    """Browsers take a small picture for sRGB; cameras often write another colour space, and name it in the file."""
    profile = picture.info.get("icc_profile")
    picture = picture.convert("RGB")
    if profile is None:
        return picture
    return ImageCms.profileToProfile(picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), SRGB)
