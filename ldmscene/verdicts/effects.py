"""How much features add to what is known anyway, image by image, as sums that can be pooled over images and prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ldmscene.array_types import AnyArray, Array


@dataclass(frozen=True)
class Residuals:
    """Sums over the labelled pixels of each held-out image, [..., image].

    r is what the fit on the known leaves of a label, d how much the fit with features says otherwise.
    """

    weight: Array
    r: Array
    d: Array
    rr: Array
    rd: Array
    dd: Array

    @classmethod
    def of(
        cls,
        weight: Array,
        left: Array,
        said: Array,
        scatter: Array,
        within_rd: Array | float = 0.0,
        within_dd: Array | float = 0.0,
    ) -> Residuals:
        """From maps on a grid.

        Parameters
        ----------
        weight : array (image, y, x)
            Labelled pixels of each cell.
        left : array (image, y, x)
            Mean of r over the pixels of a cell.
        said : array (..., image, y, x)
            Mean of d over them; leading axes are fits that are compared.
        scatter : array (image,)
            Σ (r − cell mean)² over the pixels of all cells.
        within_rd, within_dd : array (..., image), optional
            The same of r with d and of d with itself, where another target that is known varies inside cells.
        """
        axes = (-2, -1)
        rr = (weight * left**2).sum(axes) + scatter
        rd = (weight * left * said).sum(axes) + within_rd
        dd = (weight * said**2).sum(axes) + within_dd
        sums = weight.sum(axes), (weight * left).sum(axes), (weight * said).sum(axes), rr, rd, dd
        return cls(*np.broadcast_arrays(*sums))

    @property
    def explained(self) -> Array:
        """[..., image] by how much features lower the squared error; negative where they raise it."""
        return 2 * self.rd - self.dd

    @property
    def partial_r2(self) -> Array:
        """[..., image] the share of what the known leaves that the features explain; at most 1."""
        return _over(self.explained, self.rr)

    @property
    def correlation(self) -> Array:
        """[..., image] Pearson's, over pixels, of r and d; 0 where one of them is constant."""
        count = np.maximum(self.weight, 1e-300)
        rr, dd = self.rr - self.r**2 / count, self.dd - self.d**2 / count
        product = np.where((rr > 1e-12 * self.rr) & (dd > 1e-12 * self.dd), rr * dd, 0)
        return _over(self.rd - self.r * self.d / count, np.sqrt(product))

    def pool(self) -> Residuals:
        """The sums [...] over all images, as if they were one."""
        return Residuals(*(sums.sum(-1) for sums in vars(self).values()))


def by_prompt(part: Array, whole: Array, prompt: AnyArray) -> Array:
    """Values [..., prompt] whose mean over prompts is Σ part / Σ whole over images, and which vary as that ratio does.

    A prompt's value is the ratio plus the prompt's influence on it (Efron and Tibshirani 1993, 21.3). So a ratio is
    treated as a mean over prompts: images of one prompt stay together, and large residuals weigh more.

    Parameters
    ----------
    part, whole : array (..., image)
        `Residuals.explained` and `rr` for partial R²; scores and ones for a mean score.
    prompt : array (image,)
    """
    names, member = np.unique(prompt, return_inverse=True)
    belongs = (member[:, None] == np.arange(len(names))).astype(np.float64)
    part, whole = part @ belongs, np.broadcast_to(whole, part.shape) @ belongs
    ratio = _over(part.sum(-1), whole.sum(-1))[..., None]
    return ratio + _over(part - ratio * whole, whole.mean(-1, keepdims=True))


def capped(bound: Array) -> Array:
    """A bound of a share: none is above 1, though an interval over few prompts would reach beyond it."""
    return np.where(np.isfinite(bound), np.minimum(bound, 1), bound)


def ceiling(scatter: Array, rr: Array) -> Array:
    """The partial R² [...] that no map of a grid can pass: its best prediction is the mean r of each cell.

    Parameters
    ----------
    scatter : array (..., image)
        Σ (r − cell mean)² over the pixels of an image.
    rr : array (..., image)
        Σ r².
    """
    return 1 - _over(scatter.sum(-1), rr.sum(-1))


def refit_error(effects: Array) -> Array:
    """The standard error [...] that choosing other training prompts would add to an effect.

    By the jackknife over groups (Efron and Tibshirani 1993, 11.5), from effects [fold, ...] on the same held-out images
    of fits from which one fold each was left out.
    """
    n = len(effects)
    error: Array = np.sqrt((n - 1) / n * ((effects - effects.mean(0)) ** 2).sum(0))
    return error


def _over(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(np.shape(part), np.shape(whole))), where=whole > 0)
