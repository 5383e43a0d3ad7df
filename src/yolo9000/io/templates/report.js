// Tables that can be sorted and filtered; images by the names that are in them. Without it a report is whole all the same.
const LONG = 12;

function valueOf(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = Number(text.replaceAll(",", ""));
  return text === "" || Number.isNaN(number) ? text : number;
}

function compare(a, b) {
  if (typeof a !== typeof b) return typeof a === "number" ? 1 : -1; // texts such as "none" are below all numbers
  return typeof a === "number" ? a - b : a.localeCompare(b);
}

function sortBy(table, header, column) {
  const descending = header.getAttribute("aria-sort") !== "descending";
  const rows = [...table.rows].slice(1).sort((a, b) => compare(valueOf(a, column), valueOf(b, column)));
  table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  table.tBodies[0].append(...(descending ? rows.reverse() : rows));
}

function makeSortable(table) {
  [...table.rows[0].cells].forEach((header, column) => {
    if (!header.textContent) return;
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: header.textContent });
    header.replaceChildren(button);
    button.addEventListener("click", () => sortBy(table, header, column));
  });
}

function filterInput(label, items, before) {
  const input = Object.assign(document.createElement("input"), { type: "search", className: "filter", placeholder: label });
  input.setAttribute("aria-label", label);
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(wanted);
  });
  before.before(input);
}

for (const table of document.querySelectorAll("table")) {
  const rows = [...table.rows].slice(1);
  if (table.querySelector("th") && rows.length > 1) makeSortable(table);
  if (rows.length > LONG) filterInput("Filter the rows", rows, table.parentElement);
}

// The page of `predict --format html` is written while images come, so its summary is made here.

function element(name, text, ...children) {
  const made = document.createElement(name);
  made.append(text, ...children);
  return made;
}

function treeOf(paths) {
  const root = { count: 0, below: new Map() };
  for (const path of paths) {
    let node = root;
    for (const name of path) {
      if (!node.below.has(name)) node.below.set(name, { count: 0, below: new Map() });
      node = node.below.get(name);
      node.count += 1;
    }
  }
  return root;
}

function unfolded({ below }) {
  return [...below].sort(([, a], [, b]) => b.count - a.count).map(([name, node]) => {
    const number = Object.assign(element("span", node.count), { className: "number" });
    if (!node.below.size) return Object.assign(element("div", element("bdi", name), number), { className: "leaf" });
    return element("details", element("summary", element("bdi", name), number), ...unfolded(node));
  });
}

function summary(images) {
  const rows = images.flatMap((image) => [...image.querySelectorAll("tr")]);
  const names = rows.map((row) => row.cells[1].textContent);
  const figures = { images: images.length, objects: rows.length, names: new Set(names).size };
  const headlines = Object.entries(figures).map(([name, value]) =>
    element("div", element("dt", name), element("dd", value.toLocaleString("en"))));
  const steps = (row) => row.cells[2].textContent.split(" > ").map((step) => step.replace(/ [\d.]+$/, "")).filter(Boolean);
  const paths = rows.map((row, i) => (steps(row).length ? steps(row) : [names[i]]));
  const objects = element("section", element("h2", "Objects"), ...unfolded(treeOf(paths)));
  objects.className = "card";
  images[0].before(Object.assign(element("dl", "", ...headlines), { className: "headlines" }), objects);
}

const images = [...document.querySelectorAll(".detected")];
if (images.length > 1) {
  summary(images);
  filterInput("Images with …", images, images[0]);
}
