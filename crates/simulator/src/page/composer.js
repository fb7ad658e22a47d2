// What a person says: text, files, places, voice notes, replies to a message.

import { byId, clockTime, menuItem, notice, openMenu } from "./dom.js";
import { author, summary } from "./bubble.js";
import { oggFromWebm } from "./ogg.js";

const DRAFTS = new Map();
const RECORDING_SECONDS_MAX = 600;
const RECORDING_TYPES = ["audio/ogg;codecs=opus", "audio/webm;codecs=opus", "audio/mp4"];

let current = null;
let quoting = null;
let editing = null;
let recording = null;
let placeFor = null;
let send = async () => {};

/**
 * `deliver(what)` resolves when the simulator took it for the open phone: a message of the control API, or
 * `{file, voice, caption, reply_to}` for a file that has to be uploaded first.
 */
export function installComposer(deliver) {
  send = deliver;
  const text = byId("composer-text");
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    if (recording) finishRecording();
    else sendText();
  });
  text.addEventListener("input", refresh);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      sendText();
    } else if (event.key === "Escape" && (quoting || editing)) {
      quote(null);
    }
  });
  text.addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files || [];
    if (file) {
      event.preventDefault();
      sendFile(file);
    }
  });
  byId("composer-attach").addEventListener("click", attachMenu);
  byId("composer-file").addEventListener("change", chosenFile);
  byId("composer-voice").addEventListener("click", startRecording);
  byId("recorder-cancel").addEventListener("click", discardRecording);
  byId("quote-cancel").addEventListener("click", () => quote(null));
  byId("use-hint").addEventListener("click", () => write("michael: weather in Lisbon"));
  installDrop();
  installPlace();
  refresh();
}

/** The composer belongs to another phone now; an unfinished text waits for its phone. */
export function composeFor(phoneId) {
  if (current === phoneId) return;
  if (current) DRAFTS.set(current, byId("composer-text").value);
  discardRecording();
  current = phoneId;
  quote(null);
  write(DRAFTS.get(phoneId) || "", false);
}

export function quote(message) {
  if (editing) write("", false);
  editing = null;
  quoting = message;
  showQuote(message);
}

/** The text of one's own message goes back into the field. */
export function editMessage(message) {
  quoting = null;
  editing = message;
  write(message.text);
  showQuote(message);
}

function showQuote(message) {
  byId("quote").hidden = !message;
  if (!message) return;
  byId("quote-author").textContent = editing ? "Edit your message" : author(message);
  byId("quote-text").textContent = summary(message);
  byId("composer-text").focus();
}

/** Opens the form for a place; `inReplyTo` is the message that asked for it. */
export function askPlace(inReplyTo = null) {
  placeFor = inReplyTo;
  byId("place-dialog").showModal();
}

function write(text, focus = true) {
  const field = byId("composer-text");
  field.value = text;
  refresh();
  if (focus) field.focus();
}

function refresh() {
  const field = byId("composer-text");
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight + 2, 168)}px`;
  byId("composer-send").disabled = !recording && field.value.trim() === "";
}

async function sendText() {
  const text = byId("composer-text").value;
  if (text.trim() === "") return;
  const spec = editing ? { type: "edit", message_id: editing.id, text } : { type: "text", text, reply_to: quoting?.id };
  const restore = editing ? editMessage : quote;
  const about = editing || quoting;
  write("");
  quote(null);
  const taken = await hand(spec);
  if (taken || byId("composer-text").value !== "") return;
  if (about) restore(about);
  write(text);
}

async function sendFile(file, voice = false) {
  const text = byId("composer-text");
  const caption = voice ? "" : text.value.trim();
  const reply_to = quoting?.id;
  if (caption) write("");
  quote(null);
  const taken = await hand({ file, voice, caption: caption || undefined, reply_to });
  if (!taken && caption) write(caption);
}

/** Resolves to whether the simulator took it; the reason it did not is shown above the composer. */
async function hand(what) {
  try {
    await send(what);
    byId("notice").hidden = true;
    return true;
  } catch (error) {
    notice(`Not sent: ${error.message}`);
    return false;
  }
}

function attachMenu(event) {
  const choose = (accept, voice = false) => () => {
    const input = byId("composer-file");
    input.accept = accept;
    input.dataset.voice = String(voice);
    input.click();
  };
  openMenu(event.currentTarget, [
    menuItem("Picture or video", choose("image/*,video/*"), "file"),
    menuItem("Document", choose(""), "file"),
    menuItem("Sound file as a voice note", choose("audio/*", true), "microphone"),
    menuItem("Place", () => askPlace(), "place"),
  ]);
}

function chosenFile(event) {
  const [file] = event.target.files;
  const voice = event.target.dataset.voice === "true";
  event.target.value = "";
  if (file) sendFile(file, voice);
}

function installDrop() {
  const area = byId("conversation");
  area.addEventListener("dragover", (event) => event.preventDefault());
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer?.files || [];
    if (file) sendFile(file);
  });
}

function installPlace() {
  const dialog = byId("place-dialog");
  byId("place-cancel").addEventListener("click", () => dialog.close());
  byId("place-form").addEventListener("submit", () => {
    const place = {
      latitude: Number(byId("place-latitude").value),
      longitude: Number(byId("place-longitude").value),
      name: byId("place-name").value.trim() || undefined,
    };
    const reply_to = placeFor?.id ?? quoting?.id;
    if (!placeFor) quote(null);
    hand({ type: "location", ...place, reply_to });
  });
}

async function startRecording() {
  const type = window.MediaRecorder ? RECORDING_TYPES.find((known) => MediaRecorder.isTypeSupported(known)) : null;
  let stream;
  try {
    if (!type) throw new Error("no recorder");
    stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  } catch {
    notice("No microphone can be used here. Choose a sound file instead: it is sent as a voice note.");
    const input = byId("composer-file");
    input.accept = "audio/*";
    input.dataset.voice = "true";
    input.click();
    return;
  }
  const recorder = new MediaRecorder(stream, { mimeType: type });
  const parts = [];
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  recording = { recorder, stream, parts, type, phone: current, started: performance.now(), timer: setInterval(tickRecorder, 250) };
  recorder.start();
  showRecorder(true);
}

function tickRecorder() {
  const seconds = Math.floor((performance.now() - recording.started) / 1000);
  byId("recorder-time").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  if (seconds >= RECORDING_SECONDS_MAX) finishRecording();
}

function finishRecording() {
  const { recorder, parts, type } = recording;
  recorder.addEventListener("stop", () => sendRecording(new Blob(parts, { type })), { once: true });
  endRecording();
  recorder.stop();
}

async function sendRecording(recorded) {
  let voice = recorded;
  try {
    if (recorded.type.startsWith("audio/webm")) voice = await oggFromWebm(recorded);
  } catch (error) {
    notice(`Sent as it was recorded: ${error.message}`);
  }
  // What the phone application records is Ogg/Opus; the codec is said because the platform under test may read it.
  const type = voice.type.startsWith("audio/ogg") ? "audio/ogg; codecs=opus" : voice.type.split(";")[0];
  const name = `voice-${clockTime(Date.now()).replace(/\D+/g, "-")}.${type.split(";")[0].split("/")[1]}`;
  await sendFile(new File([voice], name, { type }), true);
}

function discardRecording() {
  if (!recording) return;
  const { recorder } = recording;
  endRecording();
  recorder.stop();
}

function endRecording() {
  clearInterval(recording.timer);
  const { recorder, stream } = recording;
  recorder.addEventListener("stop", () => stream.getTracks().forEach((track) => track.stop()), { once: true });
  recording = null;
  showRecorder(false);
  refresh();
}

function showRecorder(on) {
  byId("recorder").hidden = !on;
  byId("recorder-time").textContent = "0:00";
  byId("composer-text").hidden = on;
  byId("composer-voice").hidden = on;
  byId("composer-attach").hidden = on;
  byId("composer-send").disabled = false;
  byId(on ? "composer-send" : "composer-text").focus();
}
