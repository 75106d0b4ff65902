"""Every class that is a memory, built small, each with its oracle and with what it cannot do."""

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import dispersed
from dispersed import (
    Box,
    ClassicalHopfield,
    DenseHopfield,
    EnergyNetwork,
    Entmax,
    EpanechnikovHopfield,
    Exponential,
    FenchelYoungHopfield,
    GaussianMemory,
    LearnedMemory,
    LocalMemory,
    Mixture,
    ModernHopfield,
    Observation,
    PatternMemory,
    Polynomial,
    PseudoInverse,
    RandomFeatureHopfield,
    ReconstructiveMemory,
    Segment,
    SequenceMemory,
    Smoothed,
    SparseHopfield,
    Sphere,
    Subspace,
    SumOfCores,
    UniversalHopfield,
    condition,
    engines,
    manifold,
)
from dispersed.engines import Scanned
from dispersed.memories import AssociativeMemory
from dispersed.storage import Bits, Encoding, Float16, InMemory, Int8, save_patterns

from ..memories import oracle
from ..memories.oracle import Gaussians

D = 3
# Multiples of 1/8, which half precision holds too.
Y = np.array([[1.0, 0.5, -0.25], [-0.75, 1.25, 0.5], [0.25, -1.0, 0.875], [-0.5, -0.5, -1.125], [1.0, 0.5, 0.25]])
SIGNS = np.array([[1.0, 1, -1], [-1, 1, 1], [1, -1, 1]])
WEIGHTS = np.array([0.3, 0.1, 0.0, 0.35, 0.25])
MIDDLE = np.array([0.125, 0.25, -0.375])
FACTOR = np.array([[1.0, 0.25], [0.5, -0.5], [0, 0.25]])
PLANE = np.array([[1.0, 2, 0], [0, 1, 1]])
CORE = np.array([[1.0, 0.5, 0.0]])
CORES = np.array([[0.5], [-1.0], [0.25]])
NEIGHBOURS = np.array([[2.0, 0, 0], [0, -2.0, 0.5]])
"""The other component of mixtures."""

KNOWN = np.array([True, False, True])
SEEN = np.array([0.5, 0.0, -0.25])
"""An observed state; its second entry is not known."""
TAU = 0.5
ROWS = np.eye(3)[KNOWN]
"""The operator that the mask is."""
OPERATOR = np.array([[1.0, 0.5, -0.25], [0.5, 0.0, 1.0]])
VALUE = np.array([0.25, -0.375])
LEVELS = np.array([0.5, 0.75])
"""A measurement of two numbers, each with a noise of its own."""
BANDWIDTH = 0.375
LEVEL = 0.625
"""The noise level of memories that are held as networks."""

DENOISER = frozenset({"denoise", "score", "jacobian", "nearest", "posterior"})
MEMORY = DENOISER | {"log_density", "energy", "hessian", "responsibilities", "project"}
NETWORK = frozenset({"energy", "update", "nearest"})


@dataclasses.dataclass(frozen=True)
class Case:
    """One class, or one way in which it computes."""

    make: Callable[[float], Any]
    """The memory, moved by an offset: another memory of the same shapes."""
    oracle: Callable[[], Any]
    does: frozenset[str] = MEMORY
    """The public methods of states that it has; others are missing or raise one `InputError`."""
    proper: bool = True
    """Whether it is a distribution that can be drawn from."""
    completes: bool = True
    """Whether it can be conditioned on known entries."""
    measures: bool = True
    """Whether it can be conditioned on other linear measurements, if it completes."""
    far: bool = True
    """Whether levels and states at the ends of single precision have finite results: not where a density is
    differentiated, a network is told α, or logits are products.
    """
    gap: float = 0.0
    """The distance between the nodes of a shape's quadrature, which `project` may differ by."""
    single: bool = False
    """Whether its arrays are in single precision whatever they were made of."""


def _patterns(**arguments):
    return lambda offset=0.0: PatternMemory(Y + offset, **arguments)


def _stored(encoding: Encoding, y: np.ndarray = Y):
    def make(offset=0.0):
        moved = turned(offset) if isinstance(encoding, Bits) else y + offset
        return PatternMemory(InMemory(moved, encoding))

    return make


def _stored_oracle(encoding: Encoding, y: np.ndarray = Y):
    return lambda: points(InMemory(y, encoding).rows(np.arange(len(y))))


def mapped(folder: Any, offset: float = 0.0) -> PatternMemory:
    """Patterns that stay in a file."""
    path = folder / f"patterns{offset}.npy"
    if not path.exists():
        save_patterns(path, (Y + offset).astype(np.float32))
    return PatternMemory(path)


def points(y: Any = Y, weights: Any = None) -> Gaussians:
    with np.errstate(divide="ignore"):
        log_w = None if weights is None else np.log(weights / np.sum(weights))
    return Gaussians(y, log_w, labels=np.arange(len(y)))


def _shape(nodes, log_w=None) -> Gaussians:
    return Gaussians(nodes, log_w)


def _segment() -> Gaussians:
    u, log_w = oracle.grid([0.0], [1.0], 80)
    return _shape(MIDDLE + u * (Y[1] - MIDDLE), log_w)


def _rows() -> np.ndarray:
    """`PLANE`, made orthonormal one after the other."""
    first = PLANE[0] / np.linalg.norm(PLANE[0])
    second = PLANE[1] - (PLANE[1] @ first) * first
    return np.stack([first, second / np.linalg.norm(second)])


def _plane(low, high, count, proper) -> Gaussians:
    u, log_w = oracle.grid(low, high, count, proper)
    return _shape(MIDDLE + u @ _rows()[: len(low)], log_w)


def _open_box() -> Gaussians:
    """A coordinate without limits counts one per unit of length."""
    nodes, log_w = oracle.grid([-14.0, 0.25, 0.0], [14.0, 0.25, 0.5], 180)
    return _shape(nodes, log_w + np.log(28.0))


def _sphere() -> Gaussians:
    z, log_w = oracle.gauss_legendre(-1, 1, 60)
    angle = np.arange(120) / 120 * 2 * np.pi
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    nodes = [np.column_stack([np.sqrt(1 - h * h) * ring, np.full(120, h)]) for h in z]
    return _shape(MIDDLE + 0.875 * np.concatenate(nodes), np.repeat(log_w - np.log(2 * 120), 120))


def _circle() -> Gaussians:
    angle = np.arange(200) / 200 * 2 * np.pi
    return _shape(MIDDLE + 0.875 * np.stack([np.cos(angle), np.sin(angle)], axis=1) @ _rows())


def _gaussian() -> Gaussians:
    return Gaussians([MIDDLE], [0.0], [FACTOR @ FACTOR.T])


def _semantic(offset=0.0) -> Mixture:
    blobs = [GaussianMemory(Y[k] + offset, FACTOR * (1 + k)) for k in range(2)]
    return Mixture(blobs, [1.0, 2.0])


def _semantic_oracle() -> Gaussians:
    parts = [Gaussians([Y[k]], [0.0], [(1 + k) ** 2 * FACTOR @ FACTOR.T]) for k in range(2)]
    return oracle.mixture(parts, [1.0, 2.0])


def _reconstructive_oracle(noise) -> Gaussians:
    """Each event is the semantic memory given its core."""
    events = [_semantic_oracle().observed(CORE, core, noise) for core in CORES]
    log_w = [event.log_w - np.logaddexp.reduce(event.log_w) - np.log(len(CORES)) for event in events]
    return Gaussians(
        np.concatenate([event.means for event in events]),
        np.concatenate(log_w),
        np.concatenate([event.covariances for event in events]),
        np.repeat(np.arange(len(CORES)), 2),
    )


def first_unit(x):
    return x[:1]


def linear_core(x):
    return jnp.asarray(CORE, x.dtype) @ x


def _sum_of_cores() -> Gaussians:
    at = np.column_stack([CORES, np.zeros((len(CORES), 2))])
    semantic = _semantic_oracle()
    zero = np.zeros((len(CORES), D, D))
    return Gaussians(
        np.concatenate([at, semantic.means]),
        np.concatenate([np.zeros(len(CORES)), semantic.log_w]),
        np.concatenate([zero, semantic.covariances]),
    )


def saturating(overlaps):
    return jnp.arctan(overlaps)


class Signs(eqx.Module):
    """The denoiser of independent ±1 units, scaled, as a trained network would predict it."""

    scale: jax.Array
    predicts: str = eqx.field(static=True)

    def __call__(self, x, level):
        sigma = level if self.predicts == "pattern" else jnp.sqrt(1 - level**2) / level
        z = x if self.predicts == "pattern" else x / level
        scale = self.scale.astype(x.dtype)
        y = scale * jnp.tanh(scale * z / sigma**2)
        return y if self.predicts == "pattern" else (z - y) / sigma


def _learned(predicts, coordinates):
    return lambda offset=0.0: LearnedMemory(Signs(jnp.asarray(1 + offset), predicts), D, predicts, coordinates)


def _corners() -> Gaussians:
    return Gaussians(np.stack(np.meshgrid(*[[-1.0, 1.0]] * D), axis=-1).reshape(-1, D))


def wells(centre, x):
    """An energy with two minima a unit."""
    return jnp.sum((x**2 - 1) ** 2) / 8 + jnp.sum((x - centre) ** 2) / 2


FREQUENCIES, FEATURES = jax.random.key(1), 500
ACTIVE = (SIGNS + 1) / 2
"""The ±1 patterns as units that are active or not."""


def turned(offset: float) -> np.ndarray:
    """The ±1 patterns, or other ones."""
    return np.array([[1.0, 1, 1], [-1, 1, 1], [1, -1, -1]]) if offset else SIGNS


def curve(u):
    return jnp.concatenate([jnp.cos(u), jnp.sin(u), u / 4])


def _curve_oracle() -> Gaussians:
    u, log_w = oracle.gauss_legendre(0.0, 2.0, 40)
    return points(np.stack([np.cos(u), np.sin(u), u / 4], axis=1), np.exp(log_w))


class ObservedOracle:
    """Patterns given the observed entries of one state with the noise of the level asked for."""

    labels = True

    def __init__(self, base: Gaussians):
        self.base = base

    def denoise(self, x, sigma):
        return np.where(KNOWN, SEEN, self.base.conditioned(ROWS, SEEN[KNOWN], sigma).moments()[0])

    def score(self, x, sigma):
        return (self.denoise(x, sigma) - x) / sigma**2

    def jacobian(self, x, sigma):
        return np.zeros((D, D))

    def nearest(self, x, sigma):
        p = np.exp(self.base.conditioned(ROWS, SEEN[KNOWN], sigma).log_w)
        return p.argmax(), p.max()


def observed(make: Callable[[float], Any]) -> Callable[[float], Any]:
    def of(offset=0.0):
        dtype = jnp.result_type(float)
        return make(offset).observing(jnp.asarray(SEEN, dtype), jnp.asarray(KNOWN), jnp.asarray(TAU, dtype))[0]

    return of


ROW, COLUMN = Y[:, None], Y[:, :, None, None]
"""The patterns as images of one row, and of one column and channel."""
NO_LIST = MEMORY - {"responsibilities"}
inf = np.inf

CASES: dict[str, Case] = {
    "patterns": Case(_patterns(), points),
    "weighted patterns": Case(_patterns(weights=WEIGHTS), lambda: points(Y, WEIGHTS)),
    "one pattern": Case(lambda offset=0.0: PatternMemory(Y[:1] + offset), lambda: points(Y[:1])),
    "scanned": Case(_patterns(engine=Scanned()), points, single=True),
    "scanned, weighted": Case(_patterns(weights=WEIGHTS, engine=Scanned()), lambda: points(Y, WEIGHTS), single=True),
    "scanned float16": Case(_stored(Float16()), _stored_oracle(Float16()), single=True),
    "scanned int8": Case(_stored(Int8()), _stored_oracle(Int8()), single=True),
    "scanned bits": Case(_stored(Bits(), SIGNS), _stored_oracle(Bits(), SIGNS), single=True),
    "manifold": Case(lambda offset=0.0: manifold(curve, [offset], [2.0 + offset], 40), _curve_oracle),
    "segment": Case(lambda offset=0.0: Segment(MIDDLE + offset, Y[1]), _segment, NO_LIST, gap=0.05),
    "box": Case(
        lambda offset=0.0: Box([-1.0 + offset, 0.25, 0.0], [1.0 + offset, 0.25, 0.5]),
        lambda: _shape(*oracle.grid([-1.0, 0.25, 0.0], [1.0, 0.25, 0.5], 40)),
        NO_LIST,
        measures=False,
        gap=0.1,
    ),
    "open box": Case(
        lambda offset=0.0: Box([-inf, 0.25 + offset, 0.0], [inf, 0.25 + offset, 0.5]),
        _open_box,
        NO_LIST,
        proper=False,
        measures=False,
        gap=0.3,
    ),
    "line": Case(
        lambda offset=0.0: Subspace(MIDDLE + offset, PLANE[:1], -0.5, 0.75),
        lambda: _plane([-0.5], [0.75], 60, True),
        NO_LIST,
        gap=0.05,
    ),
    "tile": Case(
        lambda offset=0.0: Subspace(MIDDLE + offset, PLANE, -0.5, [0.75, 1.0]),
        lambda: _plane([-0.5, -0.5], [0.75, 1.0], 40, True),
        NO_LIST,
        completes=False,
        gap=0.1,
    ),
    "plane": Case(
        lambda offset=0.0: Subspace(MIDDLE + offset, PLANE),
        lambda: _plane([-12.0, -12.0], [12.0, 12.0], 130, False),
        NO_LIST,
        proper=False,
        gap=0.5,
    ),
    "sphere": Case(lambda offset=0.0: Sphere(MIDDLE + offset, 0.875), _sphere, NO_LIST, gap=0.1),
    "circle": Case(lambda offset=0.0: Sphere(MIDDLE + offset, 0.875, PLANE), _circle, NO_LIST, gap=0.05),
    "gaussian": Case(lambda offset=0.0: GaussianMemory(MIDDLE + offset, FACTOR), _gaussian, NO_LIST),
    "mixture": Case(_semantic, _semantic_oracle),
    "smoothed": Case(
        lambda offset=0.0: Smoothed(PatternMemory(Y + offset, WEIGHTS), BANDWIDTH),
        lambda: points(Y, WEIGHTS).smoothed(BANDWIDTH),
        MEMORY - {"project"},
    ),
    "cores": Case(
        lambda offset=0.0: ReconstructiveMemory(_semantic(offset), CORE, CORES), lambda: _reconstructive_oracle(0.0)
    ),
    "noisy cores": Case(
        lambda offset=0.0: ReconstructiveMemory(_semantic(offset), linear_core, CORES, noise=0.25),
        lambda: _reconstructive_oracle(0.25),
    ),
    "sum of cores": Case(
        lambda offset=0.0: SumOfCores(_semantic(offset), first_unit, CORES),
        _sum_of_cores,
        NO_LIST - {"project"},
        proper=False,
        completes=False,
        far=False,
    ),
    "learned pattern": Case(_learned("pattern", "VE"), _corners, DENOISER, completes=False),
    "learned noise": Case(_learned("noise", "VP"), _corners, DENOISER, completes=False, far=False),
    "local": Case(
        lambda offset=0.0: LocalMemory(ROW + offset, 3), lambda: oracle.LocalDenoiser(ROW, 3), DENOISER, completes=False
    ),
    "local, equivariant": Case(
        lambda offset=0.0: LocalMemory(COLUMN + offset, 1, equivariant=True),
        lambda: oracle.LocalDenoiser(COLUMN, 1, True),
        DENOISER,
        completes=False,
    ),
    "observed patterns": Case(observed(_patterns()), lambda: ObservedOracle(points()), DENOISER, completes=False),
    "observed scanned patterns": Case(
        observed(_stored(Float16())),
        lambda: ObservedOracle(_stored_oracle(Float16())()),
        DENOISER,
        completes=False,
        single=True,
    ),
}
if hasattr(engines, "Sharded"):
    CASES["sharded"] = Case(_patterns(engine=engines.Sharded()), points, single=True)

NETWORKS: dict[str, Case] = {
    "classical": Case(
        lambda offset=0.0: ClassicalHopfield(turned(offset)),
        lambda: oracle.BinaryNetwork(SIGNS, lambda a: a * a / 2, diagonal=len(SIGNS)),
        NETWORK | {"responsibilities"},
    ),
    "classical with its diagonal": Case(
        lambda offset=0.0: ClassicalHopfield(turned(offset), self_coupling=True),
        lambda: DiagonalOracle(SIGNS, lambda a: a * a / 2),
        NETWORK | {"responsibilities"},
    ),
    "dense cubic": Case(
        lambda offset=0.0: DenseHopfield(turned(offset), Polynomial(3)),
        lambda: oracle.BinaryNetwork(SIGNS, lambda a: a**3, scale=D),
        NETWORK | {"responsibilities"},
    ),
    "dense exponential": Case(
        lambda offset=0.0: DenseHopfield(turned(offset), Exponential(0.5)),
        lambda: oracle.BinaryNetwork(SIGNS, lambda a: np.exp(0.5 * a), h=np.log),
        NETWORK | {"responsibilities"},
    ),
    "dense of a function": Case(
        lambda offset=0.0: DenseHopfield(turned(offset), saturating),
        lambda: oracle.BinaryNetwork(SIGNS, np.arctan),
        NETWORK | {"responsibilities"},
    ),
    "modern": Case(
        lambda offset=0.0: ModernHopfield(Y + offset, 1.5),
        lambda: oracle.ContinuousNetwork(Y, 1.5),
        NETWORK | {"responsibilities"},
    ),
    "pseudo-inverse": Case(
        lambda offset=0.0: ClassicalHopfield(turned(offset)[:2], rule=PseudoInverse()),
        lambda: oracle.PairwiseNetwork(SIGNS[:2]),
        NETWORK | {"responsibilities"},
    ),
    "sparse": Case(
        lambda offset=0.0: SparseHopfield((turned(offset) + 1) / 2),
        lambda: oracle.SparseNetwork(ACTIVE),
        NETWORK | {"responsibilities"},
    ),
    "sequence": Case(
        lambda offset=0.0: SequenceMemory(turned(offset), Polynomial(3)),
        lambda: oracle.SequenceNetwork(SIGNS, lambda a: a**3),
        NETWORK - {"energy"},
    ),
    "entmax": Case(
        lambda offset=0.0: FenchelYoungHopfield(Y + offset, 0.75),
        lambda: oracle.EntmaxNetwork(Y, 0.75),
        NETWORK | {"responsibilities"},
    ),
    "universal": Case(
        lambda offset=0.0: UniversalHopfield(Y + offset, "euclidean", Exponential(1.5)),
        lambda: oracle.EuclideanNetwork(Y, 1.5),
        NETWORK | {"responsibilities"},
    ),
    "universal without energy": Case(
        lambda offset=0.0: UniversalHopfield(Y + offset, "manhattan", Entmax(2.0, 0.75)),
        lambda: oracle.ManhattanNetwork(Y, 0.75),
        NETWORK - {"energy"} | {"responsibilities"},
    ),
    "epanechnikov": Case(
        lambda offset=0.0: EpanechnikovHopfield(Y + offset, 0.25),
        lambda: oracle.EpanechnikovNetwork(Y, 0.25),
        NETWORK | {"responsibilities"},
    ),
    "energy": Case(
        lambda offset=0.0: EnergyNetwork(functools.partial(wells, MIDDLE + offset), D),
        lambda: oracle.DescentNetwork(
            lambda x: np.sum((x**2 - 1) ** 2) / 8 + np.sum((x - MIDDLE) ** 2) / 2,
            lambda x: x * (x**2 - 1) / 2 + x - MIDDLE,
            lambda x: np.diag((3 * x**2 - 1) / 2 + 1),
            np.asarray(jax.random.normal(jax.random.key(0), (D,))),
        ),
        NETWORK,
    ),
    "random features": Case(
        lambda offset=0.0: RandomFeatureHopfield(Y + offset, 0.25, FEATURES, FREQUENCIES),
        lambda: oracle.random_features(
            Y,
            0.25,
            np.sqrt(0.25) * np.asarray(jax.random.normal(FREQUENCIES, (FEATURES, D))),
            np.asarray(jax.random.normal(jax.random.key(0), (D,))),
        ),
        NETWORK,
    ),
    "held patterns": Case(
        lambda offset=0.0: PatternMemory(Y + offset).at(LEVEL), lambda: oracle.HeldNetwork(points(), LEVEL), NETWORK
    ),
    "held learned": Case(
        lambda offset=0.0: _learned("pattern", "VE")(offset).at(LEVEL),
        lambda: oracle.HeldNetwork(_corners(), LEVEL),
        NETWORK - {"energy"},
    ),
    "held scanned": Case(
        lambda offset=0.0: _stored(Float16())(offset).at(LEVEL),
        lambda: oracle.HeldNetwork(_stored_oracle(Float16())(), LEVEL),
        NETWORK,
        single=True,
    ),
    "clamped": Case(
        observed(lambda offset=0.0: ModernHopfield(Y + offset, 1.5)),
        lambda: oracle.ClampedNetwork(oracle.ContinuousNetwork(Y, 1.5), SEEN, KNOWN),
        NETWORK,
    ),
}


class DiagonalOracle(oracle.BinaryNetwork):
    """The classical network with couplings of units to themselves: x ← sign(Wx)."""

    def field(self, x):
        return self.patterns.T @ (self.patterns @ x)


def in_mixture(case: Case) -> Case:
    """The memory as one of two components."""
    return dataclasses.replace(
        case,
        make=lambda offset=0.0: Mixture([case.make(offset), PatternMemory(NEIGHBOURS)], [1.0, 3.0]),
        oracle=lambda: oracle.mixture([case.oracle(), points(NEIGHBOURS)], [1.0, 3.0]),
        does=case.does | {"responsibilities"},
    )


def in_smoothed(case: Case) -> Case:
    """The memory with less detail."""
    return dataclasses.replace(
        case,
        make=lambda offset=0.0: Smoothed(case.make(offset), BANDWIDTH),
        oracle=lambda: case.oracle().smoothed(BANDWIDTH),
        does=case.does - {"project"},
    )


def conditioned(case: Case) -> Case:
    """The memory after some entries of a state were observed."""
    return dataclasses.replace(
        case,
        make=lambda offset=0.0: condition(case.make(offset), Observation(SEEN, mask=KNOWN, sigma=TAU)),
        oracle=lambda: case.oracle().conditioned(ROWS, SEEN[KNOWN], TAU),
        does=case.does - {"project"},
    )


def measured(case: Case) -> Case:
    """The memory after a linear measurement."""
    return dataclasses.replace(
        case,
        make=lambda offset=0.0: condition(case.make(offset), Observation(VALUE, operator=OPERATOR, sigma=LEVELS)),
        oracle=lambda: case.oracle().conditioned(OPERATOR, VALUE, LEVELS),
        does=case.does - {"project"},
    )


def classes() -> set[type]:
    """Every concrete class of the library that is a memory, private ones included."""
    for module in pkgutil.walk_packages(dispersed.__path__, "dispersed."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, queue = set(), [AssociativeMemory]
    while queue:
        children = queue.pop().__subclasses__()
        queue += children
        found |= {c for c in children if c.__module__.startswith("dispersed.") and not inspect.isabstract(c)}
    return found


def covered(memory: Any) -> set[type]:
    """The classes that a memory is made of."""
    inside: list[Any] = []

    def visit(node: Any) -> bool:
        if isinstance(node, AssociativeMemory):
            inside.append(node)
        return False

    jax.tree.leaves(memory, is_leaf=visit)
    return {type(node) for node in inside}


__all__ = ["CASES", "NETWORKS", "Case", "classes", "conditioned", "covered", "in_mixture", "in_smoothed", "measured"]
