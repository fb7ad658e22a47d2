// One message as a bubble: what it says, what can be tapped, its time, ticks, reactions and failure.

import { clockTime, element, icon, webAddress } from "./dom.js";
import { mediaElement, mediaName } from "./media.js";

const ONLY_EMOJI = /^(?:\p{Extended_Pictographic}|\p{Emoji_Modifier}|\u200d|\ufe0f|\s){1,12}$/u;
const TICKS = {
  accepted: { count: 0, symbol: "clock", words: "On its way" },
  sent: { count: 1, symbol: "tick", words: "Sent" },
  delivered: { count: 2, symbol: "ticks", words: "Delivered" },
  read: { count: 2, symbol: "ticks", words: "Read", seen: true },
  played: { count: 2, symbol: "ticks", words: "Played", seen: true },
  failed: { count: 0, symbol: "warning", words: "Failed" },
};
const KIND_NOTES = {
  system: "System message", unsupported: "A message of a kind that the business does not receive",
  request_welcome: "Opened the chat for the first time", order: "Order", contacts: "Contact card", location: "Place",
};

/** What a message says in a few words, for quotes and screen readers. */
export function summary(message) {
  if (message.revoked) return "This message was deleted";
  const words = message.text || message.header || "";
  if (message.media) return words ? `${mediaName(message)}: ${words}` : mediaName(message);
  return words || KIND_NOTES[message.kind] || `Message of kind ${message.kind}`;
}

/** Who wrote it, in the words of the person with the phone. */
export const author = (message) => (message.direction === "out" ? "You" : "Business");

/** Kinds that are a line in the chat, not a bubble. */
export const isNote = (message) => ["system", "request_welcome"].includes(message.kind);

/**
 * The list item for a message. `actions`: `find(id)` looks up a quoted message, `jump(id)` goes to it, `answer(message, spec)` sends
 * an answer, `openList(message)`, `sharePlace(message)`, `menu(message, anchor)`, `played(message)`.
 */
export function bubbleElement(message, actions) {
  const facts = {
    "data-bubble": message.id, "data-direction": message.direction, "data-status": message.status, "data-kind": message.kind,
  };
  if (isNote(message)) return element("li", { class: "system-note", ...facts }, summary(message));
  const bubble = element("div", { class: "bubble" },
    element("span", { class: "visually-hidden" }, `${author(message)}: `),
    quotedElement(message, actions),
    message.revoked ? note("This message was deleted") : contentElements(message, actions),
    metaElement(message),
    failureElement(message));
  const more = element("button", {
    class: "icon-button bubble-more", type: "button", "aria-label": `More for: ${summary(message).slice(0, 60)}`,
    "aria-haspopup": "menu", "aria-expanded": "false", onclick: (event) => actions.menu(message, event.currentTarget),
  }, icon("more"));
  const column = element("div", { class: "bubble-column" }, bubble, reactionElement(message), tapElements(message, actions));
  return element("li", { class: "bubble-row", ...facts }, column, more);
}

const note = (text) => element("p", { class: "bubble-note" }, text);

function quotedElement(message, actions) {
  const { forwarded, frequently_forwarded: often } = message.content?.context || {};
  if (forwarded || often) return element("span", { class: "bubble-label" }, often ? "Forwarded many times" : "Forwarded");
  if (!message.reply_to) return null;
  const original = actions.find(message.reply_to);
  return element("button", { class: "quoted", type: "button", onclick: () => actions.jump(message.reply_to) },
    element("strong", {}, original ? author(original) : "An earlier message"), element("span", {}, original ? summary(original) : ""));
}

function contentElements(message, actions) {
  if (message.kind === "location") return [placeElement(message)];
  if (message.kind === "contacts") return contactElements(message);
  const template = message.kind === "template" ? message.content?.template || message.content || {} : null;
  const parts = [
    template ? element("span", { class: "bubble-label" }, ["Template", template.name, template.language?.code].filter(Boolean).join(" · ")) : null,
    message.media ? mediaElement(message, () => actions.played(message)) : null,
    message.header ? element("p", { class: "bubble-header", dir: "auto" }, message.header) : null,
    textElement(message.text),
    message.footer ? element("p", { class: "bubble-footer", dir: "auto" }, message.footer) : null,
  ].filter(Boolean);
  return parts.length > 0 ? parts : [note(summary(message))];
}

function textElement(text) {
  if (!text) return null;
  return element("div", { class: ONLY_EMOJI.test(text) ? "bubble-text large" : "bubble-text", dir: "auto" }, text);
}

function placeElement(message) {
  const place = message.content?.location || message.content || {};
  const numbers = `${Number(place.latitude).toFixed(5)}, ${Number(place.longitude).toFixed(5)}`;
  return card("place", place.name || "Place", place.address ? `${place.address} · ${numbers}` : numbers);
}

function contactElements(message) {
  const cards = message.content?.contacts;
  if (!Array.isArray(cards)) return [note(summary(message))];
  return cards.map((one) => card("person", one.name?.formatted_name || "Contact",
    (one.phones || []).map((phone) => phone.phone || phone.wa_id).filter(Boolean).join(", ")));
}

function card(symbol, title, text) {
  return element("div", { class: "media-file" }, icon(symbol), element("span", {}, element("strong", {}, title), element("small", {}, text)));
}

function metaElement(message) {
  const words = (message.edited ? "edited " : "") + clockTime(message.time);
  return element("div", { class: "meta" }, element("time", { datetime: new Date(message.time).toISOString() }, words), ticksElement(message));
}

/** One tick: sent. Two: delivered. Two in colour: read or played. A clock while on its way, a warning when failed. */
function ticksElement({ status }) {
  const ticks = TICKS[status];
  if (!ticks) return null;
  return element("span", {
    class: "ticks", role: "img", "aria-label": ticks.words, title: ticks.words, "data-ticks": ticks.count, "data-read": ticks.seen,
    "data-failed": status === "failed",
  }, icon(ticks.symbol));
}

function failureElement(message) {
  if (message.status !== "failed") return null;
  const { code, title, details } = message.error || {};
  const reason = details && details !== title ? details : null;
  return element("div", { class: "failure", "data-error-code": code }, icon("warning"), element("span", {},
    code ? element("strong", {}, `${code} `) : null, title || "The message did not arrive.", reason ? element("small", {}, reason) : null));
}

function reactionElement(message) {
  const emojis = (message.reactions || []).map((reaction) => reaction.emoji);
  if (emojis.length === 0) return null;
  return element("span", { class: "reaction-pill", role: "img", "aria-label": `Reactions: ${emojis.join(" ")}` }, emojis.join(" "));
}

function tapElements(message, actions) {
  if (message.direction !== "in" || message.revoked || message.status === "failed") return null;
  const taps = (message.buttons || []).map((button) => tapElement(message, button, actions));
  if (message.rows?.length > 0) taps.push(tap(message.list_button || "Choose", () => actions.openList(message), { symbol: "list" }));
  return taps.length > 0 ? element("div", { class: "taps" }, taps) : null;
}

function tapElement(message, button, actions) {
  const answer = (spec) => () => actions.answer(message, { message_id: message.id, ...spec });
  switch (button.action) {
    case "reply": return tap(button.title, answer({ type: "button_reply", id: button.id }), { id: button.id });
    case "quick_reply": return tap(button.title, answer({ type: "template_button", index: button.index }));
    case "url": return link(button);
    case "send_location": return tap("Send a place", () => actions.sharePlace(message), { symbol: "place" });
    case "share_contact": return tap(button.title || "Share my number", answer({ type: "share_phone" }), { symbol: "person" });
    default: return element("button", { class: "tap", type: "button", disabled: true, title: "This button does nothing here" }, button.title || "");
  }
}

function tap(title, action, { symbol = null, id = null } = {}) {
  return element("button", { class: "tap", type: "button", "data-tap": id ?? title, onclick: action }, symbol ? icon(symbol) : null, title);
}

function link({ title, url }) {
  return element("a", { class: "tap", href: webAddress(url), title: url, target: "_blank", rel: "noopener noreferrer" }, icon("link"), title || "Open");
}
