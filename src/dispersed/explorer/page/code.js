// "Copy as Python": what is on the screen as a script.

import { ask, complain } from "./ask.js";

/** Make the copy buttons work; `questions` maps a tab to what it would ask. */
export function copying(questions) {
  const dialog = document.getElementById("code-dialog");
  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", async () => {
      try {
        const { code } = await ask("code", questions[button.dataset.tab]());
        document.getElementById("code").textContent = code;
        dialog.showModal();
        const copied = document.getElementById("copied");
        copied.textContent = "";
        await navigator.clipboard.writeText(code).then(
          () => (copied.textContent = "Copied."),
          () => (copied.textContent = "Select it to copy."),
        );
      } catch (error) {
        complain(error.message);
      }
    });
  }
  document.getElementById("close").addEventListener("click", () => dialog.close());
}
