// From candidates to detections: the walk down the label tree, its restriction to a node, and suppression.
// The same rules as yolo9000.taxonomy.wordtree, inference.tree_decode and inference.suppress.
//
// A candidate is { box: [left, top, right, bottom], objectness, probabilities(group) }: pixels, not clipped; sigma(t_o);
// and P(class | object) of all flat classes, or P(node | parent) of a sibling group, each computed once at most.

/** A label tree: nodes are numbered in file order, adjacent nodes with one parent form a sibling group. */
export class Tree {
  constructor({ parents, names, ids, synonyms = [] }) {
    Object.assign(this, { parents, names, ids, synonyms });
    this.groupOffsets = [];
    this.groupOf = new Int32Array(parents.length);
    this.childGroups = new Int32Array(parents.length).fill(-1);
    parents.forEach((parent, node) => this.#place(parent, node));
    this.groupOffsets.push(parents.length);
  }

  #place(parent, node) {
    if (!node || parent !== this.parents[node - 1]) {
      if (parent >= 0) this.childGroups[parent] = this.groupOffsets.length;
      this.groupOffsets.push(node);
    }
    this.groupOf[node] = this.groupOffsets.length - 1;
  }

  get groupCount() {
    return this.groupOffsets.length - 1;
  }

  groupSize(group) {
    return this.groupOffsets[group + 1] - this.groupOffsets[group];
  }

  isLeaf(node) {
    return this.childGroups[node] < 0;
  }

  /** The nodes from the root down to the given one, inclusive. */
  path(node) {
    const nodes = [];
    for (; node >= 0; node = this.parents[node]) nodes.unshift(node);
    return nodes;
  }
}

/** Softmax of the values; zeros where values that are not finite leave it undefined. */
export function softmax(logits) {
  const highest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const exponentials = logits.map((x) => Math.exp(x - highest));
  const total = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((x) => x / total || 0);
}

/**
 * Hierarchical decoding: go to the most probable child as long as the path stays probable enough.
 *
 * @param settings hier_thresh; hier_decoding: "conditional", or "darknet", which multiplies absolute probabilities
 * @param within where to begin: a node, or -1 for the roots
 */
export function decode(tree, probabilities, { hier_thresh, hier_decoding }, within = -1) {
  const path = { nodes: [], conditionals: [], refused: null, runnerUp: null };
  let [probability, weight] = [1, 1];
  let group = within < 0 ? 0 : enter(path, within, 1, tree);
  while (group >= 0) {
    const offset = tree.groupOffsets[group];
    const conditionals = probabilities(group);
    const [best, second] = twoBest(conditionals);
    probability *= conditionals[best];
    weight *= hier_decoding === "darknet" ? probability : conditionals[best];
    const likely = weight > hier_thresh;
    if (!likely && path.nodes.length) {
      path.refused = [offset + best, conditionals[best]];
      break;
    }
    path.runnerUp = second < 0 ? null : [offset + second, conditionals[second]];
    group = enter(path, offset + best, conditionals[best], tree);
    if (!likely) break;
  }
  return path;
}

function enter(path, node, conditional, tree) {
  path.nodes.push(node);
  path.conditionals.push(conditional);
  return tree.childGroups[node];
}

function twoBest(values) {
  let best = 0;
  let second = -1;
  for (let i = 1; i < values.length; i++) {
    if (values[i] > values[best]) [best, second] = [i, best];
    else if (second < 0 || values[i] > values[second]) second = i;
  }
  return [best, second];
}

/** P(node): the product of the conditional probabilities along its path. */
export function nodeProbability(tree, probabilities, node) {
  return tree.path(node).reduce((p, step) => p * at(tree, probabilities, step), 1);
}

function at(tree, probabilities, node) {
  const group = tree.groupOf[node];
  return probabilities(group)[node - tree.groupOffsets[group]];
}

/**
 * The detections among the candidates of one image, highest score first.
 *
 * @param candidates see above
 * @param tree the label tree; null for flat classes
 * @param settings those of yolo9000.DetectionSettings; within: the node that answers must lie at or below, or -1
 * @param size [width, height] of the image, to which boxes are clipped
 */
export function detect(candidates, tree, settings, size) {
  const passing = candidates
    .map((candidate, index) => ({ ...candidate, index }))
    .filter(({ objectness }) => objectness > settings.conf_threshold);
  const labelled = passing.flatMap((one) => (tree ? labelByTree(one, tree, settings) : labelFlat(one, settings)));
  const scored = labelled.filter(({ score }) => score > settings.conf_threshold);
  const kept = bestFirst(remaining(passing, scored, tree, settings)).slice(0, settings.max_detections);
  return kept.map((one) => ({ ...one, box: clip(one.box, size) }));
}

function labelByTree({ index, box, objectness, probabilities }, tree, settings) {
  const { within = -1, hier_decoding } = settings;
  const path = decode(tree, probabilities, settings, within);
  const inside = within < 0 ? 1 : nodeProbability(tree, probabilities, within);
  const given = hier_decoding === "darknet" ? 1 : path.conditionals.reduce((a, b) => a * b, 1);
  return { index, box, label: path.nodes.at(-1), score: objectness * inside * given, path };
}

function labelFlat({ index, box, objectness, probabilities }, { within = -1 }) {
  const every = Array.from(probabilities(0), (probability, label) => ({ index, box, label, score: objectness * probability }));
  return within < 0 ? every : [every[within]];
}

/** What is left of labelled boxes when those that another one suppresses are dropped; see DetectionSettings. */
function remaining(candidates, labelled, tree, { suppression, hier_decoding, nms_iou }) {
  const rule = suppression ?? (tree && hier_decoding !== "darknet" ? "path" : "label");
  if (rule === "objectness") {
    const ordered = [...candidates].sort((a, b) => b.objectness - a.objectness);
    const best = new Set(suppress(ordered, nms_iou, () => true).map(({ index }) => index));
    return labelled.filter(({ index }) => best.has(index));
  }
  if (rule === "path" && tree) return suppress(deepestFirst(labelled), nms_iou, oneObject);
  return suppress(bestFirst(labelled), nms_iou, (a, b) => a.label === b.label);
}

const oneObject = (a, b) => a.path.nodes.includes(b.label) || (parent(b) >= 0 && parent(a) === parent(b));

const parent = ({ path }) => path.nodes.at(-2) ?? -1;

const bestFirst = (labelled) => [...labelled].sort((a, b) => b.score - a.score);

const deepestFirst = (labelled) =>
  [...labelled].sort((a, b) => b.path.nodes.length - a.path.nodes.length || b.score - a.score);

/** Greedy suppression in the given order: of two boxes that may be the same object and overlap, the first is kept. */
function suppress(ordered, iouThreshold, same) {
  const kept = [];
  for (const one of ordered) {
    if (!kept.some((better) => same(better, one) && iou(better.box, one.box) > iouThreshold)) kept.push(one);
  }
  return kept;
}

/** Intersection over union of two boxes; NaN, which is above no threshold, for two boxes without area. */
export function iou(a, b) {
  const width = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
  const height = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  return (width * height) / (area(a) + area(b) - width * height);
}

const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);

const clip = (box, size) => box.map((value, i) => Math.min(Math.max(value, 0), size[i % 2]));

/** Why a detection on a tree has its label: its path with probabilities, why it stopped, and the alternatives. */
export function explain(tree, { path }) {
  let probability = 1;
  const steps = path.nodes.map((node, i) => {
    probability *= path.conditionals[i];
    return step(tree, node, path.conditionals[i], probability);
  });
  const above = steps.at(-2)?.probability ?? 1;
  return {
    path: steps,
    stopped: tree.isLeaf(path.nodes.at(-1)) ? "leaf" : "hier_thresh",
    next_best: path.refused && step(tree, path.refused[0], path.refused[1], probability * path.refused[1]),
    runner_up: path.runnerUp && step(tree, path.runnerUp[0], path.runnerUp[1], above * path.runnerUp[1]),
  };
}

const step = (tree, node, conditional, probability) => ({ node, name: tree.names[node], conditional, probability });
