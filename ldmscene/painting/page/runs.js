// Painted maps as run lengths, as ldmscene/painting/runs.py has them: "1c4-0.5-72" is 1768 times 0, then 5 times 254.

export const TOP = 254;
export const UNPAINTED = 255;

export function encode(levels) {
  const runs = [];
  for (let i = 0, start = 0; i <= levels.length; i++) {
    if (i < levels.length && levels[i] === levels[start]) continue;
    if (i > start) runs.push(`${(i - start).toString(36)}-${levels[start].toString(36)}`);
    start = i;
  }
  return runs.join(".");
}

// Levels of so many pixels, or null where the text is anything else.
export function decode(text, size) {
  const levels = new Uint8Array(size);
  let at = 0;
  for (const run of text.split(".")) {
    const found = /^([0-9a-z]{1,6})-([0-9a-z]{1,2})$/.exec(run);
    if (!found) return null;
    const end = at + parseInt(found[1], 36), level = parseInt(found[2], 36);
    if (end > size || level > UNPAINTED) return null;
    levels.fill(level, at, end);
    at = end;
  }
  return at === size ? levels : null;
}
