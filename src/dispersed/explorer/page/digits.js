// The second tab: a real digit, damaged and recalled.

import { ask, channel, complain } from "./ask.js";
import { barRow } from "./bars.js";
import { css, paint } from "./canvas.js";
import { mask } from "./mask.js";

const SHOWN = 12;
const $ = (id) => document.getElementById(id);
const state = { stored: null, digit: 3, page: 0, index: null, seed: 0, changes: 0, answer: null };
let hidden = null;

const image = (index) => state.stored.images.data.subarray(64 * index, 64 * (index + 1));

/** What the server is asked about. */
export function question() {
  return {
    tab: "digits",
    digit: {
      index: state.index,
      alpha: Number($("digit-alpha").value),
      seed: state.seed,
      missing: [...hidden.missing].sort((a, b) => a - b),
      dynamics: $("digit-dynamics").value,
    },
  };
}

const askDigit = channel("digit", (answer, asked, elapsed) => {
  state.answer = answer;
  show();
  $("verdict").dataset.answered = elapsed.toFixed(1);
});

function changed() {
  if (state.index === null) return;
  document.querySelector('output[for="digit-alpha"]').textContent = Number($("digit-alpha").value).toFixed(2);
  $("verdict").dataset.changes = ++state.changes;
  $("verdict").dataset.state = "busy";
  const { changes } = state;
  askDigit(question().digit).then(() => {
    if (changes === state.changes) $("verdict").dataset.state = "still";
  });
}

function show() {
  const { answer } = state;
  if (!answer) return;
  paint($("truth"), answer.truth.data);
  paintCue();
  paint($("recalled"), answer.recalled.data);
  $("truth").setAttribute("aria-label", `Stored image ${state.index}, a ${answer.label}`);
  $("recalled").setAttribute("aria-label", `Recalled: nearest to image ${answer.nearest}, a ${answer.nearest_label}`);
  $("verdict").textContent = answer.verdict.text;
  $("verdict").className = answer.verdict.sure;
  Object.assign($("verdict").dataset, { nearest: answer.nearest, label: answer.nearest_label, entropy: answer.entropy });
  const frames = answer.film.shape[0];
  const film = Array.from({ length: frames }, (_, k) => {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    canvas.className = "image";
    canvas.setAttribute("role", "img");
    const sigma = answer.film_sigma.data[k];
    canvas.setAttribute("aria-label", `State at σ = ${sigma.toPrecision(2)}`);
    paint(canvas, answer.film.data.subarray(64 * k, 64 * (k + 1)));
    const caption = document.createElement("figcaption");
    caption.textContent = sigma ? `σ = ${sigma.toPrecision(2)}` : "recalled";
    figure.append(canvas, caption);
    return figure;
  });
  $("film").replaceChildren(...film);
  $("film-caption").textContent =
    `States z = x/s(t) on the way; ${answer.evaluations} evaluations of D, ` +
    `${answer.converged ? "ending at a fixed point" : "not ending at a fixed point"}; nearest: image ${answer.nearest}, p(image | cue) = ${answer.probability.toFixed(3)}.${hidden.missing.size ? " Observed pixels stay as they are." : ""}`;
  $("alternatives").replaceChildren(
    ...answer.alternatives.map(({ index, label, probability }) => {
      const canvas = document.createElement("canvas");
      canvas.className = "image";
      canvas.setAttribute("aria-hidden", "true");
      paint(canvas, image(index));
      return barRow(`a ${label}, #${index}`, probability, null, canvas);
    }),
  );
  $("by-digit").replaceChildren(...answer.by_digit.map((probability, digit) => barRow(String(digit), probability)));
  $("digit-doubt").textContent =
    `Entropy ${answer.entropy.toFixed(2)} nats: as if ${answer.effective < 100 ? answer.effective.toFixed(1) : Math.round(answer.effective)} of 1,797 images were equally likely. ` +
    `α = ${Number($("digit-alpha").value).toFixed(2)} is σ = ${answer.sigma.toPrecision(3)}.`;
}

/** The cue, what is hidden of it, and where keys act; drawn large so that the lines are thin. */
function paintCue() {
  const canvas = $("cue");
  const small = document.createElement("canvas");
  paint(small, state.answer.cue.data);
  [canvas.width, canvas.height] = [256, 256];
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, 256, 256);
  context.strokeStyle = css("--accent");
  for (const index of hidden.missing) {
    const [x, y] = [32 * (index % 8), 32 * Math.floor(index / 8)];
    context.fillStyle = "#e9dccf";
    context.fillRect(x, y, 32, 32);
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x + 6, y + 26);
    context.lineTo(x + 26, y + 6);
    context.stroke();
  }
  const at = hidden.at();
  if (at !== null) {
    context.lineWidth = 4;
    context.strokeRect(32 * (at % 8) + 2, 32 * Math.floor(at / 8) + 2, 28, 28);
  }
  canvas.setAttribute(
    "aria-label",
    `Cue with ${hidden.missing.size} of 64 pixels hidden. Arrow keys move, Space hides or shows a pixel${at === null ? "" : `; row ${Math.floor(at / 8) + 1}, column ${(at % 8) + 1}`}.`,
  );
}

/** A group of buttons of which one is chosen; arrows move among them. */
function radios(group, options, chosen, choose) {
  const buttons = options.map(({ value, content, label }) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", String(value === chosen));
    button.setAttribute("aria-label", label);
    button.tabIndex = value === chosen ? 0 : -1;
    button.append(content);
    button.addEventListener("click", () => choose(value));
    return button;
  });
  if (!options.some(({ value }) => value === chosen) && buttons.length) buttons[0].tabIndex = 0;
  group.replaceChildren(...buttons);
  group.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const at = buttons.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const to = (at + step + buttons.length) % buttons.length;
    choose(options[to].value);
    group.children[to].focus();
  };
}

function gallery() {
  const all = state.stored.labels.flatMap((label, index) => (label === state.digit ? [index] : []));
  const from = (state.page * SHOWN) % all.length;
  const some = [...all, ...all].slice(from, from + SHOWN);
  radios(
    $("numbers"),
    Array.from({ length: 10 }, (_, digit) => ({ value: digit, content: String(digit), label: `Digit ${digit}` })),
    state.digit,
    (digit) => {
      [state.digit, state.page] = [digit, 0];
      state.index = state.stored.labels.indexOf(digit);
      gallery();
      changed();
    },
  );
  radios(
    $("gallery"),
    some.map((index) => {
      const canvas = document.createElement("canvas");
      canvas.className = "image";
      paint(canvas, image(index));
      return { value: index, content: canvas, label: `Image ${index}` };
    }),
    state.index,
    (index) => {
      state.index = index;
      gallery();
      changed();
    },
  );
}

/** Set the tab up; called when it is first opened. */
export async function digits() {
  hidden ??= mask($("cue"), (missing, news = true) => (news ? (state.answer && paintCue(), changed()) : state.answer && paintCue()));
  try {
    state.stored = await ask("digits", {});
  } catch (error) {
    complain(error.message);
    return;
  }
  state.index = state.stored.labels.indexOf(state.digit);
  $("digit-alpha").addEventListener("input", changed);
  $("digit-dynamics").addEventListener("change", changed);
  $("noise").addEventListener("click", () => {
    state.seed += 1;
    changed();
  });
  $("others").addEventListener("click", () => {
    state.page += 1;
    gallery();
  });
  $("half").addEventListener("click", () => hidden.replace(Array.from({ length: 32 }, (_, i) => 32 + i)));
  $("clear").addEventListener("click", () => hidden.replace([]));
  gallery();
  changed();
}
