// TensorBoard's event files: records of TFRecord framing, each a protocol buffer `Event`
// (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto; framing: tensorflow/core/lib/io/record_writer.h).

import { closeSync, openSync, writeSync } from "node:fs";

/** A field of a message: its number, and varint, double, float, bytes or text. */
type Field = [number: number, kind: "varint" | "double" | "float" | "bytes", value: number | Buffer | string];

const wireTypes = { varint: 0, double: 1, bytes: 2, float: 5 };

/** An unsigned number below 2^53, seven bits a byte, the lowest first. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

function message(...fields: Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([number, kind, value]) => [varint(number * 8 + wireTypes[kind]), ...encode(kind, value)]),
  );
}

function encode(kind: Field[1], value: Field[2]): Buffer[] {
  if (typeof value !== "number") {
    const bytes = Buffer.from(value as string);
    return [varint(bytes.length), bytes];
  }
  if (kind === "varint") return [varint(value)];
  const bytes = Buffer.alloc(kind === "double" ? 8 : 4);
  if (kind === "double") bytes.writeDoubleLE(value);
  else bytes.writeFloatLE(value);
  return [bytes];
}

/** CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) by a table of bytes. */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? 0x82f63b78 : 0);
  return remainder;
});

function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = table[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** Checksums are rotated and shifted, so that data which holds checksums is told from them. */
function maskedCrc(bytes: Buffer): Buffer {
  const crc = crc32c(bytes);
  const masked = Buffer.alloc(4);
  masked.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
  return masked;
}

/** Length, its checksum, data, its checksum. */
function record(data: Buffer): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(data.length));
  return Buffer.concat([length, maskedCrc(length), data, maskedCrc(data)]);
}

/** What may stand in a summary: a number, or text (Markdown). */
type Summary = [tag: string, value: number | string];

function summaryValue([tag, value]: Summary): Buffer {
  if (typeof value === "number") return message([1, "bytes", tag], [2, "float", value]);
  const tensor = message([1, "varint", 7], [8, "bytes", value]); // DT_STRING
  return message([1, "bytes", tag], [9, "bytes", metadata("text", "")], [8, "bytes", tensor]);
}

function metadata(plugin: string, content: Buffer | string): Buffer {
  const pluginData = message([1, "bytes", plugin], [2, "bytes", content]);
  return message([1, "bytes", pluginData], [4, "varint", 2]); // DATA_CLASS_TENSOR
}

/** `google.protobuf.Value` */
function structValue(value: number | boolean | string): Buffer {
  if (typeof value === "number") return message([2, "double", value]);
  return typeof value === "boolean" ? message([4, "varint", Number(value)]) : message([3, "bytes", value]);
}

/** The value that the plugin of hyperparameters reads at a session's start (tensorboard/plugins/hparams/plugin_data.proto). */
function hyperparameterValue(
  values: Readonly<Record<string, number | boolean | string>>,
  time: number,
): Buffer {
  const entries = Object.entries(values).map(
    ([name, value]): Field => [1, "bytes", message([1, "bytes", name], [2, "bytes", structValue(value)])],
  );
  const start = message(...entries, [5, "double", time]);
  const empty = message([1, "varint", 1], [2, "bytes", message([2, "bytes", ""])]); // no floats
  return message(
    [1, "bytes", "_hparams_/session_start_info"],
    [9, "bytes", metadata("hparams", message([3, "bytes", start]))],
    [8, "bytes", empty],
  );
}

/** A file that TensorBoard reads, and follows while it grows. Times are seconds since 1970. */
export class EventFile {
  readonly #descriptor: number;

  /** @throws Error of the system */
  constructor(path: string, time: number) {
    this.#descriptor = openSync(path, "wx");
    this.#write(time, 0, [3, "bytes", "brain.Event:2"]);
  }

  /** Says that a program begins or goes on: what earlier files have of this step and later ones is void. */
  start(time: number, step: number): void {
    this.#write(time, step, [7, "bytes", message([1, "varint", 1])]);
  }

  summaries(time: number, step: number, values: readonly Summary[]): void {
    const fields = values.map((value): Field => [1, "bytes", summaryValue(value)]);
    this.#write(time, step, [5, "bytes", message(...fields)]);
  }

  hyperparameters(time: number, values: Readonly<Record<string, number | boolean | string>>): void {
    this.#write(time, 0, [5, "bytes", message([1, "bytes", hyperparameterValue(values, time)])]);
  }

  #write(time: number, step: number, what: Field): void {
    const bytes = record(message([1, "double", time], [2, "varint", step], what));
    for (let written = 0; written < bytes.length; ) written += writeSync(this.#descriptor, bytes, written);
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
