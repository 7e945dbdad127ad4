// The page is complete without this: it sorts tables by a click on a column, and filters operations by a word.
"use strict";

const UNITS = { s: 1, ms: 1e-3, µs: 1e-6, ns: 1e-9, MiB: 2 ** 20, GiB: 2 ** 30 };

/** What a cell is sorted by: its figure with its unit, or its words; null, which comes last, where it has neither. */
function valueOf(cell) {
  const text = cell.textContent.trim();
  if (text === "–" || text === "" || cell.classList.contains("unclear")) return null;
  const figure = cell.classList.contains("words") ? null : text.match(/^([\d.]+)(?: (\S+))?/);
  return figure ? Number(figure[1]) * (UNITS[figure[2]] ?? 1) : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortBy(table, column, header) {
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const keyed = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[column]), row]);
  const known = keyed.filter(([key]) => key !== null).sort(([a], [b]) => (descending ? compare(b, a) : compare(a, b)));
  const rest = keyed.filter(([key]) => key === null);
  table.tBodies[0].append(...[...known, ...rest].map(([, row]) => row));
}

for (const table of document.querySelectorAll("table")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortBy(table, column, header));
    header.append(button);
  });
}

const filtered = [...document.querySelectorAll("tr[data-family]")];
if (filtered.length > 1) {
  const input = document.createElement("input");
  Object.assign(input, { type: "search", className: "filter", placeholder: "Filter: operation, family, shape …" });
  input.setAttribute("aria-label", "Filter the rows of all tables");
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of filtered) {
      const text = `${row.dataset.family} ${row.textContent}`.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
  document.querySelector("header").append(input);
}
