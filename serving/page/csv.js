// CSV (RFC 4180) to rows and back.

/**
 * The rows of a CSV text, each a list of fields; `separator` is a comma, a semicolon or a tab. Empty lines are left out,
 * and so are empty fields past those of the first row.
 *
 * Throws Error with `name` and the line, if the quotes do not match or a row has another number of fields.
 */
export function parseCsv(text, separator = ",", name = "the file") {
  const rows = [];
  let row = [];
  let field = "";
  // Whether a quoted field is open, and whether one has ended before its separator.
  let isQuoted = false;
  let wasQuoted = false;
  let line = 1;
  let rowLine = 1;
  let quoteLine = 1;
  let firstLine = 1;
  const refuse = (where, message) => {
    throw new Error(`${name}, line ${where}: ${message}`);
  };
  const endField = () => {
    row.push(field);
    field = "";
    wasQuoted = false;
  };
  const endRow = () => {
    endField();
    if (row.length > 1 || row[0] !== "") {
      const width = rows.length ? rows[0].length : row.length;
      if (row.length < width || row.slice(width).some((each) => each.trim() !== "")) {
        refuse(rowLine, `expected ${width} fields, as in line ${firstLine}, found ${row.length}. Put a text that has a separator in quotes.`);
      }
      if (!rows.length) firstLine = rowLine;
      rows.push(row.slice(0, width));
    }
    row = [];
  };
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    const isEnd = char === "\n" || (char === "\r" && text[i + 1] !== "\n");
    if (isEnd) line++;
    if (isQuoted) {
      if (char !== '"') field += char;
      else if (text[i + 1] === '"') {
        field += '"';
        i++;
      } else {
        isQuoted = false;
        wasQuoted = true;
      }
    } else if (isEnd) {
      endRow();
      rowLine = line;
    } else if (char === separator) endField();
    else if (char === "\r") continue;
    else if (wasQuoted) refuse(line, "expected a separator after a closing quote, found more text. Double the quotes inside of a text.");
    else if (char === '"' && field === "") {
      isQuoted = true;
      quoteLine = line;
    } else field += char;
  }
  if (isQuoted) refuse(quoteLine, "a quote opens here and never closes. Close it, or double it if it is a part of a text.");
  if (field !== "" || row.length || wasQuoted) endRow();
  return rows;
}

/** The separator that splits the first line into the most fields. */
export function separatorOf(text) {
  const line = text.slice(0, 10000).split(/\r|\n/, 1)[0].replace(/"[^"]*"/g, "");
  const counts = [",", ";", "\t"].map((each) => [line.split(each).length, each]);
  return counts.reduce((best, each) => (each[0] > best[0] ? each : best))[1];
}

/**
 * Rows as CSV, with the byte-order mark without which spreadsheets take UTF-8 for Latin-1. A text that a spreadsheet
 * would take for a formula gets an apostrophe in front; a number stays as it is.
 */
export function toCsv(rows) {
  const field = (value) => {
    let text = value === null || value === undefined ? "" : String(value);
    if (typeof value === "string" && /^[=+\-@\t\r\n＝＋－＠]/.test(text) && !/^[+-]?\d+(\.\d+)?$/.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return "\ufeff" + rows.map((row) => `${row.map(field).join(",")}\r\n`).join("");
}
