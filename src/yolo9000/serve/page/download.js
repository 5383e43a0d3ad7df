// The detections as files: the records of `predict --format jsonl` and `--format coco`, and the image with its boxes.

import { rootOf } from "./boxes.js";
import { h, hueOf, percent } from "./dom.js";
import { fullCanvas } from "./images.js";
import { explain } from "./walk.js";

export const JSON_VERSION = 1;

/** The answer of POST /v1/detect for some images: [{ image, detections }]. */
export function detectRecord(results, { model, names, tree }) {
  const images = results.map(({ image, detections }) => ({
    source: image.name,
    frame: null,
    timestamp: null,
    width: image.width,
    height: image.height,
    detections: detections.map((one) => record(one, names, tree)),
  }));
  return { version: JSON_VERSION, model: model.name, images };
}

function record(one, names, tree) {
  const { label, score, box } = one;
  return { name: names[label], label, score, box_xyxy: box, ...(tree && explain(tree, one)) };
}

/** COCO results. The image id is the number at the end of the image's stem, otherwise the stem. */
export function cocoResults(results) {
  return results.flatMap(({ image, detections }) =>
    detections.map(({ label, score, box: [left, top, right, bottom] }) => ({
      image_id: imageId(image.name),
      category_id: label,
      bbox: [left, top, right - left, bottom - top],
      score,
    })),
  );
}

function imageId(name) {
  const stem = name.replace(/\.[^.]*$/, "");
  const digits = stem.match(/(?:^|_)(\d+)$/);
  return digits ? Number(digits[1]) : stem;
}

/** The image at its full size with boxes and labels, as a canvas. */
export async function annotated(image, detections, { names, tree }) {
  const canvas = await fullCanvas(image);
  const context = canvas.getContext("2d");
  const scale = canvas.width / image.width;
  const size = Math.max(12, Math.round(Math.max(canvas.width, canvas.height) / 60));
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "top";
  [...detections].reverse().forEach((one) => {
    const box = one.box.map((value) => value * scale);
    drawBox(context, box, `${names[one.label]} ${percent(one.score)}`, hueOf(rootOf(one, tree)), size);
  });
  return canvas;
}

function drawBox(context, [left, top, right, bottom], text, hue, size) {
  const color = `oklch(0.48 0.15 ${hue})`;
  const width = context.measureText(text).width + size * 0.8;
  const height = size * 1.5;
  const x = Math.max(0, Math.min(left, context.canvas.width - width));
  const y = top < height ? top : top - height;
  context.strokeStyle = context.fillStyle = color;
  context.lineWidth = Math.max(2, size / 7);
  context.strokeRect(left, top, right - left, bottom - top);
  context.fillRect(x, y, width, height);
  context.fillStyle = "white";
  context.fillText(text, x + size * 0.4, y + size * 0.25);
}

/** Hand a file to the user. */
export function save(name, blob) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export const jsonBlob = (value) => new Blob([JSON.stringify(value, null, 1)], { type: "application/json" });
