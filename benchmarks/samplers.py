"""Samplers of this library, diffusers, azula and k-diffusion on all standard problems of the test bench.

Every sampler has the exact denoiser and 100 steps, and is judged by 4,000 samples of each problem at the level 10⁻³ for
all problems together. Deterministic samplers are judged on the problems from noise: from one cue they return one state,
which is no draw of the posterior. Packages that are not installed are named and left out.

    pip install diffusers azula k-diffusion
    python -m benchmarks.samplers --json samplers.json
"""

import argparse
import importlib
import importlib.util
import json
import sys
import time
import types
from pathlib import Path

import jax

import dispersed
from benchmarks.timing import show
from dispersed.testbench import (
    azula_sampler,
    diffusers_sampler,
    dynamics_sampler,
    judge,
    k_diffusion_sampler,
    standard_problems,
)

STEPS = 100
LAST = 0.01


def k_diffusion_sampling():
    """`k_diffusion.sampling` without what the rest of that package imports, of which sampling uses nothing."""
    try:
        return importlib.import_module("k_diffusion.sampling")
    except (ImportError, RuntimeError):
        spec = importlib.util.find_spec("k_diffusion")
        if spec is None:
            raise
    package = types.ModuleType("k_diffusion")
    package.__spec__, package.__path__ = spec, list(spec.submodule_search_locations)
    names = ("torchvision", "torchvision.transforms")
    missing = {name: types.ModuleType(name) for name in names if name not in sys.modules}
    missing["torchvision.transforms"].functional = None
    before = sys.modules.copy()
    sys.modules.update(missing | {"k_diffusion": package})
    try:
        return importlib.import_module("k_diffusion.sampling")
    finally:
        for name in missing:
            sys.modules.pop(name)
            if name in before:
                sys.modules[name] = before[name]


def ours():
    """Name, sampler, and whether it draws: the dynamics that recall by the denoiser alone."""
    for name in ("exponential", "ddim", "dpm-2m", "dpm-3m", "heun"):
        yield name, dynamics_sampler(dispersed.dynamics.named(name, steps=STEPS, sigma_min=LAST)), False
    yield "flow", dynamics_sampler(dispersed.dynamics.named("flow", steps=STEPS)), False
    for order in (1, 2):
        made = dispersed.AncestralSampling(STEPS, order, sigma_min=LAST)
        yield f"ancestral, order {order}", dynamics_sampler(made), True
    yield "sde", dynamics_sampler(dispersed.dynamics.named("sde", steps=4 * STEPS)), True


def of_diffusers():
    diffusers = importlib.import_module("diffusers")

    def made(name, **config):
        return diffusers_sampler(getattr(diffusers, name), STEPS, LAST, **config)

    yield "DDPM, small variance", made("DDPMScheduler", variance_type="fixed_small"), True
    yield "DDPM, large variance", made("DDPMScheduler", variance_type="fixed_large"), True
    yield "DDIM, η = 1", made("DDIMScheduler", eta=1.0), True
    yield "DDIM, η = 0", made("DDIMScheduler", eta=0.0), False
    yield "Euler ancestral", made("EulerAncestralDiscreteScheduler"), True
    yield "Euler", made("EulerDiscreteScheduler"), False
    yield "Heun", made("HeunDiscreteScheduler"), False
    yield "DPM-Solver++ 2M", made("DPMSolverMultistepScheduler"), False
    yield "DPM-Solver++ 2M SDE", made("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++"), True
    yield "KDPM2 ancestral", made("KDPM2AncestralDiscreteScheduler"), True
    yield "UniPC", made("UniPCMultistepScheduler"), False


def of_azula():
    sample = importlib.import_module("azula.sample")

    def made(name, **options):
        return azula_sampler(getattr(sample, name), STEPS, LAST, **options)

    yield "DDPM", made("DDPMSampler"), True
    yield "DDIM, η = 1", made("DDIMSampler", eta=1.0), True
    yield "DDIM, η = 0", made("DDIMSampler"), False
    yield "Itô", made("ItoSampler"), True
    # Its predictor is deterministic: from one cue the corrector alone, which is short, moves the samples.
    yield "PC", made("PCSampler"), False
    for name in ("Euler", "Heun", "zAB", "xEAB"):
        yield name, made(f"{name}Sampler"), False


def of_k_diffusion():
    sampling = k_diffusion_sampling()

    def made(name, **options):
        return k_diffusion_sampler(getattr(sampling, f"sample_{name}"), STEPS, LAST, **options)

    # sample_dpm_fast and sample_dpm_adaptive choose their own levels.
    for name in (
        "euler_ancestral",
        "dpm_2_ancestral",
        "dpmpp_2s_ancestral",
        "dpmpp_sde",
        "dpmpp_2m_sde",
        "dpmpp_3m_sde",
    ):
        yield name, made(name), True
    for name in ("euler", "heun", "dpm_2", "lms", "dpmpp_2m"):
        yield name, made(name), False


FAMILIES = {"diffusers": of_diffusers, "azula": of_azula, "k-diffusion": of_k_diffusion, "dispersed": ours}


def judged(family, name, sampler, draws, problems):
    """One row: the worst of all problems, by its p-value."""
    kept = problems if draws else [problem for problem in problems if problem.cue is None]
    start = time.perf_counter()
    verdict = judge(sampler, kept, key=jax.random.key(0) if family == "dispersed" else 0)
    worst = min(verdict.checks, key=lambda one: (one.passed, one.p_value, -one.stray))
    return {
        "package": family,
        "sampler": name,
        "draws": draws,
        "problems": len(kept),
        "passed": verdict.passed,
        "failed": list(verdict.failed),
        "worst": worst.problem.name,
        "total_variation": worst.total_variation,
        "floor": worst.floor,
        "p_value": worst.p_value,
        "stray": worst.stray,
        "seconds": time.perf_counter() - start,
    }


def cases(only):
    if importlib.util.find_spec("torch"):
        # The exact denoiser computes in JAX: threads of PyTorch would only wait, and busily.
        importlib.import_module("torch").set_num_threads(1)
    for family, samplers in FAMILIES.items():
        try:
            made = list(samplers())
        except (ImportError, RuntimeError) as error:
            print(f"{family} is left out: {error}", file=sys.stderr)
            continue
        for name, sampler, draws in made:
            if only in f"{family}: {name}":
                yield family, name, sampler, draws


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="samplers whose package and name have this in them")
    parser.add_argument("--json", type=Path, help="a file for the rows; those that are in it are not measured again")
    arguments = parser.parse_args()
    known = arguments.json is not None and arguments.json.exists()
    problems, rows = standard_problems(), json.loads(arguments.json.read_text()) if known else []
    done = {(row["package"], row["sampler"]) for row in rows}
    for case in cases(arguments.only):
        if case[:2] in done:
            continue
        rows.append(judged(*case, problems))
        print(f"{len(rows)} judged, the last {case[0]}: {case[1]}", file=sys.stderr)
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, ensure_ascii=False, indent=0))
    table = [
        (
            row["package"],
            row["sampler"],
            row["problems"],
            "passed" if row["passed"] else f"FAILED {len(row['failed'])}",
            row["worst"],
            f"{row['total_variation']:.3f}",
            f"{row['floor']:.3f}",
            f"{row['p_value']:.2g}",
        )
        for row in rows
    ]
    columns = ["package", "sampler", "problems", "verdict", "least p-value on", "total variation", "floor", "p"]
    show(f"Samplers, {STEPS} steps", columns, table)


if __name__ == "__main__":
    main()
