// What lies over the surface: arrows of the field, outlines of extended memories, and recalls on their way.

import { INK, LINES } from "./colours.js";
import { fresh } from "./canvas.js";

const SECONDS = 1.8;
let frame = 0;

/** Draw everything; `recalls` start moving where `moving`, and `done` is called when they have ended. */
export function drawOverlay(canvas, { field, kind, items, core, recalls, reach }, moving, done) {
  cancelAnimationFrame(frame);
  const still = !moving || window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const begun = performance.now();
  const draw = (now) => {
    const share = still ? 1 : Math.min((now - begun) / 1000 / SECONDS, 1);
    const { context, width } = fresh(canvas);
    const scale = width / (2 * reach);
    const at = (x, y) => [(x + reach) * scale, (reach - y) * scale];
    if (field) arrows(context, field, at, scale, reach);
    items.forEach((item) => outline(context, item, kind, core, at, scale, reach));
    // The many thin ones first.
    for (const [name, recall] of Object.entries(recalls ?? {}).reverse()) trajectories(context, name, recall, at, share);
    if (share < 1) frame = requestAnimationFrame(draw);
    else done?.();
  };
  frame = requestAnimationFrame(draw);
}

function arrows(context, { shape, data }, at, scale, reach) {
  const count = shape[0];
  const spacing = (2 * reach) / (count - 1);
  const lengths = [];
  for (let k = 0; k < data.length; k += 2) lengths.push(Math.hypot(data[k], data[k + 1]));
  const longest = Math.max(...lengths, 1e-12);
  context.strokeStyle = context.fillStyle = "rgba(16, 41, 63, 0.62)";
  context.lineWidth = 1;
  lengths.forEach((length, k) => {
    if (length < 1e-6 * longest) return;
    const [x, y] = at(-reach + (k % count) * spacing, -reach + Math.floor(k / count) * spacing);
    // Lengths grow slowly, so that arrows near memories are seen beside those from afar.
    const drawn = spacing * scale * 0.85 * (length / longest) ** 0.5;
    const [ux, uy] = [data[2 * k] / length, -data[2 * k + 1] / length];
    const [hx, hy] = [x + ux * drawn, y + uy * drawn];
    const head = Math.min(4, drawn * 0.5);
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(hx, hy);
    context.stroke();
    context.beginPath();
    context.moveTo(hx, hy);
    context.lineTo(hx - head * (ux - 0.5 * uy), hy - head * (uy + 0.5 * ux));
    context.lineTo(hx - head * (ux + 0.5 * uy), hy - head * (uy - 0.5 * ux));
    context.fill();
  });
}

function outline(context, { shape, at: centre, reach: [dx, dy] }, kind, core, at, scale, edge) {
  const [x, y] = at(...centre);
  context.beginPath();
  if (shape === "segment") {
    context.moveTo(...at(centre[0] - dx, centre[1] - dy));
    context.lineTo(...at(centre[0] + dx, centre[1] + dy));
  } else if (shape === "circle") {
    context.arc(x, y, Math.hypot(dx, dy) * scale, 0, 2 * Math.PI);
  } else if (shape === "box") {
    context.rect(x - Math.abs(dx) * scale, y - Math.abs(dy) * scale, 2 * Math.abs(dx) * scale, 2 * Math.abs(dy) * scale);
  } else if (shape === "blob") {
    const length = Math.hypot(dx, dy) * scale;
    context.ellipse(x, y, length, length / 2, -Math.atan2(dy, dx), 0, 2 * Math.PI);
  } else if (shape === "event") {
    // All states with this core.
    const [ux, uy] = { x1: [0, 1], x2: [1, 0], sum: [-0.8, 0.6] }[core];
    context.moveTo(...at(centre[0] - 4 * edge * ux, centre[1] - 4 * edge * uy));
    context.lineTo(...at(centre[0] + 4 * edge * ux, centre[1] + 4 * edge * uy));
  }
  const faint = kind === "reconstructive" && shape === "blob";
  context.setLineDash(faint ? [3, 3] : []);
  context.strokeStyle = "rgba(255, 255, 255, 0.8)";
  context.lineWidth = 3.4;
  context.stroke();
  context.strokeStyle = INK;
  context.lineWidth = faint ? 1 : 1.6;
  context.stroke();
  context.setLineDash([]);
}

function trajectories(context, name, { trajectory }, at, share) {
  const [recalls, times] = trajectory.shape;
  const { colour, dash, width, marks } = LINES[name];
  const last = share * (times - 1);
  for (let r = 0; r < recalls; r++) {
    const points = [];
    for (let k = 0; k <= Math.floor(last); k++) {
      const i = 2 * (r * times + k);
      points.push(at(trajectory.data[i], trajectory.data[i + 1]));
    }
    const path = () => {
      context.beginPath();
      points.forEach((point, k) => (k ? context.lineTo(...point) : context.moveTo(...point)));
      context.stroke();
    };
    if (marks !== "end") {
      context.strokeStyle = "rgba(255, 255, 255, 0.75)";
      context.lineWidth = width + 2;
      path();
    }
    context.globalAlpha = marks === "end" ? 0.28 : 1;
    context.setLineDash(dash);
    context.strokeStyle = colour;
    context.lineWidth = width;
    path();
    context.setLineDash([]);
    context.globalAlpha = 1;
    context.fillStyle = colour;
    const marked = marks === "end" || marks === null ? points.slice(-1) : points;
    for (const [x, y] of marked) {
      context.beginPath();
      if (marks === "square") context.rect(x - 3, y - 3, 6, 6);
      else context.arc(x, y, marks === null ? 4 : 2.6, 0, 2 * Math.PI);
      context.fill();
      context.strokeStyle = "white";
      context.lineWidth = 0.8;
      context.stroke();
    }
  }
}
