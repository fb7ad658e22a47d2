// Puts the page together: the state that was read, the live stream, and what a person does.

import * as api from "./api.js";
import { change, installChat, showChat, showTyping, stopTyping, upsert } from "./chat.js";
import { composeFor, installComposer } from "./composer.js";
import { byId, initials, installDialogs, installMenu, notice, tint } from "./dom.js";
import { installPhones, showPhones } from "./phones.js";
import { installTools, toolsClock, toolsRefresh } from "./tools.js";

// The simulator ends typing by itself; this only keeps a lost event from showing it for ever.
const TYPING_MILLISECONDS_MAX = 25_000;
const MEDIA_FAMILIES = ["image", "video", "audio"];

const phones = new Map();
let openId = null;
let clockAheadMilliseconds = 0;
let reading = Promise.resolve();
let listDrawing = null;

const now = () => Date.now() + clockAheadMilliseconds;

function drawList() {
  listDrawing ??= requestAnimationFrame(() => {
    listDrawing = null;
    showPhones(phones.values(), openId, now());
    const unread = [...phones.values()].reduce((sum, phone) => sum + (phone.id === openId ? 0 : phone.unread), 0);
    document.title = unread > 0 ? `(${unread}) Phones` : "Phones";
  });
}

/** Reads everything again: at the start, after a reconnection, a reset or missed events. One reading at a time. */
function readEverything() {
  reading = reading.then(async () => {
    const state = await api.readState();
    clockAheadMilliseconds = state.clock.ahead_seconds * 1000;
    phones.clear();
    for (const phone of state.phones) phones.set(phone.id, api.asPhone(phone));
    byId("platform-number").textContent = `${state.verified_name} · +${state.display_phone_number}`;
    toolsClock(state.clock);
    toolsRefresh();
    await openFromAddress(true);
    drawList();
  }).catch((error) => notice(error.message));
}

/** The address names the open phone, so that reload and the browser's back button work. */
async function openFromAddress(again = false) {
  const wanted = decodeURIComponent(location.hash.replace(/^#phone=/, ""));
  if (!phones.has(wanted)) {
    openId = null;
    byId("conversation").hidden = true;
    byId("welcome").hidden = false;
    // On a narrow screen the welcome takes the place of an empty list.
    document.body.dataset.view = phones.size > 0 ? "list" : "chat";
    byId("welcome-title").textContent = phones.size > 0 ? "Choose a phone" : "Nobody is here yet";
    drawList();
    return;
  }
  if (wanted === openId && !again) return;
  const sameChat = wanted === openId;
  openId = wanted;
  const { phone, messages } = await api.readChat(wanted);
  if (openId !== wanted) return;
  phones.set(phone.id, phone);
  showHead(phone);
  byId("welcome").hidden = true;
  byId("conversation").hidden = false;
  document.body.dataset.view = "chat";
  composeFor(wanted);
  showChat(messages, sameChat);
  if (phone.typing) showTyping(TYPING_MILLISECONDS_MAX);
  if (!sameChat && matchMedia("(hover: hover)").matches) byId("composer-text").focus();
  markRead();
  drawList();
}

function showHead(phone) {
  byId("chat-name").textContent = phone.name;
  byId("chat-identity").textContent = phone.identity;
  byId("chat-avatar").textContent = initials(phone.name);
  byId("chat-avatar").dataset.tint = tint(phone.id);
}

/** What arrived is read only when somebody can see it. */
function markRead() {
  if (!openId || document.hidden || !(phones.get(openId)?.unread > 0)) return;
  api.markRead(openId).catch((error) => notice(error.message));
}

const open = (id) => {
  const hash = `#phone=${encodeURIComponent(id)}`;
  if (location.hash === hash) openFromAddress().catch((error) => notice(error.message));
  else location.hash = hash;
};

async function create(name, kind) {
  const phone = await api.addPhone(name, kind);
  phones.set(phone.id, phone);
  location.hash = `#phone=${encodeURIComponent(phone.id)}`;
  await openFromAddress();
}

/** Sends what was composed or tapped on the open phone; a file is uploaded first. */
async function deliver(what) {
  const phoneId = openId;
  if (!what.file) return api.act(phoneId, what);
  const media_id = await api.upload(phoneId, what.file);
  const family = what.file.type.split("/")[0];
  const type = what.voice ? "voice" : MEDIA_FAMILIES.includes(family) ? family : "document";
  const filename = type === "document" ? what.file.name : undefined;
  const caption = ["voice", "audio"].includes(type) ? undefined : what.caption;
  await api.act(phoneId, { type, media_id, filename, caption, reply_to: what.reply_to });
  // Sound has no caption: the words that stood in the field follow as a message of their own.
  if (what.caption && !caption) await api.act(phoneId, { type: "text", text: what.caption });
}

async function played(message) {
  if (message.direction === "in" && message.media?.voice) await api.markRead(message.phone_id, [message.id]);
}

const HANDLERS = {
  bubble_added: ({ bubble }) => {
    if (bubble.phone_id === openId) upsert(api.asMessage(bubble));
    toolsRefresh();
  },
  bubble_changed: ({ bubble }) => {
    if (bubble.phone_id === openId) upsert(api.asMessage(bubble));
  },
  status: ({ phone_id, id, status, error }) => {
    if (phone_id === openId) change(id, { status, error });
    toolsRefresh();
  },
  typing: ({ phone_id, on }) => {
    const phone = phones.get(phone_id);
    if (phone) phones.set(phone_id, { ...phone, typing: on });
    if (phone_id === openId) on ? showTyping(TYPING_MILLISECONDS_MAX) : stopTyping();
    drawList();
  },
  failure: ({ phone_id, source, code, message }) => {
    // A message that failed says so in its own bubble.
    if (source !== "status" && (!phone_id || phone_id === openId)) notice([FAILURES[source] || source, code, message].filter(Boolean).join(" · "));
    toolsRefresh();
  },
  phone: ({ phone }) => {
    phones.set(phone.id, api.asPhone(phone));
    if (phone.id === openId) {
      showHead(phones.get(phone.id));
      markRead();
    }
    drawList();
  },
  phone_removed: ({ phone_id }) => {
    phones.delete(phone_id);
    openFromAddress();
  },
  clock: ({ clock }) => {
    clockAheadMilliseconds = clock.ahead_seconds * 1000;
    toolsClock(clock);
    drawList();
  },
  reset: readEverything,
  lagged: readEverything,
};

const FAILURES = { send: "A call to the Graph API was refused", webhook: "The webhook was not taken" };

function connection(connected) {
  byId("connection").hidden = connected;
  byId("connection").textContent = connected ? "" : "No connection to the simulator. Trying again…";
  if (connected) readEverything();
}

installMenu();
installDialogs();
installPhones({ open, create });
installComposer(deliver);
installChat({ send: deliver, played });
installTools({ phone: () => phones.get(openId), now });
byId("back").addEventListener("click", () => { location.hash = ""; });
byId("notice-close").addEventListener("click", () => { byId("notice").hidden = true; });
window.addEventListener("hashchange", () => openFromAddress().catch((error) => notice(error.message)));
document.addEventListener("visibilitychange", markRead);
api.listen((name, data) => HANDLERS[name]?.(data), connection);
