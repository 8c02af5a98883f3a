"use strict";
// Sorts a table by the column whose name is clicked: upwards, then downwards. Rows without a value stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th button").forEach((button, column) => {
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = Array.from(body.rows, (row) => {
        const cell = row.cells[column];
        const numeric = cell.classList.contains("n");
        const value = numeric ? parseFloat(cell.dataset.v) : cell.textContent;
        return { row, value, none: numeric ? Number.isNaN(value) : value === "" };
      });
      rows.sort((a, b) => {
        if (a.none || b.none) return a.none - b.none;
        const order = typeof a.value === "number" ? a.value - b.value : a.value.localeCompare(b.value, "en", { numeric: true });
        return up ? order : -order;
      });
      body.append(...rows.map((entry) => entry.row));
    });
  });
}
// On paper nothing can be opened.
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
