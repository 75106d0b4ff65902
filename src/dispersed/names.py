"""Dynamics by name, of the library and of other packages; nothing is imported before it is used.

Command line, explorer, experiments and `dispersed.dynamics.named` share these names. Another package adds a dynamics by
an entry point, in its pyproject.toml:

    [project.entry-points."dispersed.dynamics"]
    annealing = "its_module:Annealing"
"""

from dataclasses import dataclass
from importlib.metadata import entry_points

GROUP = "dispersed.dynamics"
"""The group of the entry points."""


@dataclass(frozen=True)
class Registered:
    """A class of dynamics that has a name."""

    target: str
    """Where the class is, as `module:Class`."""
    help: str
    """What it does, in a few words."""

    @property
    def class_name(self) -> str:
        """The name of the class in its module."""
        return self.target.partition(":")[2]


def _builtin(name: str, text: str) -> Registered:
    return Registered(f"dispersed.dynamics:{name}", text)


BUILTIN = {
    "multistep": _builtin("MultistepFlow", "the flow by a multistep method, from any noise level in few steps"),
    "exponential": _builtin("ExponentialIntegrator", "exponential integrator of order 2, in few steps"),
    "ddim": _builtin("DDIM", "exponential integrator of order 1"),
    "dpm-2m": _builtin("DPMSolver2M", "DPM-Solver++(2M) as published"),
    "dpm-3m": _builtin("DPMSolver3M", "DPM-Solver++(3M) as published"),
    "heun": _builtin("Heun", "Heun's method in σ (EDM)"),
    "flow": _builtin("ProbabilityFlow", "the paper's ODE, by Euler steps in t"),
    "sde": _builtin("ReverseSDE", "a posterior sample, by Euler–Maruyama steps in t"),
    "ancestral": _builtin("AncestralSampling", "a posterior sample, by few steps in σ"),
    "certified": _builtin("CertifiedFlow", "the flow with a certificate, for any number of patterns"),
    "iteration": _builtin("Iteration", "Hopfield updates at the cue's σ"),
    "asynchronous": _builtin("Asynchronous", "one unit after another, for binary networks"),
    "one-step": _builtin("OneStep", "the posterior mean"),
    "circuit": _builtin("Circuit", "visible and hidden neurons with time constants"),
}
"""The dynamics of the library."""


def registered_dynamics() -> dict[str, Registered]:
    """All dynamics that have a name: those of the library, then those of other packages, which replace none of them."""
    others = {
        entry.name: Registered(entry.value, f"of the package {entry.dist.name}" if entry.dist else "of another package")
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    }
    return BUILTIN | {name: other for name, other in others.items() if name not in BUILTIN}


__all__ = ["BUILTIN", "GROUP", "Registered", "registered_dynamics"]
