/**
 * Classifies photos in the browser with a model that `prepare.py` wrote.
 *
 * `?model=flowers.onnx` takes another file beside this page, `?threads=2` that many threads.
 */
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";
import { decode, pixelsOf } from "./image.js";

const TOP = 5;
const TIMED_RUNS = 5;
const PATIENCE_MS = 1500; // no more timed runs after this

const element = (id) => document.getElementById(id);
const main = document.querySelector("main");
const options = new URLSearchParams(location.search);

/**
 * @typedef {{labels: string[], pixel_range: number[], resize: string, output: string}} Facts
 * @typedef {{session: ort.InferenceSession, rows: number, columns: number, facts: Facts,
 *   firstMs?: number}} Classifier `firstMs`: latency of the first run since loading.
 */

/** Shows a message; `state` is "loading", "ready", "busy", "done" or "error". */
function say(state, message) {
  element("status").textContent = message;
  main.dataset.state = state; // set last: who waits for the state finds the message
}

/** @returns {Promise<Classifier>} of NAME.onnx and NAME.json beside the page. */
async function load(name) {
  if (!/^[\w.-]+\.onnx$/.test(name)) {
    throw new Error(`?model= takes the name of an .onnx file beside this page. Received: ${name}`);
  }
  const [facts, bytes] = await Promise.all([
    fetchFile(name.replace(/onnx$/, "json")).then((response) => response.json()),
    fetchFile(name).then((response) => response.arrayBuffer()),
  ]);
  const cores = navigator.hardwareConcurrency || 1;
  // Without the headers of serve.py browsers give no threads. With one on every core they wait
  // for each other as soon as anything else runs.
  const wanted = Number(options.get("threads")) || Math.min(4, Math.ceil(cores / 2));
  ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(wanted, cores) : 1;
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] })
    .catch((error) => { throw new Error(`${name} does not load: ${error.message ?? error}`); });
  return check({ session, facts }, name);
}

/** @returns {Promise<Response>} of a file beside the page, or an error that says what to do. */
async function fetchFile(name) {
  const response = await fetch(name);
  if (!response.ok) {
    throw new Error(`${name} is missing (HTTP ${response.status}). ` +
      "Write it with: python examples/web/prepare.py ViT_Ti16");
  }
  return response;
}

/** @returns {Classifier} with its size, if the model takes and gives what this page can do. */
function check(classifier, name) {
  const { session, facts } = classifier;
  const [input] = session.inputMetadata;
  const output = session.outputMetadata.find((each) => each.name === "output");
  const [, rows, columns, channels] = input.shape ?? [];
  if (session.inputMetadata.length !== 1 || input.type !== "float32" || input.shape.length !== 4 ||
      channels !== 3 || !Number.isInteger(rows) || !Number.isInteger(columns)) {
    const received = session.inputMetadata.map((x) => `${x.name} ${x.type} [${x.shape}]`);
    throw new Error(`${name} must take one image, float32 [batch, rows, columns, 3]. ` +
      `Received: ${received.join("; ")}`);
  }
  if (output?.shape.at(-1) !== facts.labels?.length) {
    throw new Error(`${name} and its .json do not fit: the model gives [${output?.shape}], ` +
      `there are ${facts.labels?.length} labels. Write both anew with prepare.py.`);
  }
  return { ...classifier, rows, columns };
}

/** @returns {Promise<{scores: Float32Array, ms: number}>} of one run of the model. */
async function run({ session, rows, columns }, pixels) {
  const image = new ort.Tensor("float32", pixels, [1, rows, columns, 3]);
  const start = performance.now();
  const { output } = await session.run({ [session.inputNames[0]]: image }, ["output"]);
  return { scores: output.data, ms: performance.now() - start };
}

/** @returns {number[]} probabilities of logits. */
function softmax(logits) {
  const highest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Array.from(logits, (x) => Math.exp(x - highest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((x) => x / sum);
}

/** Shows the likeliest classes, the likeliest first, and returns that one's row as text. */
function showTop(probabilities, labels) {
  const best = Array.from(probabilities, (_, i) => i)
    .sort((a, b) => probabilities[b] - probabilities[a]).slice(0, TOP);
  const names = best.map((i) => labels[i].replaceAll("_", " "));
  element("answer").textContent = names[0];
  element("top").replaceChildren(...best.map((i, rank) => {
    const [row, name, bar, value] = ["li", "span", "div", "data"].map((x) => document.createElement(x));
    name.textContent = names[rank];
    bar.style.setProperty("--share", probabilities[i]);
    value.value = probabilities[i];
    value.textContent = `${(100 * probabilities[i]).toFixed(1)} %`;
    row.append(name, value, bar);
    return row;
  }));
  return `${names[0]}, ${(100 * probabilities[best[0]]).toFixed(1)} %`;
}

/** Classifies a file and shows what is on it, or what is wrong with it. */
async function classify(file, classifier) {
  say("busy", `Looking at ${file.name} …`);
  element("result").hidden = true;
  const bitmap = await decode(file);
  URL.revokeObjectURL(element("photo").src);
  element("photo").src = URL.createObjectURL(file);
  const pixels = pixelsOf(bitmap, classifier);
  bitmap.close();
  await new Promise((resolve) => setTimeout(resolve)); // the page is drawn before the model runs
  const { scores, ms } = await run(classifier, pixels);
  classifier.firstMs ??= ms;
  const { labels, output } = classifier.facts;
  const answer = showTop(output === "logits" ? softmax(scores) : scores, labels);
  element("result").hidden = false;
  const times = [];
  const deadline = performance.now() + PATIENCE_MS;
  do times.push((await run(classifier, pixels)).ms);
  while (times.length < TIMED_RUNS && performance.now() < deadline);
  const median = times.sort((a, b) => a - b)[times.length >> 1];
  element("latency").textContent = `${median.toFixed(0)} ms a photo (median of ${times.length} ` +
    `runs); the first run since loading took ${classifier.firstMs.toFixed(0)} ms`;
  say("done", `${file.name}: ${answer}`);
}

/** Loads the model and takes photos, also while it is loading. */
function start() {
  const name = options.get("model") ?? "model.onnx";
  const loading = load(name);
  const complain = (error) => say("error", error.message ?? String(error));
  let last = loading.then(({ facts, rows, columns }) => {
    const threads = ort.env.wasm.numThreads;
    element("model").textContent = `${name}: ${facts.labels.length} classes, ` +
      `${columns} x ${rows} pixels, ${threads} thread${threads > 1 ? "s" : ""}`;
    say("ready", "Ready.");
  }).catch(complain);
  const take = (file) => { // one after the other: a session runs one at a time
    last = last.then(async () => classify(file, await loading)).catch(complain);
  };
  element("file").addEventListener("change", ({ target }) => {
    if (target.files.length) take(target.files[0]);
    target.value = ""; // the same photo again is a change, too
  });
  // Anywhere on the page, or the browser would leave it to show the photo.
  for (const [type, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      element("drop").classList.toggle("over", over);
      if (type !== "drop") return;
      if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
      else say("error", "That is not a file. Save the picture first, then drop it here.");
    });
  }
}

start();
