"""An edit as plain data: which reading is to change, to what, where, and how."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from os import PathLike
from typing import Any, Self, get_args

import numpy as np

from ldmscene.choices import EditedCells
from ldmscene.edits.readout import Readout
from ldmscene.edits.rules import RULES, Rule, find_rule
from ldmscene.edits.wanted import by_sample, described
from ldmscene.errors import InputError
from ldmscene.tensors import Format
from ldmscene.text import counted, listed

FORMAT = Format("edit")
BRANCHES = {"cond": ("cond",), "uncond": ("uncond",), "both": ("uncond", "cond")}
WRONG = "wrong"


@dataclass(frozen=True)
class Edit:
    """A change of activations; checked when built.

    Attributes
    ----------
    target : str
        Whose reading is to change.
    binary : bool
        Whether the target is a mask, whose reading is log odds.
    wanted
        The map that is to be read, as `ldmscene.edits.wanted.parse` takes it; an `xarray.DataArray` whose first axis
        names samples becomes a mapping.
    modules, steps : tuple
        Where activations change: each module at each step, in the order in which the denoiser runs them, so that later
        ones see what earlier ones did.
    readouts : mapping of (module, step) to Readout
        For all of these, and for the modules in `spare`.
    origin : dict
        Where the probes come from, as JSON has it: the store's fingerprint, its configuration and its labels.
    branch : {"cond", "uncond", "both"}
        Of classifier-free guidance.
    rule : str or callable
        How an activation becomes one that reads as wanted; see `ldmscene.edits.rules`.
    strength : float
        By which the rule's change is multiplied; 0 changes nothing.
    margin : float
        The log odds that are wanted of a mask, as ± margin. For a continuous target a reading that is nearer than this
        to the wanted value isn't wrong.
    only_where : {"everywhere", "wrong"}
        Which cells change: all that have a wanted value, or those whose reading is wrong.
    null : str
        What takes the change's place, at its norm, in a control; see `ldmscene.edits.controls`.
    spare : tuple of str
        Modules for the control `worst-module`.

    Raises
    ------
    InputError
        If an argument can't be used; the message names it.
    """

    target: str
    binary: bool
    wanted: Any
    modules: tuple[str, ...]
    steps: tuple[int, ...]
    readouts: Mapping[tuple[str, int], Readout] = field(repr=False)
    origin: Mapping[str, Any] = field(default_factory=dict, repr=False)
    branch: str = "cond"
    rule: str | Rule = "conditional"
    strength: float = 1.0
    margin: float = 6.0
    only_where: EditedCells = "everywhere"
    null: str = ""
    spare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        find_rule(self.rule)
        _one_of("branch", self.branch, BRANCHES)
        _one_of("only_where", self.only_where, get_args(EditedCells))
        for name in ("modules", "steps"):
            if not getattr(self, name):
                raise InputError(f"{name}: expected at least one, got none")
        if not _is_finite(self.strength):
            raise InputError(f"strength must be a finite number, got {self.strength!r}")
        if not (_is_finite(self.margin) and self.margin > 0):
            raise InputError(f"margin must be a finite number above 0, got {self.margin!r}")
        plain = {"strength": _plain(self.strength), "margin": _plain(self.margin), "wanted": by_sample(self.wanted)}
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        for module, step in self.positions:
            if (module, step) not in self.readouts:
                raise InputError(f"readouts: expected one for {module} at step {step}, got none")

    @property
    def positions(self) -> list[tuple[str, int]]:
        """Each module at each step."""
        return [(module, step) for module in self.modules for step in self.steps]

    @property
    def branches(self) -> tuple[str, ...]:
        return BRANCHES[self.branch]

    @property
    def rule_name(self) -> str:
        return self.rule if isinstance(self.rule, str) else getattr(self.rule, "__qualname__", type(self.rule).__name__)

    @property
    def borrows(self) -> bool:
        """Whether its rule takes another trajectory's activations."""
        return isinstance(self.rule, str) and RULES[self.rule].borrows

    @property
    def header(self) -> dict[str, Any]:
        """All but the arrays, as JSON has it."""
        plain = {name: value for name, value in vars(self).items() if name != "readouts"}
        found = {"wanted": described(self.wanted), "rule": self.rule_name}
        return {**plain, **found, "modules": list(self.modules), "steps": list(self.steps), "spare": list(self.spare)}

    @property
    def fingerprint(self) -> str:
        """A short name: equal edits have equal names. A callable counts by its name."""
        digest = hashlib.sha256(json.dumps(self.header, sort_keys=True).encode())
        for name, array in sorted(self._arrays().items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def __str__(self) -> str:
        return described_edit(self.header)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the edit to one safetensors file.

        Parameters
        ----------
        path : path

        Raises
        ------
        InputError
            If its rule or what is wanted is a callable, which no file can hold.
        """
        for name in ("rule", "wanted"):
            if callable(getattr(self, name)):
                raise InputError(f"{name}: a callable can't be saved; use a rule's name, and the maps that it makes")
        FORMAT.write(path, self._arrays() | _map_arrays(self.wanted), self.header)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """An edit from `save`.

        Parameters
        ----------
        path : path

        Raises
        ------
        InputError
            If the file holds something else.
        """
        tensors, header = FORMAT.read(path)
        if strange := sorted(set(header) - {one.name for one in fields(cls)}):
            raise InputError(f"path: {path} holds an edit with {listed(strange)}, which this version doesn't know")
        scattered: dict[tuple[str, int], dict[str, np.ndarray]] = {}
        maps: dict[str, np.ndarray] = {}
        for name, array in tensors.items():
            part, _, rest = name.partition("|")
            if part == "wanted":
                maps[rest] = array
            else:
                step, name = rest.split("|")
                scattered.setdefault((part, int(step)), {})[name] = array
        wanted = header["wanted"] if isinstance(header["wanted"], str) else maps.get("", maps)
        lists = {name: tuple(header[name]) for name in ("modules", "steps", "spare")}
        usual = [(module, step) for module in (*lists["modules"], *lists["spare"]) for step in lists["steps"]]
        order = [position for position in dict.fromkeys([*usual, *scattered]) if position in scattered]
        readouts = {position: _readout(scattered[position]) for position in order}
        return cls(**{**header, **lists, "wanted": wanted, "readouts": readouts})

    def _arrays(self) -> dict[str, np.ndarray]:
        """The readouts' arrays, as `MODULE|STEP|NAME`."""
        return {
            f"{module}|{step}|{name}": array
            for (module, step), readout in self.readouts.items()
            for name, array in {**readout.arrays(), "intercept": np.array([readout.intercept])}.items()
        }


def described_edit(header: Mapping[str, Any]) -> str:
    """An edit in words, from its header."""
    wanted = header["wanted"]
    said = wanted if isinstance(wanted, str) else next(f"{kind} {name}" for kind, name in wanted.items())
    control = f", control {header['null']}" if header["null"] else ""
    branch = "both branches" if header["branch"] == "both" else f"{header['branch']} branch"
    return (
        f"{header['rule']} edit of {header['target']} to {said} in {_where(header)}, "
        f"{branch}, strength {header['strength']:g}, margin {header['margin']:g}, "
        f"{header['only_where']}{control}"
    )


def brief_edit(header: Mapping[str, Any]) -> str:
    """How an edit changes activations and where, from its header."""
    branch = {"cond": "", "uncond": ", unconditional branch", "both": ", both branches"}[header["branch"]]
    cells = ", where the reading was wrong" if header["only_where"] == WRONG else ""
    return f"{header['rule']}, strength {header['strength']:g}, in {_where(header)}{branch}{cells}"


def _where(header: Mapping[str, Any]) -> str:
    steps = sorted(header["steps"])
    together = steps == list(range(steps[0], steps[-1] + 1))
    when = f"{len(steps)} steps from {steps[0]}" if together else f"steps {listed(list(map(str, steps)))}"
    when = when if len(steps) > 1 else f"step {steps[0]}"
    return f"{counted(len(header['modules']), 'module')} at {when}"


def _map_arrays(wanted: Any) -> dict[str, np.ndarray]:
    if isinstance(wanted, str):
        return {}
    maps = wanted if isinstance(wanted, Mapping) else {"": wanted}
    return {f"wanted|{name}": np.asarray(one) for name, one in maps.items()}


def _readout(arrays: Mapping[str, np.ndarray]) -> Readout:
    coef, mean, covariance, cross = (arrays[name] for name in ("coef", "mean", "covariance", "cross"))
    rivals = {name.removeprefix("rivals/"): array for name, array in arrays.items() if name.startswith("rivals/")}
    return Readout(coef, float(arrays["intercept"][0]), mean, covariance, cross, rivals)


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _plain(number: Any) -> Any:
    """A number of Python's, as JSON has it; of these an int stays one, since fingerprints tell 2 from 2.0."""
    return number.item() if isinstance(number, np.generic) else number


def _one_of(name: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
