// The boxes over the image: buttons, so that they can be reached by keyboard and read aloud. They are kept from one
// change of a slider to the next, by candidate, so that nothing flickers and the focus stays.

import { bdi, h, hueOf, percent } from "./dom.js";

export class Boxes {
  #elements = new Map();
  #onChoose;

  /** @param layer the element that covers the image; onChoose is called with a detection or null, and whether it stays */
  constructor(layer, onChoose) {
    this.layer = layer;
    this.#onChoose = onChoose;
  }

  clear() {
    this.layer.replaceChildren();
    this.#elements.clear();
  }

  /** Show detections: { index, box, label, score, path }. */
  show(detections, { names, tree, size, chosen }) {
    const left = new Set(this.#elements.keys());
    for (const one of detections) {
      const key = tree ? one.index : `${one.index}/${one.label}`;
      left.delete(key);
      const element = this.#elements.get(key) ?? this.#add(key);
      update(element, one, { name: names[one.label], hue: hueOf(rootOf(one, tree)), size });
      element.button.classList.toggle("chosen", one.index === chosen?.index && one.label === chosen?.label);
    }
    left.forEach((key) => this.#remove(key));
  }

  /** Whether the box under the pointer or with the focus stands out from the others. */
  set choosing(some) {
    this.layer.classList.toggle("choosing", some);
  }

  #add(key) {
    const name = bdi("");
    const score = h("span.score");
    const button = h("button.box", { type: "button" }, h("span.label", {}, name, " ", score));
    const element = { button, name, score, detection: null, text: "" };
    const choose = (stays) => () => this.#onChoose(element.detection, stays);
    button.addEventListener("pointerenter", choose(false));
    button.addEventListener("pointerleave", () => this.#onChoose(null, false));
    button.addEventListener("focus", choose(false));
    button.addEventListener("click", choose(true));
    this.#elements.set(key, element);
    this.layer.append(button);
    return element;
  }

  #remove(key) {
    this.#elements.get(key).button.remove();
    this.#elements.delete(key);
  }
}

/** The first node of the path that tells objects apart, which gives the color; a flat label gives its own. */
export function rootOf({ label, path }, tree) {
  if (!tree) return label;
  return path.nodes[tree.groupSize(0) > 1 ? 0 : 1] ?? label;
}

function update(element, one, { name, hue, size }) {
  element.detection = one;
  const { style } = element.button;
  const [left, top, right, bottom] = one.box.map((value, i) => value / size[i % 2]);
  const geometry = [left, top, right - left, bottom - top].map((value) => `${(100 * value).toFixed(3)}%`).join(" ");
  const text = `${name} ${percent(one.score)}`;
  if (element.geometry !== geometry) {
    [style.left, style.top, style.width, style.height] = geometry.split(" ");
    style.setProperty("--left", 100 * left);
    style.setProperty("--top", 100 * top);
    style.zIndex = Math.round(1000 * (1 - (right - left) * (bottom - top)));
    element.geometry = geometry;
  }
  if (element.text === text) return;
  style.setProperty("--hue", hue);
  element.name.textContent = name;
  element.score.textContent = percent(one.score);
  element.text = text;
}
