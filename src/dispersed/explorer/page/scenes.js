// What each kind of memory starts as, and what it is said to be.

const pattern = (x, y) => ({ shape: "pattern", at: [x, y], reach: [0, 0], weight: 1 });
const item = (shape, at, reach) => ({ shape, at, reach, weight: 1 });

export const SHAPES = {
  points: ["pattern"],
  extended: ["segment", "circle", "box", "blob"],
  smoothed: ["pattern"],
  gaussians: ["blob"],
  reconstructive: ["event", "blob"],
  modern: ["pattern"],
  epanechnikov: ["pattern"],
  "fenchel-young": ["pattern"],
  universal: ["pattern"],
};

/** Kinds with a temperature of their own. */
export const NETWORKS = ["modern", "epanechnikov", "fenchel-young", "universal"];

const five = () => [pattern(-1.2, 0.9), pattern(1.1, 1.2), pattern(0.9, -1), pattern(-0.8, -1.1), pattern(0, 0.2)];

/** The items of a kind, freshly made. */
export function beginning(kind) {
  return {
    points: five,
    modern: five,
    "fenchel-young": five,
    universal: five,
    epanechnikov: () => [[-1.2, 0.7], [-0.5, 0.9], [-0.9, 1.3], [0.9, 1], [1.3, -0.8], [0.6, -1], [-0.6, -0.8]].map((at) => pattern(...at)),
    extended: () => [
      item("segment", [-0.95, 1], [0.55, 0.5]),
      item("circle", [0.9, 0.8], [0.45, 0]),
      item("box", [-0.9, -0.9], [0.4, 0.25]),
      item("blob", [0.9, -1], [0.35, 0.2]),
    ],
    smoothed: () => [
      ...[[-1.3, 0.7], [-1, 1.1], [-0.8, 0.6], [-1.1, 0.9]],
      ...[[0.7, 1], [1.1, 0.6], [1, 1.1], [1.3, 0.9]],
      ...[[-0.3, -1.2], [0.1, -0.9], [0.5, -1.1], [0.2, -1.3]],
    ].map((at) => pattern(...at)),
    gaussians: () => [
      item("blob", [-0.9, 0.7], [0.5, 0.25]),
      item("blob", [1, 0.8], [0.25, 0.4]),
      item("blob", [0.1, -1], [0.6, -0.1]),
    ],
    reconstructive: () => [
      item("event", [-0.8, 0], [0, 0]),
      item("event", [0.9, 0], [0, 0]),
      item("blob", [-0.9, 0.8], [0.7, 0.3]),
      item("blob", [0.6, -0.9], [0.9, 0.4]),
    ],
  }[kind]();
}

export const REACHES = { pattern: [0, 0], event: [0, 0], segment: [0.4, 0.2], circle: [0.35, 0], box: [0.35, 0.25], blob: [0.4, 0.15] };

/** In HTML, for the indices. */
const CAPTIONS = {
  points:
    "Stored patterns: p<sub>σ</sub>(x) = Σ<sub>j</sub> w<sub>j</sub> N(x; y<sub>j</sub>, σ²I) (Eq. 12). With β = 1/σ² its energy is that of a modern Hopfield network (Eq. 14).",
  extended:
    "Extended memories: p<sub>σ</sub>(x) = Σ<sub>k</sub> w<sub>k</sub> ∫ N(x; y, σ²I) φ<sub>k</sub>(y) dy, with φ<sub>k</sub> spread evenly over each shape and normally over a blob (Eq. 23).",
  smoothed: "A density known by samples: details finer than the bandwidth h are forgotten (Eq. 24).",
  gaussians: "A semantic memory: a density and no stored items, here a mixture of Gaussians (Eq. 24).",
  reconstructive:
    "Of each event only a core is stored, which its line has in common; the rest follows from what is generally so, the dashed blobs (Eq. 25).",
  modern:
    "A modern Hopfield network: x ← Σ<sub>j</sub> softmax<sub>j</sub>(β x·y<sub>j</sub>) y<sub>j</sub> (Eq. 5). Products favour long patterns: one that lies among the others is no memory, however large β is.",
  epanechnikov:
    "The log-sum-ReLU energy E(x) = −β<sup>−1</sup> log Σ<sub>j</sub> ReLU(1 − β‖x − y<sub>j</sub>‖²/2): patterns within √(2/β) act, recall goes to their centroid, and minima emerge between patterns that act together. Out of reach of all of them the energy is infinite, and white.",
  "fenchel-young":
    "A Hopfield–Fenchel–Young network: x ← Σ<sub>j</sub> p<sub>j</sub> y<sub>j</sub> with p = ∇Ω*(β Yx). Sparse separations recall a pattern exactly at finite β, in one update.",
  universal: "A universal Hopfield network: x ← Σ<sub>j</sub> p<sub>j</sub> y<sub>j</sub>, with weights p = separation(β · similarity(x, y<sub>1</sub>), …).",
};

const COMMON = " Colour: energy E<sub>σ</sub> = −σ² log p<sub>σ</sub> (Eq. 11). Arrows: the step D<sub>σ</sub>(x) − x = −∇E<sub>σ</sub> of recall, lengths as their square root.";

const OF_NETWORKS = {
  energy: " Colour: energy E. Arrows: the step of the network, which descends E; lengths as their square root.",
  step: " No energy is known that it descends. Colour: the length of its step, 0 at fixed points, attractors or not. Arrows: the step, lengths as their square root.",
};

/** What is said of a kind, whose surface is an `energy` or the length of a `step`. */
export const caption = (kind, surface) => CAPTIONS[kind] + (NETWORKS.includes(kind) ? OF_NETWORKS[surface] : COMMON);
