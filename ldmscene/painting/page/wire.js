// What the page asks of its server, and what comes back.

// A tab's own name, so that its newer request takes its older one's place and no other's.
const seat = named(crypto.getRandomValues(new Uint32Array(4)).join("-"));
let source = null, job = null, unwanted = false;

function named(name) {
  try { return sessionStorage.seat ??= name; } catch { return name; } // a frame in a notebook may have no storage
}

export class Refusal extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

export const GONE = "The server doesn’t answer. Start `ldmscene paint` again; what you painted is in this page’s address.";

// Ask for a picture; `on` takes each event. Throws a Refusal that names the field.
export async function ask(words, on) {
  stop();
  const mine = source = {};
  [job, unwanted] = [null, false];
  const answer = await fetch("draw", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...words, seat }),
  }).catch(() => { throw new Refusal("page", GONE); });
  const found = await answer.json().catch(() => ({ field: "page", message: `the server says ${answer.status}` }));
  if (source !== mine) return; // a newer request was made meanwhile
  if (!answer.ok) throw new Refusal(found.field, found.message);
  job = found.job;
  if (unwanted) cancel();
  source = new EventSource(`events/${job}`);
  const listening = source;
  listening.onmessage = (message) => {
    if (source !== listening) return;
    const event = JSON.parse(message.data);
    if (["done", "cancelled", "failed"].includes(event.event)) stop();
    on(event);
  };
  listening.onerror = () => {
    if (source !== listening) return;
    stop();
    on({ event: "failed", message: GONE });
  };
}

// Hear no more of the last request.
function stop() {
  source?.close?.();
  source = null;
}

// Also of a request that the server hasn't answered yet.
export async function cancel() {
  unwanted = true;
  if (job) await fetch(`cancel/${job}`, { method: "POST" }).catch(() => {});
}

export const offered = () => fetch("offer.json").then((answer) => answer.json());
