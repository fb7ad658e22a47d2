// The open chat: its bubbles in order, typing, scrolling, what a tap or a menu does.

import { author, bubbleElement, isNote, summary } from "./bubble.js";
import { askPlace, editMessage, quote } from "./composer.js";
import { byId, dayKey, dayName, element, menuItem, notice, openMenu } from "./dom.js";

const SHOWN_MESSAGES_MAX = 500;
const NEAR_END_PIXELS = 120;
const REACTIONS = ["👍", "❤️", "😂", "😮", "😢", "🙏"];

let messages = new Map();
let act = null;
let typingTimer;

/** `send(spec)` does something on the open phone, `played(message)` tells that a voice note was heard; both asynchronous. */
export function installChat(handlers) {
  act = handlers;
  byId("to-end").addEventListener("click", () => scrollToEnd(true));
  byId("scroller").addEventListener("scroll", () => { if (nearEnd()) byId("to-end").hidden = true; });
  byId("list-cancel").addEventListener("click", () => byId("list-dialog").close());
  new ResizeObserver(() => { if (atEnd) scrollToEnd(); }).observe(byId("scroller"));
  byId("scroller").addEventListener("scroll", () => { atEnd = nearEnd(); });
  // A picture that arrives late must not push the last bubble out of sight.
  byId("bubbles").addEventListener("load", () => { if (atEnd) scrollToEnd(); }, true);
}

let atEnd = true;

/** Shows a whole chat. Keeps the place when the same chat is read again, for instance after a reconnection. */
export function showChat(list, sameChat) {
  const keep = sameChat && !nearEnd() ? byId("scroller").scrollTop : null;
  messages = new Map(list.slice(-SHOWN_MESSAGES_MAX).map((message) => [message.id, message]));
  stopTyping();
  redraw();
  byId("to-end").hidden = true;
  if (keep === null) scrollToEnd();
  else byId("scroller").scrollTop = keep;
}

/** A message that is new or has changed. Says whether it was new. */
export function upsert(message) {
  const known = messages.get(message.id);
  messages.set(message.id, message);
  if (known) {
    refreshRow(known, message);
    return false;
  }
  if (messages.size > SHOWN_MESSAGES_MAX) messages.delete(messages.keys().next().value);
  if (message.direction === "in") stopTyping();
  const follow = nearEnd() || message.direction === "out";
  appendRow(message, true);
  byId("empty-chat").hidden = true;
  if (follow) scrollToEnd();
  else byId("to-end").hidden = false;
  if (message.direction === "in") announce(`${author(message)}: ${summary(message)}`);
  return true;
}

/** Marks a message, by anything that changed about it. */
export function change(id, changes) {
  const known = messages.get(id);
  if (known) upsert({ ...known, ...changes });
}

export function showTyping(milliseconds) {
  const follow = nearEnd();
  stopTyping();
  const dots = [1, 2, 3].map(() => element("i", { "aria-hidden": "true" }));
  byId("bubbles").append(element("li", { class: "bubble-row typing", id: "typing", "data-direction": "in", "data-first": true },
    element("div", { class: "bubble-column" }, element("div", { class: "bubble", role: "img", "aria-label": "Business is typing" }, dots))));
  typingTimer = setTimeout(stopTyping, Math.max(0, milliseconds));
  if (follow) scrollToEnd();
  announce("Business is typing");
}

export function stopTyping() {
  clearTimeout(typingTimer);
  byId("typing")?.remove();
}

function announce(text) {
  byId("announcer").textContent = text.slice(0, 300);
}

function redraw() {
  byId("bubbles").replaceChildren();
  for (const message of messages.values()) appendRow(message, false);
  byId("empty-chat").hidden = messages.size > 0;
}

function appendRow(message, fresh) {
  const list = byId("bubbles");
  const previous = list.lastElementChild;
  const day = dayKey(message.time);
  if (list.dataset.day !== day || !previous) {
    list.append(element("li", { class: "day" }, dayName(message.time)));
    list.dataset.day = day;
  }
  const row = rowFor(message);
  if (list.lastElementChild?.dataset.direction !== message.direction) row.dataset.first = "";
  if (fresh) row.dataset.fresh = "";
  const typing = byId("typing");
  list.append(row);
  if (typing) list.append(typing);
}

function rowFor(message) {
  return bubbleElement(message, {
    find: (id) => messages.get(id), jump, menu, openList, sharePlace: askPlace,
    answer: (_, spec) => run(act.send(spec)), played: (heard) => run(act.played(heard)),
  });
}

// Only what changed is replaced, so that a voice note keeps playing while its ticks move.
function refreshRow(before, after) {
  const row = rowOf(after.id);
  if (!row) return;
  const focused = row.contains(document.activeElement);
  const made = rowFor(after);
  for (const flag of ["first", "fresh"]) if (flag in row.dataset) made.dataset[flag] = "";
  delete made.dataset.fresh;
  if (isNote(after) || shape(before) !== shape(after)) {
    row.replaceWith(made);
    if (focused) made.querySelector("button")?.focus({ preventScroll: true });
    return;
  }
  row.dataset.status = after.status;
  const bubble = row.querySelector(".bubble");
  for (const part of [".meta", ".failure"]) {
    bubble.querySelector(part)?.remove();
    const wanted = made.querySelector(part);
    if (wanted) bubble.append(wanted);
  }
  row.querySelector(".reaction-pill")?.remove();
  const reaction = made.querySelector(".reaction-pill");
  if (reaction) bubble.after(reaction);
  if (atEnd) scrollToEnd();
  if (after.status === "failed" && before.status !== "failed") announce(`Failed: ${summary(after)}`);
}

// Everything but what moves while the content stays: status, time, reactions.
function shape(message) {
  const failed = message.status === "failed";
  return JSON.stringify({ ...message, status: failed, error: null, reactions: null, at: 0, time: 0, edited: false });
}

function rowOf(id) {
  return [...byId("bubbles").children].find((row) => row.dataset.bubble === id);
}

const run = (promise) => promise.catch((error) => notice(error.message));

function openList(message) {
  const dialog = byId("list-dialog");
  byId("list-dialog-title").textContent = message.header || message.list_button || "Choose";
  const choose = (row) => () => {
    dialog.close();
    run(act.send({ type: "list_reply", message_id: message.id, id: row.id }));
  };
  let section = null;
  const rows = [];
  for (const row of message.rows) {
    if (row.section && row.section !== section) rows.push(element("h3", {}, row.section));
    section = row.section;
    rows.push(element("button", { type: "button", "data-tap": row.id, onclick: choose(row) },
      element("strong", {}, row.title), row.description ? element("small", {}, row.description) : null));
  }
  byId("list-rows").replaceChildren(...rows);
  dialog.showModal();
}

function menu(message, anchor) {
  const items = [];
  if (!message.revoked) {
    const mine = message.reactions?.find((reaction) => reaction.from === "user")?.emoji;
    const react = (emoji) => () => run(act.send({ type: "reaction", message_id: message.id, emoji: emoji === mine ? "" : emoji }));
    const reactions = REACTIONS.map((emoji) => menuItem(emoji, react(emoji)));
    reactions.forEach((button, place) => button.setAttribute("aria-label", `React ${REACTIONS[place]}`));
    items.push(element("div", { class: "reactions", role: "group", "aria-label": "Reactions" }, reactions));
    items.push(menuItem("Reply", () => quote(message), "reply"));
  }
  if (message.direction === "out" && !message.revoked) {
    if (message.kind === "text") items.push(menuItem("Edit", () => editMessage(message), "edit"));
    items.push(menuItem("Delete for everyone", () => run(act.send({ type: "revoke", message_id: message.id })), "delete"));
  }
  items.push(menuItem("Copy the text", () => copy(summary(message)), "copy"));
  openMenu(anchor, items);
}

function copy(text) {
  const refused = () => notice("The browser does not allow copying here.");
  if (navigator.clipboard) navigator.clipboard.writeText(text).catch(refused);
  else refused();
}

function jump(id) {
  const row = rowOf(id);
  if (!row) return;
  row.scrollIntoView({ block: "center", behavior: "smooth" });
  row.querySelector("button")?.focus({ preventScroll: true });
}

function nearEnd() {
  const scroller = byId("scroller");
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END_PIXELS;
}

function scrollToEnd(smooth = false) {
  const scroller = byId("scroller");
  scroller.scrollTo({ top: scroller.scrollHeight, behavior: smooth ? "smooth" : "instant" });
  atEnd = true;
}
