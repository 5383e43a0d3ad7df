// What is said beside the image: why a box has its name, and how many objects are at or below each node.

import { rootOf } from "./boxes.js";
import { bdi, count, h, hueOf, percent } from "./dom.js";
import { explain } from "./walk.js";

/** Why a detection has its name, as elements. */
export function explanation(detection, { tree, names, settings }) {
  const heading = h("h3", {}, bdi(names[detection.label]));
  const score = h("p.muted", { textContent: `score ${detection.score.toFixed(3)}` });
  if (!tree) return [heading, score];
  const answer = explain(tree, detection);
  const given = answer.path.at(-1).probability;
  score.textContent += ` = objectness ${(detection.score / given).toFixed(3)} × probability ${given.toFixed(3)}`;
  const steps = answer.path.map((step) => row(step, hueOf(rootOf(detection, tree))));
  return [heading, score, h("ol.path", {}, ...steps), ...reasons(answer, settings.hier_thresh)];
}

function row({ name, conditional }, hue) {
  const bar = h("span.bar", { "aria-hidden": "true" });
  bar.style.setProperty("--value", conditional);
  bar.style.setProperty("--hue", hue);
  return h("li", {}, bdi(name), bar, h("span.number", { textContent: percent(conditional) }));
}

function reasons({ stopped, next_best: next, runner_up: other }, threshold) {
  const lines = [];
  if (stopped === "leaf") lines.push(["It stops here: the tree has nothing more specific."]);
  else if (next) {
    const limit = `, which is not above ${percent(threshold)}.`;
    lines.push(["It stops here: the most probable below is ", bdi(next.name), ` with ${percent(next.probability)}${limit}`]);
  } else lines.push([`It stops here: its probability is not above ${percent(threshold)}.`]);
  if (other) lines.push(["The runner-up is ", bdi(other.name), ` with ${percent(other.probability)}.`]);
  return lines.map((parts) => h("p", {}, ...parts));
}

/** How many detections are at or below each node: a map in the order in which they come. */
export function numbersOf(detections) {
  const numbers = new Map();
  for (const { label, path } of detections) {
    for (const node of path?.nodes ?? [label]) numbers.set(node, (numbers.get(node) ?? 0) + 1);
  }
  return numbers;
}

/** These numbers as a nested list; choosing a node calls onChoose with it. */
export function counts(numbers, { tree, names }, onChoose) {
  const ordered = [...numbers.keys()].sort((a, b) => numbers.get(b) - numbers.get(a) || a - b);
  const below = (parent) => ordered.filter((node) => parentOf(node) === parent);
  return list(below(-1));

  function parentOf(node) {
    return tree && numbers.has(tree.parents[node]) ? tree.parents[node] : -1;
  }

  function list(nodes) {
    return h("ul.counts", {}, ...nodes.map((node) => item(node, below(node))));
  }

  function item(node, nodes) {
    const title = `${names[node]}: ${count(numbers.get(node), "object")}. Show only these`;
    const button = h("button.link", { type: "button", "aria-label": title }, bdi(names[node]));
    button.addEventListener("click", () => onChoose(node));
    const number = h("span.number", { textContent: numbers.get(node) });
    return h("li", {}, h("div", {}, button, number), nodes.length ? list(nodes) : null);
  }
}
