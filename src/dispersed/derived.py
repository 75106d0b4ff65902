"""What an instance computes once and keeps beside its fields, without a change in the structure of its pytree."""

from collections.abc import Callable
from typing import Any

import equinox as eqx


class Deriving(eqx.Module):
    """A module that may keep what it derives from its fields.

    Equinox reads the structure of a pytree off `__dict__`: anything there beside the fields would make the same module
    another kind of argument to a program once it had been used, and compile the program anew. A slot is not there.
    Copies, and modules that are made from this one by changing its fields, start without.
    """

    __slots__ = ("_derived",)

    # Equinox makes a pytree of a bound method at every access, which takes longer than a small evaluation.
    __getattribute__ = object.__getattribute__

    def _once(self, name: str, compute: Callable[[], Any]) -> Any:
        """`compute()`, which is called at most once for every name."""
        try:
            known = object.__getattribute__(self, "_derived")
        except AttributeError:
            known = {}
            object.__setattr__(self, "_derived", known)
        if name not in known:
            known[name] = compute()
        return known[name]

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone, for pickles and copies."""
        return dict(self.__dict__)


__all__ = ["Deriving"]
