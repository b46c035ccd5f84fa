// The canvas on which a map is painted: brush and eraser, moving and scaling, by mouse, finger and keys.

import { TOP, UNPAINTED } from "./runs.js";
import { outline, WANTED } from "./outline.js";

const STEPS_BACK = 100;

export class Easel {
  constructor(canvas, { width, height, changed }) {
    Object.assign(this, { canvas, width, height, changed, tool: "move", radius: 4, level: TOP, binary: true });
    this.levels = new Uint8Array(width * height);
    this.own = null;
    this.back = [];
    this.forth = [];
    this.cursor = { x: width / 2, y: height / 2, shown: false };
    this.fingers = new Map();
    canvas.width = width * 8;
    canvas.height = height * 8;
    canvas.style.aspectRatio = `${width} / ${height}`;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.release(event));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    for (const seen of ["focus", "blur"]) canvas.addEventListener(seen, () => { this.cursor.shown = seen === "focus" && canvas.matches(":focus-visible"); this.show(); });
  }

  get blank() { return this.binary ? 0 : UNPAINTED; }

  // --- what is painted ---

  set(levels, { remember = true } = {}) {
    if (remember) this.remember();
    this.levels = levels.slice();
    this.show();
    this.changed();
  }

  clear() { this.set(new Uint8Array(this.width * this.height).fill(this.blank)); }

  remember() {
    this.back.push(this.levels.slice());
    this.back.splice(0, this.back.length - STEPS_BACK);
    this.forth = [];
  }

  forget() { this.back = []; this.forth = []; }

  undo(from = this.back, to = this.forth) {
    if (!from.length) return;
    to.push(this.levels);
    this.levels = from.pop();
    this.show();
    this.changed();
  }

  redo() { this.undo(this.forth, this.back); }

  // --- pointers ---

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width * this.width, y: (event.clientY - box.top) / box.height * this.height };
  }

  press(event) {
    if (event.button > 0) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true, focusVisible: false });
    this.canvas.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, this.at(event));
    if (this.fingers.size === 1) {
      this.remember();
      this.start = { levels: this.levels.slice(), ...this.at(event), ...this.grip(this.at(event)) };
      if (this.tool !== "move") this.stroke(this.at(event), this.at(event));
    } else this.start = { ...this.start, levels: this.levels.slice(), spread: this.spread() };
  }

  drag(event) {
    const before = this.fingers.get(event.pointerId), now = this.at(event);
    if (!before) return;
    this.fingers.set(event.pointerId, now);
    if (this.tool !== "move") { if (this.fingers.size === 1) this.stroke(before, now); return; }
    const { levels, x, y, centre, corner, spread } = this.start;
    if (this.fingers.size > 1) this.transform(levels, 0, 0, this.spread() / spread);
    else if (corner) this.transform(levels, 0, 0, Math.hypot(now.x - centre.x, now.y - centre.y) / Math.hypot(x - centre.x, y - centre.y));
    else this.transform(levels, Math.round(now.x - x), Math.round(now.y - y), 1);
  }

  release(event) {
    if (!this.fingers.delete(event.pointerId)) return;
    if (this.fingers.size) this.start = { ...this.start, levels: this.levels.slice(), ...[...this.fingers.values()][0] };
    else this.changed();
  }

  spread() {
    const [a, b] = this.fingers.values();
    return Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
  }

  wheel(event) {
    if (this.tool !== "move" || !this.canvas.matches(":focus")) return;
    event.preventDefault();
    this.step(() => this.transform(this.levels, 0, 0, event.deltaY < 0 ? 1.05 : 1 / 1.05));
  }

  // --- keys ---

  key(event) {
    const by = event.shiftKey ? 4 : 1;
    const arrows = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] };
    const scales = { "+": 1.1, "=": 1.1, "-": 1 / 1.1 };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrows[event.key] && this.tool === "move") this.step(() => this.transform(this.levels, ...arrows[event.key], 1));
    else if (arrows[event.key]) this.walk(...arrows[event.key]);
    else if (scales[event.key] && this.tool === "move") this.step(() => this.transform(this.levels, 0, 0, scales[event.key]));
    else if (event.key === " " && this.tool !== "move") this.step(() => this.stroke(this.cursor, this.cursor));
    else return;
    event.preventDefault();
  }

  step(change) {
    this.remember();
    change();
    this.changed();
  }

  walk(dx, dy) {
    this.cursor.x = Math.min(this.width - 1, Math.max(0, this.cursor.x + dx));
    this.cursor.y = Math.min(this.height - 1, Math.max(0, this.cursor.y + dy));
    this.cursor.shown = true;
    this.show();
  }

  // --- drawing on the levels ---

  stroke(from, to) {
    const level = this.tool === "eraser" ? this.blank : this.level;
    const count = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y)));
    for (let i = 0; i <= count; i++) {
      const x = from.x + (to.x - from.x) * i / count, y = from.y + (to.y - from.y) * i / count;
      this.disc(x, y, level);
    }
    this.show();
  }

  disc(cx, cy, level) {
    const r = this.radius;
    for (let y = Math.max(0, Math.floor(cy - r)); y < Math.min(this.height, cy + r); y++)
      for (let x = Math.max(0, Math.floor(cx - r)); x < Math.min(this.width, cx + r); x++)
        if (Math.hypot(x + 0.5 - cx, y + 0.5 - cy) <= r) this.levels[y * this.width + x] = level;
  }

  // What is painted, moved by (dx, dy), which keeps it inside the frame, and scaled around its middle.
  transform(levels, dx, dy, scale) {
    const box = this.box(levels);
    if (!box) return;
    const { width, height } = this, cx = (box.left + box.right) / 2, cy = (box.top + box.bottom) / 2;
    if (scale === 1) {
      dx = Math.max(-box.left, Math.min(width - box.right, dx));
      dy = Math.max(-box.top, Math.min(height - box.bottom, dy));
    }
    const found = new Uint8Array(levels.length).fill(this.blank);
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const from = { x: Math.floor((x + 0.5 - dx - cx) / scale + cx), y: Math.floor((y + 0.5 - dy - cy) / scale + cy) };
        if (from.x >= 0 && from.x < width && from.y >= 0 && from.y < height) found[y * width + x] = levels[from.y * width + from.x];
      }
    if (!this.box(found)) return; // too small to be seen again
    this.levels = found;
    this.show();
  }

  box(levels) {
    const box = { left: this.width, top: this.height, right: 0, bottom: 0 };
    levels.forEach((level, i) => {
      if (level === this.blank) return;
      const x = i % this.width, y = Math.floor(i / this.width);
      box.left = Math.min(box.left, x); box.right = Math.max(box.right, x + 1);
      box.top = Math.min(box.top, y); box.bottom = Math.max(box.bottom, y + 1);
    });
    return box.right ? box : null;
  }

  // Where a pointer takes hold: of a corner, which scales, or of the whole.
  grip({ x, y }) {
    const box = this.tool === "move" && this.box(this.levels);
    if (!box) return {};
    const reach = Math.max(2, this.width / 24);
    const corner = [box.left, box.right].some((cx) => [box.top, box.bottom].some((cy) => Math.hypot(x - cx, y - cy) < reach));
    return { corner, centre: { x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2 } };
  }

  // --- what is seen ---

  show() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.paint(); });
  }

  paint() {
    const { canvas, width, height } = this, context = canvas.getContext("2d"), scale = canvas.width / width;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (this.own) { context.imageSmoothingEnabled = true; context.drawImage(this.own, 0, 0, canvas.width, canvas.height); }
    context.imageSmoothingEnabled = false;
    context.drawImage(this.overlay(), 0, 0, canvas.width, canvas.height);
    outline(context, this.levels.map((level) => level !== this.blank), width, height, WANTED);
    const box = this.tool === "move" && this.box(this.levels);
    if (box) this.handles(context, box, scale);
    if (this.cursor.shown && this.tool !== "move") this.ring(context, scale);
  }

  overlay() {
    const { width, height } = this, layer = new OffscreenCanvas(width, height), pixels = new ImageData(width, height);
    this.levels.forEach((level, i) => {
      if (level === this.blank) return;
      const grey = this.binary ? [11, 120, 230, 110] : [level, level, level, 225];
      pixels.data.set(grey, 4 * i);
    });
    layer.getContext("2d").putImageData(pixels, 0, 0);
    return layer;
  }

  handles(context, box, scale) {
    context.fillStyle = "#fff";
    context.strokeStyle = "#000";
    for (const x of [box.left, box.right]) for (const y of [box.top, box.bottom]) {
      context.fillRect(x * scale - 6, y * scale - 6, 12, 12);
      context.strokeRect(x * scale - 6, y * scale - 6, 12, 12);
    }
  }

  ring(context, scale) {
    for (const [colour, wide] of [["#000", 4], ["#fff", 2]]) {
      context.beginPath();
      context.arc(this.cursor.x * scale, this.cursor.y * scale, this.radius * scale, 0, 7);
      Object.assign(context, { strokeStyle: colour, lineWidth: wide });
      context.stroke();
    }
  }
}
