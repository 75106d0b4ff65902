// The first tab: a landscape of memories and recall in it.

import { channel } from "./ask.js";
import { barRow } from "./bars.js";
import { LINES } from "./colours.js";
import { ARROWS, NAMES, STEP, handles } from "./handles.js";
import { levels, showLevels } from "./levels.js";
import { drawOverlay } from "./overlay.js";
import { NETWORKS, REACHES, SHAPES, beginning, caption } from "./scenes.js";
import { drawStrip, inWords } from "./strip.js";
import { drawBar, drawSurface } from "./surface.js";

const REACH = 2;
const METHODS = {
  iteration: ["Hopfield iteration", "σ held, Eq. 5, 14", true],
  flow: ["probability flow", "ODE, σ → 0, Eq. 27", true],
  exponential: ["the same, exponential", "20 steps", false],
  sde: ["48 random recalls", "SDE, Eq. 7", true],
};
const $ = (id) => document.getElementById(id);

let counter = 0;
const labelled = (items) => items.map((item) => ({ ...item, key: `item${counter++}` }));
const scenes = Object.fromEntries(Object.keys(SHAPES).map((kind) => [kind, labelled(beginning(kind))]));
const state = {
  kind: "points",
  level: { sigma: 0.4 },
  cue: [-0.25, -0.45],
  cursor: [0, 0],
  chosen: null,
  seed: 0,
  changes: 0,
  settled: -1,
  moving: false,
  picture: null,
  recalls: null,
  attractors: null,
  found: null,
};
const items = () => scenes[state.kind];
const isNetwork = () => NETWORKS.includes(state.kind);

/** What the server is asked about. */
export function question() {
  number();
  return {
    tab: "landscape",
    scene: {
      kind: state.kind,
      items: items().map(({ shape, at, reach, weight }) => ({ shape, at, reach, weight })),
      process: isNetwork() ? "ve" : $("process").value,
      level: state.level,
      separation: $("separation").value,
      similarity: $("similarity").value,
      bandwidth: Number($("bandwidth").value),
      core: $("core").value,
    },
    cue: state.cue,
    field: isNetwork() ? "displacement" : $("field").value,
    dynamics: Object.keys(METHODS).filter((name) => $(`run-${name}`).checked && (name === "iteration" || !isNetwork())),
    seed: state.seed,
    changes: state.changes,
  };
}

/** All of a scene that its attractors depend on. */
const stored = ({ kind, items, bandwidth, core, separation, similarity }) =>
  JSON.stringify([kind, items, bandwidth, core, separation, similarity]);

/** Every item's number among those of which responsibilities speak, in the server's order. */
function number() {
  const shapes = state.kind === "reconstructive" ? ["event"] : SHAPES[state.kind];
  let next = 1;
  for (const shape of shapes) for (const item of items()) if (item.shape === shape) item.label = String(next++);
  for (const item of items()) if (!shapes.includes(item.shape)) item.label = "";
}

const remembered = () =>
  items().filter((item) => item.label).sort((a, b) => Number(a.label) - Number(b.label));

const askPicture = channel("landscape", (answer, asked, elapsed) => {
  state.picture = answer;
  $("loading").hidden = true;
  const drawing = performance.now();
  const { range } = drawSurface($("surface"), answer.energy);
  const { sigma } = answer.levels;
  const { kind } = asked.scene;
  const measure = NETWORKS.includes(kind) ? answer.surface : $("surface-kind").value;
  drawBar($("bar"), range, measure === "information" ? sigma * sigma : 1);
  const unit = NETWORKS.includes(kind) ? "nats / β" : "nats × σ²";
  $("bar-label").textContent = {
    energy: `energy above its minimum, ${unit}`,
    information: "−log p above its minimum, nats",
    step: "length of the step, above its minimum",
  }[measure];
  $("caption").innerHTML = caption(kind, answer.surface);
  showLevels(answer.levels, answer.limits);
  overlay(false);
  showBars();
  showStrip();
  const drawn = performance.now() - drawing;
  Object.assign($("plane").dataset, {
    drawn: Number($("plane").dataset.drawn ?? 0) + 1,
    answered: elapsed.toFixed(1),
    painted: drawn.toFixed(1),
    sigma: sigma,
  });
});

const askRecalls = channel("recall", (answer, asked) => {
  if (asked.changes !== state.changes) return;
  state.recalls = answer;
  state.moving = true;
  overlay(true);
  showOutcome();
  showBars();
});

const askAttractors = channel("attractors", (answer, asked) => {
  if (stored(asked.scene) !== stored(question().scene)) return;
  state.attractors = answer;
  state.found = stored(asked.scene);
  showStrip();
});

let pause = 0;
/** Something changed: draw it at once, and when the hand rests recall anew. */
function changed() {
  clearTimeout(pause);
  state.recalls = null;
  $("plane").dataset.changes = ++state.changes;
  $("plane").dataset.state = "busy";
  number();
  place();
  if (state.found !== stored(question().scene)) state.attractors = null;
  askPicture(question());
  pause = setTimeout(rest, 160);
}

async function rest() {
  const waiting = [];
  const { changes } = state;
  const asked = question();
  if (state.cue && asked.dynamics.length) waiting.push(askRecalls(asked));
  else showOutcome();
  if (state.found !== stored(asked.scene)) waiting.push(askAttractors(asked));
  await Promise.all(waiting);
  state.settled = changes;
  rested();
}

/** Say so when everything that was asked for is shown. */
function rested() {
  if (state.settled === state.changes && !state.moving) $("plane").dataset.state = "still";
}

function overlay(moving) {
  if (!state.picture) return;
  drawOverlay(
    $("overlay"),
    { field: state.picture.field, kind: state.kind, items: items(), core: $("core").value, recalls: state.recalls, reach: REACH },
    moving,
    () => {
      state.moving = false;
      rested();
    },
  );
}

function place() {
  grips.show(items(), state.cue, state.chosen);
  const chosen = items().find((item) => item.key === state.chosen);
  $("weight-row").hidden = !chosen || isNetwork();
  if (chosen) {
    $("chosen").textContent = `${NAMES[chosen.shape].toLowerCase()} ${chosen.label}`;
    $("weight").value = chosen.weight;
    document.querySelector('output[for="weight"]').textContent = chosen.weight.toFixed(1);
  }
  $("remove").disabled = !chosen;
}

function showBars() {
  const said = state.picture?.cue;
  const here = said && state.cue && said.at[0] === state.cue[0] && said.at[1] === state.cue[1];
  if (!here) {
    if (!state.cue) $("bars").replaceChildren();
    return;
  }
  const counts = state.recalls?.sde?.counts;
  const total = counts?.reduce((a, b) => a + b, 0) || 1;
  const rows = remembered().map((item, i) => barRow(`${NAMES[item.shape].toLowerCase()} ${item.label}`, said.responsibilities[i], counts ? counts[i] / total : null));
  $("bars").replaceChildren(...rows);
  const what = isNetwork() ? "The weights of the patterns" : "p(j | x) at σ (Eq. 29)";
  $("doubt").textContent = said.effective === 0 ? "No pattern is within reach of the cue, which stays where it is." :
    `${what}${counts ? ", orange: fraction of random recalls" : ""}. Entropy ${said.entropy.toFixed(3)} nats: ` +
    `as if ${said.effective.toFixed(2)} of ${rows.length} were equally likely.`;
  Object.assign($("doubt").dataset, { entropy: said.entropy, effective: said.effective });
}

const coordinate = (x) => x.toFixed(2).replace(/^-(?=0\.00$)/, "").replace("-", "−");

function showOutcome() {
  const lines = Object.entries(state.recalls ?? {}).map(([name, run]) => {
    const line = document.createElement("p");
    line.dataset.run = name;
    line.dataset.end = JSON.stringify(run.end);
    const where = name === "sde" ? `${run.trajectory.shape[0]} ends` : `ends at (${run.end[0].map(coordinate).join(", ")})`;
    const which = isNetwork() ? "The network" : METHODS[name][0];
    const cost = `${run.evaluations} evaluation${run.evaluations === 1 ? "" : "s"}`;
    line.textContent = `${which}: ${where}, ${cost}${run.converged === 1 ? "" : `, ${Math.round(100 * run.converged)} % at an attractor`}`;
    return line;
  });
  $("outcome").replaceChildren(...lines);
}

function showStrip() {
  const sigma = state.picture?.levels.sigma ?? state.level.sigma;
  drawStrip($("strip"), state.attractors, sigma, REACH, isNetwork());
  const words = state.attractors ? inWords(state.attractors, sigma, isNetwork()) : "Looking for splits…";
  $("splits").textContent = words;
  $("strip").setAttribute("aria-label", `Attractors over ${isNetwork() ? "β" : "σ"}. ${words}`);
}

function add(at) {
  const shape = $("shape").value;
  const item = { shape, at, reach: [...REACHES[shape]], weight: 1, key: `item${counter++}` };
  items().push(item);
  state.chosen = item.key;
  changed();
}

function remove(key) {
  const one = items().find((item) => item.key === key?.replace(":reach", ""));
  if (key === "cue") state.cue = null;
  else if (one && items().filter((item) => item.shape === one.shape || !["event", "blob"].includes(item.shape) || state.kind !== "reconstructive").length > 1) {
    scenes[state.kind] = items().filter((item) => item !== one);
    if (state.chosen === one.key) state.chosen = null;
  }
  changed();
}

function drop(at) {
  state.cue = at;
  changed();
}

let grips = null;

function shapeChoice() {
  const shapes = SHAPES[state.kind];
  $("shape").replaceChildren(...shapes.map((shape) => new Option(NAMES[shape].toLowerCase(), shape)));
  $("shape-row").hidden = shapes.length < 2;
  $("bandwidth-row").hidden = state.kind !== "smoothed";
  $("core-row").hidden = state.kind !== "reconstructive";
  document.querySelector('output[for="bandwidth"]').textContent = Number($("bandwidth").value).toFixed(2);
  const network = isNetwork();
  $("separation-row").hidden = !["fenchel-young", "universal"].includes(state.kind);
  $("similarity-row").hidden = state.kind !== "universal";
  for (const part of document.querySelectorAll(".noise")) part.hidden = network;
  for (const part of document.querySelectorAll(".own")) part.hidden = !network;
  for (const name of Object.keys(METHODS)) $(`run-${name}`).parentElement.hidden = network && name !== "iteration";
  $("run-iteration").nextElementSibling.nextElementSibling.innerHTML = network ? "the network's iteration" : label("iteration");
  $("levels").querySelector("legend").textContent = network ? "Inverse temperature" : "Noise level";
  $("falling").textContent = network ? "β rises" : "σ falls";
  $("dots").innerHTML = network
    ? "Each dot is an attractor of the network at that β, by its first coordinate."
    : "Each dot is an attractor: a minimum of E<sub>σ</sub>, a fixed point of D<sub>σ</sub>, where iteration at that σ ends.";
  $("caption").innerHTML = caption(state.kind, "energy");
}

const label = (name) => `${METHODS[name][0]} <small>${METHODS[name][1]}</small>`;

function legend() {
  const rows = Object.entries(METHODS).map(([name, [, , checked]]) => {
    const { colour, dash, width } = LINES[name];
    const row = document.createElement("label");
    row.innerHTML =
      `<input type="checkbox" id="run-${name}"><svg viewBox="0 0 38 12" aria-hidden="true">` +
      `<line x1="1" x2="37" y1="6" y2="6" stroke="${colour}" stroke-width="${Math.max(width, 1.2)}" stroke-dasharray="${dash.join(" ")}"/>` +
      `<circle cx="19" cy="6" r="3" fill="${colour}" stroke="#fff" stroke-width="0.8"/></svg><span>${label(name)}</span>`;
    row.querySelector("input").checked = checked;
    row.querySelector("input").addEventListener("change", changed);
    return row;
  });
  $("legend").replaceChildren(...rows);
}

function ticks() {
  for (const [id, side] of [["ticks-x", "left"], ["ticks-y", "top"]]) {
    const marks = [-2, -1, 0, 1, 2].map((value) => {
      const tick = document.createElement("li");
      tick.textContent = String(value).replace("-", "−");
      tick.style[side] = `${side === "left" ? 25 * (value + 2) : 25 * (2 - value)}%`;
      return tick;
    });
    $(id).replaceChildren(...marks);
  }
}

function cursor(at, shown) {
  state.cursor = grips.inside(at.map((value) => Math.round(value * 1000) / 1000));
  $("cursor").hidden = !shown;
  $("cursor").style.left = `${25 * (state.cursor[0] + REACH)}%`;
  $("cursor").style.top = `${25 * (REACH - state.cursor[1])}%`;
}

function plane() {
  let before = null;
  $("plane").addEventListener("click", (event) => {
    const at = grips.state(event);
    before = event.detail > 1 ? before : state.cue;
    cursor(at, false);
    if (event.detail < 2) drop(at);
  });
  $("plane").addEventListener("dblclick", (event) => {
    state.cue = before;
    add(grips.state(event));
  });
  $("plane").addEventListener("keydown", (event) => {
    const inHandle = event.target !== $("plane");
    const arrow = ARROWS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrow && !inHandle) cursor(state.cursor.map((at, i) => at + arrow[i] * STEP * (event.shiftKey ? 4 : 1)), true);
    else if (event.key === "n" || event.key === "N") add([...state.cursor]);
    else if (event.key === "c" || event.key === "C" || (event.key === "Enter" && !inHandle)) drop([...state.cursor]);
    else return;
    event.preventDefault();
  });
  $("plane").addEventListener("focus", () => cursor(state.cursor, $("plane").matches(":focus-visible")));
  $("plane").addEventListener("blur", () => ($("cursor").hidden = true));
}

/** Set the tab up and draw it for the first time. */
export function landscape() {
  $("bandwidth").value = 0.3;
  legend();
  ticks();
  grips = handles($("handles"), $("plane"), REACH, {
    choose: (key) => {
      const item = key.replace(":reach", "");
      if (item === "cue" || item === state.chosen) return;
      state.chosen = item;
      place();
    },
    move: (key, at) => {
      if (key === "cue") state.cue = at;
      else {
        const item = items().find((one) => one.key === key.replace(":reach", ""));
        if (key.endsWith(":reach")) item.reach = at.map((value, i) => Math.round((value - item.at[i]) * 1000) / 1000 || 0.001);
        else item.at = at;
      }
      changed();
    },
    drop: () => {},
    remove,
  });
  plane();
  levels((level) => {
    state.level = level;
    changed();
  }, () => {});
  $("kind").addEventListener("change", () => {
    state.kind = $("kind").value;
    state.chosen = null;
    shapeChoice();
    changed();
  });
  for (const id of ["process", "core", "field", "separation", "similarity"]) $(id).addEventListener("change", () => {
    if (id === "process") state.level = { sigma: state.picture?.levels.sigma ?? 0.4 };
    changed();
  });
  $("surface-kind").addEventListener("change", changed);
  $("bandwidth").addEventListener("input", () => {
    shapeChoice();
    changed();
  });
  $("weight").addEventListener("input", () => {
    const item = items().find((one) => one.key === state.chosen);
    item.weight = Number($("weight").value);
    changed();
  });
  $("add").addEventListener("click", () => {
    // Not on top of one that was added just before.
    const turn = 2.4 * items().length;
    add([Math.cos(turn), Math.sin(turn)].map((value) => Math.round(900 * value) / 1000));
  });
  $("remove").addEventListener("click", () => remove(state.chosen));
  $("reset").addEventListener("click", () => {
    scenes[state.kind] = labelled(beginning(state.kind));
    state.chosen = null;
    changed();
  });
  $("run").addEventListener("click", () => {
    state.seed += 1;
    changed();
  });
  $("drop").addEventListener("click", () => drop([...state.cursor]));
  new ResizeObserver(() => {
    if (!state.picture || $("landscape").hidden) return;
    drawSurface($("surface"), state.picture.energy);
    overlay(false);
    showStrip();
    place();
  }).observe($("plane"));
  shapeChoice();
  changed();
}
