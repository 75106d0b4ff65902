"""A test bench for samplers: problems whose posterior is known exactly, and tests of what a sampler draws.

`check(sampler, problem)` says whether a sampler draws from the exact posterior of one problem, `judge(sampler)` of all
`standard_problems()`; `calibration` and `convergence` look at many problems and at many step counts.
"""

from dispersed.testbench.calibration import Calibration, calibration
from dispersed.testbench.check import LEVEL, Check, check
from dispersed.testbench.convergence import Convergence, convergence
from dispersed.testbench.judge import Verdict, judge
from dispersed.testbench.problem import Problem
from dispersed.testbench.samplers import azula_sampler, diffusers_sampler, dynamics_sampler, k_diffusion_sampler
from dispersed.testbench.standard import standard_problems

__all__ = [
    "LEVEL",
    "Calibration",
    "Check",
    "Convergence",
    "Problem",
    "Verdict",
    "azula_sampler",
    "calibration",
    "check",
    "convergence",
    "diffusers_sampler",
    "dynamics_sampler",
    "judge",
    "k_diffusion_sampler",
    "standard_problems",
]
