// "Save picture": what is drawn, as a PNG file.

/** The landscape with its arrows, outlines and recalls, its items and cue, and the strip of splits below. */
function landscape() {
  const [surface, overlay, strip] = ["surface", "overlay", "strip"].map((id) => document.getElementById(id));
  const [size, gap] = [surface.width, Math.round(surface.width / 40)];
  const below = Math.round((strip.height * size) / strip.width);
  const { canvas, context } = blank(size, size + gap + below);
  context.drawImage(surface, 0, 0);
  context.drawImage(overlay, 0, 0, size, size);
  const plane = document.getElementById("plane").getBoundingClientRect();
  const scale = size / plane.width;
  for (const handle of document.querySelectorAll(".handle:not(.reach)")) {
    const box = handle.getBoundingClientRect();
    const [x, y] = [(box.x + box.width / 2 - plane.x) * scale, (box.y + box.height / 2 - plane.y) * scale];
    const cue = handle.classList.contains("cue");
    context.beginPath();
    context.arc(x, y, 6 * scale, 0, 2 * Math.PI);
    context.fillStyle = cue ? "#d55e00" : "#fff";
    context.strokeStyle = cue ? "#fff" : "#10293f";
    context.lineWidth = 2 * scale;
    context.fill();
    context.stroke();
    context.fillStyle = "#10293f";
    context.font = `600 ${Math.round(12 * scale)}px system-ui, sans-serif`;
    context.fillText(handle.textContent, x + 9 * scale, y - 5 * scale);
  }
  context.drawImage(strip, 0, size + gap, size, below);
  return canvas;
}

/** The stored image, the cue and what is recalled, and below them the states on the way. */
function digits() {
  const [large, gap] = [256, 16];
  const film = [...document.querySelectorAll("#film canvas")];
  const width = 3 * large + 2 * gap;
  const small = Math.floor((width - gap * (film.length - 1)) / film.length);
  const { canvas, context } = blank(width, large + gap + small);
  context.imageSmoothingEnabled = false;
  ["truth", "cue", "recalled"].forEach((id, k) => context.drawImage(document.getElementById(id), k * (large + gap), 0, large, large));
  film.forEach((state, k) => context.drawImage(state, k * (small + gap), large + gap, small, small));
  return canvas;
}

/** A canvas in the colour of the page. */
function blank(width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(0, 0, width, height);
  return { canvas, context };
}

/** Make the buttons work. */
export function saving() {
  for (const button of document.querySelectorAll("button.save")) {
    const { tab } = button.dataset;
    button.addEventListener("click", () => {
      const drawn = tab === "digits" ? digits() : landscape();
      drawn.toBlob((blob) => {
        const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${tab}.png` });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      });
    });
  }
}
