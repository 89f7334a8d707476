// The page at /drift: the last drift check, and the versions of the store.
import { call, sayError, serverInfo } from "./api.js";
import { byId, element, percent, say, sayWaiting, time } from "./dom.js";

const NONE = "–";
const number = (value, digits = 3) => (typeof value === "number" ? value.toFixed(digits) : NONE);
const pValue = (value) => (typeof value === "number" && value < 0.001 ? "< 0.001" : number(value));
const share = (value) => (typeof value === "number" ? percent(value) : NONE);
const row = (cells) => element("tr", {}, ...cells);
const cell = (text, isNumber = false) => element("td", { class: isNumber ? "number" : null, text });
const moment = (at) => element("td", { class: "moment", text: at ? time(at) : NONE });
const heads = (titles) => element("thead", {}, row(titles.map(([title, isNumber]) =>
  element("th", { scope: "col", class: isNumber ? "number" : null, text: title }))));

const ROLES = { table: "table", "thead, tbody": "rowgroup", tr: "row", "thead th": "columnheader", "tbody th": "rowheader", td: "cell" };

/** A table; one with a kind "cards" becomes a list of cards in a narrow window, where its heads stand in the cells. */
function table(caption, titles, rows, kind = null) {
  const made = element("table", { class: kind }, element("caption", { text: caption }), heads(titles), element("tbody", {}, ...rows));
  if (kind === "cards") {
    rows.forEach(({ cells }) => titles.forEach(([title], index) => cells[index].setAttribute("data-title", title)));
    // With another display than a table's, browsers forget what its parts are.
    for (const [parts, role] of Object.entries(ROLES)) {
      for (const each of [made, ...made.querySelectorAll("*")]) if (each.matches(parts)) each.setAttribute("role", role);
    }
  }
  return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, made);
}

function showCheck(report) {
  const { check, windows, retraining, failed_runs: failed } = report;
  const parts = [];
  if (check === null) {
    parts.push(element("p", {}, "No check was made yet. ", element("code", { text: "textclf check" }),
      " compares the logged predictions with the training reference."));
  } else {
    const sign = { drift: ["bad", "Drift"], "no drift": ["good", "No drift"] }[check.verdict] ?? ["dim", "Not enough data"];
    parts.push(
      element("p", { class: `answer ${sign[0]}`, text: sign[1] }),
      element("p", { text: check.sentence }),
      element("p", { class: "dim small", text: `${time(check.time)}, ${check.texts} texts of version ${check.version}` }));
    if (check.families.length) {
      parts.push(table("Effects by family of tests",
        [["Family"], ["Effect", true], ["Minimum", true], ["Adjusted p", true], ["Alarm"]],
        check.families.map(({ title, effect, minimum, p, alarm }) => row([
          element("th", { scope: "row", text: title }), cell(number(effect), true), cell(number(minimum), true), cell(pValue(p), true),
          element("td", { class: alarm ? "bad" : null, text: alarm ? "alarm" : "no" })])), "cards"));
    }
  }
  if (check?.unsure) {
    parts.push(element("p", { text: `Unsure predictions: ${share(check.unsure.reference)} of the reference, ${share(check.unsure.latest)} of the latest texts.` }));
  }
  if (windows.length) {
    parts.push(table("Windows of time, newest first", [["From"], ["To"], ["Verdict"], ["Texts", true]],
      windows.map(({ since, until, verdict, texts }) =>
        row([moment(since), moment(until), cell(verdict), cell(String(texts), true)])), "cards"));
  }
  if (retraining) parts.push(element("p", { text: `Last retraining: ${time(retraining.time)}, ${retraining.outcome}.` }));
  if (failed) parts.push(element("p", { class: "bad", text: `${failed} runs of textclf watch failed.` }));
  byId("check").replaceChildren(...parts);
}

/** The part whose metrics are shown: of the test texts if there are any. */
function measured(metrics) {
  const split = ["test", "validation_select"].find((name) => name in metrics) ?? Object.keys(metrics)[0];
  return split === undefined ? [NONE, {}] : [split.replace("_", " "), metrics[split]];
}

function showVersions(report) {
  const rows = report.versions.map((version) => {
    const [split, metrics] = measured(version.metrics);
    const state = element("td", {});
    if (version.current) state.append(element("span", { class: "mark current", text: "current" }));
    if (version.id === report.served) state.append(" ", element("span", { class: "mark", text: "served" }));
    if (!state.hasChildNodes()) state.textContent = NONE;
    return row([
      element("th", { scope: "row" }, version.name, element("br"), element("code", { text: version.id }), element("br"),
        element("a", { href: `.${version.evaluation}`, target: "_blank", rel: "noopener", "aria-label": `Evaluation of ${version.id}, in a new tab`, text: "Evaluation" })),
      state, moment(version.since), moment(version.created),
      cell(metrics.n === undefined ? split : `${metrics.n} texts, ${split}`), cell(share(metrics.accuracy), true), cell(number(metrics.macro_f1), true),
      cell(number(metrics.expected_calibration_error), true),
    ]);
  });
  byId("versions").replaceChildren(table("Versions, newest first",
    [["Version"], ["State"], ["Current since"], ["Created"], ["Measured on"], ["Accuracy", true], ["Macro F1", true], ["Calibration error", true]],
    rows, "cards"));
}

async function load() {
  try {
    const report = await call("/drift.json");
    say("status", report.problems.length ? `${report.problems.join(". ")}.` : "", true);
    if (report.store) {
      showCheck(report);
      showVersions(report);
      byId("report").hidden = false;
    } else say("status", "The server serves one model and no store (MODEL_PATH), so it knows no versions and no drift check.");
  } catch (error) {
    sayError("status", error, load);
  }
}

try {
  await serverInfo(sayWaiting);
  await load();
} catch (error) {
  say("status", error.message, true);
}
