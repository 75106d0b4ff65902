"""Where each equation of the paper lives: its symbol, and the file and line of that.

**Source**: Ambrogioni (2023), In search of dispersed memories. Equations by number, sections by name.
"""

import functools
import inspect
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dispersed


@dataclass(frozen=True)
class Equation:
    """One equation or section of the paper, and the symbol that is its code."""

    place: int | str
    """The number of an equation, or a section such as "5.1"."""
    about: str
    symbol: str
    """Module and name, `module:name`."""

    @property
    def name(self) -> str:
        """As the paper refers to it: Eq. 12, Sec. 5.1."""
        return f"Eq. {self.place}" if isinstance(self.place, int) else f"Sec. {self.place}"

    @property
    def object(self) -> Any:
        """The class, function or method itself; a property's getter."""
        found = pkgutil.resolve_name(self.symbol)
        return getattr(found, "fget", found)

    @property
    def summary(self) -> str:
        """The first line of the symbol's docstring, which names the equation."""
        return (inspect.getdoc(self.object) or "").split("\n")[0]

    @functools.cached_property
    def file(self) -> str:
        """The file, from the folder of the package on."""
        path = Path(inspect.getsourcefile(inspect.unwrap(self.object)) or "")
        return path.relative_to(Path(dispersed.__file__).parent.parent).as_posix()

    @functools.cached_property
    def line(self) -> int:
        """The line on which the symbol begins."""
        return inspect.getsourcelines(inspect.unwrap(self.object))[1]

    def __str__(self) -> str:
        return f"{self.name}, {self.about}: {self.symbol} ({self.file}:{self.line})"


equations: dict[int | str, Equation] = {
    place: Equation(place, about, f"dispersed.{symbol}")
    for place, about, symbol in (
        (1, "update of the classical Hopfield network", "memories.hopfield_classical:ClassicalHopfield"),
        (2, "its energy", "memories.hopfield_classical:ClassicalHopfield._energy"),
        (3, "its Hebbian couplings", "memories.hopfield_classical:ClassicalHopfield.couplings"),
        (4, "dense associative memory", "memories.hopfield_dense:DenseHopfield"),
        (5, "modern Hopfield network", "memories.hopfield_modern:ModernHopfield"),
        (6, "variance-exploding noise", "processes.variance_exploding:VE"),
        (7, "reverse-time SDE", "dynamics.reverse_sde:ReverseSDE"),
        (8, "kernel of the noise", "processes.process:Process.corrupt"),
        (9, "denoising loss", "learning.loss:denoising_loss"),
        (10, "score of a trained network", "memories.learned:LearnedMemory"),
        (11, "energy of any memory", "memories.memory:Memory.energy"),
        (12, "energy of stored patterns", "memories.patterns:PatternMemory"),
        (13, "the square in it expanded", "memories.hopfield_modern:ModernHopfield.memory"),
        (14, "equivalence with the modern Hopfield network", "memories.held:Held"),
        (15, "conservative noise", "processes.conservative:PotentialProcess"),
        (16, "its reverse-time SDE", "processes.conservative:PotentialProcess.reverse_drift"),
        (17, "its marginal density", "processes.fokker_planck:FokkerPlanck.density"),
        (18, "its energy", "processes.conservative:PotentialProcess.energy"),
        (19, "its linearised kernel", "processes.conservative:PotentialProcess.linearised"),
        (20, "limit of its kernel", "processes.conservative:PotentialProcess.limit_log_kernel"),
        (21, "limit of its energy", "processes.conservative:PotentialProcess.limit_energy"),
        (22, "synaptic update", "plasticity.online:online_update"),
        (23, "extended memories", "memories.extended:Extended"),
        (24, "semantic memories", "memories.manifold:manifold"),
        (25, "reconstructive memories", "memories.reconstructive:ReconstructiveMemory"),
        (26, "variance-preserving noise", "processes.variance_preserving:VP"),
        (27, "probability-flow ODE", "dynamics.probability_flow:ProbabilityFlow"),
        (28, "exact score of stored patterns", "memories.patterns:PatternMemory"),
        (29, "responsibilities of the patterns", "memories.memory:Memory.responsibilities"),
        ("5.1", "probabilistic recall", "dynamics.posterior:recall_many"),
        ("5.2", "higher-dimensional memories", "diagnostics:local_dimension"),
        ("6.1", "semantic and episodic memory", "memories.smoothed:Smoothed"),
        ("6.2", "consolidation and replay", "consolidation.replay:replay"),
    )
}
"""Every equation by its number, and Sections 5.1, 5.2, 6.1 and 6.2 by theirs as text."""
