"""Processes: how noise disperses a memory over time."""

from typing import TYPE_CHECKING

import lazy_loader

from dispersed.processes.process import Process
from dispersed.processes.rates import Constant, Cosine, Linear, Rate
from dispersed.processes.variance_exploding import VE
from dispersed.processes.variance_preserving import VP

if TYPE_CHECKING:
    from dispersed.processes.conservative import PotentialProcess
    from dispersed.processes.fokker_planck import FokkerPlanck

# Their libraries, diffrax and SciPy's sparse matrices, take nearly as long to import as JAX itself.
__getattr__, *_ = lazy_loader.attach(
    __name__, submod_attrs={"conservative": ["PotentialProcess"], "fokker_planck": ["FokkerPlanck"]}
)

__all__ = ["VE", "VP", "Constant", "Cosine", "FokkerPlanck", "Linear", "PotentialProcess", "Process", "Rate"]


def __dir__() -> list[str]:
    return __all__
