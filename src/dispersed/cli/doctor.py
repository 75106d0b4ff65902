"""`dispersed doctor`: versions, devices, and whether the numbers are right."""

import time

import typer

PACKAGES = ("dispersed", "jax", "jaxlib", "numpy", "scipy", "equinox", "diffrax", "optax")


def doctor_command() -> None:
    """Print versions and devices and check this installation in about ten seconds; exit code 1 if a check fails.

    Checked are the exact denoiser against float64 NumPy, double precision, recalls that must end at their
    pattern, and a sampler against the exact posterior. The last line of the checks is a measurement of speed.
    """
    import os
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import jax
    from rich.console import Console

    from dispersed.selftest import selftest

    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"{'python':10} {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in PACKAGES:
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "not installed as a package"
        console.print(f"{package:10} {found}")
    devices = ", ".join(f"{device.device_kind} ({device.platform}:{device.id})" for device in jax.devices())
    console.print(f"{'devices':10} {devices}; {os.cpu_count()} processor cores\n")
    start, failed = time.perf_counter(), []
    for check in selftest():
        console.print(f"{'pass' if check.passed else 'FAIL'}  {check.name:10} {check.found}")
        failed += [] if check.passed else [check.name]
    seconds = time.perf_counter() - start
    if failed:
        console.print(f"\nFailed in {seconds:.0f} s: {', '.join(failed)}. Results here are not to be trusted.")
        raise typer.Exit(1)
    console.print(f"\nAll is well, in {seconds:.0f} s.")
