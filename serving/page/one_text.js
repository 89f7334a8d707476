// One text: its prediction while the user types, its explanation, and its true label.
import { TRIAL, call, sayError } from "./api.js";
import { byId, debounced, element, percent, say } from "./dom.js";
import { examplesFor } from "./examples.js";
import { WordView } from "./word_view.js";

const PAUSE = 250;
const MAX_BARS = 8;
const OTHER = "(other)";
const REASONS = {
  no_words: "it has no words",
  unknown_words: "its words are not those of the training texts",
  far_from_training: "it is far from the training texts",
};

/** Remarks about a prediction, shown next to its label: [text, is a warning]. */
export function remarksOf({ stage, truncated, unusual_reason: reason, empty, unsure, rules }) {
  const remarks = [];
  if (stage && stage !== "rule") remarks.push([`answered by the ${stage === "linear" ? "linear stage" : "encoder"}`, false]);
  if (stage === "rule") remarks.push([`decided by the rule ${rules.at(-1)}`, false]);
  else if (rules?.length) remarks.push(["rewritten by a rule", false]);
  if (truncated) remarks.push(["truncated: the model read only a part", true]);
  if (reason) remarks.push([`unusual: ${REASONS[reason] ?? reason}`, true]);
  if (unsure) remarks.push(["unsure", true]);
  if (empty) remarks.push(["empty: the text has no words", true]);
  return remarks;
}

export class OneText {
  constructor() {
    this.field = byId("text");
    this.info = null;
    this.examples = [];
    this.example = -1;
    this.prediction = null;
    this.showsAll = false;
    // Text -> its label that this page has stored, and the permission to take it back.
    this.stored = new Map();
    this.isStoring = false;
    this.requests = { predict: null, explain: null };
    this.view = new WordView();
    this.later = debounced(() => this.predict(), PAUSE);
    this.field.addEventListener("input", () => this.changed());
    byId("clear").addEventListener("click", () => {
      this.take("");
      this.field.focus();
    });
    byId("explain").addEventListener("click", () => this.explain());
    byId("all-classes").addEventListener("click", () => {
      this.showsAll = !this.showsAll;
      this.showBars();
    });
    byId("examples").addEventListener("change", (event) => {
      if (event.target.value !== "") this.takeExample(Number(event.target.value));
    });
  }

  /** Use the classes of the model; returns the shortcuts of the labels. */
  start(info) {
    this.info = info;
    this.examples = examplesFor(info.class_names);
    byId("examples").append(...this.examples.map(([title], index) => element("option", { value: index, text: title })));
    const keys = this.showLabels(info.class_names);
    if (!info.explain) {
      byId("explain").disabled = true;
      say("explain-status", "This server does not explain predictions (EXPLAIN=off, or a model without an engine).");
    }
    if (this.field.value !== "") this.predict();  // The browser may restore a text.
    return keys;
  }

  /** Replace the text. */
  take(text) {
    this.field.value = text;
    this.changed(0);
  }

  takeExample(index) {
    this.example = index;
    byId("examples").value = String(index);
    this.take(this.examples[index][1]);
  }

  nextExample() {
    if (this.examples.length) this.takeExample((this.example + 1) % this.examples.length);
  }

  changed(pause = PAUSE) {
    this.abort("predict");
    this.abort("explain");
    this.later.cancel();
    this.view.clear();
    if (this.info?.explain) say("explain-status", "");
    say("feedback-status", "");
    this.pressLabel(this.stored.get(this.field.value)?.label ?? null);
    byId("result").classList.add("stale");
    if (this.field.value === "") {
      this.prediction = null;
      byId("result").hidden = true;
      say("status", "");
    } else if (pause === 0) this.predict();
    else this.later();
  }

  abort(kind) {
    this.requests[kind]?.abort();
    this.requests[kind] = null;
  }

  /** Send a request of a kind; null if another one of its kind, or a change of the text, has replaced it. */
  async request(kind, status, send) {
    this.abort(kind);
    const mine = (this.requests[kind] = new AbortController());
    for (;;) {
      try {
        const response = await send(mine.signal);
        if (this.requests[kind] !== mine) return null;
        say(status, "");
        return response;
      } catch (error) {
        if (this.requests[kind] !== mine) return null;
        if (error.status !== 429) {
          sayError(status, error, () => this[kind]());
          return null;
        }
        say(status, "The server is busy. This page tries again.");
        await new Promise((resolve) => setTimeout(resolve, 1000 * Math.max(1, error.retryAfter)));
        if (this.requests[kind] !== mine) return null;
      }
    }
  }

  async predict() {
    this.later.cancel();
    const text = this.field.value;
    const found = await this.request("predict", "status", (signal) =>
      call("/predict", { text }, { signal, headers: TRIAL }));
    if (found === null) return;
    this.prediction = found;
    byId("result").hidden = false;
    byId("result").classList.remove("stale");
    const { label, probabilities } = found;
    byId("label").textContent = label in probabilities ? `${label} ${percent(probabilities[label])}` : label;
    byId("marks").replaceChildren(...remarksOf(found).map(([remark, isWarning]) =>
      element("span", { class: isWarning ? "mark warn" : "mark", text: remark })));
    byId("model").textContent = found.model;
    this.showBars();
  }

  showBars() {
    const { label, probabilities } = this.prediction;
    const ranked = Object.entries(probabilities).sort((a, b) => b[1] - a[1] || (b[0] === label) - (a[0] === label));
    const shown = this.showsAll ? ranked : ranked.slice(0, MAX_BARS);
    byId("bars").replaceChildren(...shown.flatMap(([name, value]) => {
      const bar = element("dd", { class: "bar", "aria-hidden": "true" });
      bar.style.setProperty("--share", value);
      return [element("dt", { text: name }), bar, element("dd", { text: percent(value) })];
    }));
    const button = byId("all-classes");
    button.hidden = ranked.length <= MAX_BARS;
    button.textContent = this.showsAll ? "Show fewer classes" : `Show all ${ranked.length} classes`;
  }

  async explain() {
    const text = this.field.value;
    if (text === "" || !this.info?.explain) return;
    this.view.clear();
    say("explain-status", "Explaining …");
    const found = await this.request("explain", "explain-status", (signal) =>
      call("/explain", { text }, { signal, headers: TRIAL }));
    if (found === null) return;
    this.view.show(found);
    say("explain-status", `Explained with ${found.evaluations} evaluations of the model.`);
  }

  explainNextClass() {
    this.view.nextClass();
  }

  showLabels(classNames) {
    const keys = {};
    const group = byId("labels");
    const named = [...classNames.slice(0, 9).map((name, index) => [String(index + 1), name]), ["0", OTHER]];
    for (const [key, name] of named) {
      const title = name === OTHER ? "another class" : name;
      group.append(element("button", { "data-label": name, "aria-pressed": "false", onclick: () => this.store(name) },
        title, element("kbd", { text: key })));
      keys[key] = [`Store the label: ${title}`, () => this.store(name)];
    }
    if (classNames.length > 9) {
      const choice = element("select", { id: "any-label", "aria-label": "Any class" },
        ...classNames.map((name) => element("option", { value: name, text: name })));
      group.append(choice, element("button", { text: "Store this class", onclick: () => this.store(choice.value) }));
    }
    return keys;
  }

  pressLabel(label) {
    for (const button of byId("labels").querySelectorAll("[data-label]")) {
      button.setAttribute("aria-pressed", String(button.dataset.label === label));
    }
  }

  async store(label) {
    const text = this.field.value;
    const earlier = this.stored.get(text);
    if (text.trim() === "" || this.isStoring || earlier?.label === label) return;
    this.isStoring = true;
    const sayOf = (message) => this.field.value === text && say("feedback-status", message);
    sayOf("Storing …");
    try {
      const stored = await call("/review/labels", { text, label, source: "web page" });
      this.stored.set(text, stored);
      if (this.field.value === text) this.pressLabel(stored.label);
      if (earlier) await this.takeBack(earlier);
      sayOf(`Stored: the label of this text is ${stored.label}.`);
    } catch (error) {
      if (this.field.value === text) sayError("feedback-status", error, () => this.store(label));
    } finally {
      this.isStoring = false;
    }
  }

  /** Remove the earlier label of a text, so that it has only the new one. */
  async takeBack(earlier) {
    try {
      await call("/review/undo", { undo: earlier.undo });
    } catch (error) {
      throw new Error(`The new label is stored, but the earlier label ${earlier.label} is stored, too: ${error.message}`);
    }
  }
}
