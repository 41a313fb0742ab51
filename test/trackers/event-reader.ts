// Reads event files by their definition, apart from the writer: the framing of TFRecord (length, masked CRC-32C, data, masked
// CRC-32C), protocol buffers' wire format, and the fields of event.proto and summary.proto.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Bit by bit: the polynomial 0x1edc6f41, reflected. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0x82f63b78n : crc >> 1n;
  }
  return Number(crc ^ 0xffffffffn);
}

function masked(bytes: Uint8Array): number {
  const crc = BigInt(crc32c(bytes));
  return Number((((crc >> 15n) | (crc << 17n)) + 0xa282ead8n) & 0xffffffffn);
}

/** The data of each record. @throws Error where a checksum is not that of its bytes */
function* records(file: Buffer): Generator<Buffer> {
  for (let at = 0; at < file.length; ) {
    const length = file.subarray(at, at + 8);
    const end = at + 12 + Number(length.readBigUInt64LE());
    const data = file.subarray(at + 12, end);
    if (file.readUInt32LE(at + 8) !== masked(length))
      throw new Error(`wrong checksum of the length at ${at}`);
    if (file.readUInt32LE(end) !== masked(data)) throw new Error(`wrong checksum of the data at ${at}`);
    yield data;
    at = end + 4;
  }
}

type Value = number | Buffer;

/** A message's fields by their numbers, each with its values in order. */
function fields(message: Buffer): Map<number, Value[]> {
  const found = new Map<number, Value[]>();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(BigInt.asIntN(64, value));
    }
  };
  const take = (wire: number): Value => {
    const length = wire === 1 ? 8 : wire === 5 ? 4 : varint();
    const bytes = message.subarray(at, at + length);
    at += length;
    return wire === 1 ? bytes.readDoubleLE() : wire === 5 ? bytes.readFloatLE() : bytes;
  };
  while (at < message.length) {
    const key = varint();
    const value = key % 8 === 0 ? varint() : take(key % 8);
    const number = Math.floor(key / 8);
    found.set(number, [...(found.get(number) ?? []), value]);
  }
  return found;
}

const message = (value: Value | undefined) => fields(value as Buffer);
const text = (value: Value | undefined) => (value as Buffer).toString();

interface Read {
  scalars: { [tag: string]: [step: number, value: number][] };
  texts: { [tag: string]: [step: number, text: string][] };
  hyperparameters: { [name: string]: number | string | boolean };
}

/** What TensorBoard shows of a folder of event files: files by name, what a restart voids left out. */
export function readEvents(folder: string): Read {
  const read: Read = { scalars: {}, texts: {}, hyperparameters: {} };
  for (const name of readdirSync(folder).sort()) {
    const [first, ...events] = [...records(readFileSync(join(folder, name)))].map(fields);
    if (text(first.get(3)?.[0]) !== "brain.Event:2") throw new Error("the first event must name the version");
    for (const event of events) {
      const step = (event.get(2)?.[0] as number) ?? 0;
      if (event.has(7)) voidFrom(read, step);
      for (const value of message(event.get(5)?.[0] ?? Buffer.alloc(0)).get(1) ?? [])
        addValue(read, step, message(value));
    }
  }
  return read;
}

function voidFrom({ scalars, texts }: Read, step: number): void {
  for (const kind of [scalars, texts] as { [tag: string]: [number, unknown][] }[])
    for (const [tag, entries] of Object.entries(kind)) kind[tag] = entries.filter(([at]) => at < step);
}

function addValue(read: Read, step: number, value: Map<number, Value[]>): void {
  const tag = text(value.get(1)?.[0]);
  const scalar = value.get(2)?.[0];
  if (typeof scalar === "number") {
    read.scalars[tag] = [...(read.scalars[tag] ?? []), [step, scalar]];
    return;
  }
  const plugin = message(message(value.get(9)?.[0]).get(1)?.[0]);
  if (text(plugin.get(1)?.[0]) === "text") {
    read.texts[tag] = [...(read.texts[tag] ?? []), [step, text(message(value.get(8)?.[0]).get(8)?.[0])]];
    return;
  }
  const start = message(message(plugin.get(2)?.[0]).get(3)?.[0]);
  for (const entry of start.get(1) ?? []) {
    const [key, setting] = [message(entry).get(1)?.[0], message(message(entry).get(2)?.[0])];
    const [[kind, [plain]]] = [...setting];
    read.hyperparameters[text(key)] = kind === 3 ? text(plain) : kind === 4 ? plain === 1 : (plain as number);
  }
}
