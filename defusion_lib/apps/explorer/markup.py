"""Format the images and numbers of the explorer as HTML and SVG."""

import base64
import html
import io

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image

from defusion_lib.cam_hooks import GROUP_TAPS
from defusion_lib.network import CHANNELS
from defusion_lib.plots import COLOURS


def format_image(pixels: np.ndarray, alt: str, width: int) -> str:
    """Format pixels, uint8 (H, W) or (H, W, 3), as an HTML image `width` pixels wide with an alternative text."""
    image = Image.fromarray(pixels)
    image.thumbnail((2 * width, 4 * width))  # twice the width: sharp on screens with two pixels per CSS pixel
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    content = base64.b64encode(file.getvalue()).decode()
    return (
        f'<img src="data:image/png;base64,{content}" alt="{html.escape(alt)}" width="{width}" '
        'style="border:1px solid #999">'
    )


def format_figure(content: str, caption: str, width: int) -> str:
    """Add a caption below markup, in a column `width` pixels wide."""
    text = f'<figcaption style="line-height:1.3">{html.escape(caption)}</figcaption>'
    return f'<figure style="margin:0 12px 8px 0; width:{width}px">{content}{text}</figure>'


def describe_scores(scores: dict[str, float], threshold: float) -> str:
    """Describe the result of `analysis.score_map` in one line of text."""
    words = f"{scores['share']:.0%} of the pixels are above {threshold:.2f}"
    if "f" in scores:
        words += f"; precision {scores['precision']:.2f}, recall {scores['recall']:.2f}, F {scores['f']:.2f}"
    elif "mae" in scores:
        words += "; the mask has one class only, so precision and recall are undefined"
    return words + (f"; MAE {scores['mae']:.3f}" if "mae" in scores else "")


def draw_weight_bars(weights: np.ndarray, group: str, chosen: int, before: np.ndarray | None = None) -> str:
    """Draw the weights (C,) of a CAM as bars, an SVG; bar `chosen` is coloured, short strokes mark weights `before`.

    A click on a bar, or above it, puts the channel's number into the panel's number field.
    """
    wide, tall, left = 6, 120, 34
    width = left + wide * len(weights)
    click = (
        f"const i = Math.floor((event.clientX - this.getBoundingClientRect().x - {left}) / {wide}) + 1;"
        "const field = this.closest('.explorer-photo').querySelector('.explorer-channel input');"
        f"if (i >= 1 &amp;&amp; i &lt;= {len(weights)}) {{"
        "field.value = i; field.dispatchEvent(new Event('change', {bubbles: true})) }"
    )
    parts = [
        f'<svg width="{width}" height="{tall + 44}" role="img" fill="currentColor" font-size="11" '
        f'aria-label="{len(weights)} weights as bars; channel {chosen + 1} has {weights[chosen]:.2f}" '
        f'style="cursor:pointer" onclick="{click}">'
    ]
    for level in (0, 0.5, 1):
        y = 6 + tall * (1 - level)
        parts.append(f'<line x1="{left}" x2="{width}" y1="{y}" y2="{y}" stroke="#999" stroke-width="0.5"/>')
        parts.append(f'<text x="{left - 5}" y="{y + 4}" text-anchor="end">{level:g}</text>')
    for i, weight in enumerate(weights):
        x, colour = left + wide * i, to_hex(COLOURS[1 if i == chosen else 0])
        parts.append(
            f'<rect x="{x}" y="{6 + tall * (1 - weight):.1f}" width="{wide - 1}" '
            f'height="{tall * weight:.1f}" fill="{colour}">'
            f"<title>channel {i + 1}: {weight:.2f}</title></rect>"
        )
        if before is not None:
            at = f"{6 + tall * (1 - before[i]):.1f}"
            parts.append(f'<line x1="{x}" x2="{x + wide - 1}" y1="{at}" y2="{at}" stroke="currentColor"/>')
    for i, tap in enumerate(GROUP_TAPS[group]):
        middle = left + wide * CHANNELS * (i + 0.5)
        parts.append(f'<text x="{middle}" y="{tall + 22}" text-anchor="middle">{tap}</text>')
    words = "weight of each channel, 32 from each layer; click a bar to see its channel"
    parts.append(f'<text x="{left}" y="{tall + 40}">{words}</text></svg>')
    return "".join(parts)
