// CSV (RFC 4180) to rows and back.

/** The rows of a CSV text, each a list of fields; `separator` is a comma, a semicolon or a tab. Empty lines are left out. */
export function parseCsv(text, separator = ",") {
  const rows = [];
  let row = [];
  let field = "";
  let isQuoted = false;
  const endRow = () => {
    row.push(field);
    if (row.length > 1 || row[0] !== "") rows.push(row);
    row = [];
    field = "";
  };
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (isQuoted) {
      if (char !== '"') field += char;
      else if (text[i + 1] === '"') {
        field += '"';
        i++;
      } else isQuoted = false;
    } else if (char === '"' && field === "") isQuoted = true;
    else if (char === separator) {
      row.push(field);
      field = "";
    } else if (char === "\n" || char === "\r") {
      if (char === "\r" && text[i + 1] === "\n") i++;
      endRow();
    } else field += char;
  }
  if (isQuoted) throw new Error("The file ends inside a quoted field. Check its quotes.");
  if (field !== "" || row.length) endRow();
  return rows;
}

/** The separator that splits the first line into the most fields. */
export function separatorOf(text) {
  const line = text.slice(0, 10000).split(/\r|\n/, 1)[0].replace(/"[^"]*"/g, "");
  const counts = [",", ";", "\t"].map((each) => [line.split(each).length, each]);
  return counts.reduce((best, each) => (each[0] > best[0] ? each : best))[1];
}

/** Rows as CSV. A text that a spreadsheet would take for a formula gets an apostrophe in front. */
export function toCsv(rows) {
  const field = (value) => {
    let text = value === null || value === undefined ? "" : String(value);
    if (typeof value === "string" && /^[=+\-@\t\r\n＝＋－＠]/.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => `${row.map(field).join(",")}\r\n`).join("");
}
