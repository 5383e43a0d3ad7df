// Building elements, and the words for numbers.

export const $ = (id) => document.getElementById(id);

/** An element: its name and classes ("span.name"), properties, and children (elements or text). */
export function h(name, properties = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  element.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A name of any writing direction. */
export const bdi = (name) => h("bdi", { textContent: name });

export const percent = (value) => (value > 0 && value < 0.0005 ? "< 0.1%" : `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)}%`);

const whole = new Intl.NumberFormat("en");

export const count = (number, one, many = `${one}s`) => `${whole.format(number)} ${number === 1 ? one : many}`;

/** Replace the children of an element where what they are made from has changed. */
export function render(element, madeFrom, make) {
  const key = JSON.stringify(madeFrom);
  if (element.madeFrom === key) return;
  element.madeFrom = key;
  element.replaceChildren(...make());
}

/** A hue for each label, far from that of the next. */
export const hueOf = (index) => Math.round((index * 137.508 + 250) % 360);
