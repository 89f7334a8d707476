// The page at /review: one logged text after the other gets its true label.
import { TRIAL, call, sayError, serverInfo } from "./api.js";
import { byId, element, say, sayWaiting } from "./dom.js";
import { install, showKeys } from "./keys.js";
import { WordView } from "./word_view.js";

const OTHER = "(other)";
const COUNT = 20;
const MIN_WAITING = 5;
// The server takes up to 1,000 keys.
const MAX_SKIPPED = 900;
const GOAL = 200;
// Keys of the first labels; s, u and e have other meanings.
const LABEL_KEYS = "123456789abcdfghijklmnopqrtvwxyz";
const SKIPPED = "textclf-skipped";
const NOTES = {
  audit: "The server draws these texts at random, so their labels measure how often the model errs. It does not show " +
    "its prediction, because a prediction sways. Skip as few texts as you can, and press 0 if no class fits.",
  informative: "Labels of these texts teach the model most: it is uncertain, its stages disagree, or a text is unusual. " +
    "They do not measure how often it errs.",
};
const REASONS = {
  uncertain: "the model is uncertain",
  stages_disagree: "the stages disagree",
  no_words: "unusual: no words",
  unknown_words: "unusual: unknown words",
  far_from_training: "unusual: far from the training texts",
};

const view = new WordView();
const keys = {};
let waiting = [];
let history = [];
let isBusy = false;
let drawn = 0;  // Number of the last draw; an answer to an earlier one is dropped.
let drawing = null;
let shownLabels = "";
let labelled = { texts: 0, audits: 0 };
const skipped = new Set(JSON.parse(sessionStorage.getItem(SKIPPED) ?? "[]"));
const mode = () => byId("mode").value;

/** Draw more texts; returns false after an error, which is shown. */
async function draw() {
  const mine = ++drawn;
  const days = byId("days").value === "" ? null : Number(byId("days").value);
  const leftOut = [...waiting.map((item) => item.key), ...[...skipped].reverse()].slice(0, MAX_SKIPPED);
  try {
    const found = await call("/review/texts", { mode: mode(), count: COUNT, days, skipped: leftOut });
    if (mine !== drawn) return false;
    byId("model").textContent = found.model;
    showLabels(found.labels);
    const known = new Set(waiting.map((item) => item.key));
    waiting.push(...found.texts.filter((item) => !known.has(item.key)));
    labelled = found.labelled;
    return true;
  } catch (error) {
    if (mine === drawn) sayError("status", error, () => start());
    return false;
  } finally {
    if (mine === drawn) drawing = null;
  }
}

/** Draw in the background once few texts wait. */
function refill() {
  if (waiting.length < MIN_WAITING) drawing ??= draw();
}

async function start(message = "") {
  waiting = [];
  drawing = null;
  show();
  say("status", "Drawing texts …");
  byId("mode-note").textContent = NOTES[mode()];
  if (await (drawing = draw())) {
    say("status", message);
    show();
  } else byId("again").hidden = false;
}

/** Show a button for each label, again once another version with other classes is served. */
function showLabels(names) {
  const wanted = JSON.stringify(names);
  if (wanted === shownLabels) return;
  shownLabels = wanted;
  byId("labels").replaceChildren();
  for (const key of Object.keys(keys)) delete keys[key];
  const named = names.filter((name) => name !== OTHER).map((name, index) => [LABEL_KEYS[index], name]);
  for (const [key, name] of [...named, ["0", OTHER]]) {
    const title = name === OTHER ? "another class" : name;
    byId("labels").append(element("button", { "data-label": name, onclick: () => store(name) },
      title, key ? element("kbd", { text: key }) : null));
    if (key) keys[key] = [`Label: ${title}`, () => store(name)];
  }
  Object.assign(keys, {
    s: ["Skip the text", () => skip()],
    u: ["Undo the last label or skip", () => undo()],
    e: ["Explain the prediction", () => explain()],
  });
}

/** Show the first waiting text and the progress. */
function show() {
  const item = waiting[0];
  view.clear();
  say("explain-status", "");
  byId("item").hidden = item === undefined;
  byId("skip").disabled = item === undefined;
  byId("undo").disabled = history.length === 0;
  byId("again").hidden = true;
  byId("explain-part").hidden = mode() === "audit";
  if (item !== undefined) {
    byId("text").textContent = item.text;
    byId("text").scrollTop = 0;
    const remarks = item.label === undefined ? [] : [`predicted: ${item.label}`, ...item.reasons.map((reason) => REASONS[reason] ?? reason)];
    byId("marks").replaceChildren(...remarks.map((remark) => element("span", { class: "mark", text: remark })));
  }
  const count = history.filter((step) => step.undo !== undefined && step.mode === mode()).length;
  byId("progress").value = Math.min(count, GOAL);
  byId("progress").hidden = mode() !== "audit";
  const goal = mode() === "audit" ? ` of ${GOAL}` : "";
  byId("counts").textContent = `${count}${goal} labelled in this session, ${skipped.size} skipped`;
  byId("stored").textContent = `At the last draw the server had ${labelled.texts} labelled texts, ${labelled.audits} with a random audit.`;
}

/** Show the next text, after a draw if none waits. */
async function next(message) {
  waiting.shift();
  refill();
  if (waiting.length === 0 && drawing !== null) {
    show();
    say("status", `${message} Drawing texts …`);
    if (!(await drawing)) {
      byId("again").hidden = false;
      return;
    }
  }
  show();
  if (waiting.length === 0) {
    say("status", `${message} There are no more texts to label.`);
    byId("again").hidden = false;
    byId("again").focus();
  } else {
    say("status", message);
    // A screen reader reads the new text.
    byId("text").focus({ preventScroll: true });
  }
}

/** Run an action that ends before another one starts. */
async function alone(action) {
  if (isBusy) return;
  isBusy = true;
  try {
    await action();
  } catch (error) {
    sayError("status", error, () => alone(action));
  } finally {
    isBusy = false;
  }
}

function store(label) {
  const item = waiting[0];
  if (item === undefined) return false;
  alone(async () => {
    const body = { text: item.text, label, draw: item.draw ?? null, source: "review page" };
    try {
      const stored = await call("/review/labels", body);
      if (waiting[0] !== item) return;
      history.push({ item, mode: mode(), undo: stored.undo });
      await next(`Stored: ${stored.label}.`);
    } catch (error) {
      if (error.code === "already_labelled") await next("Somebody has labelled this text meanwhile.");
      else if (error.code === "invalid_draw") await start("The draws were too old, or another version is served. These texts are new.");
      else throw error;
    }
  });
}

function keepSkipped() {
  sessionStorage.setItem(SKIPPED, JSON.stringify([...skipped].slice(-MAX_SKIPPED)));
}

function skip() {
  const item = waiting[0];
  if (item === undefined) return false;
  alone(async () => {
    skipped.add(item.key);
    keepSkipped();
    history.push({ item, mode: mode() });
    await next("Skipped.");
  });
}

function undo() {
  const step = history.at(-1);
  if (step === undefined) return false;
  alone(async () => {
    if (step.undo !== undefined) await call("/review/undo", { undo: step.undo });
    skipped.delete(step.item.key);
    keepSkipped();
    history.pop();
    if (step.mode !== mode()) {
      byId("mode").value = step.mode;
      waiting = [];
      await start();
      waiting = waiting.filter((item) => item.key !== step.item.key);
    }
    waiting.unshift(step.item);
    show();
    say("status", step.undo === undefined ? "The skipped text is back." : "The label was taken back.");
    byId("text").focus({ preventScroll: true });
  });
}

async function explain() {
  const item = waiting[0];
  if (item === undefined || mode() === "audit") return;
  view.clear();
  say("explain-status", "Explaining …");
  try {
    const found = await call("/explain", { text: item.text }, { headers: TRIAL });
    if (waiting[0] !== item) return;
    view.show(found);
    say("explain-status", `Explained with ${found.evaluations} evaluations of the model.`);
  } catch (error) {
    if (waiting[0] === item) sayError("explain-status", error, explain);
  }
}

byId("mode").addEventListener("change", () => start());
byId("days").addEventListener("change", () => start());
for (const field of [byId("mode"), byId("days"), byId("explained")]) {
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") byId("text").focus();
  });
}
byId("skip").addEventListener("click", skip);
byId("undo").addEventListener("click", undo);
byId("again").addEventListener("click", () => start());
byId("explain").addEventListener("click", explain);
byId("keys").addEventListener("click", () => showKeys(keys));
install(keys);
try {
  await serverInfo(sayWaiting);  // Asks for the key if the server needs one.
  await start();
} catch (error) {
  say("status", error.message, true);
  byId("again").hidden = false;
}
