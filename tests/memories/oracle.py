"""Slow, plain float64 NumPy: what the fast paths must agree with."""

import numpy as np


def log_joint(y, log_w, x, sigma):
    """log w_j + log N(x; y_j, σ²I), by differences."""
    y, x, sigma = np.asarray(y, np.float64), np.asarray(x, np.float64), float(sigma)
    squared = ((x - y) ** 2).sum(axis=1)
    return log_w - squared / (2 * sigma**2) - y.shape[1] * np.log(sigma * np.sqrt(2 * np.pi))


def log_density(y, log_w, x, sigma):
    terms = log_joint(y, log_w, x, sigma)
    return terms.max() + np.log(np.exp(terms - terms.max()).sum())


def responsibilities(y, log_w, x, sigma):
    terms = log_joint(y, log_w, x, sigma)
    r = np.exp(terms - terms.max())
    return r / r.sum()


def denoise(y, log_w, x, sigma):
    return responsibilities(y, log_w, x, sigma) @ np.asarray(y, np.float64)


class Gaussians:
    """Σ_j w_j N(m_j, C_j) in double precision by linear algebra alone; a point is a Gaussian without covariance.

    Every memory is one: patterns are points, shapes are the nodes of a quadrature rule, smoothing adds h²I to every
    covariance, and what was observed conditions each term by the textbook formula and weighs it by its evidence.
    `labels` say which terms make up a pattern or a component; weights that do not sum to one are an improper density.
    """

    def __init__(self, means, log_w=None, covariances=None, labels=None, items=None):
        self.means = np.asarray(means, float)
        n, d = self.means.shape
        self.log_w = np.full(n, -np.log(n)) if log_w is None else np.asarray(log_w, float)
        self.covariances = np.zeros((n, d, d)) if covariances is None else np.asarray(covariances, float)
        self.labels = None if labels is None else np.asarray(labels)
        self.items = items if labels is None or items is not None else int(self.labels.max()) + 1

    def _copy(self, means, log_w, covariances):
        return Gaussians(means, log_w, covariances, self.labels, self.items)

    @property
    def dimension(self):
        return self.means.shape[1]

    @property
    def points(self):
        return not self.covariances.any()

    def _terms(self, x, sigma):
        """Log joint density, denoised state and ∂D/∂x of every term."""
        x, d = np.asarray(x, float), self.dimension
        off = x - self.means
        if self.points:  # the same without solving for thousands of multiples of the identity
            inverse = np.broadcast_to(np.eye(d) / sigma**2, self.covariances.shape)
            solved, log_det = off / sigma**2, 2 * d * np.log(sigma)
        else:
            spread = self.covariances + sigma**2 * np.eye(d)
            inverse = np.linalg.inv(spread)
            solved, log_det = np.linalg.solve(spread, off[..., None])[..., 0], np.linalg.slogdet(spread)[1]
        joint = self.log_w - np.sum(off * solved, axis=1) / 2 - log_det / 2 - d / 2 * np.log(2 * np.pi)
        return joint, x - sigma**2 * solved, np.eye(d) - sigma**2 * inverse

    def _posterior(self, x, sigma):
        joint, means, slopes = self._terms(x, sigma)
        p = np.exp(joint - joint.max())
        return p / p.sum(), means, slopes

    def log_density(self, x, sigma):
        joint = self._terms(x, sigma)[0]
        return joint.max() + np.log(np.exp(joint - joint.max()).sum())

    def energy(self, x, sigma):
        return -(sigma**2) * self.log_density(x, sigma)

    def denoise(self, x, sigma):
        p, means, _ = self._posterior(x, sigma)
        return p @ means

    def score(self, x, sigma):
        return (self.denoise(x, sigma) - x) / sigma**2

    def jacobian(self, x, sigma):
        p, means, slopes = self._posterior(x, sigma)
        centred = means - p @ means
        return np.einsum("n,nij->ij", p, slopes) + (p[:, None] * centred).T @ centred / sigma**2

    def hessian(self, x, sigma):
        return np.eye(self.dimension) - self.jacobian(x, sigma)

    def sigma_slope(self, x, sigma):
        """∂ log p_σ/∂σ, by the heat equation ∂p/∂σ = σ Δp."""
        score = self.score(x, sigma)
        return sigma * (score @ score + (np.trace(self.jacobian(x, sigma)) - self.dimension) / sigma**2)

    def responsibilities(self, x, sigma):
        return np.bincount(self.labels, self._posterior(x, sigma)[0], self.items)

    def nearest(self, x, sigma):
        if self.labels is None:
            return None, None
        p = self.responsibilities(x, sigma)
        return p.argmax(), p.max()

    def entropy(self, x, sigma):
        p = self.responsibilities(x, sigma)
        return -np.sum(p[p > 0] * np.log(p[p > 0]))

    def project(self, x):
        """The nearest of all points, or of all affine subspaces that a Gaussian without some direction fills."""
        off = x - self.means
        within = self.covariances @ np.linalg.pinv(self.covariances, rcond=1e-12, hermitian=True)
        points = self.means + np.einsum("nij,nj->ni", within, off)
        return points[np.argmin(np.sum((points - x) ** 2, axis=1))]

    def moments(self):
        """Mean and covariance of the memory itself, at σ = 0."""
        w = np.exp(self.log_w - self.log_w.max())
        w /= w.sum()
        mean = w @ self.means
        off = self.means - mean
        return mean, np.einsum("n,nij->ij", w, self.covariances) + (w[:, None] * off).T @ off

    def smoothed(self, bandwidth):
        return self._copy(self.means, self.log_w, self.covariances + bandwidth**2 * np.eye(self.dimension))

    def observed(self, matrix, value, noise):
        """Given A y + noise ε = value: terms conditioned, and weighed by log N(value; A m, A C Aᵀ + noise² I).

        `noise` is one number or one for each entry of the value.
        """
        seen = matrix @ self.covariances @ matrix.T + np.diag(np.broadcast_to(np.square(noise), len(matrix)))
        gain = self.covariances @ matrix.T @ np.linalg.inv(seen)
        off = value - self.means @ matrix.T
        fit = np.einsum("ni,nij,nj->n", off, np.linalg.inv(seen), off) + np.linalg.slogdet(seen)[1]
        log_w = self.log_w - fit / 2 - len(matrix) / 2 * np.log(2 * np.pi)
        means = self.means + np.einsum("nij,nj->ni", gain, off)
        return self._copy(means, log_w, self.covariances - gain @ matrix @ self.covariances)

    @property
    def log_mass(self):
        """Log of what the weights sum to; of a memory that was `observed` the log evidence."""
        return self.log_w.max() + np.log(np.exp(self.log_w - self.log_w.max()).sum())

    def conditioned(self, matrix, value, noise):
        """The same with weights that sum to one."""
        posterior = self.observed(matrix, value, noise)
        return self._copy(posterior.means, posterior.log_w - posterior.log_mass, posterior.covariances)

    def clamped(self, x, known):
        """With the entries `known` of every term replaced by those of x."""
        free = ~known[:, None] & ~known
        return self._copy(np.where(known, x, self.means), self.log_w, self.covariances * free)

    def sample(self, rng, count, sigma=0.0):
        """Independent draws (count, d)."""
        w = np.exp(self.log_w - self.log_w.max())
        which = rng.choice(len(w), count, p=w / w.sum())
        values, vectors = np.linalg.eigh(self.covariances)
        factors = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
        noise = np.einsum("kij,kj->ki", factors[which], rng.standard_normal((count, self.dimension)))
        return self.means[which] + noise + sigma * rng.standard_normal((count, self.dimension))


def mixture(parts, weights):
    """Several of them in one, each a component."""
    weights = np.log(np.asarray(weights, float) / np.sum(weights))
    return Gaussians(
        np.concatenate([part.means for part in parts]),
        np.concatenate([part.log_w + log_w for part, log_w in zip(parts, weights, strict=True)]),
        np.concatenate([part.covariances for part in parts]),
        np.concatenate([np.full(len(part.means), k) for k, part in enumerate(parts)]),
    )


def gauss_legendre(low, high, count):
    """Nodes (count,) and the logarithms of their weights, which sum to `high` − `low`."""
    at, weight = np.polynomial.legendre.leggauss(count)
    return low + (at + 1) / 2 * (high - low), np.log(weight / 2 * (high - low))


def grid(low, high, count, proper=True):
    """Nodes of a box (k,), fixed units included, and their log weights; per unit of volume if it is not `proper`."""
    axes, weights = [], []
    for a, b in zip(low, high, strict=True):
        nodes, log_w = (np.array([a]), np.zeros(1)) if a == b else gauss_legendre(a, b, count)
        axes.append(nodes)
        weights.append(log_w - np.log(b - a) if proper and a != b else log_w)
    nodes = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    return nodes, sum(axis.ravel() for axis in np.meshgrid(*weights, indexing="ij"))


class BinaryNetwork:
    """±1 units with the energy −h(Σ_j F(xᵀy_j)), unit by unit; of the classical network F(a) = a²/2."""

    def __init__(self, patterns, interaction, h=lambda total: total, scale=1.0, diagonal=0.0):
        self.patterns, self.interaction, self.h = np.asarray(patterns, float), interaction, h
        self.scale, self.diagonal = scale, diagonal

    def energy(self, x):
        return self.diagonal * (x @ x) / 2 - self.h(np.sum(self.interaction(self.patterns @ x / self.scale)))

    def field(self, x):
        """Σ_j F(… + y_ji) − F(… − y_ji) of every unit i, all others as they are."""
        fields = []
        for i, stored in enumerate(self.patterns.T):
            rest = self.patterns @ x - stored * x[i]
            fields.append(np.sum(self.interaction(rest + stored) - self.interaction(rest - stored)))
        return np.array(fields)

    def update(self, x):
        field = self.field(x)
        return np.where(field == 0, np.where(x < 0, -1.0, 1.0), np.sign(field))

    def responsibilities(self, x):
        part = np.maximum(self.interaction(self.patterns @ x), 0)
        return part / part.sum()

    def nearest(self, x):
        index = np.argmax(self.patterns @ x)
        return index, self.responsibilities(x)[index]


class SequenceNetwork:
    """±1 units that go from each pattern to the next, unit by unit."""

    def __init__(self, patterns, interaction):
        self.patterns, self.interaction = np.asarray(patterns, float), interaction

    def update(self, x):
        new = []
        for i in range(len(x)):
            field = 0.0
            for j, y in enumerate(self.patterns):
                field += self.patterns[(j + 1) % len(self.patterns)][i] * self.interaction(y @ x)
            new.append(np.sign(field) if field else (-1.0 if x[i] < 0 else 1.0))
        return np.array(new)

    def nearest(self, x):
        overlaps = self.patterns @ x
        part = np.maximum(self.interaction(overlaps), 0)
        parts = part / part.sum() if part.any() else np.full(len(part), 1 / len(part))
        return np.argmax(overlaps), parts[np.argmax(overlaps)]


class ContinuousNetwork:
    """E(x) = −log(Σ_j exp(β xᵀy_j))/β + ‖x‖²/2 (Eq. 5)."""

    def __init__(self, patterns, beta):
        self.patterns, self.beta = np.asarray(patterns, float), beta

    def energy(self, x):
        return x @ x / 2 - np.log(np.sum(np.exp(self.beta * self.patterns @ x))) / self.beta

    def responsibilities(self, x):
        p = np.exp(self.beta * self.patterns @ x)
        return p / p.sum()

    def update(self, x):
        return self.responsibilities(x) @ self.patterns

    def nearest(self, x):
        index = np.argmin(np.sum((self.patterns - x) ** 2, axis=1))
        return index, self.responsibilities(x)[index]


class HeldNetwork:
    """A memory at one noise level as a network."""

    def __init__(self, memory, sigma):
        self.memory, self.sigma = memory, sigma

    def energy(self, x):
        return self.memory.energy(x, self.sigma)

    def update(self, x):
        return self.memory.denoise(x, self.sigma)

    def nearest(self, x):
        return self.memory.nearest(x, self.sigma)


class ClampedNetwork:
    """A network some of whose units are held at given values."""

    def __init__(self, network, x, known):
        self.network, self.x, self.known = network, x, known

    def energy(self, x):
        return self.network.energy(x)

    def update(self, x):
        return np.where(self.known, self.x, self.network.update(x))

    def nearest(self, x):
        return self.network.nearest(x)


class PairwiseNetwork:
    """x ← sign(W x) by the projection onto the patterns, without self-coupling."""

    def __init__(self, patterns):
        self.patterns = np.asarray(patterns, float)
        w = np.linalg.pinv(self.patterns) @ self.patterns
        self.w = w - np.diag(np.diag(w))

    def energy(self, x):
        return -x @ self.w @ x / 2

    def update(self, x):
        field = self.w @ x
        return np.where(np.abs(field) < 1e-12, np.where(x < 0, -1.0, 1.0), np.sign(field))

    def responsibilities(self, x):
        return (self.patterns @ x) ** 2 / np.sum((self.patterns @ x) ** 2)

    def nearest(self, x):
        p = self.responsibilities(x)
        index = np.flatnonzero(p > p.max() - 1e-12)
        index = index[np.argmax((self.patterns @ x)[index])]
        return index, p[index]


class SparseNetwork:
    """0/1 units by the covariance rule, unit by unit."""

    def __init__(self, patterns):
        self.patterns, d = np.asarray(patterns, float), patterns.shape[1]
        f = self.patterns.mean()
        self.theta, self.v = 0.5 - f, np.zeros((d, d))
        for i in range(d):
            for j in range(d):
                if i != j:
                    self.v[i, j] = np.sum((patterns[:, i] - f) * (patterns[:, j] - f)) / (d * f * (1 - f))

    def energy(self, x):
        return -x @ self.v @ x / 2 + self.theta * x.sum()

    def update(self, x):
        return (self.v @ x > self.theta).astype(float)

    def responsibilities(self, x):
        overlaps = np.maximum(self.patterns @ x, 0)
        return overlaps / overlaps.sum() if overlaps.any() else np.full(len(overlaps), 1 / len(overlaps))

    def nearest(self, x):
        index = np.argmin(np.abs(self.patterns - x).sum(axis=1))
        return index, self.responsibilities(x)[index]


def entmax(scores, alpha, steps=200):
    """α-entmax by bisection, α > 1."""
    z, k = (alpha - 1) * (scores - scores.max()), 1 / (alpha - 1)
    low, high = -1.0, 0.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if np.sum(np.maximum(z - middle, 0) ** k) > 1 else (low, middle)
    p = np.maximum(z - low, 0) ** k
    return p / p.sum()


class WeightedNetwork:
    """x ← Σ_j p_j y_j with weights from scores."""

    def __init__(self, patterns, beta):
        self.patterns, self.beta = np.asarray(patterns, float), beta

    def update(self, x):
        return self.responsibilities(x) @ self.patterns

    def nearest(self, x):
        p = self.responsibilities(x)
        return p.argmax(), p.max()


class EntmaxNetwork(WeightedNetwork):
    """E(x) = ‖x‖²/2 − max_p (pᵀYx − Ω(p)/β) with Ω of entmax-1.5."""

    def responsibilities(self, x):
        return entmax(self.beta * self.patterns @ x, 1.5)

    def energy(self, x):
        p = self.responsibilities(x)
        return x @ x / 2 - p @ self.patterns @ x + (np.sum(p**1.5) - 1) / 0.75 / self.beta


class EuclideanNetwork(WeightedNetwork):
    """Softmax of −β‖x − y_j‖²/2."""

    def responsibilities(self, x):
        p = np.exp(-self.beta * np.sum((x - self.patterns) ** 2, axis=1) / 2)
        return p / p.sum()

    def energy(self, x):
        return -np.log(np.sum(np.exp(-self.beta * np.sum((x - self.patterns) ** 2, axis=1) / 2))) / self.beta


class ManhattanNetwork(WeightedNetwork):
    """Sparsemax of −βΣ|x − y_j|."""

    def responsibilities(self, x):
        return entmax(-self.beta * np.sum(np.abs(x - self.patterns), axis=1), 2.0)


class EpanechnikovNetwork(WeightedNetwork):
    """E(x) = −log(Σ_j ReLU(1 − β‖x − y_j‖²/2))/β."""

    def heights(self, x):
        return np.maximum(1 - self.beta * np.sum((x - self.patterns) ** 2, axis=1) / 2, 0)

    def responsibilities(self, x):
        return self.heights(x) / self.heights(x).sum()

    def energy(self, x):
        return -np.log(self.heights(x).sum()) / self.beta

    def update(self, x):
        return self.patterns[self.heights(x) > 0].mean(axis=0)


class DescentNetwork:
    """x ← x − η∇E(x) with η from six products with the Hessian for its norm and its largest eigenvalue, or less."""

    def __init__(self, energy, gradient, hessian, start):
        self.energy, self.gradient, self.hessian, self.start = energy, gradient, hessian, start

    def power(self, matrix):
        v = self.start
        for _ in range(6):
            v = matrix @ v / np.linalg.norm(v)
        return np.linalg.norm(v)

    def update(self, x):
        h = self.hessian(x)
        whole = self.power(h)
        step, slope = 1 / max(self.power(h + whole * np.eye(len(x))) - whole, whole / 16), self.gradient(x)
        while self.energy(x - step * slope) > self.energy(x) - step * slope @ slope / 10:
            step /= 2
        return x - step * slope

    def nearest(self, x):
        return None, None


def random_features(patterns, beta, frequencies, start):
    """E(x) = −log(mean_ω Σ_j cos ω·(x − y_j))/β, differentiated by hand."""

    def phases(x):
        return (x - patterns) @ frequencies.T

    def kernel(x):
        return np.cos(phases(x)).sum(axis=0).mean()

    def slope(x):
        return -np.mean(np.sin(phases(x)).sum(axis=0)[:, None] * frequencies, axis=0)

    def curvature(x):
        return -np.einsum("m,mi,mj->ij", np.cos(phases(x)).sum(axis=0), frequencies, frequencies) / len(frequencies)

    return DescentNetwork(
        lambda x: -np.log(kernel(x)) / beta,
        lambda x: -slope(x) / kernel(x) / beta,
        lambda x: (np.outer(slope(x), slope(x)) / kernel(x) - curvature(x)) / kernel(x) / beta,
        start,
    )


class LocalDenoiser:
    """Every pixel by the patches around it, one after the other, with loops over places and patches."""

    labels = None

    def __init__(self, images, patch, equivariant=False):
        images = np.asarray(images, float)
        self.images = images.reshape(*images.shape[:3], -1)
        self.reach, self.equivariant = patch // 2, equivariant

    def _cut(self, i, j):
        """How far the window around a place reaches up, down, left and right."""
        _, h, w, _ = self.images.shape
        return tuple(min(self.reach, room) for room in (i, h - 1 - i, j, w - 1 - j))

    def _pixels(self, x, sigma):
        """Of every place: its mean, and the slope of the mean in the image."""
        _, h, w, c = self.images.shape
        x = np.asarray(x, float).reshape(h, w, c)
        for i, j in np.ndindex(h, w):
            up, down, left, right = self._cut(i, j)
            window = np.s_[i - up : i + down + 1, j - left : j + right + 1]
            logits, means, patches = [], [], []
            for k, m in np.ndindex(h, w):
                if (k, m) == (i, j) or (self.equivariant and self._cut(k, m) == self._cut(i, j)):
                    for image in self.images:
                        patch = image[k - up : k + down + 1, m - left : m + right + 1]
                        logits.append(-np.sum((x[window] - patch) ** 2) / (2 * sigma**2))
                        means.append(image[k, m])
                        patches.append(np.zeros((h, w, c)))
                        patches[-1][window] = patch
            p = np.exp(np.array(logits) - max(logits))
            p /= p.sum()
            mean = p @ np.array(means)
            flat = np.reshape(patches, (len(p), -1))
            yield mean, (p[:, None] * (np.array(means) - mean)).T @ flat / sigma**2

    def denoise(self, x, sigma):
        return np.concatenate([mean for mean, _ in self._pixels(x, sigma)])

    def score(self, x, sigma):
        return (self.denoise(x, sigma) - x) / sigma**2

    def jacobian(self, x, sigma):
        return np.concatenate([slope for _, slope in self._pixels(x, sigma)])

    def nearest(self, x, sigma):
        return None, None
