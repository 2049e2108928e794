/**
 * From an image file to what a model takes, in the steps of `keras_vit.images`: what a canvas
 * makes of a photo when it shrinks it is another picture: it moved a probability by 0.11.
 */

const CENTRE_FRACTION = 0.875; // of what a crop could be at most, as `fit_to_size` has it
const LARGEST_SIDE = 4096; // phones have no larger canvases

/** @returns {Promise<ImageBitmap>} an image file decoded, upright. */
export async function decode(file) {
  try {
    // Colour profiles are ignored, as they were when the model was trained.
    return await createImageBitmap(file,
      { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new Error(`${file.name} is not an image that this browser can read.`);
  }
}

/**
 * Brings a photo to the size and range of a model.
 * @param {ImageBitmap} bitmap
 * @param {{rows: number, columns: number, facts: {resize: string, pixel_range: number[]}}} model
 * @returns {Float32Array} [rows, columns, 3]
 */
export function pixelsOf(bitmap, { rows, columns, facts }) {
  const shrink = Math.min(1, LARGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height]
    .map((side) => Math.max(1, Math.round(shrink * side)));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  let window = [width, height];
  if (facts.resize === "crop") {
    const scale = CENTRE_FRACTION * Math.min(width / columns, height / rows);
    window = [columns, rows].map((side) => Math.max(1, Math.round(scale * side)));
  }
  const left = Math.floor((width - window[0]) / 2);
  const top = Math.floor((height - window[1]) / 2);
  const { data } = context.getImageData(left, top, ...window);
  const [low, high] = facts.pixel_range;
  return resize(data, ...window, columns, rows).map((x) => low + (x * (high - low)) / 255);
}

/**
 * Bilinear with antialiasing, as `tf.image.resize(..., antialias=True)`.
 * @param {Uint8ClampedArray} rgba [height, width, 4]
 * @returns {Float32Array} [rows, columns, 3] in [0, 255]
 */
export function resize(rgba, width, height, columns, rows) {
  const across = taps(width, columns);
  const narrow = new Float32Array(height * columns * 3);
  for (let y = 0, to = 0; y < height; y++) {
    for (const [first, weights] of across) {
      for (let channel = 0; channel < 3; channel++, to++) {
        let from = (y * width + first) * 4 + channel;
        for (let i = 0; i < weights.length; i++, from += 4) narrow[to] += weights[i] * rgba[from];
      }
    }
  }
  const row = columns * 3;
  const result = new Float32Array(rows * row);
  taps(height, rows).forEach(([first, weights], y) => {
    for (let i = 0; i < weights.length; i++) {
      for (let x = 0; x < row; x++) result[y * row + x] += weights[i] * narrow[(first + i) * row + x];
    }
  });
  return result;
}

/** @returns {[number, number[]][]} for each pixel of a new side, the old ones' first and weights. */
function taps(before, after) {
  const step = before / after;
  const radius = Math.max(1, step); // a triangle over the pixels that become one
  return Array.from({ length: after }, (_, i) => {
    const centre = (i + 0.5) * step - 0.5;
    const first = Math.max(0, Math.ceil(centre - radius));
    const last = Math.min(before - 1, Math.floor(centre + radius));
    const weights = Array.from({ length: last - first + 1 },
      (_, j) => Math.max(0, 1 - Math.abs(first + j - centre) / radius));
    const sum = weights.reduce((a, b) => a + b, 0);
    return [first, weights.map((x) => x / sum)];
  });
}
