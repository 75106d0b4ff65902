// Everything on the plane that can be dragged, focused and moved by keys.

const STEP = 0.05;
const NAMES = { pattern: "Pattern", segment: "Segment", circle: "Circle", box: "Box", blob: "Blob", event: "Event" };

/** Keep handles beside the items and the cue; calls back when one is moved, dropped, removed or chosen. */
export function handles(layer, plane, reach, on) {
  const made = new Map();
  let held = false;

  function handle(key) {
    if (made.has(key)) return made.get(key);
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.key = key;
    button.append(document.createElement("span"));
    let grip = null;
    button.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      held = true;
      button.setPointerCapture(event.pointerId);
      const [x, y] = state(event);
      grip = [button.position[0] - x, button.position[1] - y];
      on.choose(key);
    });
    button.addEventListener("pointermove", (event) => {
      if (!grip) return;
      const [x, y] = state(event);
      on.move(key, inside([x + grip[0], y + grip[1]]));
    });
    const release = () => {
      if (grip) on.drop(key);
      grip = null;
      held = false;
    };
    button.addEventListener("pointerup", release);
    button.addEventListener("pointercancel", release);
    button.addEventListener("click", (event) => event.stopPropagation());
    // The first click of a double one has just put the cue under the pointer.
    button.addEventListener("dblclick", (event) => key !== "cue" && event.stopPropagation());
    button.addEventListener("focus", () => on.choose(key));
    button.addEventListener("keydown", (event) => {
      const arrow = ARROWS[event.key];
      if (arrow) {
        const step = STEP * (event.shiftKey ? 4 : 1);
        on.move(key, inside(button.position.map((at, i) => Math.round((at + step * arrow[i]) * 1000) / 1000)));
        on.drop(key);
      } else if (event.key === "Delete" || event.key === "Backspace") on.remove(key);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    made.set(key, button);
    layer.append(button);
    return button;
  }

  const inside = (at) => at.map((value) => Math.max(-reach, Math.min(reach, value)));

  /** The state under a pointer. */
  function state(event) {
    const box = plane.getBoundingClientRect();
    const share = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    return [(2 * share[0] - 1) * reach, (1 - 2 * share[1]) * reach].map((value) => Math.round(value * 1000) / 1000);
  }

  function put(key, at, kind, label, name, chosen) {
    const button = handle(key);
    button.position = at;
    button.className = `handle ${kind}`;
    button.style.left = `${(50 * (at[0] + reach)) / reach}%`;
    button.style.top = `${(50 * (reach - at[1])) / reach}%`;
    button.querySelector("span").textContent = label;
    button.querySelector("span").hidden = !label;
    button.setAttribute("aria-label", `${name} at ${at[0].toFixed(2)}, ${at[1].toFixed(2)}`);
    button.setAttribute("aria-pressed", String(chosen));
    return key;
  }

  function show(items, cue, chosen) {
    const shown = new Set();
    items.forEach((item, i) => {
      const name = `${NAMES[item.shape]} ${item.label}`;
      shown.add(put(item.key, item.at, item.shape, item.label, name, chosen === item.key));
      if (item.reach[0] || item.reach[1]) {
        const tip = item.at.map((at, k) => at + item.reach[k]);
        shown.add(put(`${item.key}:reach`, tip, "reach", "", `Reach of ${name}`, false));
      }
    });
    if (cue) shown.add(put("cue", cue, "cue", "", "Cue", false));
    for (const [key, button] of made) {
      if (shown.has(key)) continue;
      if (document.activeElement === button) plane.focus();
      button.remove();
      made.delete(key);
    }
    // Tab visits them in the order of their numbers.
    const order = [...layer.children].map((button) => button.dataset.key);
    // An element that is moved loses the pointer and the focus.
    const inHand = held || layer.contains(document.activeElement);
    if (!inHand && [...shown].some((key, i) => order[i] !== key)) layer.append(...[...shown].map((key) => made.get(key)));
  }

  return { show, state, inside };
}

export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
export { NAMES, STEP };
