// The file in a bubble: picture, sound, film, document, sticker.

import { element, icon, webAddress } from "./dom.js";
import { mediaAddress } from "./api.js";

const NAMES = { image: "Picture", sticker: "Sticker", video: "Film", audio: "Sound", document: "Document" };

/** `image`, `sticker`, `video`, `audio` or `document`, from the message's kind or from the MIME type of a header. */
export function mediaKind(message) {
  if (message.kind in NAMES) return message.kind;
  const family = (message.media?.mime_type || "").split("/")[0];
  return family in NAMES ? family : "document";
}

/** A short text for the file. */
export function mediaName(message) {
  if (message.media?.voice) return "Voice note";
  return message.media?.filename || NAMES[mediaKind(message)];
}

/** The element that shows or plays the file; one that cannot be shown becomes a link. `played()` on the first playback. */
export function mediaElement(message, played) {
  const kind = mediaKind(message);
  const address = mediaAddress(message.media);
  // The real platform fetches a link by itself. Here it is only named: the page loads nothing from elsewhere.
  if (!address) return file(message, webAddress(message.media.url), message.media.url);
  const describe = mediaName(message);
  const shown = {
    image: () => element("img", { class: "media-image", alt: message.text ? "" : describe, src: address }),
    sticker: () => element("img", { class: "media-image sticker", alt: describe, src: address }),
    video: () => element("video", { class: "media-video", controls: true, preload: "metadata", "aria-label": describe, src: address }),
    audio: () => element("audio", { class: "media-audio", controls: true, preload: "metadata", "aria-label": describe, src: address }),
  }[kind]?.();
  const linked = () => file(message, address, message.media.mime_type || "Open the file");
  if (!shown) return linked();
  shown.addEventListener("error", () => shown.replaceWith(linked()), { once: true });
  shown.addEventListener("play", played, { once: true });
  return shown;
}

function file(message, address, note) {
  const text = element("span", {}, element("strong", {}, mediaName(message)), element("small", {}, note));
  const target = address ? { href: address, target: "_blank", rel: "noopener noreferrer" } : {};
  return element(address ? "a" : "div", { class: "media-file", ...target }, icon("file"), text);
}
