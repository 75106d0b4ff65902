// How the minima of the energy move and split as the noise level falls.

import { css, fresh } from "./canvas.js";
import { short } from "./surface.js";

const EDGE = { left: 30, right: 12, top: 26, bottom: 34 };

/** Draw the attractors by their first coordinate over σ, falling to the right, with the current σ marked. */
export function drawStrip(canvas, found, sigma, reach) {
  const { context, width, height } = fresh(canvas);
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
  for (const level of [2, 1, 0.5, 0.2, 0.1, 0.05]) {
    context.fillText(String(level), across(level), height - EDGE.bottom + 4);
    context.beginPath();
    context.moveTo(across(level), height - EDGE.bottom);
    context.lineTo(across(level), height - EDGE.bottom + 3);
    context.stroke();
  }
  context.fillText("σ, falling", (EDGE.left + width - EDGE.right) / 2, height - 15);
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const x of [-2, 0, 2]) context.fillText(String(x).replace("-", "−"), EDGE.left - 6, up(x));
  context.textAlign = "left";
  context.fillText("x₁", 2, up(1));
  for (const [i, { sigma: at, after }] of found.splits.entries()) {
    context.strokeStyle = soft;
    context.setLineDash([2, 3]);
    context.beginPath();
    context.moveTo(across(at), EDGE.top);
    context.lineTo(across(at), height - EDGE.bottom);
    context.stroke();
    context.setLineDash([]);
    const before = i ? across(found.splits[i - 1].sigma) : -99;
    if (across(at) - before > 14 || i === found.splits.length - 1) {
      context.textAlign = "center";
      context.fillStyle = ink;
      context.fillText(String(after), across(at) + (across(at) - before <= 14 ? 8 : 0), EDGE.top - 8);
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
export function inWords(found, sigma) {
  const level = found.sigma.reduce((best, at, i) => (Math.abs(Math.log(at / sigma)) < Math.abs(Math.log(found.sigma[best] / sigma)) ? i : best), 0);
  const splits = found.splits.slice(0, 8).map(({ sigma: at, before, after }) => `${before} → ${after} at σ = ${at.toPrecision(3)}`);
  const rest = found.splits.length > 8 ? `, and ${found.splits.length - 8} more` : "";
  const now = passed(found, sigma) ?? found.counts[level];
  return `Now ${now} ${now === 1 ? "attractor" : "attractors"} at σ = ${short(sigma)}. ${splits.length ? `Splits: ${splits.join(", ")}${rest}.` : "Nothing splits in this range."}`;
}

function passed(found, sigma) {
  const above = found.splits.filter((split) => split.sigma > sigma);
  return above.length ? above[above.length - 1].after : found.splits[0]?.before;
}
