// The page: two tabs, of which the second is set up when it is first opened.

import { copying } from "./code.js";
import * as numerals from "./digits.js";
import * as plane from "./landscape.js";
import { saving } from "./save.js";

const tabs = [...document.querySelectorAll('[role="tab"]')];
let opened = false;

function open(tab) {
  for (const one of tabs) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", String(chosen));
    one.tabIndex = chosen ? 0 : -1;
    document.getElementById(one.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (tab.id === "tab-digits" && !opened) {
    opened = true;
    numerals.digits();
  }
  history.replaceState(null, "", tab.id === "tab-digits" ? "#digits" : "#");
}

for (const [i, tab] of tabs.entries()) {
  tab.addEventListener("click", () => open(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(i + step + tabs.length) % tabs.length];
    open(next);
    next.focus();
  });
}

copying({ landscape: plane.question, digits: numerals.question });
saving();
plane.landscape();
if (location.hash === "#digits") open(tabs[1]);
