// The keyboard: one letter an action, except while somebody types or a dialog is open.

/** `actions` by key, letters in lower case; the arrows step by a frame, with Shift by a result. */
export function onKeys(actions, step) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches("input")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.target.matches("button") && event.key === " ") return;
    const arrow = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = arrow ? () => step(arrow, event.shiftKey) : actions[name];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
