// One noise level under four names; the server says which belong together.

const SLIDERS = { sigma: "sigma", alpha: "alpha", beta: "beta", t: "time" };

/** Four sliders; `change(level)` is called with the one that was moved, as {name: value}. */
export function levels(change, settled) {
  for (const [name, id] of Object.entries(SLIDERS)) {
    const slider = document.getElementById(id);
    slider.addEventListener("input", () => change({ [name]: Number(fromSlider(name, Number(slider.value)).toPrecision(6)) }));
    slider.addEventListener("change", settled);
    slider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10 }[event.key];
      if (!step) return;
      event.preventDefault();
      slider.value = Number(slider.value) + (step * (slider.max - slider.min)) / 100;
      slider.dispatchEvent(new Event("input"));
      slider.dispatchEvent(new Event("change"));
    });
  }
}

/** Move the sliders to a level, all but the one in hand. */
export function showLevels(now, limits) {
  for (const [name, id] of Object.entries(SLIDERS)) {
    const slider = document.getElementById(id);
    const ends = limits.map((level) => toSlider(name, level[name])).sort((a, b) => a - b);
    [slider.min, slider.max] = ends;
    if (document.activeElement !== slider || !slider.matches(":active")) slider.value = toSlider(name, now[name]);
    const text = now[name].toPrecision(3);
    document.querySelector(`output[for="${id}"]`).textContent = Number(text) >= 100 ? String(Math.round(now[name])) : text;
    slider.setAttribute("aria-valuetext", `${name} ${text}`);
  }
}

// All but α, which lies in (0, 1], are spread by their logarithm.
const toSlider = (name, value) => (name === "alpha" ? value : Math.log(value));
const fromSlider = (name, value) => (name === "alpha" ? value : Math.exp(value));
