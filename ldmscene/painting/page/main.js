// The page: its parts brought together.

import { Easel } from "./easel.js";
import { byId, make, picture, seconds } from "./elements.js";
import { Film } from "./film.js";
import { Form } from "./form.js";
import { Results } from "./results.js";
import { decode, encode, TOP } from "./runs.js";
import { ask, cancel, GONE, offered, Refusal } from "./wire.js";

const MOST = 60; // attempts that are kept
const offer = await offered().catch(() => { byId("page-wrong").textContent = GONE; throw new Error("no server"); });
const [height, width] = offer.size;
const form = new Form(offer), film = new Film(offer.targets), results = new Results(offer.size);
const easel = new Easel(byId("wanted"), { width, height, changed: painted });
const attempts = [];
const at = { own: null, busy: false, touched: false, turn: 0 }; // own: the event of the model's own picture

// --- the address ---

function address(drawn) {
  return `#${new URLSearchParams({ ...form.words(), wanted: encode(easel.levels), ...(drawn ? { drawn: 1 } : {}) })}`;
}

let later = 0;
function note() {
  clearTimeout(later);
  later = setTimeout(() => {
    const drawn = new URLSearchParams(location.hash.slice(1)).has("drawn"); // an attempt's own address stays in the history
    history[drawn ? "pushState" : "replaceState"](null, "", address(false));
  }, 200);
}

function painted() {
  at.touched = true;
  form.right();
  note();
}

async function readAddress() {
  const words = new URLSearchParams(location.hash.slice(1));
  if (!words.has("prompt")) {
    const { prompt, seed } = offer.samples[0];
    words.set("prompt", prompt);
    words.set("seed", seed);
  }
  form.read(words);
  turnTarget(false);
  const attempt = attempts.find((one) => one.address === location.hash);
  const levels = decode(words.get("wanted") ?? "", width * height);
  if (levels) easel.set(levels, { remember: false });
  at.touched = Boolean(levels);
  clearTimeout(later);
  mark();
  if (attempt) return recall(attempt);
  return words.has("drawn") && levels ? draw({ again: true }) : show();
}

// --- pictures ---

async function show() {
  results.clear("own", "edit", "random");
  results.wanted = null;
  film.clear();
  film.turn("own");
  at.own = null;
  await request({ ...form.picture(), change: null }, 1);
}

async function draw({ again = false } = {}) {
  const wanted = encode(easel.levels), change = form.change(wanted), place = address(true);
  results.target = form.target;
  results.wanted = easel.levels.slice();
  at.touched = true;
  results.clear("edit", "random");
  film.clear("edit", "random");
  film.turn("edit");
  clearTimeout(later);
  if (!again) history.pushState(null, "", place);
  await request({ ...form.picture(), change }, at.own ? 2 : 3, place);
}

// Ask the server, and show what comes; `runs` is how many pictures that takes.
async function request(words, runs, place = null) {
  form.right();
  busy(true);
  const began = { time: 0, steps: 0 }, turn = ++at.turn;
  let heard = Promise.resolve(); // one event after the other: a picture takes time to be decoded
  say("asking …");
  try {
    await ask(words, (event) => { heard = heard.then(() => turn === at.turn && hear(event, runs, began, place)).catch(broken); });
  } catch (error) {
    if (turn !== at.turn) return; // the newer request's state isn't this one's
    busy(false);
    say("");
    if (!(error instanceof Refusal)) throw error;
    form.wrong(error.field, error.message);
  }
}

// What the page itself can't show; the events that follow are heard all the same.
function broken(error) { form.wrong("page", `The page can’t show a part of it: ${error?.message ?? "a picture is broken"}.`); }

async function hear(event, runs, began, place) {
  if (event.event === "queued" && event.before) say(`waiting: ${event.before} before it`);
  if (event.event === "step") {
    film.add(event);
    if (event.cached) return;
    await results.set(event.run, event);
    tick(event, runs, began);
  }
  if (event.event === "picture") await finish(event);
  if (event.event === "edit") remember(event, place);
  if (event.event === "done") say("done");
  if (event.event === "cancelled") say("cancelled");
  if (event.event === "failed") { say(""); form.wrong("page", event.message); }
  if (["done", "cancelled", "failed"].includes(event.event)) busy(false);
}

function tick(event, runs, began) {
  const now = performance.now();
  began.time ||= now;
  const names = { own: "the model’s own picture", edit: "what was painted", random: "a random edit" };
  const done = began.steps++, whole = runs * event.of, left = done ? (now - began.time) / done * (whole - done) / 1000 : 0;
  say(`drawing ${names[event.run]}: step ${event.step + 1} of ${event.of}${left > 1.5 ? `, about ${seconds(left)} left` : ""}`);
  Object.assign(byId("progress"), { max: whole, value: began.steps });
}

async function finish(event) {
  await results.set(event.run, event);
  if (event.run !== "own") return;
  at.own = event;
  easel.own = await picture(event.picture);
  easel.show();
  if (!at.touched) startFromOwn();
}

function startFromOwn() {
  const mask = at.own?.masks?.[form.target.name];
  const levels = mask && decode(mask, width * height);
  easel.set(levels ?? new Uint8Array(width * height).fill(easel.blank), { remember: false });
  easel.forget();
  at.touched = false;
}

// --- attempts ---

function remember({ edit, python }, place) {
  results.keep({ edit, python });
  const attempt = {
    address: place, words: new URLSearchParams(place.slice(1)), own: at.own, found: { ...results.found }, runs: { ...film.runs },
    wanted: results.wanted, target: results.target, saved: results.saved,
  };
  attempts.push(attempt);
  attempts.splice(0, attempts.length - MOST);
  list(attempt);
}

function list(current) {
  byId("no-attempts").hidden = attempts.length > 0;
  byId("attempts").replaceChildren(...attempts.map((one, i) => {
    const { score, picture: src } = one.found.edit, said = `${i + 1}. ${one.target.name}${typeof score === "number" ? ` ${score.toFixed(2)}` : ""}`;
    const button = make("button", { type: "button" }, make("img", { src, alt: "" }), said);
    button.setAttribute("aria-current", one === current);
    button.addEventListener("click", () => {
      history.pushState(null, "", one.address);
      form.read(one.words);
      turnTarget(false);
      easel.set(one.wanted);
      recall(one);
    });
    return make("li", {}, button);
  }));
}

async function recall(attempt) {
  clearTimeout(later);
  Object.assign(at, { own: attempt.own, touched: true });
  easel.own = attempt.own ? await picture(attempt.own.picture) : null;
  easel.show();
  results.restore({ ...attempt.found }, attempt.target, attempt.wanted, attempt.saved);
  film.restore({ ...attempt.runs }, "edit");
  mark();
  list(attempt);
  say(`attempt ${attempts.indexOf(attempt) + 1}`);
}

// --- fields and buttons ---

function turnTarget(fresh = true) {
  const { target } = form;
  easel.binary = target.kind === "binary";
  easel.level = easel.binary ? TOP : Number(byId("value").value);
  byId("value-dial").hidden = easel.binary;
  byId("own").hidden = !easel.binary;
  const move = document.querySelector("[name=tool][value=move]");
  tool(easel.binary ? easel.tool : easel.tool === "move" ? "brush" : easel.tool);
  move.disabled = !easel.binary;
  results.target = target;
  dials();
  if (fresh) { startFromOwn(); results.wanted = null; results.clear("edit", "random"); note(); }
}

function tool(name) {
  easel.tool = easel.canvas.dataset.tool = name;
  document.querySelector(`[name=tool][value=${name}]`).checked = true;
  easel.show();
}

function dials() {
  const { low, high } = form.target, share = Number(byId("value").value) / TOP;
  easel.radius = Number(byId("width").value) / 2 * width / 64;
  byId("width-now").textContent = `${byId("width").value} wide`;
  byId("value-now").textContent = (low + share * (high - low)).toPrecision(3).replace("-", "−");
  if (!easel.binary) easel.level = Number(byId("value").value);
}

function busy(on) {
  at.busy = on;
  byId("cancel").setAttribute("aria-disabled", !on);
  byId("progress").hidden = !on;
  if (on) byId("progress").value = 0;
}

function say(words) { byId("status").textContent = words; }

function mark() {
  const { prompt, seed } = form.picture();
  [...byId("thumbs").querySelectorAll("button")].forEach((button, i) =>
    button.setAttribute("aria-current", offer.samples[i].prompt === prompt && offer.samples[i].seed === seed));
}

byId("thumbs").append(...offer.samples.map((sample, i) => {
  const image = make("img", { src: `samples/${i}.webp`, alt: sample.prompt, loading: "lazy" });
  const button = make("button", { type: "button", title: sample.prompt }, image);
  button.addEventListener("click", () => {
    byId("prompt").value = sample.prompt;
    byId("seed").value = sample.seed;
    at.touched = false;
    mark();
    note();
    show();
  });
  return make("li", {}, button);
}));

byId("form").addEventListener("submit", (event) => { event.preventDefault(); draw(); });
byId("show").addEventListener("click", () => { at.touched = false; mark(); show(); note(); });
byId("cancel").addEventListener("click", () => { if (at.busy) cancel(); });
byId("undo").addEventListener("click", () => easel.undo());
byId("redo").addEventListener("click", () => easel.redo());
byId("own").addEventListener("click", () => { easel.remember(); const back = easel.back; startFromOwn(); easel.back = back; note(); });
byId("clear").addEventListener("click", () => easel.clear());
for (const id of ["width", "value"]) byId(id).addEventListener("input", dials);
for (const id of ["rule", "strength", "steps", "modules", "labelers"]) byId(id).addEventListener("change", note);
byId("prompt").addEventListener("input", () => { at.own = null; mark(); note(); });
byId("seed").addEventListener("input", () => { at.own = null; mark(); note(); });
byId("prompt").addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); byId("show").click(); } });
for (const input of document.getElementsByName("target")) input.addEventListener("change", () => turnTarget());
for (const input of document.getElementsByName("tool")) input.addEventListener("change", () => tool(input.value));
addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || event.target.matches("textarea, input:not([type=radio], [type=range])")) return;
  event.preventDefault();
  if (event.shiftKey) easel.redo();
  else easel.undo();
});
addEventListener("popstate", readAddress);
await readAddress();
document.documentElement.dataset.ready = "yes";
