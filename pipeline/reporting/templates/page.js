"use strict";
// Theme, charts and sorting of tables.
const data = (id) => JSON.parse(document.getElementById(id).textContent);

function colour(name) { // what a CSS variable is in the theme that is shown
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(--${name})`;
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function themed(layout) {
  const [ink, soft, line, sans] = [colour("ink"), colour("soft"), colour("line"), getComputedStyle(document.body).fontFamily];
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: soft, tickfont: { color: soft } };
  const copy = structuredClone(layout);
  copy.font = { ...copy.font, color: ink, family: sans, size: 13 };
  for (const key of Object.keys(copy)) if (/^[xy]axis/.test(key)) Object.assign(copy[key], axis);
  for (const note of copy.annotations ?? []) note.font = { ...note.font, color: soft };
  copy.hoverlabel = { bgcolor: colour("card"), bordercolor: line, font: { color: ink, family: sans } };
  return copy;
}

function drawCharts() {
  for (const [id, figure] of Object.entries(data("charts-data"))) {
    Plotly.react(`chart-${id}`, figure.data, themed(figure.layout), { responsive: true, displayModeBar: false });
  }
}

function followTheme() {
  const modes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  let mode = 0;
  button.addEventListener("click", () => {
    mode = (mode + 1) % modes.length;
    document.documentElement.dataset.theme = modes[mode];
    button.textContent = `Theme: ${modes[mode]}`;
    drawCharts();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
}

function makeSortable(table) {
  const headers = [...table.querySelectorAll("thead th[data-sort]")];
  const columnOf = (header) => // where there are two rows, headers that span both come first, and those of the second row follow
    table.tHead.rows.length > 1 ? headers.indexOf(header) : header.cellIndex;
  for (const header of headers) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const column = columnOf(header);
      const down = header.getAttribute("aria-sort") !== "descending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => header.dataset.sort === "number" ? Number(row.cells[column].dataset.value) : row.cells[column].textContent.trim();
      const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1);
      for (const body of table.querySelectorAll("tbody:not(.reference)")) {
        const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
        body.append(...rows.sort((a, b) => order(key(a), key(b))));
      }
    });
  }
}

function followSections() { // the link of what is being read stands out
  const links = [...document.querySelectorAll(".bar .links a")];
  const sections = links.map((link) => document.querySelector(link.hash));
  const mark = () => {
    const passed = sections.filter((section) => section.getBoundingClientRect().top < innerHeight / 3).length;
    links.forEach((link, i) => { if (i === passed - 1) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current"); });
  };
  addEventListener("scroll", mark, { passive: true });
  mark();
}

followTheme();
followSections();
drawCharts();
document.querySelectorAll("table.sortable").forEach(makeSortable);
