// The energy as colour and contour lines, and its colour bar.

import { RAMP } from "./colours.js";
import { fresh } from "./canvas.js";

const LEVELS = 10;
// Levels are closer together at low energies, where memories are.
const BEND = 1.5;

/** Energies from here on stand for infinity. */
const INFINITE = 1e38;

/** Draw the energy; returns its scale: the least and the range that the colours span. */
export function drawSurface(canvas, energy) {
  const [rows, columns] = energy.shape;
  const sorted = energy.data.filter((value) => value < INFINITE).sort();
  const least = sorted[0] ?? 0;
  const range = Math.max((sorted[Math.floor(0.97 * sorted.length)] ?? 0) - least, 1e-9);
  const image = new ImageData(columns, rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const share = Math.min((energy.data[i * columns + j] - least) / range, 1);
      const colour = RAMP[Math.round(255 * share ** (1 / BEND))];
      const at = 4 * ((rows - 1 - i) * columns + j);
      image.data[at] = colour[0];
      image.data[at + 1] = colour[1];
      image.data[at + 2] = colour[2];
      image.data[at + 3] = 255;
    }
  }
  const small = new OffscreenCanvas(columns, rows);
  small.getContext("2d").putImageData(image, 0, 0);
  const { context, width, height } = fresh(canvas);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, width, height);
  for (let k = 1; k <= LEVELS; k++) {
    contour(context, energy, least + range * (k / LEVELS) ** BEND, width / (columns - 1), height / (rows - 1), height);
  }
  return { least, range };
}

/** One contour line, cell by cell. */
function contour(context, { shape, data }, level, dx, dy, height) {
  const [rows, columns] = shape;
  context.beginPath();
  for (let i = 0; i < rows - 1; i++) {
    for (let j = 0; j < columns - 1; j++) {
      const at = i * columns + j;
      const corners = [data[at], data[at + 1], data[at + columns + 1], data[at + columns]];
      const above = corners.map((value) => value > level);
      if (above[0] === above[1] && above[1] === above[2] && above[2] === above[3]) continue;
      const crossings = [];
      for (let k = 0; k < 4; k++) {
        const [a, b] = [corners[k], corners[(k + 1) % 4]];
        if (above[k] === above[(k + 1) % 4]) continue;
        const f = (level - a) / (b - a);
        const [x, y] = [[j + f, i], [j + 1, i + f], [j + 1 - f, i + 1], [j, i + 1 - f]][k];
        crossings.push([x * dx, height - y * dy]);
      }
      for (let k = 0; k + 1 < crossings.length; k += 2) {
        context.moveTo(...crossings[k]);
        context.lineTo(...crossings[k + 1]);
      }
    }
  }
  context.strokeStyle = "rgba(255, 255, 255, 0.55)";
  context.lineWidth = 0.8;
  context.stroke();
}

/** The colour bar, with energies above the least in units of `unit`. */
export function drawBar(figure, range, unit) {
  const { context, width, height } = fresh(figure.querySelector("canvas"));
  for (let y = 0; y < height; y++) {
    context.fillStyle = `rgb(${RAMP[Math.round(255 * (1 - y / height))].join(",")})`;
    context.fillRect(0, y, width, 1);
  }
  const ticks = [1, 0.8, 0.6, 0.4, 0.2, 0].map((share) => {
    const tick = document.createElement("li");
    tick.style.top = `${100 * (1 - share)}%`;
    tick.textContent = short((range / unit) * share ** BEND);
    return tick;
  });
  figure.querySelector("ol").replaceChildren(...ticks);
}

/** A number in at most four characters or so. */
export function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1000 || size < 0.001 ? value.toExponential(0) : value.toPrecision(size >= 100 ? 3 : 2);
}
