// The page to try the back end: prompts on a picture, masks from /v1, all on this server.

const COLOURS = [
  [62, 99, 221], [247, 107, 21], [43, 154, 102], [214, 64, 159], [0, 162, 199], [142, 78, 198],
  [226, 163, 54], [229, 72, 77],
];
const LONGEST_SIDE = 1600; // of the picture as it is drawn here; masks keep the full size
const DRAG = 6; // pixels that a pointer moves before it draws a box
const STEP = 0.01, LARGE_STEP = 0.06; // of the cross, in parts of the picture
const GRID = 16; // points along each side, for everything
const MOST_EXAMPLES = 16, MOST_SENT = 100; // masks that a search for the rest sends

const $ = (id) => document.getElementById(id);
const stage = $("stage"), pictureCanvas = $("picture"), maskCanvas = $("masks"), marks = $("marks");

let picture = null; // {id, name, width, height}
let steps = []; // of the object at work: {points, box, answers, chosen, milliseconds}
let kept = []; // masks of earlier objects: {answer, colour, ask, search}
let searches = []; // for the rest of a kind: {examples, wrong}, masks in each
let mode = "include";
let cross = null; // {x, y}, parts of the picture, once the keyboard was used
let corner = null; // where a box began: {x, y}
let dragged = null; // the box that is being drawn
let queue = Promise.resolve(); // requests, one after the other
let session = 0; // answers about an earlier picture are dropped

// ---------------------------------------------------------------- asking the server

async function ask(route, body, type = "application/json") {
  const content = type === "application/json" ? JSON.stringify(body) : body;
  let response;
  try {
    response = await fetch(route, { method: "POST", body: content, headers: { "Content-Type": type } });
  } catch {
    throw new Error("The server does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail || answer.error || `The server answered ${response.status}.`);
  return answer;
}

function inTurn(work) {
  const begun = session;
  const run = async () => {
    if (begun !== session) return;
    $("wait").hidden = false;
    try {
      await work(() => begun === session);
    } catch (error) {
      if (begun === session) say(error.message, true);
    } finally {
      $("wait").hidden = true;
    }
  };
  queue = queue.then(run);
  return queue;
}

// ---------------------------------------------------------------- the picture

async function open(blob, name) {
  session += 1;
  say("Opening the picture …");
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    return say(`This browser cannot show ${name}. Choose a JPEG, PNG or WebP file.`, true);
  }
  [steps, kept, searches, cross, corner, dragged] = [[], [], [], null, null, null];
  const scale = Math.min(2, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  for (const canvas of [pictureCanvas, maskCanvas]) {
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  }
  stage.style.setProperty("--ratio", bitmap.width / bitmap.height);
  stage.style.setProperty("--width", `${pictureCanvas.width}px`);
  const context = pictureCanvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, pictureCanvas.width, pictureCanvas.height);
  picture = { name, width: bitmap.width, height: bitmap.height, id: null };
  bitmap.close();
  $("start").hidden = true;
  $("work").hidden = false;
  stage.setAttribute("aria-label", `Picture ${name}`);
  show();
  stage.focus({ preventScroll: true });
  say("Encoding the picture …");
  const started = performance.now();
  await inTurn(async (isCurrent) => {
    const type = blob.type.startsWith("image/") ? blob.type : "application/octet-stream";
    const answer = await ask("v1/embed", blob, type);
    if (!isCurrent()) return;
    if (answer.width !== picture.width || answer.height !== picture.height)
      throw new Error("The server turns this picture otherwise than this browser does.");
    picture.id = answer.image_id;
    say(`Encoded in ${took(started)}. Click an object.`);
  });
}

async function openSample(name) {
  try {
    const response = await fetch(`try/samples/${name}`);
    await open(await response.blob(), name);
  } catch {
    say("The sample cannot be loaded.", true);
  }
}

function leave() {
  session += 1;
  picture = null;
  $("work").hidden = true;
  $("start").hidden = false;
  $("file").value = "";
  $("file").focus();
}

// ---------------------------------------------------------------- prompts and masks

const current = () => steps.at(-1);
const chosenAnswer = () => current()?.answers?.[current().chosen];

function addPoint(place, label) {
  if (!picture) return;
  inTurn(async (isCurrent) => {
    const before = current();
    if (!label && !before) return reject(place);
    const point = [place.x * picture.width, place.y * picture.height];
    const points = [...(before?.points ?? []), { ...place, label }];
    const prompt = { points: [point], labels: [label ? 1 : 0] };
    if (before) prompt.mask_input = chosenAnswer().answer_id;
    await segment({ points, box: before?.box ?? null }, prompt, isCurrent);
  });
}

function addBox(box) {
  if (!picture) return;
  inTurn(async (isCurrent) => {
    const points = current()?.points ?? [];
    const prompt = {
      box: [box.x0 * picture.width, box.y0 * picture.height, box.x1 * picture.width, box.y1 * picture.height],
      points: points.map(({ x, y }) => [x * picture.width, y * picture.height]),
      labels: points.map(({ label }) => (label ? 1 : 0)),
    };
    await segment({ points, box }, prompt, isCurrent);
  });
}

async function segment(step, prompt, isCurrent) {
  if (!picture.id) return;
  steps.push({ ...step, answers: current()?.answers, chosen: current()?.chosen ?? 0 });
  show(); // the mark at once, the mask when it comes
  const started = performance.now();
  try {
    const answer = await ask("v1/segment", { image_id: picture.id, ...prompt, format: "coco_rle", alternatives: 3 });
    if (!isCurrent()) return;
    const { alternatives, ...first } = answer.objects[0];
    Object.assign(current(), { answers: [first, ...alternatives], chosen: 0, took: took(started) });
    describe();
  } catch (error) {
    if (isCurrent()) steps.pop();
    throw error;
  } finally {
    if (isCurrent()) show();
  }
}

function choose(index) {
  current().chosen = index;
  show();
  describe();
}

function undo() {
  inTurn(() => {
    if (corner || dragged) [corner, dragged] = [null, null];
    else if (steps.length) steps.pop();
    else takeBack();
    show();
    if (steps.length) describe();
    else say(kept.length ? masksKept() : "Click an object.");
  });
}

// The last mask that was kept; if a search found it, all that this search found.
function takeBack() {
  const { search } = kept.pop() ?? {};
  if (!search) return;
  kept = kept.filter((each) => each.search !== search);
  searches = searches.filter((each) => each !== search);
}

function nextObject() {
  inTurn(() => {
    const answer = chosenAnswer();
    if (!answer) return;
    keep(answer);
    show();
    say(`${masksKept()} Click another object.`);
  });
}

function keep(answer) {
  kept.push({ answer, colour: colour(kept.length), ask: null });
  steps = [];
}

function findEverything() {
  if (!picture) return;
  inTurn(async (isCurrent) => {
    if (!picture.id) return;
    say("Looking for everything. This takes some seconds …");
    const started = performance.now();
    const request = { image_id: picture.id, grid: GRID };
    const answer = await ask("v1/everything", { ...request, format: "coco_rle" });
    if (!isCurrent()) return;
    // Small ones on top of large ones.
    const order = answer.objects.map((_, i) => i).sort((a, b) => answer.objects[b].area - answer.objects[a].area);
    [steps, searches] = [[], []];
    const from = { route: "v1/everything", request };
    kept = order.map((index, n) => ({ answer: answer.objects[index], colour: colour(n), ask: { ...from, index } }));
    show();
    say(`${kept.length} masks in ${took(started)}.`);
  });
}

// The rest of a kind: like the object at work, or else like what the last search found.
function findRest() {
  if (!picture) return;
  inTurn(async (isCurrent) => {
    const example = chosenAnswer(), last = searches.at(-1);
    if (!picture.id || (!example?.area && !last)) return say("Click an object first.");
    say("Looking for the rest …");
    const started = performance.now();
    const right = kept.filter(({ search }) => search && search === last).map(({ answer }) => answer);
    const examples = (example ? [example] : [...last.examples, ...right]).slice(0, MOST_EXAMPLES);
    const negatives = (example ? [] : last.wrong).slice(-MOST_EXAMPLES);
    const others = kept.map(({ answer }) => answer).filter((answer) => !examples.includes(answer));
    const taken = others.slice(0, MOST_SENT - examples.length - negatives.length);
    const masksOf = (answers) => answers.filter(({ area }) => area).map(({ mask }) => ({ mask }));
    const request = {
      image_id: picture.id, objects: masksOf(examples), negatives: masksOf(negatives), taken: masksOf(taken),
    };
    const answer = await ask("v1/find-similar", { ...request, format: "coco_rle" });
    if (!isCurrent()) return;
    if (example) keep(example);
    const search = { examples: example ? [example] : last.examples, wrong: negatives };
    for (const each of kept) if (!example && each.search === last) each.search = search;
    searches = [...searches.filter((each) => example || each !== last), search];
    const tint = colour(kept.length);
    answer.objects.forEach((each, index) =>
      kept.push({ answer: each, colour: tint, ask: { route: "v1/find-similar", request, index }, search }));
    show();
    const count = answer.objects.length;
    if (!count) return say("Nothing else is much like it. Click another object.");
    say(`${count} more like it in ${took(started)}. If some are wrong, exclude them, and find the rest again.`);
  });
}

// A mask that a search found is wrong: the next search leaves out what is like it.
function reject(place) {
  const at = kept.findLastIndex(({ answer, search }) => search && holds(answer, place));
  if (at < 0) return say("Include a place on the object first.");
  const [{ answer, search }] = kept.splice(at, 1);
  search.wrong.push(answer);
  show();
  say(`Removed. ${masksKept()} Find the rest again to leave out what is like it.`);
}

function holds({ mask }, { x, y }) {
  const [height, width] = mask.size;
  const at = Math.min(width - 1, Math.floor(x * width)) * height + Math.min(height - 1, Math.floor(y * height));
  let end = 0;
  return counts(mask.counts).findIndex((length) => (end += length) > at) % 2 === 1;
}

const colour = (number) => COLOURS[number % COLOURS.length];
const masksKept = () => `${kept.length} ${kept.length === 1 ? "mask" : "masks"} kept.`;
const took = (started) => {
  const ms = performance.now() - started;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
};

// ---------------------------------------------------------------- run lengths

// COCO's string: five bits a character, the lowest first; from the fourth number on, differences.
function counts(text) {
  const found = [];
  for (let at = 0; at < text.length; ) {
    let number = 0, shift = 0, bits;
    do {
      bits = text.charCodeAt(at++) - 48;
      number |= (bits & 31) << shift;
      shift += 5;
    } while (bits & 32);
    if (bits & 16 && shift < 32) number |= -1 << shift;
    if (found.length > 2) number += found[found.length - 2];
    found.push(number);
  }
  return found;
}

// A mask in a canvas of any size: each of its pixels shows the mask's pixel under its middle.
function raster(rle, width, height) {
  const [fullHeight, fullWidth] = rle.size;
  const ends = counts(rle.counts);
  for (let i = 1; i < ends.length; i++) ends[i] += ends[i - 1];
  const inside = new Uint8Array(width * height);
  let run = 0, first = 0, last = -1; // of the runs; where a column began; which one it was
  for (let x = 0; x < width; x++) {
    const column = Math.floor(((x + 0.5) * fullWidth) / width) * fullHeight;
    if (column === last) run = first; // in a larger canvas, columns come twice
    while (ends[run] <= column) run++;
    [first, last] = [run, column];
    for (let y = 0; y < height; y++) {
      const at = column + Math.floor(((y + 0.5) * fullHeight) / height);
      while (ends[run] <= at) run++;
      inside[y * width + x] = run & 1;
    }
  }
  return inside;
}

// A mask's colour, with a clear edge, as a layer to draw.
function layerOf(rle, [r, g, b]) {
  const { width, height } = maskCanvas;
  const inside = raster(rle, width, height);
  const image = new ImageData(width, height);
  const edge = Math.max(1, Math.round(Math.max(width, height) / 500));
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!inside[i]) continue;
      const isEdge =
        (x >= edge && !inside[i - edge]) || (x + edge < width && !inside[i + edge]) ||
        (y >= edge && !inside[i - edge * width]) || (y + edge < height && !inside[i + edge * width]);
      image.data.set([r, g, b, isEdge ? 255 : 105], 4 * i);
    }
  }
  const layer = new OffscreenCanvas(width, height);
  layer.getContext("2d").putImageData(image, 0, 0);
  return layer;
}

const layers = new WeakMap(); // by answer
function layer(answer, tint) {
  const known = layers.get(answer);
  if (known?.tint === tint && known.canvas.width === maskCanvas.width) return known.canvas;
  const canvas = layerOf(answer.mask, tint);
  layers.set(answer, { tint, canvas });
  return canvas;
}

// ---------------------------------------------------------------- showing

function show() {
  const context = maskCanvas.getContext("2d");
  context.clearRect(0, 0, maskCanvas.width, maskCanvas.height);
  for (const { answer, colour: tint } of kept) context.drawImage(layer(answer, tint), 0, 0);
  const answer = chosenAnswer();
  if (answer) context.drawImage(layer(answer, colour(kept.length)), 0, 0);
  showMarks();
  showCandidates();
  const hasMasks = Boolean(answer || kept.length);
  $("undo").disabled = !steps.length && !kept.length;
  $("next").disabled = !answer;
  $("rest").disabled = !answer && !searches.length;
  for (const button of document.querySelectorAll(".copy")) button.disabled = !hasMasks;
  stage.classList.toggle("drawing", mode === "box");
}

function showMarks() {
  const { width, height } = stage.getBoundingClientRect();
  const parts = [];
  const add = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    parts.push(element);
  };
  const box = dragged ?? (corner && cross && boxOf(corner, cross)) ?? current()?.box;
  if (box) {
    const size = { width: (box.x1 - box.x0) * width, height: (box.y1 - box.y0) * height };
    add("rect", { class: "box", x: box.x0 * width, y: box.y0 * height, ...size });
  }
  for (const { x, y, label } of current()?.points ?? []) {
    const [cx, cy] = [x * width, y * height];
    add("circle", { class: `point ${label ? "include" : "exclude"}`, cx, cy, r: 8 });
    const upright = label ? `M${cx} ${cy - 3.5}v7` : "";
    add("path", { class: "sign", d: `M${cx - 3.5} ${cy}h7${upright}` });
  }
  if (cross) {
    const [cx, cy] = [cross.x * width, cross.y * height];
    add("path", { class: "cross", d: `M${cx - 14} ${cy}h10m8 0h10M${cx} ${cy - 14}v10m0 8v10` });
  }
  marks.replaceChildren(...parts);
}

function showCandidates() {
  const answers = current()?.answers ?? [];
  $("candidates").hidden = answers.length < 2;
  const buttons = answers.map((answer, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${index + 1}`;
    button.setAttribute("aria-label", `Candidate ${index + 1} of ${answers.length}, ${share(answer)} of the picture`);
    button.setAttribute("aria-pressed", String(index === current().chosen));
    button.addEventListener("click", () => choose(index));
    return button;
  });
  $("candidates").replaceChildren(...buttons);
}

function describe() {
  const answer = chosenAnswer(), step = current();
  if (!answer) return;
  const which = step.answers.length > 1 ? `Candidate ${step.chosen + 1} of ${step.answers.length}: ` : "";
  if (!answer.area) return say(`${which}the model sees no object there.`);
  say(`${which}${which ? "m" : "M"}ask of ${answer.area.toLocaleString("en")} pixels (${share(answer)}), score ${answer.score.toFixed(2)}, ${step.took}.`);
}

function share({ area }) {
  const percent = (100 * area) / (picture.width * picture.height);
  return percent < 1 ? "under 1 %" : `${Math.round(percent)} %`;
}

function say(text, isBad = false) {
  const status = $("status");
  status.textContent = text;
  status.classList.toggle("bad", isBad);
  if (isBad && $("work").hidden) $("or").textContent = text;
}

// ---------------------------------------------------------------- mouse and touch

function placeOf(event) {
  const box = stage.getBoundingClientRect();
  const part = (value, size) => Math.min(1, Math.max(0, value / size));
  return { x: part(event.clientX - box.left, box.width), y: part(event.clientY - box.top, box.height) };
}

const boxOf = (a, b) => ({
  x0: Math.min(a.x, b.x), y0: Math.min(a.y, b.y), x1: Math.max(a.x, b.x), y1: Math.max(a.y, b.y),
});

let pressed = null; // {place, x, y, id}

stage.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !event.isPrimary) return;
  pressed = { place: placeOf(event), x: event.clientX, y: event.clientY };
  cross = null;
  if (event.pointerType === "mouse" || mode === "box") stage.setPointerCapture(event.pointerId);
});
stage.addEventListener("pointermove", (event) => {
  if (!pressed || (event.pointerType !== "mouse" && mode !== "box")) return;
  if (!dragged && Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) < DRAG) return;
  dragged = boxOf(pressed.place, placeOf(event));
  showMarks();
});
stage.addEventListener("pointerup", (event) => {
  if (!pressed) return;
  const { place } = pressed, box = dragged;
  [pressed, dragged] = [null, null];
  if (box && box.x1 > box.x0 && box.y1 > box.y0) addBox(box);
  else addPoint(place, !(event.altKey || mode === "exclude"));
});
stage.addEventListener("pointercancel", () => {
  [pressed, dragged] = [null, null];
  showMarks();
});

for (const button of document.querySelectorAll("[data-mode]")) {
  button.addEventListener("click", () => setMode(button.dataset.mode));
  button.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!move) return;
    const all = [...document.querySelectorAll("[data-mode]")];
    const other = all[(all.indexOf(button) + move + all.length) % all.length];
    setMode(other.dataset.mode);
    other.focus();
    event.preventDefault();
  });
}

function setMode(name) {
  mode = name;
  for (const button of document.querySelectorAll("[data-mode]")) {
    const isChosen = button.dataset.mode === name;
    button.setAttribute("aria-checked", String(isChosen));
    button.tabIndex = isChosen ? 0 : -1;
  }
  stage.classList.toggle("drawing", mode === "box");
}

// ---------------------------------------------------------------- keyboard

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let spoken = 0;

stage.addEventListener("keydown", (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if ((event.ctrlKey || event.metaKey) && key === "z") undo();
  else if (event.ctrlKey || event.metaKey) return;
  else if (ARROWS[key]) moveCross(ARROWS[key], event.shiftKey ? LARGE_STEP : STEP);
  else if (key === "Enter" || key === " ") usePlace(() => addPoint({ ...cross }, !event.altKey));
  else if (key === "x") usePlace(() => addPoint({ ...cross }, false));
  else if (key === "b") usePlace(boxCorner);
  else if (key === "n") nextObject();
  else if (key === "e") findEverything();
  else if (key === "r") findRest();
  else if (key === "Escape" && corner) [corner] = [null], showMarks();
  else if (key === "Tab") {
    // From one candidate to the next; behind the last, Tab leaves the picture as everywhere.
    const next = (current()?.chosen ?? 0) + (event.shiftKey ? -1 : 1);
    if (!current()?.answers?.[next]) return;
    choose(next);
  } else return;
  event.preventDefault();
});

function moveCross([right, down], step) {
  const from = cross ?? { x: 0.5, y: 0.5 };
  const part = (value) => Math.min(1, Math.max(0, value));
  cross = cross ? { x: part(from.x + right * step), y: part(from.y + down * step) } : from;
  showMarks();
  clearTimeout(spoken);
  spoken = setTimeout(() => {
    if (cross) say(`${Math.round(100 * cross.x)} % from the left, ${Math.round(100 * cross.y)} % from the top.`);
  }, 500);
}

function usePlace(action) {
  clearTimeout(spoken);
  cross ??= { x: 0.5, y: 0.5 };
  action();
  showMarks();
}

function boxCorner() {
  if (!corner) {
    corner = { ...cross };
    return say("The box begins here. Move the cross to the opposite corner, then press B.");
  }
  const box = boxOf(corner, cross);
  corner = null;
  if (box.x1 > box.x0 && box.y1 > box.y0) addBox(box);
}

// ---------------------------------------------------------------- copying

const masks = () => {
  const answer = chosenAnswer();
  return answer ? [...kept, { answer, ask: null }] : kept;
};

async function polygonsOf(all) {
  const found = new Map(); // by request
  for (const { ask: from } of all)
    if (from && !found.has(from.request))
      found.set(from.request, (await ask(from.route, { ...from.request, format: "polygon" })).objects);
  const own = all.filter(({ ask: from }) => !from);
  const objects = own.map(({ answer }) => ({ mask_input: answer.answer_id }));
  const answers = own.length
    ? (await ask("v1/segment", { image_id: picture.id, objects, format: "polygon" })).objects
    : [];
  return all.map(({ ask: from }) => (from ? found.get(from.request)[from.index].mask : answers.shift().mask));
}

function cocoOf(all) {
  const annotations = all.map(({ answer }, index) => {
    const [left, top, right, bottom] = answer.box ?? [0, 0, 0, 0];
    return {
      id: index + 1, image_id: 1, category_id: 1, segmentation: answer.mask,
      bbox: [left, top, right - left, bottom - top], area: answer.area, iscrowd: 0,
    };
  });
  const images = [{ id: 1, file_name: picture.name, width: picture.width, height: picture.height }];
  return { images, annotations, categories: [{ id: 1, name: "object" }] };
}

function pngOf(all) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer).fill(0xff000000);
  for (const { answer } of all) {
    const ends = counts(answer.mask.counts);
    for (let run = 0, at = 0; run < ends.length; at += ends[run++]) {
      if (!(run & 1)) continue;
      for (let i = at; i < at + ends[run]; i++)
        pixels[(i % canvas.height) * canvas.width + Math.floor(i / canvas.height)] = 0xffffffff;
    }
  }
  context.putImageData(image, 0, 0);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture is too large for this browser."))), "image/png"));
}

// Browsers let pages of a secure origin write to the clipboard; elsewhere the old way has to do.
async function copyText(text) {
  if (navigator.clipboard?.writeText) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  if (!isCopied) throw new Error("This browser does not let the page copy.");
}

async function copyPng(blob) {
  if (navigator.clipboard?.write && window.ClipboardItem) {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
    return "Copied the masks as a PNG.";
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = "mask.png";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return "Saved the masks as mask.png.";
}

function onCopy(id, copy) {
  $(id).addEventListener("click", () => inTurn(async () => {
    const all = masks();
    if (!all.length) return;
    try {
      say(await copy(all));
    } catch (error) {
      throw new Error(error.name === "NotAllowedError" ? "The browser does not let this page copy." : error.message);
    }
  }));
}

onCopy("copy-polygon", async (all) => {
  await copyText(JSON.stringify(await polygonsOf(all)));
  return `Copied ${all.length === 1 ? "the polygon" : `the polygons of ${all.length} masks`}.`;
});
onCopy("copy-coco", async (all) => {
  await copyText(JSON.stringify(cocoOf(all)));
  return `Copied ${all.length === 1 ? "the mask" : `${all.length} masks`} as COCO.`;
});
onCopy("copy-png", async (all) => copyPng(await pngOf(all)));

// ---------------------------------------------------------------- choosing a picture

$("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) open(file, file.name);
});
for (const button of document.querySelectorAll("[data-sample]"))
  button.addEventListener("click", () => openSample(button.dataset.sample));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) open(file, file.name);
});
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData?.files ?? [];
  if (file) open(file, file.name || "pasted.png");
});

$("undo").addEventListener("click", undo);
$("next").addEventListener("click", nextObject);
$("everything").addEventListener("click", findEverything);
$("rest").addEventListener("click", findRest);
$("other").addEventListener("click", leave);
new ResizeObserver(showMarks).observe(stage);
setMode("include");
