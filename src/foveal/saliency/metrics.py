"""How well a saliency map predicts where somebody looked: NSS, KL, shuffled AUC, correlation and similarity.

The definitions are those of Bylinskii et al. 2019, "What do different evaluation metrics tell us about saliency
models?", with the choices of Nikulin et al. 2019, "Free-Lunch Saliency". All take one picture's map, (H, W), and give
one float. It is NaN where the metric is undefined, so that an average can leave the picture out and count it.

``fixations`` says how often each pixel was looked at; ``density`` is the same blurred by ``fixation_density``.
"""

from __future__ import annotations

import numpy as np
import scipy  # whose parts are imported at first use
from numpy.typing import ArrayLike, NDArray

from foveal.errors import FovealError

Map = NDArray[np.float64]

SIGMA = 5.0
"""Standard deviation of the blur in pixels of a 210 x 160 screen; 2 is right at 84 x 84."""
SPLITS = 100
ZERO = 1e-8
"""What counts as zero, as a share of a map's maximum."""
BORDERS = ("reflect", "mirror")


def is_constant(saliency: ArrayLike) -> bool:
    """Whether a map has no preference: its standard deviation is zero beside its largest value.

    Raises:
        FovealError: it is no map (H, W), or not finite.
    """
    values = _map(saliency, "the saliency map", -np.inf)
    return bool(values.std() <= ZERO * np.abs(values).max())


def fixation_density(fixations: ArrayLike, sigma: float = SIGMA, border: str = "reflect") -> Map:
    """Fixations blurred by a Gaussian and divided by their sum; all zero where there are none.

    Args:
        fixations: (H, W) counts, not negative.
        sigma: in pixels. The Gaussian ends at four of them, as OpenCV's does.
        border: what lies beyond the border is the picture reflected, with its outermost pixels ("reflect") or without
            them ("mirror", which is OpenCV's default, reflect-101).

    Raises:
        FovealError: a count is negative or not finite, or there is no such border.
    """
    if border not in BORDERS:
        raise FovealError(f"border must be one of {', '.join(BORDERS)}, not {border!r}")
    counts = _map(fixations, "fixations", lowest=0)
    blurred = scipy.ndimage.gaussian_filter(counts, sigma, mode=border)
    total = blurred.sum()
    return blurred / total if total > 0 else blurred


def nss(saliency: ArrayLike, fixations: ArrayLike) -> float:
    """Normalised scanpath saliency: the mean z-score of the map where somebody looked.

    0 is chance, 1 a standard deviation above the picture's mean. The standard deviation is the population's.

    Args:
        saliency: (H, W), any scale and sign.
        fixations: (H, W) counts, not negative: a pixel looked at twice counts twice.

    Returns:
        NaN for a constant map or without fixations.

    Raises:
        FovealError: shapes differ, or values are not finite, or a count is negative.
    """
    values, counts = _pair(saliency, fixations)
    deviation = values.std()
    if is_constant(values) or counts.sum() == 0:
        return float("nan")
    return float((counts * (values - values.mean())).sum() / (deviation * counts.sum()))


def kl_divergence(saliency: ArrayLike, density: ArrayLike) -> float:
    """Kullback-Leibler divergence, in nats, of the map from the blurred fixations, each normalised to sum 1.

    0 is a perfect map; there is no upper bound.

    Args:
        saliency: (H, W), not negative, any scale.
        density: (H, W), of ``fixation_density``.

    Returns:
        NaN where the map is zero at a pixel that the density reaches (the divergence is infinite there), and where
        either is zero everywhere.

    Raises:
        FovealError: shapes differ, or a value is negative or not finite.
    """
    model, truth = _distributions(saliency, density)
    reached = truth > ZERO * truth.max()
    if not reached.any() or (model[reached] <= ZERO * model.max()).any():
        return float("nan")
    return float((truth[reached] * np.log(truth[reached] / model[reached])).sum())


def correlation(saliency: ArrayLike, density: ArrayLike) -> float:
    """Pearson's correlation (CC) of the map with the blurred fixations, in [-1, 1].

    Args:
        saliency: (H, W), any scale and sign.
        density: (H, W), of ``fixation_density``.

    Returns:
        NaN where either is constant.

    Raises:
        FovealError: shapes differ, or values are not finite.
    """
    values, truth = _pair(saliency, density)
    if is_constant(values) or is_constant(truth):
        return float("nan")
    return float(((values - values.mean()) * (truth - truth.mean())).mean() / (values.std() * truth.std()))


def similarity(saliency: ArrayLike, density: ArrayLike) -> float:
    """Histogram intersection (SIM) of the map and the blurred fixations, each normalised to sum 1; in [0, 1].

    Args:
        saliency: (H, W), not negative, any scale.
        density: (H, W), of ``fixation_density``.

    Returns:
        NaN where either is zero everywhere.

    Raises:
        FovealError: shapes differ, or a value is negative or not finite.
    """
    model, truth = _distributions(saliency, density)
    if not model.any() or not truth.any():
        return float("nan")
    return float(np.minimum(model, truth).sum())


def shuffled_auc(
    saliency: ArrayLike,
    fixations: ArrayLike,
    others: ArrayLike,
    *,
    generator: np.random.Generator,
    splits: int = SPLITS,
) -> float:
    """Shuffled AUC (Zhang et al. 2008): how well the map separates this picture's fixations from other pictures'.

    Positives are the fixations, negatives as many draws, with replacement, from those of other pictures; the area under
    the ROC curve is averaged over ``splits`` such draws. Ties count half, so 0.5 is chance, which is also the area of a
    map of where people look in general. Scaling the map does not change the area.

    Args:
        saliency: (H, W), any scale and sign.
        fixations: (H, W) whole counts.
        others: (H, W) whole counts, summed over other pictures.
        generator: of the draws.

    Returns:
        NaN without fixations, here or elsewhere.

    Raises:
        FovealError: shapes differ, values are not finite, a count is negative or not whole, or there is no split.
    """
    values, counts = _pair(saliency, fixations)
    elsewhere = _pair(saliency, others)[1]
    if splits < 1 or any((x != np.rint(x)).any() for x in (counts, elsewhere)):
        raise FovealError("shuffled_auc wants at least one split and whole numbers of fixations")
    total = int(counts.sum())
    if total == 0 or elsewhere.sum() == 0:
        return float("nan")
    positives = np.sort(np.repeat(values.ravel(), counts.ravel().astype(np.int64)))  # (total,)
    places = np.flatnonzero(elsewhere)
    negatives = values.ravel()[places]  # (places,)
    # The splits are of equal size, so the mean of their areas is the area of all their negatives together; how often
    # each place is drawn in all of them is multinomial.
    drawn = generator.multinomial(splits * total, elsewhere.ravel()[places] / elsewhere.sum())  # (places,)
    below = np.searchsorted(positives, negatives, side="left")  # positives less than the negative
    not_above = np.searchsorted(positives, negatives, side="right")
    won = total - 0.5 * (below + not_above)  # positives above it, and half of those that are equal
    return float((drawn * won).sum() / (drawn.sum() * total))


def _distributions(saliency: ArrayLike, density: ArrayLike) -> tuple[Map, Map]:
    """Both divided by their sums, where those are positive."""
    values, truth = _pair(saliency, density, lowest=0)
    return values / (values.sum() or 1.0), truth / (truth.sum() or 1.0)


def _pair(saliency: ArrayLike, truth: ArrayLike, lowest: float = -np.inf) -> tuple[Map, Map]:
    values, expected = _map(saliency, "the saliency map", lowest), _map(truth, "fixations", lowest=0)
    if values.shape != expected.shape:
        raise FovealError(f"the saliency map is {values.shape} and the fixations are {expected.shape}: resize the map")
    return values, expected


def _map(values: ArrayLike, what: str, lowest: float) -> Map:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise FovealError(f"{what} must be one picture, (H, W), not {array.shape}")
    if not np.isfinite(array).all():
        raise FovealError(f"{what} must be finite, and at least one value is NaN or infinite")
    if array.min() < lowest:
        raise FovealError(f"{what} must not be negative here, and the lowest value is {array.min():g}")
    return array
