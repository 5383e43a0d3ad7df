// Runs the network with ONNX Runtime Web, whose script comes before this one in the same worker.
// Messages: { start: { glue, wasm, graph, size } } first, answered by the class rows, or null where the network computes
// every class; then { input, size }, answered by the outputs.

/* global ort */
let session;

async function start({ glue, wasm, graph, size }) {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([glue], { type: "text/javascript" })) };
  // The weights are stored as integers. Not being taken for quantized layers, they are restored once, not for every image.
  const extra = { session: { disable_quant_qdq: "1" } };
  session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"], extra });
  const rows = ["class_weights", "class_biases"];
  if (!rows.every((name) => session.outputNames.includes(name))) return null;
  const { class_weights: weights, class_biases: biases } = await run(new Float32Array(3 * size[0] * size[1]), size, rows);
  return { weights, biases };
}

async function run(input, [width, height], names) {
  const outputs = await session.run({ images: new ort.Tensor("float32", input, [1, 3, height, width]) }, names);
  return Object.fromEntries(Object.entries(outputs).map(([name, { data, dims }]) => [name, { data, dims }]));
}

self.onmessage = async ({ data: { start: files, input, size } }) => {
  try {
    const names = () => session.outputNames.filter((name) => !name.startsWith("class_"));
    self.postMessage({ result: files ? await start(files) : await run(input, size, names()) });
  } catch (error) {
    self.postMessage({ error: String(error?.message ?? error) });
  }
};
