// The list of phones and the form that adds one.

import { byId, element, initials, listTime, tint } from "./dom.js";
import { PHONE_KINDS } from "./api.js";

const SHOWN_PHONES_MAX = 200;
const FILTER_FROM_PHONES = 8;

let add = async () => {};

/** `open(id)` is called for a chosen phone, `create(name, kind)` resolves when the phone is there. */
export function installPhones({ open, create }) {
  add = create;
  byId("phone-list").addEventListener("click", (event) => {
    const button = event.target.closest("[data-phone]");
    if (button) open(button.dataset.phone);
  });
  byId("phone-list").addEventListener("keydown", moveBetweenPhones);
  byId("phone-filter").addEventListener("input", filterPhones);
  for (const id of ["add-phone", "welcome-add"]) byId(id).addEventListener("click", openForm);
  byId("phone-cancel").addEventListener("click", () => byId("phone-dialog").close());
  byId("phone-form").addEventListener("submit", submitForm);
  byId("phone-kinds").append(...PHONE_KINDS.map(kindChoice));
}

/** Draws the list, the phone with the newest message first. */
export function showPhones(phones, openId, now) {
  const list = byId("phone-list");
  const focused = document.activeElement?.dataset?.phone;
  const sorted = [...phones].sort((a, b) => (b.lastTime || 0) - (a.lastTime || 0) || a.name.localeCompare(b.name));
  list.replaceChildren(...sorted.slice(0, SHOWN_PHONES_MAX).map((phone) => phoneRow(phone, openId, now)));
  const hidden = sorted.length - SHOWN_PHONES_MAX;
  if (hidden > 0) list.append(element("li", { class: "list-note" }, `and ${hidden} more phones`));
  if (sorted.length === 0) list.append(element("li", { class: "list-note" }, "No phones yet."));
  document.querySelector(".filter").hidden = sorted.length < FILTER_FROM_PHONES;
  if (focused) [...list.querySelectorAll("[data-phone]")].find((row) => row.dataset.phone === focused)?.focus();
  filterPhones();
}

function phoneRow(phone, openId, now) {
  const unread = phone.unread > 0 ? element("span", { class: "unread", "data-unread": phone.unread }, String(phone.unread),
    element("span", { class: "visually-hidden" }, " unread")) : null;
  const last = phone.typing ? "typing…" : phone.last_line || phone.identity;
  return element("li", {}, element("button", { class: "phone", type: "button", "data-phone": phone.id, "aria-current": phone.id === openId ? "true" : "false" },
    element("span", { class: "avatar", "aria-hidden": "true", "data-tint": tint(phone.id) }, initials(phone.name)),
    element("span", { class: "phone-lines" }, element("div", { class: "phone-name" }, phone.name), element("div", { class: "phone-last" }, last)),
    element("span", { class: "phone-side" }, phone.lastTime ? element("time", {}, listTime(phone.lastTime, now)) : null, unread)));
}

function filterPhones() {
  const wanted = byId("phone-filter").value.trim().toLocaleLowerCase();
  for (const row of byId("phone-list").children) {
    row.hidden = wanted !== "" && !row.textContent.toLocaleLowerCase().includes(wanted);
  }
}

function moveBetweenPhones(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const rows = [...byId("phone-list").querySelectorAll("li:not([hidden]) [data-phone]")];
  const place = rows.indexOf(document.activeElement);
  rows[Math.max(0, Math.min(rows.length - 1, place + step))]?.focus();
}

function kindChoice({ kind, title, note }, place) {
  return element("label", { class: "kind" }, element("input", { type: "radio", name: "kind", value: kind, checked: place === 0 }),
    element("strong", {}, title), element("small", {}, note));
}

function openForm() {
  byId("phone-error").hidden = true;
  byId("phone-name").value = "";
  byId("phone-dialog").showModal();
  byId("phone-name").focus();
}

async function submitForm(event) {
  event.preventDefault();
  const kind = byId("phone-form").elements.kind.value;
  byId("phone-create").disabled = true;
  try {
    await add(byId("phone-name").value.trim(), kind);
    byId("phone-dialog").close();
    // Closing gives the focus back to the button; the new phone wants to write.
    byId("composer-text").focus();
  } catch (error) {
    byId("phone-error").textContent = error.message;
    byId("phone-error").hidden = false;
  } finally {
    byId("phone-create").disabled = false;
  }
}
