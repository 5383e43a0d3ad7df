// Before and after the network: an image fitted to its input, and its output as candidates.
// The same rules as yolo9000.io.resample, inference.preprocess and inference.head_output.

import { softmax } from "./walk.js";

const GREY = 0.5;

/**
 * The network's input (3, height, width), R G B in [0, 1].
 *
 * @param image { data: RGBA bytes, width, height }
 * @param size [width, height] of the input
 * @param mode "letterbox" or "stretch"
 */
export function fit(image, size, mode) {
  const [width, height] = size;
  const [newWidth, newHeight] = fittedSize([image.width, image.height], size, mode);
  const left = (width - newWidth) >> 1;
  const top = (height - newHeight) >> 1;
  const input = new Float32Array(3 * width * height).fill(GREY);
  const columns = Array.from({ length: newWidth }, (_, x) => sampling(x, image.width, newWidth));
  for (let y = 0; y < newHeight; y++) {
    const row = sampling(y, image.height, newHeight);
    const weight = (y === newHeight - 1 ? lastRowFraction(image.height, newHeight) : 1) / 255;
    resizeRow(image, row, columns, weight, input, (top + y) * width + left, width * height);
  }
  return input;
}

function resizeRow({ data, width }, { low, high, fraction }, columns, weight, input, at, plane) {
  const upper = 4 * low * width;
  const lower = 4 * high * width;
  columns.forEach((column, x) => {
    for (let channel = 0; channel < 3; channel++) {
      const a = 4 * column.low + channel;
      const b = 4 * column.high + channel;
      const above = data[upper + a] + column.fraction * (data[upper + b] - data[upper + a]);
      const below = data[lower + a] + column.fraction * (data[lower + b] - data[lower + a]);
      input[channel * plane + at + x] = weight * (above + fraction * (below - above));
    }
  });
}

/** Which two source pixels a new pixel lies between; corner pixels of both images coincide. */
function sampling(position, length, newLength) {
  const at = newLength > 1 ? (position * (length - 1)) / (newLength - 1) : length - 1;
  const low = Math.min(Math.floor(at), length - 1);
  return { low, high: Math.min(low + 1, length - 1), fraction: at - low };
}

/** Weight of the last row: Darknet leaves it black where float32 rounds its position to just below the last pixel. */
function lastRowFraction(height, newHeight) {
  if (newHeight === 1) return 1;
  const at = Math.fround((newHeight - 1) * Math.fround(Math.fround(height - 1) / Math.fround(newHeight - 1)));
  return 1 - (at - Math.floor(at));
}

function fittedSize([width, height], [netWidth, netHeight], mode) {
  if (mode === "stretch") return [netWidth, netHeight];
  if (netWidth * height < netHeight * width) return [netWidth, Math.max(1, Math.floor((height * netWidth) / width))];
  return [Math.max(1, Math.floor((width * netHeight) / height)), netHeight];
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/**
 * The candidates of one image: the anchors whose objectness is above a threshold.
 *
 * @param output { boxes, features } or { head }: the network's arrays for one image, each { data, dims }
 * @param model what the output means: anchors_wh_cells, kind, resize_mode, network_wh; class_rows { weights, biases }
 *   where classes are computed on demand
 * @param tree the label tree, or null
 * @param size [width, height] of the image
 */
export function candidatesOf(output, model, tree, size, minObjectness) {
  const { data, dims } = output.boxes ?? output.head;
  const [height, width] = dims.slice(-2);
  const cells = height * width;
  const perAnchor = dims[1] / model.anchors_wh_cells.length;
  const found = [];
  model.anchors_wh_cells.forEach((anchor, a) => {
    for (let cell = 0; cell < cells; cell++) {
      const t = (i) => data[(a * perAnchor + i) * cells + cell];
      const objectness = sigmoid(t(4));
      const box = boxOf(t, cell, anchor, [width, height]);
      if (!(objectness > minObjectness) || box.some(Number.isNaN)) continue;
      const logits = output.boxes ? lazyLogits(output.features, cell, cells, model.class_rows, a) : (k) => t(5 + k);
      found.push({
        box: toImage(box, model, size),
        objectness,
        probabilities: probabilitiesOf(logits, tree, model),
      });
    }
  });
  return found;
}

/** Direct location prediction (§2): center, width, height as fractions of the input. */
function boxOf(t, cell, [anchorWidth, anchorHeight], [width, height]) {
  return [
    ((cell % width) + sigmoid(t(0))) / width,
    (Math.floor(cell / width) + sigmoid(t(1))) / height,
    (Math.exp(t(2)) * anchorWidth) / width,
    (Math.exp(t(3)) * anchorHeight) / height,
  ];
}

/** From fractions of the network's input to pixels of the image: left, top, right, bottom. */
function toImage([cx, cy, w, h], { network_wh, resize_mode }, size) {
  const fitted = fittedSize(size, network_wh, resize_mode);
  const pixels = (value, i) => ((value * network_wh[i] - (network_wh[i] - fitted[i]) / 2) / fitted[i]) * size[i];
  return [pixels(cx - w / 2, 0), pixels(cy - h / 2, 1), pixels(cx + w / 2, 0), pixels(cy + h / 2, 1)];
}

/** Class logits on demand: a dot product of the cell's features with a row of the last convolution. */
function lazyLogits(features, cell, cells, { weights, biases }, anchor) {
  const [, classes, channels] = weights.dims;
  const inputs = Float32Array.from({ length: channels }, (_, c) => features.data[c * cells + cell]);
  return (k) => {
    const row = anchor * classes + k;
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += inputs[c] * weights.data[row * channels + c];
    return sum + biases.data[row];
  };
}

/** P(class) or P(node | parent) by sibling group, each group computed when it is first asked for. */
function probabilitiesOf(logits, tree, model) {
  const known = [];
  return (group) => (known[group] ??= activated(logits, ...span(tree, group, model), model.kind));
}

const span = (tree, group, model) =>
  tree ? [tree.groupOffsets[group], tree.groupSize(group)] : [0, model.names.length];

function activated(logits, offset, count, kind) {
  const values = Float64Array.from({ length: count }, (_, i) => logits(offset + i));
  return kind === "sigmoid" ? values.map(sigmoid) : softmax(values);
}
