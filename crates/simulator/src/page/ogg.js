// Puts recorded Opus from WebM into Ogg: phones send voice notes as Ogg/Opus, and some browsers record only WebM.
// The packets stay as they are; only the container changes (RFC 3533 pages, RFC 7845 mapping, WebM as in RFC 9559).

// Elements that are entered, not skipped: segment, tracks, track, cluster, block group.
const CONTAINERS = new Set([0x18538067, 0x1654ae6b, 0xae, 0x1f43b675, 0xa0]);
const CODEC_PRIVATE = 0x63a2;
const BLOCKS = new Set([0xa3, 0xa1]);
const LACING_FLAGS = 0x06;
const SAMPLES_PER_MILLISECOND = 48;
// A page holds 255 segments; fifty packets of 20 ms are one second.
const PACKETS_PER_PAGE_MAX = 50;
const SEGMENTS_PER_PAGE_MAX = 255;
const SERIAL_NUMBER = 1;
const BEGINS = 2;
const ENDS = 4;

const CHECKSUMS = Uint32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte << 24;
  for (let bit = 0; bit < 8; bit += 1) sum = sum & 0x80000000 ? (sum << 1) ^ 0x04c11db7 : sum << 1;
  return sum >>> 0;
});

/** An Ogg/Opus file from a WebM recording; throws if there is no Opus in it. */
export async function oggFromWebm(recording) {
  const { head, packets } = readWebm(new Uint8Array(await recording.arrayBuffer()));
  if (!head || packets.length === 0) throw new Error("the recording holds no Opus.");
  const pages = [page([head], 0, 0, BEGINS), page([tags()], 0, 1, 0)];
  let samples = 0;
  let waiting = [];
  packets.forEach((packet, place) => {
    waiting.push(packet);
    samples += samplesIn(packet);
    const last = place === packets.length - 1;
    const next = last ? 0 : segmentsOf(packets[place + 1]);
    const used = waiting.reduce((sum, one) => sum + segmentsOf(one), 0);
    if (last || waiting.length === PACKETS_PER_PAGE_MAX || used + next > SEGMENTS_PER_PAGE_MAX) {
      pages.push(page(waiting, samples, pages.length, last ? ENDS : 0));
      waiting = [];
    }
  });
  return new Blob(pages, { type: "audio/ogg; codecs=opus" });
}

function readWebm(bytes) {
  let head = null;
  const packets = [];
  let at = 0;
  while (at < bytes.length) {
    const id = number(bytes, at, true);
    const size = number(bytes, at + id.length, false);
    const start = at + id.length + size.length;
    if (!id.length || !size.length) break;
    if (CONTAINERS.has(id.value)) {
      at = start;
      continue;
    }
    const content = bytes.subarray(start, start + size.value);
    if (id.value === CODEC_PRIVATE) head = content;
    if (BLOCKS.has(id.value)) {
      const flags = number(content, 0, false).length + 2;
      if (content[flags] & LACING_FLAGS) throw new Error("the recording is laced.");
      packets.push(content.subarray(flags + 1));
    }
    at = start + size.value;
  }
  return { head, packets };
}

// A number of variable length: the leading zero bits of its first byte say how many bytes follow.
function number(bytes, at, keepMarker) {
  const first = bytes[at];
  if (!first) return { value: 0, length: 0 };
  const length = Math.clz32(first) - 23;
  let value = keepMarker ? first : first & (0xff >> length);
  for (let next = 1; next < length; next += 1) value = value * 256 + (bytes[at + next] ?? 0);
  return { value, length };
}

// RFC 6716 §3.1: the first byte tells the length of a frame and how many frames there are.
function samplesIn(packet) {
  const config = packet[0] >> 3;
  const milliseconds = config < 12 ? [10, 20, 40, 60][config & 3] : config < 16 ? [10, 20][config & 1] : [2.5, 5, 10, 20][config & 3];
  const frames = [1, 2, 2, (packet[1] ?? 1) & 63][packet[0] & 3];
  return milliseconds * frames * SAMPLES_PER_MILLISECOND;
}

function tags() {
  const vendor = new TextEncoder().encode("simulator");
  const bytes = new Uint8Array(16 + vendor.length);
  bytes.set(new TextEncoder().encode("OpusTags"));
  new DataView(bytes.buffer).setUint32(8, vendor.length, true);
  bytes.set(vendor, 12);
  return bytes;
}

const segmentsOf = (packet) => Math.floor(packet.length / 255) + 1;

function page(packets, samples, sequence, flags) {
  const lacing = packets.flatMap((packet) => [...Array(segmentsOf(packet) - 1).fill(255), packet.length % 255]);
  const headerLength = 27 + lacing.length;
  const bytes = new Uint8Array(headerLength + packets.reduce((sum, packet) => sum + packet.length, 0));
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode("OggS"));
  bytes[5] = flags;
  view.setBigInt64(6, BigInt(samples), true);
  view.setUint32(14, SERIAL_NUMBER, true);
  view.setUint32(18, sequence, true);
  bytes[26] = lacing.length;
  bytes.set(lacing, 27);
  let at = headerLength;
  for (const packet of packets) {
    bytes.set(packet, at);
    at += packet.length;
  }
  let sum = 0;
  for (const byte of bytes) sum = ((sum << 8) ^ CHECKSUMS[(sum >>> 24) ^ byte]) >>> 0;
  view.setUint32(22, sum, true);
  return bytes;
}
