// Colours that remain apart for colour-blind eyes: one blue ramp, Okabe and Ito's hues over it.

const STOPS = ["#0b3558", "#1d5f8c", "#4a90b8", "#8dbfd6", "#c9e1ea", "#f6f9fa"].map((hex) =>
  [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)),
);

/** 256 colours from low energy, dark, to high, pale. */
export const RAMP = Array.from({ length: 256 }, (_, i) => {
  const at = (i / 255) * (STOPS.length - 1);
  const k = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[k].map((c, channel) => Math.round(c + (at - k) * (STOPS[k + 1][channel] - c)));
});

export const INK = "#10293f";

/** How each dynamics is drawn. */
export const LINES = {
  iteration: { colour: "#10293f", dash: [5, 3], width: 1.8, marks: "square" },
  flow: { colour: "#d55e00", dash: [], width: 2.4, marks: null },
  exponential: { colour: "#007a5a", dash: [], width: 1.4, marks: "circle" },
  sde: { colour: "#a8327f", dash: [], width: 0.8, marks: "end" },
};
