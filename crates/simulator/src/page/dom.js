// Small helpers for building elements. Text enters the page as text nodes only, never as markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text nodes, null and undefined are left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** One of the symbols declared in the document. */
export function icon(name) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("class", "icon");
  picture.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  picture.append(use);
  return picture;
}

/** A round mark with the initials of a name in one of six calm tints. */
export function initials(name) {
  const words = String(name || "?").trim().split(/\s+/u);
  const first = [...(words[0] || "?")][0] || "?";
  const last = words.length > 1 ? [...words.at(-1)][0] : "";
  return (first + last).toUpperCase();
}

/** A stable tint number for a key. */
export function tint(key) {
  let sum = 0;
  for (const character of String(key)) sum = (sum * 31 + character.codePointAt(0)) % 6007;
  return sum % 6;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const SHORT_DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export const clockTime = (milliseconds) => CLOCK.format(milliseconds);
export const dayName = (milliseconds) => DAY.format(milliseconds);
export const dayKey = (milliseconds) => new Date(milliseconds).toDateString();

/** The time today, the date on other days. `now` is the simulator's time. */
export function listTime(milliseconds, now) {
  return dayKey(milliseconds) === dayKey(now) ? CLOCK.format(milliseconds) : SHORT_DAY.format(milliseconds);
}

/** A web address that may be opened, or null for anything else (such as `javascript:`). */
export function webAddress(text) {
  try {
    const address = new URL(String(text));
    return address.protocol === "https:" || address.protocol === "http:" ? address.href : null;
  } catch {
    return null;
  }
}

/** A menu at an anchor: arrow keys move, Escape and a press elsewhere close it and give the focus back. */
export function openMenu(anchor, children) {
  const menu = byId("menu");
  closeMenu();
  menu.replaceChildren(...children);
  menu.hidden = false;
  anchor.setAttribute("aria-expanded", "true");
  const at = anchor.getBoundingClientRect();
  const width = menu.offsetWidth;
  const height = menu.offsetHeight;
  const above = at.bottom + height + 8 > window.innerHeight;
  menu.style.left = `${Math.max(12, Math.min(at.left, window.innerWidth - width - 12))}px`;
  menu.style.top = `${Math.max(12, above ? at.top - height - 6 : at.bottom + 6)}px`;
  menu.anchor = anchor;
  menu.querySelector("button")?.focus();
}

export function closeMenu(giveFocusBack = false) {
  const menu = byId("menu");
  if (menu.hidden) return;
  menu.hidden = true;
  menu.anchor?.setAttribute("aria-expanded", "false");
  if (giveFocusBack) menu.anchor?.focus();
}

export function menuItem(text, action, symbol = null) {
  const run = () => {
    closeMenu(true);
    action();
  };
  return element("button", { type: "button", role: "menuitem", onclick: run }, symbol ? icon(symbol) : null, text);
}

/** Chromium gives the focus back to a field when a dialog closes, but not the caret: typing would go nowhere. */
export function installDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("close", () => {
      const field = document.activeElement;
      if (!(field instanceof HTMLTextAreaElement)) return;
      field.blur();
      field.focus();
    });
  }
}

export function installMenu() {
  const menu = byId("menu");
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(event.target) && !menu.anchor?.contains(event.target)) closeMenu();
  });
  document.addEventListener("scroll", () => closeMenu(), true);
  menu.addEventListener("keydown", (event) => {
    const items = [...menu.querySelectorAll("button")];
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") {
      event.stopPropagation();
      closeMenu(true);
    } else if (event.key === "Tab") {
      closeMenu();
    } else if (step) {
      event.preventDefault();
      const place = items.indexOf(document.activeElement);
      items[(place + step + items.length) % items.length]?.focus();
    }
  });
}

let noticeTimer;

/** A sentence above the composer about something that did not work. */
export function notice(text) {
  byId("notice-text").textContent = text;
  byId("notice").hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { byId("notice").hidden = true; }, 12_000);
}
