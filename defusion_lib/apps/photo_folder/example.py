"""Write an example of a folder: photos in several kinds of file, and broken files."""

from pathlib import Path

import numpy as np
from PIL import Image

from defusion_lib.data import bundled, effects
from defusion_lib.data.augmentation import resize_to_square
from defusion_lib.experiments import controlled_images


def write_example(folder: Path, seed: int = 0) -> None:
    """Write eight small photos, each in another kind of file, and three broken files; `seed` of the rendered photo."""
    # Imported here: the package is an extra, and only the example needs it.
    from sklearn.datasets import load_sample_image

    wide = [Image.fromarray(load_sample_image(name)) for name in ("flower.jpg", "china.jpg")]
    flower, china = (picture.resize((320, 213)) for picture in wide)
    squares = [bundled.embedded(f"skimage-{name}") for name in ("brick", "coffee", "chelsea")]
    brick, coffee, cat = (resize_to_square(Image.fromarray(square), 240) for square in squares)
    turned = Image.Exif()
    turned[0x0112] = 6  # rotate by a quarter turn, clockwise
    flower.transpose(Image.Transpose.ROTATE_90).save(folder / "flower_turned.jpg", exif=turned, quality=95)
    china.convert("CMYK").save(folder / "china_inks.jpg", quality=95)
    Image.fromarray(brick[..., 0].astype(np.uint16) * 257).save(folder / "brick_16_bits.png")
    Image.fromarray(effects.blurred(brick, 5)).save(folder / "brick_blurred.bmp")
    Image.fromarray(cat).quantize(128).save(folder / "cat_palette.png")
    dark = Image.new("RGB", (240, 240))
    Image.fromarray(coffee).save(folder / "coffee_moving.webp", save_all=True, append_images=[dark])
    away = (np.hypot(*(np.indices((240, 240)) - 120)) < 115) * np.uint8(255)
    Image.fromarray(np.dstack([coffee, away])).save(folder / "coffee_cut_out.png")
    Image.fromarray(controlled_images.rendered(0, 240, seed).photo.image).save(folder / "rendered.tif")
    (folder / "broken_cut.jpg").write_bytes((folder / "china_inks.jpg").read_bytes()[:9000])
    (folder / "broken_empty.png").write_bytes(b"")
    (folder / "broken_letter.jpg").write_text("Dear reader, I am no photograph.")
