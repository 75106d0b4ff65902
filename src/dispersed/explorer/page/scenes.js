// What each kind of memory starts as, and what it is said to be.

const pattern = (x, y) => ({ shape: "pattern", at: [x, y], reach: [0, 0], weight: 1 });
const item = (shape, at, reach) => ({ shape, at, reach, weight: 1 });

export const SHAPES = {
  points: ["pattern"],
  extended: ["segment", "circle", "box", "blob"],
  smoothed: ["pattern"],
  gaussians: ["blob"],
  reconstructive: ["event", "blob"],
};

/** The items of a kind, freshly made. */
export function beginning(kind) {
  return {
    points: () => [pattern(-1.2, 0.9), pattern(1.1, 1.2), pattern(0.9, -1), pattern(-0.8, -1.1), pattern(0, 0.2)],
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

export const CAPTIONS = {
  points: "Stored patterns: p_σ(x) = Σ_j w_j N(x; y_j, σ²I) (Eq. 12). At β = 1/σ² this is the modern Hopfield energy (Eq. 14).",
  extended: "Memories that are places: p_σ(x) = Σ_k w_k ∫ N(x; y, σ²I) φ_k(y) dy, φ_k even over each shape (Eq. 23).",
  smoothed: "A density known by samples: details finer than the bandwidth h are forgotten (Eq. 24).",
  gaussians: "A semantic memory: a density without stored items, here a mixture of Gaussians (Eq. 24).",
  reconstructive: "Only a core of each event is stored (its line); the rest is reconstructed from what is generally so (dashed blobs) (Eq. 25).",
};
