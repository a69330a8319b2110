// Compute defocus maps beside the page: read a photo, resize it, run the network. Messages go to detector.js.
const FOLDER = new URL("detector/", import.meta.url);
const STRIP = 128; // rows of a photo that are held as pixels at once
const SHOWN = 1280; // pixels of the longer side of what the page shows
const APART = 0.05; // largest allowed difference of the test pattern's map from Python's
const PATTERN = 64; // pixels a side
const STEP = 256; // every such value of the pattern's map is compared

let latest = 0; // the number of the photo that was chosen last
let opened; // a promise of the network
let waiting = Promise.resolve(); // until the photos before are done
let replace = () => {}; // ends an older photo's wait for the network

onmessage = ({ data }) => {
  ready().catch(() => postMessage({ idle: true })); // the reason is reported with a photo
  if (data.file) {
    latest = data.number;
    replace();
    waiting = waiting.then(() => map(data.file, data.number));
  }
};

// ------------------------------------------------------------------------------------------------- photo

// A newer photo ends the work on this one.
async function map(file, number) {
  if (number !== latest) return;
  const replaced = new Promise((done) => (replace = done));
  const formats = "JPEG, PNG, WebP, GIF, BMP or AVIF";
  let problem = `${file.name} cannot be opened by this browser: choose a ${formats} file, or a smaller photo.`;
  let bitmap;
  try {
    // Python ignores colour profiles, too.
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
    problem = "This device has too little memory for the photo: choose a smaller one.";
    const share = Math.min(1, SHOWN / Math.max(bitmap.width, bitmap.height));
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(share * side)));
    const options = { resizeWidth: width, resizeHeight: height, resizeQuality: "high" };
    const photo = await createImageBitmap(bitmap, options);
    postMessage({ number, photo }, [photo]);
    const network = await Promise.race([ready(), replaced]);
    if (number !== latest) return;
    const { sizes } = network;
    problem = "The map could not be computed: close other pages, and choose the photo again.";
    const whole = resized(bitmap, sizes.at(-1));
    bitmap.close(); // the network needs memory, too
    for (const size of sizes) {
      await new Promise((done) => setTimeout(done)); // a newer photo may have arrived
      if (number !== latest) return;
      const begun = performance.now();
      const { engine, values } = await detect(tensor(whole, sizes.at(-1), size), size);
      const seconds = (performance.now() - begun) / 1000;
      const levels = enlarged(values, size, width, height);
      postMessage({ number, levels, engine, seconds, last: size === sizes.at(-1) }, [levels.buffer]);
    }
  } catch (error) {
    console.warn(error);
    postMessage({ number, problem: error instanceof Unloaded ? error.message : problem });
  } finally {
    bitmap?.close();
  }
}

// The pixels of a photo at size x size, as Pillow resizes it: bilinear without aliasing, along rows, then along columns.
function resized(bitmap, size) {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, STRIP).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  const narrow = new Uint8ClampedArray(height * size * 3); // rounds
  const columns = taps(width, size);
  for (let top = 0; top < height; top += STRIP) {
    const rows = Math.min(STRIP, height - top);
    context.fillRect(0, 0, width, STRIP); // transparent pixels become white
    context.drawImage(bitmap, 0, -top);
    const { data } = context.getImageData(0, 0, width, rows);
    alongRows(data, width, 4, columns, narrow.subarray(top * size * 3), 3, rows);
  }
  return alongColumns(narrow, size * 3, taps(height, size), new Uint8ClampedArray(size * size * 3));
}

// Pillow's triangle filter from one number of pixels to another: for each new pixel the first old one, and weights.
function taps(from, to) {
  const scale = from / to;
  const reach = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(from, Math.trunc(centre + reach + 0.5));
    const distances = Array.from({ length: end - first }, (_, k) => Math.abs(first + k + 0.5 - centre));
    const weights = distances.map((distance) => Math.max(0, 1 - distance / reach));
    const sum = weights.reduce((a, b) => a + b);
    return { first, weights: Float64Array.from(weights, (weight) => weight / sum) };
  });
}

// Resize rows of pixels with `channels` values each, of which the first `kept` are kept.
function alongRows(source, width, channels, columns, result, kept, rows) {
  let at = 0;
  for (let row = 0; row < rows; row++) {
    for (const { first, weights } of columns) {
      for (let channel = 0; channel < kept; channel++) {
        let sum = 0;
        let from = (row * width + first) * channels + channel;
        for (let k = 0; k < weights.length; k++, from += channels) sum += weights[k] * source[from];
        result[at++] = sum;
      }
    }
  }
  return result;
}

// Resize columns; a row has `length` values.
function alongColumns(source, length, rows, result) {
  let at = 0;
  for (const { first, weights } of rows) {
    for (let column = 0; column < length; column++) {
      let sum = 0;
      let from = first * length + column;
      for (let k = 0; k < weights.length; k++, from += length) sum += weights[k] * source[from];
      result[at++] = sum;
    }
  }
  return result;
}

// The network's input of size x size, the three colours after each other in 0..1: means of blocks of pixels.
function tensor(pixels, side, size) {
  const block = side / size;
  const values = new Float32Array(3 * size * size);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const to = Math.floor(y / block) * size + Math.floor(x / block);
      for (let colour = 0; colour < 3; colour++) {
        values[colour * size * size + to] += pixels[(y * side + x) * 3 + colour] / (255 * block * block);
      }
    }
  }
  return values;
}

// A map at the size that is shown, in 256 levels.
function enlarged(values, size, width, height) {
  const scaled = values.map((value) => 255 * value);
  const wide = alongRows(scaled, size, 1, taps(size, width), new Float32Array(size * width), 1, size);
  return alongColumns(wide, width, taps(size, height), new Uint8ClampedArray(width * height));
}

// ----------------------------------------------------------------------------------------------- network

class Unloaded extends Error {} // its message is for the visitor

function ready() {
  return opened ?? keep(open());
}

// After a failure the next photo tries again.
function keep(network) {
  opened = network.catch((error) => {
    opened = undefined;
    const problem = "The detector could not be loaded: check the connection, and choose the photo again.";
    throw new Unloaded(problem, { cause: error });
  });
  return opened;
}

async function open() {
  const facts = await (await load("facts.json")).json();
  if (await hasGraphics()) {
    try {
      return await start("webgpu", facts);
    } catch (error) {
      console.warn(error);
    }
  }
  return start("wasm", facts);
}

// Whether there is a graphics processor for WebGPU, and not a slow imitation of one.
async function hasGraphics() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && !adapter.info?.isFallbackAdapter;
}

// Load ONNX Runtime and the network, and compare the map of a test pattern with Python's.
async function start(engine, facts) {
  const names = ["network.onnx", `${engine}.wasm`];
  const total = names.reduce((sum, name) => sum + facts.bytes[name], 0);
  let loaded = 0;
  const report = (count) => postMessage({ loaded: (loaded += count), total });
  const stopping = new AbortController();
  const files = names.map((name) => bytes(name, facts.bytes[name], report, stopping.signal));
  const [network, program] = await Promise.all(files).finally(() => stopping.abort()); // of two, one may have failed
  const runtime = await import(new URL(`${engine}.js`, FOLDER));
  runtime.env.wasm.numThreads = 1; // more need headers that static hosts do not send
  runtime.env.wasm.wasmBinary = program.buffer;
  const options = { executionProviders: [engine], logSeverityLevel: 3 }; // errors
  const session = await runtime.InferenceSession.create(network, options);
  const run = async (values, size) => {
    const { defocus } = await session.run({ photo: new runtime.Tensor("float32", values, [1, 3, size, size]) });
    return defocus.data;
  };
  const found = (await run(pattern(), PATTERN)).filter((_, i) => i % STEP === 0);
  if (!facts.expected.every((value, i) => Math.abs(found[i] - value) < APART)) {
    throw new Error(`${engine} computes a wrong map of the test pattern.`);
  }
  return { engine, run, facts, sizes: facts.sizes };
}

// The same as `pattern` of detector.py.
function pattern() {
  return Float32Array.from({ length: 3 * PATTERN * PATTERN }, (_, i) => ((i % PATTERN) * (i >> 6) ** 2 % 256) / 255);
}

async function detect(values, size) {
  const network = await ready();
  try {
    return { engine: network.engine, values: await network.run(values, size) };
  } catch (error) {
    if (network.engine === "wasm") throw error;
    console.warn(error);
    await keep(start("wasm", network.facts));
    return detect(values, size);
  }
}

async function load(name, signal) {
  const response = await fetch(new URL(name, FOLDER), { signal });
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return response;
}

// The content of a file, whose length is known: a compressed answer does not say it.
async function bytes(name, length, report, signal) {
  const content = new Uint8Array(length);
  let at = 0;
  for (const reader = (await load(name, signal)).body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return content;
    content.set(value, at);
    at += value.length;
    report(value.length);
  }
}
