// The drawer: the simulator's clock, faults to come, and the webhooks that went out.

import * as api from "./api.js";
import { byId, element } from "./dom.js";

const REFRESH_MILLISECONDS = 400;
const SHOWN_FORMAT = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const EXACT = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

const MOVES = [["+1 minute", 60], ["+1 hour", 3_600], ["+23 hours", 82_800], ["+25 hours", 90_000], ["+7 days", 604_800]];

const FAULTS = [
  { title: "Next send: answer lost after accepting", fault: { on: "send", kind: "drop_answer" } },
  { title: "Next send: HTTP 503", fault: { on: "send", kind: "status", code: 503 } },
  { title: "Next send: HTTP 500, but it was accepted", fault: { on: "send", kind: "status", code: 500, after_accepting: true } },
  { title: "Next send: refused, pair limit (131056)", fault: { on: "send", kind: "error", code: 131056 } },
  { title: "Next send: refused, token expired (190)", fault: { on: "send", kind: "error", code: 190 } },
  { title: "Next send: answered 5 s late", fault: { on: "send", kind: "delay", ms: 5_000 } },
  { title: "Next send: held for a quality check", fault: { on: "send", kind: "hold" } },
  { title: "Next accepted message fails: undeliverable (131026)", fault: { on: "webhook", kind: "error", code: 131026 } },
  { title: "Next accepted message fails: window closed (131047)", fault: { on: "webhook", kind: "error", code: 131047 } },
  { title: "Next webhook: delivered twice", fault: { on: "webhook", kind: "duplicate" } },
  { title: "Next webhook: overtaken by the one after", fault: { on: "webhook", kind: "reorder" } },
  { title: "Next webhook: 5 s late", fault: { on: "webhook", kind: "delay", ms: 5_000 } },
  { title: "Next webhook: its answer is ignored, it comes again", fault: { on: "webhook", kind: "drop_answer" } },
  { title: "Next media call: HTTP 500", fault: { on: "media", kind: "status", code: 500 } },
];

let context = null;
let refreshing = null;
let shown = "";

/** `phone()` is the open phone or undefined, `now()` the simulator's time in milliseconds. */
export function installTools(given) {
  context = given;
  byId("tools-body").append(clockSection(), faultSection(), deliverySection());
  for (const id of ["open-tools", "open-tools-list"]) byId(id).addEventListener("click", () => toggle());
  byId("tools-close").addEventListener("click", () => toggle(false));
  byId("tools").addEventListener("keydown", (event) => { if (event.key === "Escape") toggle(false); });
  setInterval(() => { if (!byId("tools").hidden) drawClock(); }, 1_000);
}

function toggle(on = byId("tools").hidden) {
  byId("tools").hidden = !on;
  byId("open-tools").setAttribute("aria-expanded", String(on));
  if (on) {
    drawClock();
    toolsRefresh();
    byId("tools-close").focus();
  } else {
    const opener = byId("conversation").hidden ? "open-tools-list" : "open-tools";
    byId(opener).focus();
  }
}

/** The clock was moved. */
export function toolsClock({ ahead_seconds: ahead }) {
  byId("clock-ahead").textContent = ahead === 0 ? "The simulator's clock shows real time." : `${words(ahead)} ${ahead > 0 ? "ahead of" : "behind"} real time.`;
  byId("clock-back").hidden = ahead === 0;
  drawClock();
}

/** Reads faults and webhooks again soon, if the drawer is open; a burst of events costs one reading. */
export function toolsRefresh() {
  if (byId("tools").hidden || refreshing) return;
  refreshing = setTimeout(async () => {
    refreshing = null;
    try {
      const [faults, deliveries] = await Promise.all([api.readFaults(), api.readDeliveries()]);
      drawFaults(faults);
      drawDeliveries(deliveries);
    } catch (error) {
      complain(error);
    }
  }, REFRESH_MILLISECONDS);
}

const complain = (error) => { byId("tools-error").textContent = error.message; };

/** Does something and shows the reason if it did not work. */
async function attempt(promise) {
  try {
    byId("tools-error").textContent = "";
    await promise;
    toolsRefresh();
  } catch (error) {
    complain(error);
  }
}

function clockSection() {
  const moves = MOVES.map(([title, advance_seconds]) => chip(title, () => attempt(api.moveClock({ advance_seconds }))));
  const back = chip("Back to real time", () => attempt(api.moveClock({ set: Math.round(Date.now() / 1000) })));
  back.id = "clock-back";
  back.hidden = true;
  return element("section", { "aria-labelledby": "clock-title" }, element("h3", { id: "clock-title" }, "Clock"),
    element("p", {}, element("span", { id: "clock-now", class: "clock-now" }), element("span", { id: "clock-ahead" }),
      " ", element("span", { id: "clock-window" })),
    element("div", { class: "chips" }, moves, back));
}

function drawClock() {
  const now = context.now();
  byId("clock-now").textContent = SHOWN_FORMAT.format(now);
  const phone = context.phone();
  const left = phone?.window_until ? phone.window_until - now / 1000 : null;
  byId("clock-window").textContent = !phone ? "" : left === null ? `${phone.name} has not written: only templates may be sent.`
    : left > 0 ? `The window of ${phone.name} stays open for ${words(left)}.` : `The window of ${phone.name} is closed: only templates may be sent.`;
}

function words(seconds) {
  const size = Math.abs(Math.round(seconds));
  const parts = [[Math.floor(size / 86_400), "d"], [Math.floor(size / 3_600) % 24, "h"], [Math.floor(size / 60) % 60, "min"]];
  const said = parts.filter(([count]) => count > 0).slice(0, 2).map(([count, unit]) => `${count} ${unit}`).join(" ");
  return said || `${size} s`;
}

function faultSection() {
  const choice = element("select", { id: "fault-choice" }, FAULTS.map(({ title }, place) => element("option", { value: place }, title)));
  const times = element("input", { id: "fault-times", type: "number", min: 1, max: 1_000, value: 1, required: true });
  const only = element("input", { id: "fault-only", type: "checkbox" });
  const arm = (event) => {
    event.preventDefault();
    const phone = only.checked ? context.phone()?.id : undefined;
    attempt(api.addFault({ ...FAULTS[Number(choice.value)].fault, times: Number(times.value), phone }));
  };
  return element("section", { "aria-labelledby": "faults-title" }, element("h3", { id: "faults-title" }, "Faults"),
    element("form", { onsubmit: arm },
      element("label", { class: "field" }, "What goes wrong", choice),
      element("div", { class: "fault-row" }, element("label", { class: "field" }, "Times", times),
        element("label", { class: "check" }, only, "This phone only"), element("button", { class: "primary-button", type: "submit" }, "Arm"))),
    element("ul", { id: "faults-armed", class: "faults-armed", "aria-live": "polite" }),
    element("p", { id: "tools-error", class: "form-error", role: "alert" }));
}

function drawFaults(faults) {
  const name = (fault) => {
    const known = FAULTS.find(({ fault: one }) => ["on", "kind", "code", "ms"].every((key) => one[key] === fault[key]) && Boolean(one.after_accepting) === Boolean(fault.after_accepting));
    return known ? known.title : `${fault.on}: ${fault.kind} ${fault.code ?? fault.ms ?? ""}`;
  };
  const items = faults.map((fault) => element("li", {}, element("span", {}, name(fault)), element("strong", {}, `× ${fault.times}`)));
  if (faults.length > 0) items.push(element("li", {}, chip("Disarm all", () => attempt(api.clearFaults()))));
  byId("faults-armed").replaceChildren(...items);
}

function deliverySection() {
  return element("section", { "aria-labelledby": "deliveries-title" }, element("h3", { id: "deliveries-title" }, "Webhooks"),
    element("p", { id: "deliveries-note" }), element("ul", { id: "deliveries", class: "deliveries" }));
}

function drawDeliveries(deliveries) {
  const content = JSON.stringify(deliveries);
  if (content === shown) return;
  shown = content;
  const list = byId("deliveries");
  const opened = new Set([...list.querySelectorAll("details[open]")].map((one) => one.dataset.number));
  byId("deliveries-note").textContent = deliveries.length === 0 ? "Nothing was sent yet." : `The newest ${deliveries.length}.`;
  list.replaceChildren(...deliveries.map((delivery) => deliveryRow(delivery, opened)));
}

function deliveryRow(delivery, opened) {
  const { number, kind, state, status, error, attempts, answered_in_milliseconds: took, body } = delivery;
  const states = { pending: "waiting", acknowledged: "taken", given_up: "given up", no_target: "no address" };
  const bad = state === "given_up" || state === "no_target" || (status && status !== 200) || Boolean(error && state !== "acknowledged");
  const facts = [EXACT.format(delivery.at_milliseconds), states[state] || state, attempts > 1 ? `${attempts} attempts` : null, took !== null && took !== undefined ? `${took} ms` : null, error];
  const details = element("details", { class: "delivery-details", "data-number": number, open: opened.has(String(number)) },
    element("summary", {}, element("strong", {}, kind), element("span", { class: "outcome" }, status ? String(status) : "–"), element("small", {}, facts.filter(Boolean).join(" · "))),
    body ? element("pre", { tabindex: 0 }, JSON.stringify(body, null, 2)) : element("p", {}, "The body was not kept."));
  return element("li", { class: "delivery", "data-outcome": bad ? "bad" : "good" }, details);
}

function chip(title, action) {
  return element("button", { class: "chip", type: "button", onclick: action }, title);
}
