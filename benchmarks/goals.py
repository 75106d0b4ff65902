"""Figures beside the most that they may be, in units of what PyTorch takes for the same sums in the same run."""

from dataclasses import dataclass

from benchmarks.timing import show, side_by_side


@dataclass
class Line:
    """One figure, the most that it may be, and what it was computed from."""

    case: str
    name: str
    figure: float
    unit: str
    goal: float | None = None
    seconds: float | None = None
    torch: float | None = None
    jax: float | None = None
    error: str = ""
    torch_error: str = ""

    @property
    def reached(self) -> bool | None:
        return None if self.goal is None else self.figure <= self.goal

    @property
    def verdict(self) -> str:
        return {None: "", True: "yes", False: "NO"}[self.reached]


def report(case, lines):
    columns = ["", "s", "PyTorch s", "JAX s", "figure", "goal", "reached", "error", "PyTorch's error"]
    rows = [
        (
            line.name,
            *("" if value is None else f"{value:.3g}" for value in (line.seconds, line.torch, line.jax)),
            f"{line.figure:.3g} {line.unit}",
            "" if line.goal is None else f"{line.goal:g}",
            line.verdict,
            line.error,
            line.torch_error,
        )
        for line in lines
    ]
    show(case, columns, rows)


def warm(functions, repeats, limit):
    """Median seconds by name, of those on one thread and on all only the better."""
    times = {}
    for name, (_, median) in side_by_side(functions, repeats, limit, 0.05).items():
        name = name.removesuffix(", one thread")
        times[name] = min(median, times.get(name, median))
    return times


def against(case, name, times, ours, goal, error="", torch_error=""):
    """A line in units of PyTorch's time, or in plain JAX's without a verdict."""
    unit = times.get("torch")
    figure = times[ours] / (unit or times["jax"])
    plain, goal = times.get("jax"), goal if unit else None
    return Line(case, name, figure, "×" if unit else "× JAX", goal, times[ours], unit, plain, error, torch_error)
