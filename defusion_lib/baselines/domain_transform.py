"""Smooth an image edge-aware: the domain transform in its recursive form (Gastal and Oliveira, SIGGRAPH 2011).

Each row or column of the guide is stretched so that distance along it includes how much the guide changes. A
first-order recursive filter then runs along it in both directions; its feedback decreases with the stretched
distance. Rows and columns alternate, each time with half the previous reach. All lines of one direction are
filtered together, so a pass is one short loop over the positions along a line.
"""

import numpy as np

from defusion_lib.stopping import tick


def domain_transform(
    values: np.ndarray, guide: np.ndarray, sigma_s: float, sigma_r: float, iterations: int = 3
) -> np.ndarray:
    """Smooth `values` where `guide` is smooth, and preserve them across the guide's edges.

    values:     (H, W) or (H, W, C), any real numbers
    guide:      (H, W) or (H, W, C'), whose channels act together
    sigma_s:    reach in pixels
    sigma_r:    reach in the guide's units; a small value stops smoothing at weaker edges, `np.inf` ignores the guide
    iterations: passes over rows and columns

    Returns an array of the shape of `values`, within their range, in their dtype if that is a float and in float64
    otherwise; sums are float64. Raises ValueError if the sizes differ, a value is not finite or a parameter is not
    positive. Eq. 11, 14 and 21 of Gastal and Oliveira.
    """
    values, guide = np.asarray(values), np.asarray(guide)
    if values.ndim not in (2, 3) or guide.ndim not in (2, 3) or values.shape[:2] != guide.shape[:2]:
        raise ValueError(
            f"Values of shape {values.shape} cannot be smoothed by a guide of shape {guide.shape}: both must be (H, W) "
            "or (H, W, C) with the same height and width."
        )
    if not (sigma_s > 0 and sigma_r > 0 and iterations >= 1):
        raise ValueError(f"sigma_s={sigma_s}, sigma_r={sigma_r}, iterations={iterations}: all must be positive.")
    if not (np.isfinite(values).all() and np.isfinite(guide).all()):
        raise ValueError("Values or guide contain NaN or infinity: replace them before smoothing.")
    dtype = values.dtype if np.issubdtype(values.dtype, np.floating) else np.float64

    # Positions along a line are the first axis, lines the last: each step then works on contiguous memory.
    lines = np.moveaxis(np.atleast_3d(values), 2, 1).astype(np.float64)
    guide = np.moveaxis(np.atleast_3d(guide), 2, 1).astype(np.float64)
    reach = sigma_s * np.sqrt(3 / (4**iterations - 1)) * 2 ** (iterations - 1)
    down = _feedback(guide, reach, sigma_s / sigma_r)
    right = _feedback(guide.transpose(2, 1, 0), reach, sigma_s / sigma_r)
    for turn in range(iterations):
        if turn:
            # Half the reach doubles the exponent.
            down, right = down * down, right * right
        across = np.ascontiguousarray(lines.transpose(2, 1, 0))
        _filter_both_ways(across, right)
        lines = np.ascontiguousarray(across.transpose(2, 1, 0))
        _filter_both_ways(lines, down)
    return np.moveaxis(lines, 1, 2).reshape(values.shape).astype(dtype)


def _feedback(guide: np.ndarray, reach: float, steepness: float) -> np.ndarray:
    """Compute the feedback from each position of the lines to the next: (n, C, m) -> (n - 1, m), in (0, 1)."""
    stretched = 1 + steepness * np.abs(np.diff(guide, axis=0)).sum(1)
    return np.exp(-np.sqrt(2) / reach * stretched)


def _filter_both_ways(lines: np.ndarray, feedback: np.ndarray) -> None:
    """Filter lines (n, C, m) in place along their first axis."""
    tick()
    step = np.empty_like(lines[0])
    last = len(lines) - 1
    for source, target, weight in [
        *((i, i + 1, i) for i in range(last)),
        *((i + 1, i, i) for i in range(last - 1, -1, -1)),
    ]:
        np.subtract(lines[source], lines[target], out=step)
        step *= feedback[weight]
        lines[target] += step
