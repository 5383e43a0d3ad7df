// What turns an image into candidates: the network in this file, or the server that sent the page.
// Both have the records of GET /v1/model and /v1/tree, the tree, samples, what happens to images, and detect(image).

import { candidatesOf, fit } from "./network.js";
import { pixelsOf } from "./images.js";
import { Tree } from "./walk.js";

/** Candidates with a lower objectness are never shown, whatever the confidence threshold. */
export const MIN_OBJECTNESS = 0.05;

/** Images to try, which are stored in the page where it is one file. */
const SAMPLES = ["street.jpg", "table.jpg"].map((name) => ({ name, source: `samples/${name}` }));

const TOKEN = "yolo9000-token";
const TRIES = 10; // of a request to a busy server

export async function openEngine() {
  const contents = document.getElementById("contents");
  return contents ? openInThisFile(JSON.parse(contents.textContent)) : openOnServer();
}

const treeOf = (record) => (record.kind === "tree" ? new Tree(record) : null);

/** A file that is stored in the page as base64 of gzip. */
async function stored(id) {
  const { body } = await fetch(`data:;base64,${document.getElementById(id).textContent}`);
  return new Response(body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

async function openInThisFile({ model, tree: record, samples }) {
  const tree = treeOf(record);
  const [script, worker, glue, wasm, graph] = await Promise.all(
    ["runtime", "worker", "glue", "wasm", "graph"].map(stored),
  );
  const ask = inWorker([script, "\n", worker]);
  const start = { glue, wasm, graph, size: model.network_wh };
  model.class_rows = await ask({ start }, [wasm, graph]);
  const detect = async (image) => {
    const pixels = await pixelsOf(image);
    const input = fit(pixels, model.network_wh, model.resize_mode);
    const output = await ask({ input, size: model.network_wh }, [input.buffer]);
    return candidatesOf(output, model, tree, [image.width, image.height], MIN_OBJECTNESS);
  };
  return { model, record, tree, samples, detect, privacy: "It stays on this device." };
}

/** A function that sends a message to a new worker and waits for its answer; one message at a time. */
function inWorker(parts) {
  const worker = new Worker(URL.createObjectURL(new Blob(parts, { type: "text/javascript" })));
  let last = Promise.resolve();
  const send = (message, transferred) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data.result));
      worker.onerror = (event) => reject(new Error(event.message || "the network could not be started"));
      worker.postMessage(message, transferred);
    });
  return (message, transferred) => (last = last.catch(() => {}).then(() => send(message, transferred)));
}

async function openOnServer() {
  const [model, record] = await Promise.all(["v1/model", "v1/tree"].map((path) => answer(path)));
  const tree = treeOf(record);
  const detect = async (image) => {
    const asked = `v1/detect?candidates=${MIN_OBJECTNESS}`;
    const { images } = await answer(asked, { method: "POST", body: image.blob, headers: { "Content-Type": image.blob.type } });
    return images[0].candidates.map((candidate) => known(candidate, tree, record.names.length));
  };
  return { model, record, tree, samples: SAMPLES, detect, privacy: "It is sent to this server, which keeps nothing." };
}

/** A candidate of the server; nodes that it left out are too improbable to matter. */
function known({ box_xyxy: box, objectness, nodes }, tree, labels) {
  const groups = [];
  for (const [node, probability] of nodes) {
    const group = tree ? tree.groupOf[node] : 0;
    groups[group] ??= new Float64Array(tree ? tree.groupSize(group) : labels);
    groups[group][tree ? node - tree.groupOffsets[group] : node] = probability;
  }
  const nothing = (group) => new Float64Array(tree ? tree.groupSize(group) : labels);
  return { box, objectness, probabilities: (group) => (groups[group] ??= nothing(group)) };
}

/** The JSON that the server answers with; asks for the token when it wants one, and tries again when it is busy. */
async function answer(path, options = {}, tries = TRIES) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response.json();
  if (response.status === 401 && askForToken()) return answer(path, options);
  if (response.status === 503 && tries > 1) {
    await saidToWait(response);
    return answer(path, options, tries - 1);
  }
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? `the server answered ${response.status}`);
}

function askForToken() {
  const token = window.prompt("This server wants a token:");
  if (token) sessionStorage.setItem(TOKEN, token);
  return Boolean(token);
}

function saidToWait(response) {
  const seconds = Number(response.headers.get("Retry-After")) || 1;
  return new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
}
