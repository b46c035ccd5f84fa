"""The grid as users hold it: an `xarray.Dataset` with a tidy table and a notebook's view of its own."""

from __future__ import annotations

import html
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ldmscene import conclusions
from ldmscene import grid as grids
from ldmscene.axes import check_axes, check_has
from ldmscene.errors import InputError
from ldmscene.module_names import short_name
from ldmscene.text import number
from ldmscene.words import metric_title

_PER_IMAGE = ("probe", "permuted", "shuffled")
_FITS = ("alpha", "cv_score", "degenerate")
_PUBLISHED = ("dice", "dice_background", "spearman", "pearson", "rmse")


class Grid(xr.Dataset):  # type: ignore[no-untyped-call]  # xarray's __init_subclass__ has no types
    """Scores at every (target, module, step), as `ldmscene.evaluate` returns them; `ldmscene.grid` has its variables.

    All of `xarray.Dataset` works on it; only its `to_dataframe` is a table of means. What is taken from it by `sel` or
    `isel` is a Grid, too.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> grid["probe"].dims
    ('target', 'metric', 'module', 'step', 'sample')
    >>> grid.sel(metric="dice").to_dataframe().loc["mask"].index.names
    FrozenList(['module', 'step'])
    """

    __slots__ = ()

    def to_dataframe(self, dim_order: Sequence[Hashable] | None = None) -> pd.DataFrame:
        """One row for each target, metric, module and step.

        Columns: `probe`, the mean over held-out images, with `low` and `high`, its 95 % bootstrap interval over
        prompts; `permuted` and `shuffled` where they were run, and each baseline, as means; `alpha`, `cv_score`,
        `degenerate` and `timestep`. Of a grid that is one image's, or a mean over them, its scores, without interval.
        Scores image by image: `grid["probe"].to_dataframe()`. xarray's table: `xarray.Dataset(grid).to_dataframe()`.

        Parameters
        ----------
        dim_order : sequence of str, optional
            Of the rows' index; the dims of `probe` less `sample` where not given.

        Examples
        --------
        >>> import ldmscene
        >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
        >>> {"probe", "low", "high", "alpha"} <= set(grid.to_dataframe().columns)
        True
        """
        if "probe" not in self:
            return super().to_dataframe(dim_order)
        columns = {"probe": _mean(self["probe"])}
        if "sample" in self["probe"].dims:
            bounds = grids.interval(self["probe"])
            columns |= {name: bounds[name] for name in ("low", "high")}
        columns |= {name: _mean(self[name]) for name in _PER_IMAGE[1:] if name in self}
        if "baseline" in self:
            means = _mean(self["baseline"])
            columns |= {str(name): means.sel(reading=name, drop=True) for name in means["reading"].values}
        columns |= {name: self[name] for name in (*_FITS, "timestep") if name in self.variables}
        dims = list(columns["probe"].dims) if dim_order is None else list(dim_order)
        index = {name: self[name].values for name in columns["probe"].dims}
        plain = {
            name: array.reset_coords(drop=True).broadcast_like(columns["probe"]) for name, array in columns.items()
        }
        frame = xr.Dataset(plain, coords=index).to_dataframe(dims)
        return frame[frame["probe"].notna()]

    def published(self) -> pd.DataFrame:
        """The scores of Chen et al. (2023), for each target, metric, module and step, whatever effects a grid has.

        Masks: Dice of the foreground (`dice`) and of the background. Depth and shading: Spearman's and Pearson's
        correlation and RMSE, in standardised units: shares of the standard deviation of training samples' labels. All
        are computed image by image, over the labels' pixels, and averaged over held-out images.

        Returns
        -------
        pandas.DataFrame
            Columns: `probe`, with `low` and `high`, its 95 % interval over prompts; `shuffled`, each baseline by
            name, and `permuted` where that control was run; `timestep`.

        Examples
        --------
        >>> import ldmscene
        >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
        >>> grid.published().index.unique("metric").tolist()
        ['dice', 'dice_background']
        """
        for name in ("probe", "deviation"):
            check_has(self, name)
        check_axes(self, "metric")
        some = self.sel(metric=[name for name in _PUBLISHED if name in self["metric"].values])
        units = some["deviation"].where(some["metric"] == "rmse", 1.0)
        scores = [name for name in (*_PER_IMAGE, "baseline") if name in some]
        frame = some.assign({name: some[name] / units for name in scores}).to_dataframe()
        return frame.drop(columns=[name for name in _FITS if name in frame])

    def _repr_html_(self) -> str:
        try:
            found = self._findings()
        except InputError:  # of a part, such as one step or one image, nothing follows
            found = ""
        return found + super()._repr_html_()

    def _findings(self) -> str:
        """What follows from the grid, in words and numbers; everything that came from outside is escaped."""
        table = conclusions.emergence(self)
        said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in table["sentence"])
        labelers = [name.removesuffix(" lead") for name in table.columns if name.endswith(" lead")]
        modules = [str(name) for name in self["module"].values]
        rows = {target: _in_words(row, labelers, modules) for target, row in table.iterrows()}
        shown = pd.DataFrame.from_dict(rows, orient="index").to_html(escape=True)
        return f"<div><strong>Grid</strong>{shown}<ul>{said}</ul></div>"


def _in_words(row: pd.Series, labelers: Sequence[str], modules: Sequence[str]) -> dict[str, str]:
    """A row of `emergence` as a person reads it."""
    unit = (100, " %", 0) if np.isfinite(row["ceiling"]) else (1, "", 2)
    found = {
        "module": short_name(row["module"], modules),
        "first readable": _between(row, "first"),
        "90 % of what it reads": _between(row, "most"),
        "gain at the last step": _between(row, "gain", *unit),
        "published score": f"{metric_title(row['metric'])} {number(row['final'], 'z.2f')}",
        "decided by": row["rival"],
    }
    return found | {f"most, {name}": _between(row, f"{name} most") for name in labelers}


def _between(row: pd.Series, name: str, factor: int = 1, unit: str = "", digits: int = 0) -> str:
    """`57 % (53 to 61)`; a dash where there is none."""
    three = row[name], row[f"{name}_low"], row[f"{name}_high"]
    shown = [number(factor * one, f"z.{digits}f") for one in three if not pd.isna(one) and np.isfinite(one)]
    if not shown:
        return "–"
    within = f" ({shown[1]} to {shown[2]})" if len(shown) == 3 else ""
    return f"{shown[0]}{unit}{within}"


def _mean(scores: xr.DataArray) -> xr.DataArray:
    return scores.mean("sample") if "sample" in scores.dims else scores
