// Images as the user gives them: files, the clipboard, the camera. An image is { name, blob, width, height, shown }:
// its encoded bytes, its upright size, and a canvas of at most MAX_SHOWN pixels a side.

const MAX_SHOWN = 1600;
const MAX_CANVAS_PIXELS = 16_777_216; // what phones can hold
const AS_STORED = { colorSpaceConversion: "none", premultiplyAlpha: "none" };

/** An image of encoded bytes. */
export async function imageOf(name, blob) {
  const bitmap = await decoded(name, blob);
  const { width, height } = bitmap;
  const scale = Math.min(1, MAX_SHOWN / Math.max(width, height));
  const shown = drawn(bitmap, Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  bitmap.close();
  return { name, blob, width, height, shown };
}

async function decoded(name, blob) {
  try {
    return await createImageBitmap(blob, AS_STORED);
  } catch {
    throw new Error(`${name} is not an image that this browser can read`);
  }
}

function drawn(source, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, width, height);
  return canvas;
}

/** The image at its full size on a canvas; one that is too large for the browser's canvas is made smaller. */
export async function fullCanvas({ name, blob }) {
  const bitmap = await decoded(name, blob);
  const scale = Math.min(1, Math.sqrt(MAX_CANVAS_PIXELS / (bitmap.width * bitmap.height)));
  const canvas = drawn(bitmap, Math.floor(bitmap.width * scale) || 1, Math.floor(bitmap.height * scale) || 1);
  bitmap.close();
  return canvas;
}

/** The pixels of an image: { data: RGBA, width, height }. */
export async function pixelsOf(image) {
  const canvas = await fullCanvas(image);
  return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
}

/** The camera: { video, frame(), stop() }. */
export async function openCamera() {
  const wanted = { video: { facingMode: "environment", width: { ideal: 1280 } } };
  const stream = await navigator.mediaDevices.getUserMedia(wanted);
  const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  const frame = async () => {
    const canvas = drawn(video, video.videoWidth, video.videoHeight);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
    return { name: "camera.jpg", blob, width: canvas.width, height: canvas.height, shown: canvas };
  };
  return { frame, stop: () => stream.getTracks().forEach((track) => track.stop()) };
}
