// The control API under /sim: calls, the live stream, and the few shapes the page makes of them.

const CALL_TIMEOUT_MILLISECONDS = 30_000;
const RECONNECT_MILLISECONDS = [500, 1_000, 2_000, 5_000];

/** The kinds of phone that can be added, in the words of the form. */
export const PHONE_KINDS = [
  { kind: "phone", title: "Phone number", note: "An ordinary number, nothing else." },
  { kind: "phone_and_bsuid", title: "Phone number and user id", note: "A number, and the id that stands for it at this business." },
  { kind: "username", title: "Username, no number", note: "The number stays hidden; the business sees only the user id." },
  { kind: "parent_bsuid", title: "Username and parent id", note: "As before, in a group of portfolios that share an id." },
];

async function call(method, path, body) {
  const options = { method, signal: AbortSignal.timeout(CALL_TIMEOUT_MILLISECONDS), headers: {} };
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["content-type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("the simulator does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `the simulator answered ${response.status}.`);
  return answer;
}

const phonePath = (id) => `/sim/phones/${encodeURIComponent(id)}`;

export const readState = async () => call("GET", "/sim/state");
export const addPhone = async (name, kind) => asPhone(await call("POST", "/sim/phones", { name, kind }));
export const act = (phoneId, message) => call("POST", `${phonePath(phoneId)}/messages`, message);
export const markRead = (phoneId, played) => call("POST", `${phonePath(phoneId)}/read`, played ? { played } : {});
export const moveClock = (change) => call("POST", "/sim/clock", change);
export const addFault = (fault) => call("POST", "/sim/faults", fault);
export const readFaults = async () => (await call("GET", "/sim/faults")).faults;
export const clearFaults = () => call("DELETE", "/sim/faults");
export const readDeliveries = async () => (await call("GET", "/sim/webhooks?limit=30")).webhooks;
export const verifyWebhook = () => call("POST", "/sim/webhook/verify", {});

export async function readChat(phoneId) {
  const { phone, bubbles } = await call("GET", `${phonePath(phoneId)}/chat`);
  return { phone: asPhone(phone), messages: bubbles.map(asMessage) };
}

/** Uploads a file as the phone would; resolves to its media id. */
export async function upload(phoneId, file) {
  const form = new FormData();
  form.append("file", file, file.name);
  return (await call("POST", `${phonePath(phoneId)}/media`, form)).media_id;
}

/** A phone as the page shows it. */
export function asPhone(phone) {
  const shown = phone.phone_shown ? `+${phone.phone}` : null;
  const identity = [phone.username ? `@${phone.username}` : null, shown, phone.user_id].filter(Boolean).join(" · ");
  return { ...phone, identity, lastTime: phone.last_at ? phone.last_at * 1000 : null };
}

/** A bubble as the page shows it: `direction` is seen from the person with the phone. */
export function asMessage(bubble) {
  return { ...bubble, direction: bubble.author === "user" ? "out" : "in", time: bubble.at * 1000 };
}

/** Where a file may be loaded from: this origin only. Anything else is null. */
export function mediaAddress(media) {
  try {
    const address = new URL(media.url, location.href);
    return address.origin === location.origin ? address.href : null;
  } catch {
    return null;
  }
}

/**
 * Listens for ever. `onEvent(name, data)` for each event, `onState(connected)` when the line breaks or is back.
 * After each (re)connection everything may have changed, so the caller reads it again.
 */
export function listen(onEvent, onState) {
  let failures = 0;
  const names = ["bubble_added", "bubble_changed", "status", "typing", "failure", "phone", "phone_removed", "clock", "reset", "lagged"];
  const connect = () => {
    const source = new EventSource("/sim/events");
    for (const name of names) source.addEventListener(name, (event) => onEvent(name, JSON.parse(event.data)));
    source.onopen = () => {
      failures = 0;
      onState(true);
    };
    source.onerror = () => {
      source.close();
      onState(false);
      setTimeout(connect, RECONNECT_MILLISECONDS[Math.min(failures, RECONNECT_MILLISECONDS.length - 1)]);
      failures += 1;
    };
  };
  connect();
}
