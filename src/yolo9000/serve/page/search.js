// The search over the labels: ids, names and synonyms. A combobox with a list of matches.

import { $, bdi, h } from "./dom.js";

const MAX_MATCHES = 12;

/** Labels that a text may mean, the best first: { node, other }, other being the id or synonym that matches. */
export function matches({ ids, names, synonyms }, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  const ranked = [];
  for (let node = 0; node < names.length; node++) {
    const best = [names[node], ...(synonyms[node] ?? []), ids[node]]
      .map((name, i) => ({ rank: rankOf(name.toLowerCase(), wanted) + (i ? 0.5 : 0), node, other: i ? name : "" }))
      .reduce((a, b) => (b.rank < a.rank ? b : a));
    if (best.rank < Infinity) ranked.push(best);
  }
  return ranked.sort((a, b) => a.rank - b.rank || a.node - b.node).slice(0, MAX_MATCHES);
}

function rankOf(name, wanted) {
  if (name === wanted) return 0;
  if (name.startsWith(wanted)) return 1;
  if (name.includes(` ${wanted}`)) return 2;
  return name.includes(wanted) ? 3 : Infinity;
}

/** Make the search work; onChoose is called with the node. */
export function searchBox({ record, tree }, onChoose) {
  const input = $("search");
  const list = $("matches");
  let active = -1;

  const options = () => [...list.children];
  const show = (several) => {
    list.replaceChildren(...several.map(option));
    list.hidden = !several.length;
    input.setAttribute("aria-expanded", String(several.length > 0));
    activate(several.length ? 0 : -1);
  };
  const option = ({ node, other }, i) => {
    const above = tree ? tree.path(node).slice(0, -1).map((step) => record.names[step]).join(" › ") : "";
    const small = [other, above].filter(Boolean).join(" · ");
    const item = h("li", { id: `match-${i}`, role: "option" }, bdi(record.names[node]), h("small", { textContent: small, dir: "auto" }));
    item.addEventListener("pointerdown", (event) => event.preventDefault());
    item.addEventListener("click", () => choose(node));
    item.dataset.node = node;
    return item;
  };
  const activate = (index) => {
    active = index;
    options().forEach((item, i) => item.setAttribute("aria-selected", String(i === index)));
    options()[index]?.scrollIntoView({ block: "nearest" });
    if (index < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", `match-${index}`);
  };
  const choose = (node) => {
    input.value = "";
    show([]);
    onChoose(node);
  };

  const keys = {
    ArrowDown: () => activate((active + 1) % options().length),
    ArrowUp: () => activate((active - 1 + options().length) % options().length),
    Enter: () => choose(Number(options()[active].dataset.node)),
    Escape: () => show([]),
  };
  input.addEventListener("input", () => show(matches(record, input.value)));
  input.addEventListener("blur", () => show([]));
  input.addEventListener("keydown", (event) => {
    if (!keys[event.key] || !options().length) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  });
}
