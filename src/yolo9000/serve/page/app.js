// The page: images in, detections on them, and the controls that walk the tree again without asking the network.

import { Boxes } from "./boxes.js";
import { annotated, cocoResults, detectRecord, jsonBlob, save } from "./download.js";
import { $, bdi, count, h, percent, render } from "./dom.js";
import { openEngine } from "./engines.js";
import { imageOf, openCamera } from "./images.js";
import { counts, explanation, numbersOf } from "./panel.js";
import { searchBox } from "./search.js";
import { detect } from "./walk.js";

const state = { engine: null, entries: [], current: -1, settings: null, chosen: null, kept: null, camera: null };
const boxes = new Boxes($("boxes"), choose);

// ---- what is shown

const context = () => {
  const { model, record, tree } = state.engine;
  return { model, tree, names: record.names, settings: state.settings };
};

const detectionsOf = ({ image, candidates }) =>
  detect(candidates, state.engine.tree, state.settings, [image.width, image.height]);

/** Everything that depends on the settings. */
function update() {
  const entry = state.entries[state.current];
  if (!entry) return;
  const detections = detectionsOf(entry);
  const { width, height } = entry.image;
  const again = (one) => detections.find(({ index, label, path }) => index === one?.index && (path || label === one.label)) ?? null;
  [state.kept, state.chosen] = [again(state.kept), again(state.chosen)];
  boxes.show(detections, { ...context(), size: [width, height], chosen: state.kept });
  const numbers = numbersOf(detections);
  render($("counts"), [...numbers], () => [counts(numbers, context(), restrict)]);
  $("found").textContent = count(detections.length, "object");
  explainChosen(state.chosen ?? state.kept ?? detections[0]);
}

function explainChosen(one) {
  const { hier_thresh, conf_threshold } = state.settings;
  if (one) render($("answer"), [one.label, one.score, one.path, hier_thresh], () => explanation(one, context()));
  else render($("answer"), [conf_threshold], () => [h("p.muted", { textContent: `Nothing has a ${scoreAbove(conf_threshold)}.` })]);
}

const scoreAbove = (threshold) => `score above ${threshold.toFixed(2)}`;

function choose(detection, stays) {
  if (stays) state.kept = state.kept?.index === detection.index ? null : detection;
  state.chosen = detection;
  boxes.choosing = Boolean(detection);
  update();
}

function showEntry(index) {
  state.current = index;
  state.kept = state.chosen = null;
  const { image } = state.entries[index];
  const { shown } = image;
  const canvas = $("image");
  [canvas.width, canvas.height] = [shown.width, shown.height];
  canvas.getContext("2d").drawImage(shown, 0, 0);
  canvas.setAttribute("aria-label", image.name);
  $("frame").style.setProperty("--ratio", shown.width / shown.height);
  $("welcome").hidden = true;
  $("work").hidden = $("panel").hidden = false;
  boxes.clear();
  showFilm();
  update();
}

function showFilm() {
  $("film").replaceChildren(...(state.entries.length > 1 ? state.entries.map(thumbnail) : []));
}

function thumbnail({ image }, index) {
  const small = h("canvas", { width: 96, height: 72 });
  const scale = Math.max(96 / image.shown.width, 72 / image.shown.height);
  const [width, height] = [image.shown.width * scale, image.shown.height * scale];
  small.getContext("2d").drawImage(image.shown, (96 - width) / 2, (72 - height) / 2, width, height);
  const button = h("button", { type: "button", title: image.name, "aria-label": image.name }, small);
  button.setAttribute("aria-pressed", String(index === state.current));
  button.addEventListener("click", () => showEntry(index));
  return h("li", {}, button);
}

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

// ---- images in

async function addFiles(files) {
  stopCamera();
  const problems = [];
  for (const file of [...files]) await add(file.name || "pasted.png", file).catch(({ message }) => problems.push(message));
  const others = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  if (problems.length) say(problems[0] + others, true);
}

async function add(name, blob) {
  say(`Reading ${name} …`);
  const image = await imageOf(name, blob);
  const start = performance.now();
  const candidates = await state.engine.detect(image);
  state.entries.push({ image, candidates });
  showEntry(state.entries.length - 1);
  const milliseconds = Math.round(performance.now() - start);
  say(`${name}: answered in ${milliseconds.toLocaleString("en")} ms`);
}

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    say(error.message, true);
  }
}

async function toggleCamera() {
  if (state.camera) return stopCamera();
  const camera = await openCamera();
  state.camera = camera;
  showCamera();
  state.entries = [];
  try {
    while (state.camera === camera) await addFrame(camera);
  } finally {
    if (state.camera === camera) stopCamera();
  }
}

async function addFrame(camera) {
  const image = await camera.frame();
  const candidates = await state.engine.detect(image);
  if (state.camera !== camera) return; // stopped in the meantime
  state.entries = [{ image, candidates }];
  if (state.current === 0 && sameSize(image)) showFrame(image);
  else showEntry(0);
}

const sameSize = ({ shown }) => $("image").width === shown.width && $("image").height === shown.height;

function showFrame({ shown }) {
  $("image").getContext("2d").drawImage(shown, 0, 0);
  update();
}

function stopCamera() {
  state.camera?.stop();
  state.camera = null;
  showCamera();
}

function showCamera() {
  for (const button of document.querySelectorAll("[data-do=camera]")) {
    button.setAttribute("aria-pressed", String(Boolean(state.camera)));
    button.querySelector("span").textContent = state.camera ? "Stop the camera" : "Camera";
  }
}

function addSamples(samples) {
  $("samples").replaceChildren(...samples.map(sample));
  $("try").hidden = !samples.length;
}

function sample({ name, source }) {
  const button = h("button", { type: "button", "aria-label": `Sample: ${name}` }, h("img", { src: source, alt: "" }));
  button.addEventListener("click", () => attempt(async () => add(name, await (await fetch(source)).blob())));
  return h("li", {}, button);
}

// ---- controls

function restrict(node) {
  state.settings.within = node;
  const name = node < 0 ? null : state.engine.record.names[node];
  $("within").hidden = node < 0;
  $("within-name").replaceChildren(name === null ? "" : bdi(name));
  update();
}

function bindSlider(id, name, toSetting, text) {
  const slider = $(id);
  const show = () => {
    const value = text(state.settings[name]);
    slider.setAttribute("aria-valuetext", value);
    $(`${id}-value`).textContent = value;
  };
  let frame = 0;
  slider.addEventListener("input", () => {
    state.settings[name] = toSetting(Number(slider.value));
    show();
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(update);
  });
  slider.value = toSetting(state.settings[name]);
  show();
}

function bindControls() {
  bindSlider("specific", "hier_thresh", (value) => Math.round(1000 * (1 - value)) / 1000, (p) => `at least ${percent(p)} sure`);
  bindSlider("confidence", "conf_threshold", (value) => value, scoreAbove);
  searchBox(state.engine, restrict);
  $("within-clear").addEventListener("click", () => restrict(-1));
  document.body.classList.toggle("flat", !state.engine.tree);
  for (const [id, download] of Object.entries(downloads)) $(id).addEventListener("click", () => attempt(download));
}

const results = () => state.entries.map((entry) => ({ image: entry.image, detections: detectionsOf(entry) }));

const downloads = {
  async "save-image"() {
    const { image, detections } = results()[state.current];
    const canvas = await annotated(image, detections, context());
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    save(`${image.name.replace(/\.[^.]*$/, "")}-boxes.png`, blob);
  },
  "save-json": () => save("detections.json", jsonBlob(detectRecord(results(), context()))),
  "save-coco": () => save("coco_results.json", jsonBlob(cocoResults(results()))),
};

function bindInputs() {
  const actions = { open: () => $("files").click(), camera: () => attempt(toggleCamera) };
  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", actions[button.dataset.do]);
    button.disabled = false;
  }
  $("files").addEventListener("change", async () => {
    await addFiles($("files").files);
    $("files").value = "";
  });
  document.addEventListener("paste", ({ clipboardData }) => clipboardData.files.length && addFiles(clipboardData.files));
  bindDrop();
  bindKeys();
}

function bindDrop() {
  let depth = 0; // enter and leave are sent for every element under the pointer
  const over = (change) => document.body.classList.toggle("dropping", (depth = Math.max(0, depth + change)) > 0);
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    addFiles(event.dataTransfer.files);
  });
}

function bindKeys() {
  const keys = {
    "/": () => $("search").focus(),
    o: () => $("files").click(),
    c: () => attempt(toggleCamera),
    Escape: () => ((state.kept = state.chosen = null), update()),
    "[": () => showEntry(Math.max(0, state.current - 1)),
    "]": () => showEntry(Math.min(state.entries.length - 1, state.current + 1)),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input[type=search]");
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
    if (event.key !== "o" && event.key !== "c" && event.key !== "/" && !state.entries.length) return;
    event.preventDefault();
    keys[event.key]();
  });
}

async function start() {
  say("Loading the model …");
  state.engine = await openEngine();
  const { model, record, samples, privacy } = state.engine;
  $("privacy").textContent = privacy;
  state.settings = { ...model.settings, within: -1 };
  document.title = `${model.name} · yolo9000`;
  const labels = model.kind === "tree" ? count(record.names.length, "node") : count(record.names.length, "class", "classes");
  $("model").replaceChildren(bdi(model.name), ` · ${labels}`);
  addSamples(samples);
  bindControls();
  bindInputs();
  say("Ready.");
  document.body.classList.add("ready");
}

await attempt(start);
