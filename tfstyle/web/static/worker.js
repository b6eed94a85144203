// Runs the network, so that the page answers while it works. A classic worker, not a module: the
// runtime loads its WebAssembly by importScripts.
//
// in   {type: "start"}
//      {type: "model", files: [{file, height, width}]}      all are fetched now, none later
//      {type: "run", file, pixels, height, width, weights}  pixels: RGBA, at most the file's size
// out  {type: "ready", threads} | {type: "loaded"} | {type: "done", pixels, height, width, seconds}
//      {type: "error", message}
// Each message carries an id, which its answer repeats.
"use strict";

const RUNTIME = new URL("litert/", self.location.href).href;

let litert = null;
let bytes = new Map(); // file -> what was fetched
let compiled = null; // {file, model}: the last one; each holds the memory of its buffers

async function start() {
  if (typeof WebAssembly !== "object") {
    throw new Error("This browser has no WebAssembly, which the network runs in. Use a newer one.");
  }
  litert = await import("./litert/index.js");
  // Threads need a cross-origin isolated page, and LiteRT's build with threads needs relaxed SIMD.
  const threads = self.crossOriginIsolated && (await litert.supportsFeature("relaxedSimd"));
  const script = `${RUNTIME}litert_wasm_${threads ? "threaded" : "compat"}_internal.js`;
  // In a worker Emscripten cannot tell where its own script lies.
  self.Module = { mainScriptUrlOrBlob: script, locateFile: (name) => RUNTIME + name };
  await litert.loadLiteRt(script);
  return { type: "ready", threads };
}

async function load({ files }) {
  const fetched = new Map();
  for (const { file } of files) {
    const response = await fetch(file);
    if (!response.ok) throw new Error(`${file}: the server answers ${response.status}.`);
    fetched.set(file, new Uint8Array(await response.arrayBuffer()));
  }
  compiled?.model.delete();
  compiled = null;
  bytes = fetched;
  return { type: "loaded" };
}

async function network(file) {
  if (compiled?.file !== file) {
    compiled?.model.delete();
    compiled = null;
    const model = await litert.loadAndCompile(bytes.get(file), { accelerator: "wasm" });
    compiled = { file, model };
    const shape = Array.from(model.getInputDetails().find((each) => each.name === "images").shape);
    // With sizes left open LiteRT.js 2.5.3 gives noise and no error.
    if (shape.length !== 4 || shape[0] !== 1 || shape[1] < 2 || shape[2] < 2) {
      throw new Error(`${file}: its input is ${shape}. Give a model of fixed size (--size HxW).`);
    }
    compiled.shape = shape;
  }
  return compiled;
}

// Reflected without repeating the edge, as often as it takes: 0 1 2 1 0 1 2 ...
function mirrored(position, length) {
  const period = Math.max(1, 2 * length - 2);
  const rest = position % period;
  return rest < length ? rest : period - rest;
}

async function run({ file, pixels, height, width, weights }) {
  const { model, shape } = await network(file);
  const [, tall, wide] = shape;
  const input = new Float32Array(tall * wide * 3);
  for (let y = 0, to = 0; y < tall; y++) {
    const line = mirrored(y, height) * width;
    for (let x = 0; x < wide; x++, to += 3) {
      const from = 4 * (line + mirrored(x, width));
      input[to] = pixels[from] / 255;
      input[to + 1] = pixels[from + 1] / 255;
      input[to + 2] = pixels[from + 2] / 255;
    }
  }
  const tensors = { images: new litert.Tensor(input, shape) };
  if (weights) {
    tensors.style_weights = new litert.Tensor(Float32Array.from(weights), [1, weights.length]);
  }
  const began = performance.now();
  let results = {};
  let painted;
  try {
    results = await model.run(tensors);
    painted = await results.stylized.data();
  } finally {
    for (const tensor of [...Object.values(tensors), ...Object.values(results)]) tensor.delete();
  }
  const seconds = (performance.now() - began) / 1000;
  const out = new Uint8ClampedArray(height * width * 4);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, from = 3 * y * wide; x < width; x++, from += 3, to += 4) {
      for (let c = 0; c < 3; c++) out[to + c] = painted[from + c] * 255; // rounds and clips
      out[to + 3] = 255;
    }
  }
  return { type: "done", pixels: out, height, width, seconds };
}

const tasks = { start, model: load, run };
let queue = Promise.resolve();

self.onmessage = ({ data }) => {
  queue = queue.then(async () => {
    try {
      const answer = await tasks[data.type](data);
      self.postMessage({ id: data.id, ...answer }, answer.pixels ? [answer.pixels.buffer] : []);
    } catch (error) {
      self.postMessage({ id: data.id, type: "error", message: error?.message ?? String(error) });
    }
  });
};
