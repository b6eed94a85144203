// The page: photo in, sliders, picture out. What computes is in worker.js.
"use strict";

const MAX_BYTES = 100e6;
const MAX_PIXELS = 100e6;

const view = {};
for (const element of document.querySelectorAll("[id]")) view[element.id] = element;

// -- the worker -----------------------------------------------------------------------------------

let worker = null;
const waiting = new Map();
let lastId = 0;

function ask(type, message = {}, transfer = []) {
  return new Promise((resolve, reject) => {
    lastId += 1;
    waiting.set(lastId, { resolve, reject });
    worker.postMessage({ ...message, id: lastId, type }, transfer);
  });
}

function startWorker() {
  worker = new Worker("worker.js");
  worker.onmessage = ({ data }) => {
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.type === "error") reject(new Error(data.message));
    else resolve(data);
  };
  worker.onerror = (event) => {
    const error = new Error(`worker.js: ${event.message || "could not be loaded"}`);
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
}

// -- what is shown --------------------------------------------------------------------------------

function say(text) {
  view.status.textContent = text;
}

function complain(error) {
  view.error.textContent = error.message;
  view.error.hidden = false;
}

function clearError() {
  view.error.hidden = true;
  view.error.textContent = "";
}

function split(value) {
  view.split.value = value;
  document.documentElement.style.setProperty("--split", `${value}%`);
}

// -- state ----------------------------------------------------------------------------------------

let models = [];
let chosen = null; // of models
let source = null; // {bitmap, name}: the photo, whole
let shown = null; // {before, after: Uint8ClampedArray RGBA, height, width, blend: shares of styles}
let about = null; // {tfstyle: version, xmp}: what pictures are noted with
let serial = 0; // of the newest painting that was asked for

function sides(model) {
  const longest = model.files.map(({ height, width }) => Math.max(height, width));
  return [...new Set(longest)].sort((a, b) => a - b);
}

// Of the chosen longest side, the file whose shape is nearest to the photo's.
function bestFile(height, width) {
  const side = Number(view.size.value);
  const files = chosen.files.filter((file) => Math.max(file.height, file.width) === side);
  const away = (file) => Math.abs(Math.log(file.height / file.width / (height / width)));
  return files.reduce((best, file) => (away(file) < away(best) ? file : best));
}

function weights() {
  if (!chosen.styles.length) return null;
  const given = [...view.sliders.querySelectorAll("input")].map((input) => Number(input.value));
  const sum = given.reduce((a, b) => a + b, 0);
  if (!sum) throw new Error("All styles are at 0: move one of their sliders up.");
  return given.map((value) => value / sum);
}

function pixelsOf(bitmap, height, width) {
  const canvas = document.createElement("canvas");
  canvas.height = height;
  canvas.width = width;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#ffffff"; // under what is transparent
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

// -- painting -------------------------------------------------------------------------------------

async function paint() {
  if (!source || !chosen) return;
  serial += 1;
  const mine = serial;
  clearError();
  try {
    const { bitmap } = source;
    const file = bestFile(bitmap.height, bitmap.width);
    const scale = Math.min(file.height / bitmap.height, file.width / bitmap.width);
    const height = Math.max(1, Math.round(bitmap.height * scale));
    const width = Math.max(1, Math.round(bitmap.width * scale));
    const blend = weights();
    const before = pixelsOf(bitmap, height, width);
    view.busy.hidden = false;
    say("Painting…");
    const answer = await ask("run", {
      file: file.file,
      pixels: before,
      height,
      width,
      weights: blend,
    });
    if (mine !== serial) return; // a newer one is on its way
    shown = { before, after: answer.pixels, height, width, blend };
    draw();
    say(`Painted ${width}×${height} in ${answer.seconds.toFixed(2)} s.`);
  } catch (error) {
    if (mine !== serial) return;
    complain(error);
    say("Not painted.");
  } finally {
    if (mine === serial) view.busy.hidden = true;
  }
}

let repaint = null;

function paintSoon() {
  clearTimeout(repaint);
  repaint = setTimeout(paint, 150);
}

function draw() {
  if (!shown) return;
  const { before, after, height, width } = shown;
  const strength = Number(view.strength.value) / 100;
  const mixed = new Uint8ClampedArray(after.length);
  for (let i = 0; i < after.length; i++) {
    mixed[i] = before[i] + strength * (after[i] - before[i]);
  }
  for (const [canvas, pixels] of [
    [view.photo, before],
    [view.result, mixed],
  ]) {
    canvas.height = height;
    canvas.width = width;
    canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
    canvas.hidden = false;
  }
  view.result.setAttribute("aria-label", `${source.name}, painted: ${styleText()}`);
  document.documentElement.style.setProperty("--ratio", width / height);
  view.frame.classList.add("filled");
  view.empty.hidden = true;
  view.divider.hidden = Number(view.split.value) === 0;
  view.compare.hidden = false;
  view.download.disabled = false;
}

function styleText() {
  if (!chosen.styles.length) return chosen.style || chosen.name;
  const blend = weights();
  return chosen.styles
    .map((name, i) => [name, Math.round(100 * blend[i])])
    .filter(([, share]) => share)
    .map(([name, share]) => `${name} ${share} %`)
    .join(", ");
}

// -- photo in -------------------------------------------------------------------------------------

async function open(file) {
  if (!file) return;
  clearError();
  try {
    const megabytes = (file.size / 1e6).toFixed(0);
    if (!file.size) throw new Error(`${file.name}: empty.`);
    if (file.size > MAX_BYTES) {
      throw new Error(`${file.name}: ${megabytes} MB is too large. Give at most 100 MB.`);
    }
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    } catch {
      throw new Error(
        `${file.name}: not a picture that this browser can read. Give JPEG, PNG or WebP.`,
      );
    }
    take(bitmap, file.name);
  } catch (error) {
    complain(error);
  }
}

function take(bitmap, name) {
  if (bitmap.width * bitmap.height > MAX_PIXELS) {
    const size = `${bitmap.width}×${bitmap.height}`;
    bitmap.close();
    throw new Error(`${name}: ${size} pixels are too many. Give at most 100 million.`);
  }
  source?.bitmap.close();
  source = { bitmap, name };
  return paint();
}

view.choose.addEventListener("click", () => view.file.click());
view.file.addEventListener("change", () => {
  open(view.file.files[0]);
  view.file.value = ""; // so that the same file can be chosen again
});
for (const name of ["dragenter", "dragover"]) {
  window.addEventListener(name, (event) => {
    event.preventDefault();
    view.frame.classList.add("over");
  });
}
for (const name of ["dragleave", "drop"]) {
  window.addEventListener(name, (event) => {
    event.preventDefault();
    view.frame.classList.remove("over");
    if (name !== "drop") return;
    const [file] = event.dataTransfer.files;
    if (file) open(file);
    else complain(new Error("What was dropped is no file. Save the picture, and drop the file."));
  });
}
window.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) open(file);
});

// -- camera ---------------------------------------------------------------------------------------

let stream = null;

async function openCamera() {
  clearError();
  try {
    if (!navigator.mediaDevices) {
      throw new Error("The camera needs https:// or a page of this machine (http://localhost).");
    }
    const video = { facingMode: "environment", width: { ideal: 1280 } };
    stream = await navigator.mediaDevices.getUserMedia({ video });
  } catch (error) {
    const reasons = {
      NotAllowedError: "The camera was not allowed. Allow it in the browser's settings of this page.",
      NotFoundError: "This machine has no camera that the browser can find.",
      NotReadableError: "The camera is used by another program.",
    };
    complain(new Error(reasons[error.name] ?? error.message));
    return;
  }
  view.video.srcObject = stream;
  await view.video.play();
  showCamera(true);
  view.shoot.focus();
}

function showCamera(open) {
  for (const name of ["video", "shoot", "cancel"]) view[name].hidden = !open;
  for (const name of ["choose", "camera", "download"]) view[name].hidden = open;
  for (const name of ["result", "photo"]) view[name].hidden = open || !shown;
  view.divider.hidden = open || !shown || Number(view.split.value) === 0;
  view.compare.hidden = open || !shown;
  view.empty.hidden = open || Boolean(shown);
}

function closeCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  view.video.srcObject = null;
  showCamera(false);
  view.camera.focus();
}

view.camera.addEventListener("click", openCamera);
view.cancel.addEventListener("click", closeCamera);
view.shoot.addEventListener("click", async () => {
  try {
    const bitmap = await createImageBitmap(view.video);
    closeCamera();
    await take(bitmap, "camera");
  } catch (error) {
    complain(error);
  }
});

// -- controls -------------------------------------------------------------------------------------

view.split.addEventListener("input", () => {
  split(view.split.value);
  view.divider.hidden = Number(view.split.value) === 0;
});
view.strength.addEventListener("input", () => {
  view["strength-value"].textContent = `${view.strength.value} %`;
  draw();
});
view.size.addEventListener("change", paint);
view.model.addEventListener("change", () => choose(models[view.model.selectedIndex]));

view.download.addEventListener("click", () => {
  const { name } = source;
  const made = madeBy();
  view.result.toBlob(async (blob) => {
    let png = new Uint8Array(await blob.arrayBuffer());
    if (made.strength !== 0) png = withTexts(png, notes(about, made)); // 0 is the photo itself
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([png], { type: "image/png" }));
    link.download = `${name.replace(/\.[^.]*$/, "")}.${made.model}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  }, "image/png");
});

// What made the picture that is shown, as `tfstyle stylize` notes it.
function madeBy() {
  const made = { model: chosen.name };
  for (const key of ["version", "licence"]) if (chosen[key]) made[key] = chosen[key];
  if (chosen.styles.length) {
    const blend = shown.blend.map((share, i) => [chosen.styles[i], Number(share.toFixed(3))]);
    const used = blend.filter(([, share]) => share);
    made.style = used.length === 1 ? used[0][0] : used.map((pair) => pair.join("=")).join(",");
  }
  const strength = Number(view.strength.value) / 100;
  if (strength !== 1) made.strength = strength;
  return made;
}

function slider(name, value) {
  const row = document.createElement("label");
  row.className = "row";
  const text = document.createElement("span");
  text.textContent = name;
  const input = document.createElement("input");
  Object.assign(input, { type: "range", min: 0, max: 100, step: 1, value });
  const output = document.createElement("output");
  output.textContent = value;
  input.addEventListener("input", () => {
    output.textContent = input.value;
    paintSoon();
  });
  row.append(text, input, output);
  return row;
}

async function choose(model) {
  clearError();
  say(`Loading ${model.name}…`);
  try {
    await ask("model", { files: model.files });
  } catch (error) {
    complain(error);
    say("Not loaded.");
    return;
  }
  chosen = model;
  view.sliders.replaceChildren(...model.styles.map((name, i) => slider(name, i ? 0 : 100)));
  view.styles.hidden = !model.styles.length;
  const longest = sides(model);
  view.size.replaceChildren(...longest.map((side) => new Option(`${side} pixels`, side)));
  view.size.value = Math.max(model.files[0].height, model.files[0].width);
  view["size-row"].hidden = longest.length < 2;
  const told = [model.style || model.styles.join(", "), model.licence && `Licence: ${model.licence}`];
  view.about.textContent = told.filter(Boolean).join(". ");
  say("Ready.");
  await paint();
}

async function main() {
  split(0);
  startWorker();
  try {
    const response = await fetch("models.json");
    if (!response.ok) throw new Error(`models.json: the server answers ${response.status}.`);
    about = await response.json();
    models = about.models;
    if (!models.length) throw new Error("models.json names no model.");
    view.model.replaceChildren(...models.map(({ name }) => new Option(name)));
    const { threads } = await ask("start");
    document.documentElement.dataset.threads = threads;
    await choose(models[0]);
  } catch (error) {
    complain(error);
    say("This page cannot paint.");
  }
}

main();
