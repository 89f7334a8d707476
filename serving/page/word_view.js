// An explanation: the text with the contribution of each word to a class, and a table of the largest ones.
import { byId, element, percent, signed } from "./dom.js";

const MAX_ROWS = 15;
// Smaller contributions stand in the table only.
const MIN_SHARE = 0.04;
const BASELINES = {
  mask: "[MASK] stands in its place",
  attention: "it is hidden from the encoder",
  deletion: "it is deleted",
  absence: "its wordpieces do not count",
};

// A smaller largest contribution gets paler colours: in a long text each word adds little.
const STRONG = { probability: 0.02, logit: 0.1 };
const MIN_STRENGTH = 0.2;
const MAX_DIGITS = 4;

/** The digits after the point, with which the largest of some contributions has two digits. */
function digitsFor(largest, unit) {
  const [number, fewest] = unit === "probability" ? [100 * largest, 1] : [largest, 2];
  return number > 0 ? Math.min(MAX_DIGITS, Math.max(fewest, 1 - Math.floor(Math.log10(number)))) : fewest;
}

/** A contribution with its sign; probabilities in percentage points. */
const shown = (value, unit, digits = digitsFor(Infinity, unit)) => signed(unit === "probability" ? 100 * value : value, digits);

/**
 * The pieces of a text in its order: [start, end, index of the word or -1, whether the model read it].
 *
 * `spans` are the words and `unseen` the parts that were not read, both ascending, in characters.
 */
export function piecesOf(length, spans, unseen) {
  const pieces = [];
  let at = 0;
  let gap = 0;
  // Add the text up to `end`. Between words it is cut where an unseen part starts or ends.
  const add = (end, index) => {
    while (at < end) {
      while (gap < unseen.length && unseen[gap][1] <= at) gap++;
      const [from, to] = unseen[gap] ?? [length, length];
      const stop = index >= 0 ? end : Math.min(end, from > at ? from : to);
      pieces.push([at, stop, index, from >= stop]);
      at = stop;
    }
  };
  spans.forEach(([start, end], index) => {
    add(start, -1);
    add(end, index);
  });
  add(length, -1);
  return pieces;
}

export class WordView {
  constructor() {
    this.found = null;
    this.showsAll = false;
    byId("explained").addEventListener("change", () => this.render());
    byId("all-words").addEventListener("click", () => {
      this.showsAll = !this.showsAll;
      this.render();
    });
  }

  clear() {
    this.found = null;
    byId("explanation").hidden = true;
  }

  /** Show the response of /explain. */
  show(found) {
    this.found = found;
    this.showsAll = false;
    const names = Object.keys(found.values);
    byId("explained").replaceChildren(...names.map((name) => element("option", { value: name, text: name })));
    byId("explained").value = names.includes(found.label) ? found.label : names[0];
    byId("explanation").hidden = false;
    this.render();
  }

  nextClass() {
    if (this.found === null) return;
    const choice = byId("explained");
    choice.selectedIndex = (choice.selectedIndex + 1) % choice.length;
    this.render();
  }

  render() {
    const { text, words, spans, unseen, unit, probabilities, base_values: bases } = this.found;
    const name = byId("explained").value;
    const values = this.found.values[name];
    const largest = Math.max(0, ...values.map(Math.abs));
    const strength = Math.min(1, Math.max(MIN_STRENGTH, Math.sqrt(largest / STRONG[unit])));
    const digits = digitsFor(largest, unit);
    // Spans count characters, and a string of JavaScript counts UTF-16 units.
    const characters = Array.from(text);
    byId("words").replaceChildren(...piecesOf(characters.length, spans, unseen).map(([start, end, index, isSeen]) => {
      const piece = characters.slice(start, end).join("");
      if (!isSeen) return element("span", { class: "unseen", text: piece });
      if (index < 0) return document.createTextNode(piece);
      return wordElement(piece, values[index], largest, strength, (value) => shown(value, unit, digits));
    }));
    const total = values.reduce((sum, value) => sum + value, bases[name]);
    byId("sum").textContent = unit === "probability"
      ? `Without the words ${percent(bases[name])}, the words ${shown(total - bases[name], unit)} points: ` +
        `probability of ${name} ${percent((this.found.model_probabilities ?? probabilities)[name])}.`
      : `Without the words ${signed(bases[name], 2)}, the words ${shown(total - bases[name], unit)}.`;
    this.showHow();
    this.showTable(words, values, (value) => shown(value, unit, digits));
  }

  showHow() {
    const { stage, baseline, complete, unseen, unit } = this.found;
    const sentences = [unit === "probability" ? "The values are percentage points of the probability." : "The values are logits."];
    sentences.push("A value is the mean change that the word makes, with other words present or absent. " +
      `Where a word is absent, ${BASELINES[baseline] ?? baseline}.`);
    if (stage === "rule") sentences.push(`The rule ${this.found.rules.at(-1)} decided; the values explain the model alone.`);
    else if (stage) sentences.push(`The ${stage === "linear" ? "linear stage" : "encoder"} is explained, because it answered.`);
    if (!complete) sentences.push("The limit on time or evaluations ended the search early: words of a group share its value.");
    if (unseen.length) sentences.push("Crossed-out parts were not read by the model.");
    byId("how").textContent = sentences.join(" ");
  }

  showTable(words, values, format) {
    const ranked = words.map((word, index) => [word, values[index]]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const rows = this.showsAll ? ranked : ranked.slice(0, MAX_ROWS);
    byId("word-table").tBodies[0].replaceChildren(...rows.map(([word, value]) =>
      element("tr", {}, element("td", { text: word }), element("td", { class: "number", text: format(value) }))));
    const button = byId("all-words");
    button.hidden = ranked.length <= MAX_ROWS;
    button.textContent = this.showsAll ? "Show fewer words" : `Show all ${ranked.length} words`;
  }
}

function wordElement(piece, value, largest, strength, format) {
  const share = largest === 0 ? 0 : Math.abs(value) / largest;
  if (share < MIN_SHARE) return element("span", { class: "word", text: piece });
  const made = element("span", { class: `word ${value > 0 ? "for" : "against"}` }, piece,
    element("span", { class: "value", text: format(value) }));
  made.style.setProperty("--share", (share * strength).toFixed(3));
  return made;
}
