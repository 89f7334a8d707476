// Shortcuts of a single key. They do nothing in a field or a dialog, and the user can turn them off.
import { element } from "./dom.js";

const OFF = "textclf-shortcuts-off";

/** Whether shortcuts are on; the choice is kept in this browser. */
export const areOn = () => localStorage.getItem(OFF) === null;

/** Whether the user writes into an element, so that keys belong to it. */
export function isField(target) {
  return target instanceof Element && target.closest("textarea, select, input:not([type=checkbox], [type=radio]), [contenteditable]") !== null;
}

/**
 * Install the shortcuts of a page: key -> [what it does, action]. "?" shows them all.
 *
 * `keys` may change later. An action whose description is null is not listed. An action that returns false lets
 * the browser handle the key.
 */
export function install(keys) {
  document.addEventListener("keydown", (event) => {
    const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
    if (event.defaultPrevented || event.isComposing || event.repeat || hasModifier) return;
    if (!areOn() || isField(event.target) || document.querySelector("dialog[open]")) return;
    const action = event.key === "?" ? () => showKeys(keys) : keys[event.key]?.[1];
    if (action && action() !== false) event.preventDefault();
  });
}

/** Show the keys of a page, and the switch that turns them off. */
export function showKeys(keys) {
  const isOn = element("input", { type: "checkbox", id: "shortcuts-on", checked: areOn() });
  isOn.addEventListener("change", () => {
    if (isOn.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  });
  // Letters first, then 1 to 9 and 0.
  const place = (key) => (/^[0-9]$/.test(key) ? Number(key) || 10 : 0);
  const rows = [...Object.entries(keys), ["?", ["Show the keys"]]]
    .sort(([a], [b]) => place(a) - place(b))
    .filter(([, [meaning]]) => meaning !== null)
    .flatMap(([key, [meaning]]) => [
      element("dt", {}, element("kbd", { text: key === "Escape" ? "Esc" : key })), element("dd", { text: meaning })]);
  const dialog = element("dialog", { "aria-labelledby": "keys-title" },
    element("form", { method: "dialog" },
      element("h2", { id: "keys-title", text: "Keys" }),
      element("p", { class: "dim", text: "They work outside of text fields. Esc leaves a text field." }),
      element("dl", { class: "keys" }, ...rows),
      element("p", {}, isOn, " ", element("label", { for: "shortcuts-on", class: "choice", text: "Use single keys" })),
      element("button", { class: "primary", autofocus: true, text: "Close" })));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
