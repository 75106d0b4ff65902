// How the minima of the energy move and split as the noise level falls.

import { css, fresh } from "./canvas.js";
import { short } from "./surface.js";

const EDGE = { left: 30, right: 12, top: 26, bottom: 34 };

/** Draw the attractors by their first coordinate over σ, falling to the right, with the current σ marked.
 *
 * Of a network the same axis is named by β = 1/σ², which rises.
 */
export function drawStrip(canvas, found, sigma, reach, network) {
  paintStrip(fresh(canvas), found, sigma, reach, network);
}

/** The same in any drawing context. */
export function paintStrip({ context, width, height }, found, sigma, reach, network) {
  if (!found) return;
  const [most, least] = [found.sigma[0], found.sigma[found.sigma.length - 1]];
  const across = (level) => EDGE.left + ((width - EDGE.left - EDGE.right) * Math.log(most / level)) / Math.log(most / least);
  const up = (x) => EDGE.top + ((height - EDGE.top - EDGE.bottom) * (reach - x)) / (2 * reach);
  const [soft, line, ink, bar, accent] = ["--soft", "--line", "--ink", "--bar", "--accent"].map(css);
  context.font = "11.5px system-ui, 'DejaVu Sans', sans-serif";
  context.strokeStyle = line;
  context.fillStyle = soft;
  context.lineWidth = 1;
  context.strokeRect(EDGE.left, EDGE.top, width - EDGE.left - EDGE.right, height - EDGE.top - EDGE.bottom);
  context.textBaseline = "top";
  context.textAlign = "center";
  const marks = network ? [0.25, 1, 4, 25, 100, 400] : [2, 1, 0.5, 0.2, 0.1, 0.05];
  for (const mark of marks) {
    const level = network ? mark ** -0.5 : mark;
    context.fillText(String(mark), across(level), height - EDGE.bottom + 4);
    context.beginPath();
    context.moveTo(across(level), height - EDGE.bottom);
    context.lineTo(across(level), height - EDGE.bottom + 3);
    context.stroke();
  }
  context.fillText(network ? "β, rising" : "σ, falling", (EDGE.left + width - EDGE.right) / 2, height - 15);
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const x of [-2, 0, 2]) context.fillText(String(x).replace("-", "−"), EDGE.left - 6, up(x));
  context.textAlign = "left";
  context.fillText("x₁", 2, up(1));
  // The right end of what is written above the dots.
  let written = EDGE.left + context.measureText("attractors: 1").width;
  for (const { sigma: at, after } of found.splits) {
    context.strokeStyle = soft;
    context.setLineDash([2, 3]);
    context.beginPath();
    context.moveTo(across(at), EDGE.top);
    context.lineTo(across(at), height - EDGE.bottom);
    context.stroke();
    context.setLineDash([]);
    const half = context.measureText(String(after)).width / 2;
    if (across(at) - half > written + 3) {
      context.textAlign = "center";
      context.fillStyle = ink;
      context.fillText(String(after), across(at), EDGE.top - 8);
      written = across(at) + half;
    }
  }
  context.fillStyle = soft;
  context.textAlign = "left";
  context.fillText(`attractors: ${found.splits[0]?.before ?? found.counts[0]}`, EDGE.left, EDGE.top - 8);
  context.fillStyle = bar;
  for (let k = 0; k < found.at.data.length; k += 3) {
    context.beginPath();
    context.arc(across(found.at.data[k]), up(found.at.data[k + 1]), 2.2, 0, 2 * Math.PI);
    context.fill();
  }
  context.strokeStyle = accent;
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(across(sigma), EDGE.top - 2);
  context.lineTo(across(sigma), height - EDGE.bottom + 2);
  context.stroke();
}

/** The same in words. */
export function inWords(found, sigma, network) {
  const named = (at) => (network ? `β = ${short(1 / at ** 2)}` : `σ = ${at.toPrecision(3)}`);
  const level = found.sigma.reduce((best, at, i) => (Math.abs(Math.log(at / sigma)) < Math.abs(Math.log(found.sigma[best] / sigma)) ? i : best), 0);
  const splits = found.splits.slice(0, 8).map(({ sigma: at, before, after }) => `${before} → ${after} at ${named(at)}`);
  const rest = found.splits.length > 8 ? `, and ${found.splits.length - 8} more` : "";
  const now = passed(found, sigma) ?? found.counts[level];
  return `Now ${now} ${now === 1 ? "attractor" : "attractors"} at ${network ? named(sigma) : `σ = ${short(sigma)}`}. ${splits.length ? `Splits: ${splits.join(", ")}${rest}.` : "Nothing splits in this range."}`;
}

function passed(found, sigma) {
  const above = found.splits.filter((split) => split.sigma > sigma);
  return above.length ? above[above.length - 1].after : found.splits[0]?.before;
}
