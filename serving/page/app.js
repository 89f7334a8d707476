// The page at /: one text or several, with shortcuts.
import { keyError, sayError, serverInfo } from "./api.js";
import { byId, say, sayWaiting } from "./dom.js";
import { install, showKeys } from "./keys.js";
import { OneText } from "./one_text.js";
import { SeveralTexts } from "./several_texts.js";

const tabs = ["one", "several"].map((name) => byId(`tab-${name}`));

function show(tab, hasFocus = true) {
  for (const each of tabs) {
    const isShown = each === tab;
    each.setAttribute("aria-selected", String(isShown));
    each.tabIndex = isShown ? 0 : -1;
    byId(each.getAttribute("aria-controls")).hidden = !isShown;
  }
  if (hasFocus) tab.focus();
}

const one = new OneText();
const several = new SeveralTexts((text) => {
  show(tabs[0], false);
  one.take(text);
  byId("text").focus();
});

for (const tab of tabs) {
  tab.addEventListener("click", () => show(tab));
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    show(tabs[1 - tabs.indexOf(tab)]);
  });
}

// An action on the single text does nothing while the other panel is shown.
const onOne = (action) => () => (byId("one").hidden ? false : action());
const keys = {
  e: ["Explain the prediction", onOne(() => one.explain())],
  c: ["Show the contributions to the next class", onOne(() => one.explainNextClass())],
  x: ["Take the next example", onOne(() => one.nextExample())],
  t: ["Go to the text field", () => byId(byId("one").hidden ? "lines" : "text").focus()],
  m: ["Switch between one text and several", () => show(tabs[byId("one").hidden ? 0 : 1])],
};

byId("keys").addEventListener("click", () => showKeys(keys));
for (const field of [byId("text"), byId("lines")]) {
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") byId("main").focus();
  });
}
byId("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    one.explain();
  }
});

install(keys);
try {
  const info = await serverInfo(sayWaiting);
  say("status", "");
  byId("model").textContent = info.model;
  Object.assign(keys, one.start(info));
  for (const key of "0123456789") if (keys[key]) keys[key][1] = onOne(keys[key][1]);
  several.start(info);
  const missing = keyError();
  if (missing) sayError("status", missing, () => one.changed(0));
} catch (error) {
  say("status", error.message, true);
}
