"""Types of calls that return an estimate where `dry_run=True`, and a store otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, cast, overload

if TYPE_CHECKING:
    from ldmscene.store import ActivationStore

P = ParamSpec("P")
Q = ParamSpec("Q")


class StoreOrEstimate(Protocol[P, Q]):
    """A call with the arguments P, or with Q, those of its dry run."""

    @overload
    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> dict[str, float]: ...

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> ActivationStore: ...


def estimated_by(dry: Callable[Q, Any]) -> Callable[[Callable[P, Any]], StoreOrEstimate[P, Q]]:
    """Tell type checkers with which arguments a function returns an estimate; it stays as it is."""
    return lambda function: cast(Any, function)
