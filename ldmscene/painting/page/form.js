// The page's fields: what they hold, as the server takes it and as the address says it.

import { byId, make } from "./elements.js";

const FIELDS = ["prompt", "seed", "wanted", "rule", "strength", "steps", "modules", "page"];

export class Form {
  constructor(offer) {
    this.offer = offer;
    byId("rule").append(...offer.rules.map((rule) => new Option(rule)));
    byId("modules").append(...offer.modules.map(({ name, short }) => new Option(short, name)));
    byId("targets").append(...offer.targets.map(({ name }, i) =>
      make("label", {}, make("input", { type: "radio", name: "target", value: name, checked: i === 0 }), make("span", {}, name))));
    const { begin, steps } = offer;
    byId("strength").value = begin.strength;
    byId("steps").value = steps.length > begin.steps ? `${steps[0]}:${steps[begin.steps - 1] + 1}` : steps.join(",");
    this.best(begin.modules);
  }

  get target() {
    const chosen = document.querySelector("[name=target]:checked").value;
    return this.offer.targets.find(({ name }) => name === chosen);
  }

  choose(target) {
    const input = [...document.getElementsByName("target")].find((one) => one.value === target);
    if (input) input.checked = true;
  }

  best(count) { [...byId("modules").options].forEach((option, i) => { option.selected = i < count; }); }

  get modules() { return [...byId("modules").selectedOptions].map((option) => option.value); }

  // "best:9", or names between commas.
  get moduleWords() {
    const { modules } = this;
    const best = this.offer.modules.slice(0, modules.length).every(({ name }, i) => name === modules[i]);
    return best ? `best:${modules.length}` : modules.join(",");
  }

  set moduleWords(words) {
    const best = /^best:(\d+)$/.exec(words);
    if (best) return this.best(Number(best[1]));
    const names = words.split(",");
    for (const option of byId("modules").options) option.selected = names.includes(option.value);
  }

  // What the server is asked for; its own checks have the last word.
  picture() { return { prompt: byId("prompt").value, seed: byId("seed").value.trim(), labelers: byId("labelers").checked }; }

  change(wanted) {
    const strength = byId("strength").value.trim(), number = Number(strength);
    return {
      target: this.target.name, wanted, rule: byId("rule").value, strength: strength === "" || isNaN(number) ? strength : number,
      steps: steps(byId("steps").value), modules: this.modules,
    };
  }

  words() {
    return {
      prompt: byId("prompt").value, seed: byId("seed").value, target: this.target.name, rule: byId("rule").value,
      strength: byId("strength").value, steps: byId("steps").value, modules: this.moduleWords,
      ...(byId("labelers").checked ? { labelers: 1 } : {}),
    };
  }

  read(words) {
    for (const field of ["prompt", "seed", "strength", "steps"]) if (words.has(field)) byId(field).value = words.get(field);
    if (this.offer.rules.includes(words.get("rule"))) byId("rule").value = words.get("rule");
    byId("labelers").checked = words.has("labelers");
    if (words.has("modules")) this.moduleWords = words.get("modules");
    if (words.has("target")) this.choose(words.get("target"));
  }

  wrong(field, message) {
    const known = FIELDS.includes(field) ? field : "page";
    byId(`${known}-wrong`).textContent = message;
    if (!["page", "wanted"].includes(known)) {
      byId(known).setAttribute("aria-invalid", "true");
      byId(known).closest("details")?.setAttribute("open", "");
      byId(known).focus();
    }
  }

  right() {
    for (const field of FIELDS) {
      byId(`${field}-wrong`).textContent = "";
      byId(field)?.removeAttribute("aria-invalid");
    }
  }
}

// Whole numbers from "0:5" (0 to 4) or "2,3"; what can't be read goes to the server as it is, which says so.
function steps(text) {
  return text.split(",").flatMap((word) => {
    const range = /^\s*(\d{1,5}):(\d{1,5})\s*$/.exec(word);
    if (range) return Array.from({ length: Math.max(0, Math.min(range[2], 10000) - range[1]) }, (_, i) => Number(range[1]) + i);
    return /^\s*\d{1,5}\s*$/.test(word) ? [Number(word)] : [word.trim()].filter(Boolean);
  });
}
