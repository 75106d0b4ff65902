// Canvases in CSS pixels, sharp on any screen.

/** The drawing context of a canvas, cleared and scaled; and its size in CSS pixels. */
export function fresh(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** A grey image of 8 × 8 values in [−1, 1]; ink is 1. */
export function paint(canvas, values, hidden = null) {
  [canvas.width, canvas.height] = [8, 8];
  const context = canvas.getContext("2d");
  const image = context.createImageData(8, 8);
  values.forEach((value, i) => {
    const grey = Math.max(0, Math.min(255, Math.round(255 * (1 - (value + 1) / 2))));
    const shown = hidden?.has(i) ? [222, 160, 112] : [grey, grey, grey];
    image.data.set([...shown, 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
}

/** A variable of the style sheet. */
export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
