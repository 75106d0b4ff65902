// Pixels of the cue hidden by mouse, finger or keys.

import { ARROWS } from "./handles.js";

/** Make an 8 × 8 canvas paintable; `change(missing)` is called with the set of hidden entries. */
export function mask(canvas, change) {
  const missing = new Set();
  let hiding = null;
  let at = 0;

  function entry(event) {
    const box = canvas.getBoundingClientRect();
    const [i, j] = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width].map((share) =>
      Math.max(0, Math.min(7, Math.floor(8 * share))),
    );
    return 8 * i + j;
  }

  function set(index, hidden) {
    if (missing.has(index) === hidden || (hidden && missing.size === 63)) return;
    if (hidden) missing.add(index);
    else missing.delete(index);
    change(missing);
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    hiding = !missing.has(entry(event));
    set(entry(event), hiding);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (hiding !== null) for (const one of event.getCoalescedEvents?.() ?? [event]) set(entry(one), hiding);
    if (hiding !== null) set(entry(event), hiding);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (hiding = null));
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (arrow) {
      const [i, j] = [Math.floor(at / 8) - arrow[1], (at % 8) + arrow[0]];
      if (i >= 0 && i < 8 && j >= 0 && j < 8) at = 8 * i + j;
      change(missing, false);
    } else if (event.key === " ") set(at, !missing.has(at));
    else return;
    event.preventDefault();
  });
  for (const turn of ["focus", "blur"]) canvas.addEventListener(turn, () => change(missing, false));

  return {
    missing,
    /** The entry that keys act on, while the canvas has the focus. */
    at: () => (document.activeElement === canvas && canvas.matches(":focus-visible") ? at : null),
    replace(entries) {
      missing.clear();
      entries.forEach((index) => missing.add(index));
      change(missing);
    },
  };
}
