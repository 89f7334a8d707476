// Several texts: lines or a file, scored in batches, as a table that can be sorted and saved.
import { TRIAL, call, sayError } from "./api.js";
import { parseCsv, separatorOf, toCsv } from "./csv.js";
import { byId, download, element, percent, say } from "./dom.js";
import { remarksOf } from "./one_text.js";

const BATCH = 50;
const PAGE = 200;
const MAX_FILE = 20e6;
const TEXT_NAMES = ["text", "texts", "review", "sentence", "comment", "message", "content", "body"];
const COLUMNS = [
  ["row", "Row", (row) => row.number],
  ["text", "Text", (row) => row.text.toLowerCase()],
  ["label", "Label", (row) => row.label ?? ""],
  ["probability", "Probability", (row) => row.probability ?? -1],
  ["remarks", "Remarks", (row) => row.remarks],
];

export class SeveralTexts {
  /** `open(text)` shows a text alone. */
  constructor(open) {
    this.open = open;
    this.limits = null;
    this.classNames = [];
    this.rows = [];
    this.otherNames = [];
    this.table = null;
    this.sorted = ["row", 1];
    this.shown = PAGE;
    this.running = null;
    byId("score").addEventListener("click", () => this.score());
    byId("cancel").addEventListener("click", () => this.running?.abort());
    byId("download").addEventListener("click", () => this.save());
    byId("lines").addEventListener("input", () => this.forgetFile());
    byId("file").addEventListener("change", (event) => this.read(event.target.files[0]));
    byId("column").addEventListener("change", () => this.announceFile());
    byId("header").addEventListener("change", () => this.announceFile());
    byId("more").addEventListener("click", () => {
      this.shown += PAGE;
      this.render();
    });
    this.takeDrops(byId("drop"));
  }

  start(info) {
    this.limits = info.limits;
    this.classNames = info.class_names;
  }

  takeDrops(zone) {
    const over = (isOver) => (event) => {
      event.preventDefault();
      zone.classList.toggle("over", isOver);
    };
    zone.addEventListener("dragenter", over(true));
    zone.addEventListener("dragover", over(true));
    zone.addEventListener("dragleave", over(false));
    zone.addEventListener("drop", (event) => {
      over(false)(event);
      const [file] = event.dataTransfer.files;
      const text = event.dataTransfer.getData("text/plain");
      if (file) this.read(file);
      else if (text) {
        this.clear();
        byId("lines").value = text;
        this.forgetFile();
      }
    });
  }

  /** Remove the table of earlier texts, so that nobody takes it for that of a new file. */
  clear() {
    this.running?.abort();
    this.running = null;
    this.rows = [];
    this.setRunning(false);
    byId("download").hidden = byId("table").hidden = true;
  }

  forgetFile() {
    this.table = null;
    byId("file").value = "";
    byId("columns").hidden = true;
    say("several-status", "");
  }

  async read(file) {
    if (!file) return;
    this.clear();
    this.forgetFile();
    try {
      if (file.size > MAX_FILE) throw new Error(`${file.name} has more than 20 MB. Split it, or use textclf score.`);
      let text;
      try {
        text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
      } catch {
        throw new Error(`${file.name} is not UTF-8. Save it as CSV UTF-8.`);
      }
      if (/\.txt$/i.test(file.name)) {
        byId("lines").value = text;
        this.announce(text.split(/\r\n|\r|\n/).filter((line) => line.trim() !== "").length, file.name);
        return;
      }
      const rows = parseCsv(text, separatorOf(text), file.name);
      if (rows.length === 0) throw new Error(`${file.name} has no rows.`);
      this.showFile(file.name, rows);
    } catch (error) {
      say("several-status", error.message, true);
    }
  }

  showFile(name, rows) {
    const names = rows[0].map((field) => field.trim().toLowerCase());
    const known = TEXT_NAMES.map((each) => names.indexOf(each)).find((index) => index >= 0);
    // Without a known name: the column with the longest texts.
    const sample = rows.slice(0, 50);
    const length = (column) => sample.reduce((sum, row) => sum + (row[column]?.length ?? 0), 0);
    const longest = names.map((_, column) => column).reduce((best, each) => (length(each) > length(best) ? each : best));
    this.table = { name, rows };
    byId("lines").value = "";
    byId("header").checked = known !== undefined;
    byId("column").replaceChildren(...rows[0].map((field, index) =>
      element("option", { value: index, text: `${index + 1}: ${field.slice(0, 40)}` })));
    byId("column").value = String(known ?? longest);
    byId("columns").hidden = false;
    this.announceFile();
  }

  announceFile() {
    this.announce(this.texts().length, this.table.name);
  }

  announce(count, name) {
    say("several-status", `${count} texts in ${name}.`);
  }

  /** The names of the file's other columns, and their fields for each text; the table's names get an addition. */
  others() {
    if (this.table === null) return { names: [], fields: [] };
    const { rows } = this.table;
    const hasNames = byId("header").checked;
    const indexes = rows[0].map((_, index) => index).filter((index) => index !== Number(byId("column").value));
    const taken = new Set(this.columnNames());
    return {
      names: indexes.map((index) => {
        const name = hasNames && rows[0][index].trim() ? rows[0][index] : `column ${index + 1}`;
        return taken.has(name) ? `${name} (file)` : name;
      }),
      fields: rows.slice(hasNames ? 1 : 0).map((row) => indexes.map((index) => row[index])),
    };
  }

  texts() {
    if (this.table === null) return byId("lines").value.split(/\r\n|\r|\n/).filter((line) => line.trim() !== "");
    const column = Number(byId("column").value);
    return this.table.rows.slice(byId("header").checked ? 1 : 0).map((row) => row[column] ?? "");
  }

  async score() {
    const texts = this.texts();
    if (texts.length === 0 || this.limits === null) {
      say("several-status", this.limits === null ? "The model is not ready yet." : "There are no texts yet.", true);
      return;
    }
    this.running?.abort();
    const mine = (this.running = new AbortController());
    const others = this.others();
    this.otherNames = others.names;
    this.rows = texts.map((text, index) => ({ number: index + 1, text, remarks: "", others: others.fields[index] }));
    this.sorted = ["row", 1];
    this.shown = PAGE;
    this.setRunning(true);
    const progress = byId("progress");
    progress.max = texts.length;
    progress.value = 0;
    say("several-status", `Classifying ${texts.length} texts …`);
    let failure = null;
    try {
      for (const batch of batches(this.rows, this.limits)) {
        await this.scoreBatch(batch, mine.signal);
        progress.value += batch.length;
      }
    } catch (error) {
      if (this.running !== mine) return;
      failure = error;
    }
    if (this.running !== mine) return;
    this.running = null;
    this.setRunning(false);
    const done = this.rows.filter((row) => row.label !== undefined).length;
    const counts = this.classNames.map((name) => [name, this.rows.filter((row) => row.label === name).length])
      .filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]).slice(0, 10).map(([name, count]) => `${name} ${count}`);
    const summary = `${done} of ${texts.length} texts classified${counts.length ? `: ${counts.join(", ")}` : ""}.`;
    if (failure === null) say("several-status", summary);
    else if (failure.name === "AbortError") say("several-status", `Cancelled. ${summary}`);
    else {
      failure.message = `${failure.message} ${summary}`;
      sayError("several-status", failure, () => this.score());
    }
    this.render();
  }

  setRunning(isRunning) {
    byId("cancel").hidden = byId("progress").hidden = !isRunning;
    byId("score").disabled = isRunning;
    byId("download").hidden = byId("table").hidden = isRunning;
    byId("more").hidden = true;
  }

  /** Score rows; one that the server refuses gets the reason as its remark. */
  async scoreBatch(rows, signal) {
    for (;;) {
      try {
        const found = await call("/predict", { X: rows.map((row) => row.text) }, { signal, headers: TRIAL });
        rows.forEach((row, i) => this.fill(row, found, i));
        return;
      } catch (error) {
        if (error.status === 429) {
          await new Promise((resolve) => setTimeout(resolve, 1000 * Math.max(1, error.retryAfter)));
          signal.throwIfAborted();
        } else if (error.status !== 422 && error.status !== 413) throw error;
        else if (rows.length === 1) {
          // The server names the text by its place in the request, which the user did not write.
          rows[0].remarks = `not classified: ${error.message.replace(/^X(\[\d+\] \(counted from 0\))?: /, "")}`;
          return;
        } else {
          const half = rows.length >> 1;
          await this.scoreBatch(rows.slice(0, half), signal);
          rows = rows.slice(half);
        }
      }
    }
  }

  fill(row, found, i) {
    const facts = {
      stage: found.stage?.[i], truncated: found.truncated[i], unusual_reason: found.unusual_reason?.[i], empty: found.empty?.[i],
      unsure: found.unsure?.[i], rules: found.rules?.[i],
    };
    Object.assign(row, {
      label: found.predictions[i], probability: found.prediction_probs[i], probabilities: found.probabilities[i], facts,
      remarks: remarksOf(facts).map(([remark]) => remark).join("; "),
    });
  }

  sortBy(name) {
    this.sorted = [name, this.sorted[0] === name ? -this.sorted[1] : 1];
    this.render();
    byId(`sort-${name}`).focus();
  }

  order() {
    const [name, direction] = this.sorted;
    const value = COLUMNS.find(([each]) => each === name)[2];
    return [...this.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      const order = typeof x === "string" ? x.localeCompare(y) : x - y;
      return direction * order || a.number - b.number;
    });
  }

  render() {
    const ordered = this.order();
    const directions = { 1: "ascending", "-1": "descending" };
    const head = COLUMNS.map(([name, title]) =>
      element("th", { scope: "col", "aria-sort": this.sorted[0] === name ? directions[this.sorted[1]] : "none" },
        element("button", { id: `sort-${name}`, text: title, onclick: () => this.sortBy(name) })));
    const body = ordered.slice(0, this.shown).map((row) => element("tr", {},
      element("td", { class: "number", text: row.number }),
      element("td", { class: "text" }, element("button", {
        class: "plain", text: row.text.length > 160 ? `${row.text.slice(0, 160)}…` : row.text || "(empty)", onclick: () => this.open(row.text),
      })),
      element("td", { text: row.label ?? "–" }),
      element("td", { class: "number", text: row.probability === undefined ? "–" : percent(row.probability) }),
      element("td", { class: "small", text: row.remarks })));
    byId("table").replaceChildren(element("table", {},
      element("caption", { text: "Classified texts. A text opens alone, to be explained." }),
      element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)));
    byId("table").hidden = false;
    byId("download").hidden = false;
    byId("more").hidden = this.rows.length <= this.shown;
    byId("more").textContent = `Show ${Math.min(PAGE, this.rows.length - this.shown)} more of ${this.rows.length}`;
  }

  columnNames() {
    return ["row", "text", "label", "probability", ...this.classNames.map((name) => `P(${name})`), "stage", "truncated", "remarks"];
  }

  save() {
    const rows = this.order().map((row) => [
      row.number, row.text, row.label, row.probability, ...this.classNames.map((name) => row.probabilities?.[name]),
      row.facts?.stage, row.facts?.truncated, row.remarks, ...(row.others ?? []),
    ]);
    download("predictions.csv", toCsv([[...this.columnNames(), ...this.otherNames], ...rows]), "text/csv");
  }
}

/** Rows in groups that a request can have; a group's texts have up to a quarter of the largest body in characters. */
function* batches(rows, limits) {
  let batch = [];
  let size = 0;
  for (const row of rows) {
    if (batch.length === Math.min(BATCH, limits.max_batch) || (batch.length && size + row.text.length > limits.max_body_bytes / 4)) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(row);
    size += row.text.length;
  }
  if (batch.length) yield batch;
}
