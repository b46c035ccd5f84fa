// The finished pictures with their scores, and what can be saved of them.

import { byId, make, picture } from "./elements.js";
import { outline, WANTED } from "./outline.js";
import { decode } from "./runs.js";

const RUNS = ["own", "edit", "random"];

export class Results {
  constructor([height, width]) {
    Object.assign(this, { width, height, found: {}, target: null, wanted: null, saved: null });
    byId("outlines").addEventListener("change", () => RUNS.forEach((run) => this.draw(run)));
    for (const button of document.querySelectorAll("[data-save]")) button.addEventListener("click", () => this.save(button.dataset.save));
  }

  clear(...runs) {
    for (const run of runs) { delete this.found[run]; this.draw(run); }
    this.saved = null;
    byId("verdict").textContent = "";
    byId("downloads").hidden = true;
  }

  // An unfinished picture, or a finished one with masks and score.
  async set(run, event) {
    this.found[run] = { ...event, image: await picture(event.picture) };
    this.draw(run);
    if (event.masks) this.judge();
  }

  restore(found, target, wanted, saved) {
    Object.assign(this, { found, target, wanted, saved });
    RUNS.forEach((run) => this.draw(run));
    this.judge();
    byId("downloads").hidden = !saved;
  }

  draw(run) {
    const canvas = byId(`${run}-result`).querySelector("canvas"), found = this.found[run];
    byId(`${run}-result`).querySelector(".score").textContent = found && this.wanted ? this.number(found.score) : "";
    canvas.width = this.width * 4;
    canvas.height = this.height * 4;
    canvas.style.aspectRatio = `${this.width} / ${this.height}`;
    if (!found) return;
    const context = canvas.getContext("2d"), size = this.width * this.height;
    context.drawImage(found.image, 0, 0, canvas.width, canvas.height);
    if (!byId("outlines").checked || !this.target) return;
    const read = found.masks?.[this.target.name];
    if (read) outline(context, decode(read, size), this.width, this.height);
    if (this.wanted) outline(context, this.wanted.map((level) => level !== (this.target.kind === "binary" ? 0 : 255)), this.width, this.height, WANTED);
  }

  number(score) {
    if (score === null || score === undefined) return "";
    return `${this.target.kind === "binary" ? "Dice" : "error"} ${score.toFixed(2)}`;
  }

  judge() {
    const [own, edit, random] = RUNS.map((run) => this.found[run]);
    byId("verdict").textContent = "";
    if (!edit?.masks || typeof edit.score !== "number") return;
    const higher = this.target.kind === "binary", what = higher ? "overlap (Dice) with what was painted" : "mean error where it was painted";
    const said = [`The drawn picture’s ${what} is ${edit.score.toFixed(2)}${typeof own?.score === "number" ? `; the own picture has ${own.score.toFixed(2)}` : ""}.`];
    if (typeof random?.score === "number") {
      const beats = higher ? edit.score > random.score : edit.score < random.score;
      said.push(`A random edit of the same size gives ${random.score.toFixed(2)}${beats ? "." : ", no worse: here the edit did nothing that chance doesn’t do."}`);
    }
    said.push(`The edit changed activations by ${Math.round(100 * edit.size)} % of their norm and took ${edit.seconds.toFixed(1)} s.`);
    byId("verdict").textContent = said.join(" ");
  }

  keep(saved) {
    this.saved = saved;
    byId("downloads").hidden = false;
  }

  save(kind) {
    const { edit, python } = this.saved;
    if (kind === "json") return download("edit.json", new Blob([JSON.stringify(edit, null, 1)], { type: "application/json" }));
    if (kind === "py") return download("drawn.py", new Blob([python], { type: "text/x-python" }));
    for (const run of kind === "all" ? RUNS : ["edit"]) if (this.found[run]) download(`${run}.${this.found[run].picture.slice(11, 15).replace(";", "")}`, this.found[run].picture);
  }
}

function download(name, what) {
  const href = what instanceof Blob ? URL.createObjectURL(what) : what;
  make("a", { href, download: name }).click();
  if (what instanceof Blob) setTimeout(() => URL.revokeObjectURL(href), 10000);
}
