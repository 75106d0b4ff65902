"""Dynamics made by their names."""

import importlib
import inspect
from typing import Any

from dispersed.dynamics.dynamics import Dynamics
from dispersed.names import registered_dynamics
from dispersed.validation import InputError


def named(name: str, **settings: Any) -> Dynamics:
    """The dynamics of that name, with these settings and its own defaults for the others.

    `dispersed.names.registered_dynamics()` lists the names; other packages add theirs by entry points.

    Raises `InputError` for a name or a setting that does not exist, and for a dynamics that cannot be imported.

    >>> named("heun", steps=10).steps
    10
    """
    kind = class_named(name)
    accepted = inspect.signature(kind).parameters
    for setting, value in settings.items():
        if setting not in accepted:
            taken = f"it takes {', '.join(accepted)}" if accepted else "it takes no settings"
            raise InputError(setting, f"got {value!r} for the dynamics {name}", taken)
    return kind(**settings)


def class_named(name: str) -> type[Dynamics]:
    """The class of dynamics of that name."""
    known = registered_dynamics()
    if name not in known:
        raise InputError("dynamics", f"got {name!r:.60}", f"{', '.join(known)} are accepted")
    module, _, attribute = known[name].target.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        given = f"{name!r}, {known[name].help}, cannot be imported ({error})"
        raise InputError("dynamics", given, f"an entry point {name} = module:Class is accepted") from None
    if not (isinstance(kind, type) and issubclass(kind, Dynamics)):
        given = f"{name!r}, {known[name].help}, is {kind!r:.60}"
        raise InputError("dynamics", given, "a class derived from dispersed.dynamics.Dynamics is accepted")
    return kind


__all__ = ["class_named", "named"]
