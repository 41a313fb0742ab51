import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readJson } from "../engine/fixtures.ts";

/** A tensor in the header of a safetensors file. */
export interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

export type Header = Record<string, Entry>;

/** The parts of a safetensors file, read without any check. */
export function readParts(file: string): { header: Header; data: Buffer } {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const { __metadata__: _, ...header } = JSON.parse(bytes.toString("utf8", 8, 8 + length));
  return { header, data: bytes.subarray(8 + length) };
}

/** Writes whatever it is given as header (a text as it is) and data. */
export function writeParts(file: string, header: unknown, data: Uint8Array): void {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(file, Buffer.concat([length, json, data]));
}

/** Changes a file's header or data in place; a value that `change` returns takes the header's place. */
export function editParts(file: string, change: (header: Header, data: Buffer) => unknown): void {
  const { header, data } = readParts(file);
  writeParts(file, change(header, data) ?? header, data);
}

/** Changes fields of a folder's config.json; undefined removes one. */
export function editConfig(folder: string, change: Record<string, unknown>): void {
  const file = join(folder, "config.json");
  writeFileSync(file, JSON.stringify({ ...readJson<object>(file), ...change }));
}

/** Splits model.safetensors into shards with an index. */
export function shard(folder: string, count: number): Record<string, string> {
  const { header, data } = readParts(join(folder, "model.safetensors"));
  rmSync(join(folder, "model.safetensors"));
  const weightMap: Record<string, string> = {};
  const names = Object.keys(header);
  for (let i = 0; i < count; i++) {
    const file = `model-0000${i + 1}-of-0000${count}.safetensors`;
    const own: Header = {};
    const parts: Buffer[] = [];
    let position = 0;
    for (const name of names.filter((_, k) => k % count === i)) {
      const [begin, end] = header[name].data_offsets;
      own[name] = { ...header[name], data_offsets: [position, position + end - begin] };
      position += end - begin;
      parts.push(data.subarray(begin, end));
      weightMap[name] = file;
    }
    writeParts(join(folder, file), own, Buffer.concat(parts));
  }
  writeFileSync(
    join(folder, "model.safetensors.index.json"),
    JSON.stringify({ metadata: {}, weight_map: weightMap }),
  );
  return weightMap;
}
