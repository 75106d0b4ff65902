// "Save picture": what is drawn, as a PNG or an SVG file.
//
// A picture is a list of images, texts and dots, in CSS pixels from its corner, which either kind of file is made of.

import { css } from "./canvas.js";

const GAP = 18;

/** The landscape with its axes, arrows, recalls, items and cue, its colour bar, and the strip of splits below. */
function landscape() {
  const plot = document.querySelector(".plot");
  const strip = document.getElementById("strip");
  const corner = plot.getBoundingClientRect();
  const place = (element) => {
    const { x, y, width, height } = element.getBoundingClientRect();
    return { x: x - corner.x, y: y - corner.y, width, height };
  };
  const top = GAP;
  const parts = [];
  for (const canvas of plot.querySelectorAll("canvas")) parts.push({ canvas, ...moved(place(canvas), top) });
  for (const text of plot.querySelectorAll(".axis, .ticks li, #bar li, #bar-label")) {
    const upright = getComputedStyle(text).writingMode === "horizontal-tb";
    parts.push({ text: text.innerText, size: parseFloat(getComputedStyle(text).fontSize), colour: css("--soft"), upright, ...middle(moved(place(text), top)) });
  }
  for (const handle of plot.querySelectorAll(".handle:not(.reach)")) {
    const cue = handle.classList.contains("cue");
    const { x, y } = middle(moved(place(handle), top));
    parts.push({ dot: 6, fill: cue ? "#d55e00" : "#ffffff", edge: cue ? "#ffffff" : "#10293f", x, y });
    if (handle.textContent) parts.push({ text: handle.textContent, size: 12, colour: "#10293f", bold: true, upright: true, x: x + 13, y: y - 9 });
  }
  const below = { x: 0, y: corner.height + top + GAP, width: strip.clientWidth, height: strip.clientHeight };
  parts.push({ canvas: strip, ...below });
  return { parts, width: Math.max(corner.width, below.width), height: below.y + below.height };
}

/** The stored image, the cue and what is recalled, and below them the states on the way. */
function digits() {
  const [large, gap] = [256, 16];
  const film = [...document.querySelectorAll("#film canvas")];
  const width = 3 * large + 2 * gap;
  const small = Math.floor((width - gap * (film.length - 1)) / film.length);
  const above = ["truth", "cue", "recalled"].map((id, k) => ({
    canvas: document.getElementById(id), crisp: true, x: k * (large + gap), y: 0, width: large, height: large,
  }));
  const below = film.map((canvas, k) => ({ canvas, crisp: true, x: k * (small + gap), y: large + gap, width: small, height: small }));
  return { parts: [...above, ...below], width, height: large + gap + small };
}

const moved = (box, down) => ({ ...box, y: box.y + down });
const middle = ({ x, y, width, height }) => ({ x: x + width / 2, y: y + height / 2 });

/** A picture as the bytes of a PNG file, in the pixels of the screen. */
function png({ parts, width, height }, crisp) {
  const scale = crisp ? 1 : window.devicePixelRatio || 1;
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.round(width * scale), height: Math.round(height * scale) });
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(0, 0, width, height);
  for (const part of parts) {
    context.save();
    context.translate(part.x, part.y);
    if (part.canvas) {
      context.imageSmoothingEnabled = !part.crisp;
      context.drawImage(part.canvas, 0, 0, part.width, part.height);
    } else if (part.dot) {
      context.beginPath();
      context.arc(0, 0, part.dot, 0, 2 * Math.PI);
      Object.assign(context, { fillStyle: part.fill, strokeStyle: part.edge, lineWidth: 2 });
      context.fill();
      context.stroke();
    } else {
      if (!part.upright) context.rotate(-Math.PI / 2);
      Object.assign(context, { textAlign: "center", textBaseline: "middle", fillStyle: part.colour });
      context.font = `${part.bold ? 600 : 400} ${part.size}px system-ui, "DejaVu Sans", sans-serif`;
      if (part.bold) {
        Object.assign(context, { strokeStyle: "#ffffffd0", lineWidth: 4, lineJoin: "round" });
        context.strokeText(part.text, 0, 0);
      }
      context.fillText(part.text, 0, 0);
    }
    context.restore();
  }
  return new Promise((resolve) => canvas.toBlob(resolve));
}

/** A picture as an SVG file: texts and dots can be edited, what is drawn on a canvas is an image in it. */
function svg({ parts, width, height }) {
  const name = "http://www.w3.org/2000/svg";
  const made = (tag, settings, text = "") => {
    const element = document.createElementNS(name, tag);
    for (const [key, value] of Object.entries(settings)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };
  const root = made("svg", { xmlns: name, width, height, viewBox: `0 0 ${width} ${height}` });
  root.append(made("rect", { width, height, fill: getComputedStyle(document.body).backgroundColor }));
  for (const { x, y, ...part } of parts) {
    if (part.canvas) {
      const settings = { x, y, width: part.width, height: part.height, href: part.canvas.toDataURL(), preserveAspectRatio: "none" };
      root.append(made("image", part.crisp ? { ...settings, "image-rendering": "pixelated" } : settings));
    } else if (part.dot) root.append(made("circle", { cx: x, cy: y, r: part.dot, fill: part.fill, stroke: part.edge, "stroke-width": 2 }));
    else {
      const settings = { x, y, "text-anchor": "middle", "dominant-baseline": "central", "font-family": "system-ui, sans-serif" };
      const turned = part.upright ? {} : { transform: `rotate(-90 ${x} ${y})` };
      const halo = part.bold ? { stroke: "#ffffffd0", "stroke-width": 4, "stroke-linejoin": "round", "paint-order": "stroke" } : {};
      const look = { "font-size": part.size, "font-weight": part.bold ? 600 : 400, fill: part.colour, ...halo };
      root.append(made("text", { ...settings, ...turned, ...look }, part.text));
    }
  }
  return new Blob([new XMLSerializer().serializeToString(root)], { type: "image/svg+xml" });
}

/** Make the buttons work. */
export function saving() {
  for (const button of document.querySelectorAll("button.save")) {
    const { tab, as } = button.dataset;
    button.addEventListener("click", async () => {
      const picture = tab === "digits" ? digits() : landscape();
      const file = as === "svg" ? svg(picture) : await png(picture, tab === "digits");
      const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: `${tab}.${as}` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }
}
