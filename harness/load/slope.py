"""Does memory grow? A line through what was resident, and how sure its slope is.

What a process holds at one second is much like what it held the second before, so a thousand observations are not a
thousand independent ones. The interval is widened for that by the effective sample size n (1 - r) / (1 + r), r being
the correlation of neighbouring residuals (Santer et al., "Statistical significance of trends and trend differences in
layer-average atmospheric temperature time series", Journal of Geophysical Research 105, 2000, section 5.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist, fmean

from msgspec import Struct

from harness.load.tracks import Track

MB = 1e6
_HOUR_NS = 3.6e12
_MEANS = 120
_FEWEST, _LEAST_NS = 10, 60e9
_NOISE_MB, _NOISE_SHARE = 2.0, 0.01
_TWO_SIDED_95 = 0.975


class Slope(Struct, frozen=True, kw_only=True):
    """Of one process, in megabytes an hour, with its 95 % interval. ``grew_mb``: by that much, over what was observed.

    ``flat``: the interval holds 0, or the growth is less than what memory varies by anyway.
    """

    mb_per_hour: float
    low: float
    high: float
    grew_mb: float
    mean_mb: float
    flat: bool


def slope(rss_bytes: Track, since_ns: float) -> Slope | None:
    """The slope of what a process held from a moment on, None if it was observed too rarely, or less than a minute.

    Least squares through the means of at most 120 stretches of observations.
    """
    pairs = [
        (at, size)
        for at, size in zip(rss_bytes.moments_ns, rss_bytes.values, strict=True)
        if at >= since_ns
    ]  # fmt: skip
    if len(pairs) < _FEWEST or pairs[-1][0] - pairs[0][0] < _LEAST_NS:
        return None
    at_once = math.ceil(len(pairs) / _MEANS)
    stretches = [pairs[start : start + at_once] for start in range(0, len(pairs), at_once)]
    hours = [fmean((at - since_ns) / _HOUR_NS for at, _ in stretch) for stretch in stretches]
    sizes_mb = [fmean(size / MB for _, size in stretch) for stretch in stretches]
    return _line(hours, sizes_mb)


def _line(hours: Sequence[float], sizes_mb: Sequence[float]) -> Slope | None:
    middle, mean = fmean(hours), fmean(sizes_mb)
    spread = sum((hour - middle) ** 2 for hour in hours)
    if not spread:
        return None
    steep = sum((hour - middle) * (size - mean) for hour, size in zip(hours, sizes_mb, strict=True)) / spread
    rest = [size - mean - steep * (hour - middle) for hour, size in zip(hours, sizes_mb, strict=True)]
    free = max(1.0, _effective(rest) - 2)
    noise = math.sqrt(sum(one**2 for one in rest) / free)
    half = _t(free) * noise / math.sqrt(spread)
    grew = steep * (hours[-1] - hours[0])
    quiet = abs(grew) < max(_NOISE_MB, _NOISE_SHARE * mean)
    return Slope(
        mb_per_hour=round(steep, 3), low=round(steep - half, 3), high=round(steep + half, 3), grew_mb=round(grew, 3),
        mean_mb=round(mean, 3), flat=quiet or steep - half <= 0 <= steep + half,
    )  # fmt: skip


def _effective(rest: Sequence[float]) -> float:
    """So many independent observations these residuals are worth, at least 3."""
    total = sum(one**2 for one in rest)
    alike = sum(one * following for one, following in pairwise(rest)) / total if total else 0.0
    return max(3.0, len(rest) * (1 - max(0.0, alike)) / (1 + max(0.0, alike)))


def _t(free: float) -> float:
    """Student's t at 97.5 %, by its expansion around the normal one (Abramowitz and Stegun, 26.7.5)."""
    z = NormalDist().inv_cdf(_TWO_SIDED_95)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / free + second / free**2 + third / free**3
