import { existsSync } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { NativeTensorInfo, NativeTensorSource, StoredDtype } from "../addon/addon.ts";
import { SpaError } from "../errors.ts";

/**
 * Headers of safetensors files (https://github.com/huggingface/safetensors, "Format"): 8 bytes with the header's
 * length N as a little-endian integer, N bytes of JSON, then the tensors' bytes without gaps. The bytes themselves are
 * read and written by native code.
 */

/** The longest header that is read, the same limit as in Hugging Face's own reader. */
const headerLimit = 100_000_000;

/** Sizes of the element types of the format, in bytes. */
const elementSizes: Record<string, number> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
};

const floatDtypes: readonly string[] = ["F64", "F32", "F16", "BF16"];

/** A tensor as a file's header describes it: bytes `begin` to `end` from the start of the file. */
export interface StoredTensor {
  name: string;
  dtype: string;
  shape: number[];
  file: string;
  begin: number;
  end: number;
}

/** What one file holds. */
export interface SafetensorsFile {
  tensors: Map<string, StoredTensor>;
  metadata: Record<string, string>;
}

function broken(file: string, message: string, cause?: unknown): SpaError {
  return new SpaError("BAD_CHECKPOINT", `${file}: ${message}`, {
    hint: "the file is damaged or was written by another program; delete it, and fetch or save it again",
    ...(cause === undefined ? {} : { cause }),
  });
}

/**
 * Reads and checks the header of a safetensors file: lengths, JSON, known element types, sizes that fit shapes, and
 * ranges that cover the file's data without gap or overlap.
 *
 * @throws SpaError `BAD_CHECKPOINT`.
 */
export async function readSafetensorsHeader(file: string): Promise<SafetensorsFile> {
  let handle: FileHandle;
  try {
    handle = await open(file, "r");
  } catch (error) {
    throw new SpaError("BAD_CHECKPOINT", `${file}: ${reason(error)}`, {
      hint: "check the folder's path, and that the checkpoint was copied whole",
      cause: error,
    });
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw broken(file, "not a file");
    if (stat.size < 8) throw broken(file, `${stat.size} bytes are too few for a safetensors file`);
    const first = Buffer.alloc(8);
    await handle.read(first, 0, 8, 0);
    const length = Number(first.readBigUInt64LE(0));
    if (length > headerLimit || length < 2) {
      throw broken(file, `it is no safetensors file: its header would be ${length} bytes long`);
    }
    if (8 + length > stat.size) {
      throw broken(
        file,
        `its header says that it is ${length} bytes long, but only ${stat.size - 8} bytes follow`,
      );
    }
    const bytes = Buffer.alloc(length);
    await handle.read(bytes, 0, length, 8);
    return parseHeader(file, bytes, stat.size);
  } finally {
    await handle.close();
  }
}

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return "no such file";
  if (code === "EACCES") return "not readable for this user";
  return message;
}

function parseHeader(file: string, bytes: Buffer, size: number): SafetensorsFile {
  if (bytes[0] !== 0x7b) throw broken(file, "its header does not begin with {");
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw broken(file, "its header is not JSON", error);
  }
  const { __metadata__: metadata = {}, ...entries } = json as Record<string, unknown>;
  if (!isRecord(metadata)) throw broken(file, "__metadata__ must be an object");
  const dataBegin = 8 + bytes.length;
  const tensors = new Map<string, StoredTensor>();
  for (const [name, entry] of Object.entries(entries)) {
    tensors.set(name, parseEntry(file, name, entry, dataBegin));
  }
  checkRanges(file, [...tensors.values()], dataBegin, size);
  return { tensors, metadata: metadata as Record<string, string> };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function parseEntry(file: string, name: string, entry: unknown, dataBegin: number): StoredTensor {
  if (!isRecord(entry)) throw broken(file, `tensor ${name} is not described by an object`);
  const { dtype, shape, data_offsets: range } = entry;
  if (typeof dtype !== "string" || !Object.hasOwn(elementSizes, dtype)) {
    throw broken(file, `tensor ${name} has the unknown dtype ${JSON.stringify(dtype)}`);
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw broken(file, `tensor ${name} has the shape ${JSON.stringify(shape)}`);
  }
  if (!Array.isArray(range) || range.length !== 2 || !range.every(isSize) || range[0] > range[1]) {
    throw broken(file, `tensor ${name} has the data_offsets ${JSON.stringify(range)}`);
  }
  const [begin, end] = range as [number, number];
  const expected = (shape as number[]).reduce((product, size) => product * size, elementSizes[dtype]);
  if (end - begin !== expected) {
    throw broken(
      file,
      `tensor ${name} (${dtype}, [${shape}]) needs ${expected} bytes, its data_offsets span ${end - begin}`,
    );
  }
  return { name, dtype, shape: shape as number[], file, begin: dataBegin + begin, end: dataBegin + end };
}

/** The tensors must lie end to end from the header to the end of the file. */
function checkRanges(file: string, tensors: StoredTensor[], dataBegin: number, size: number): void {
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let position = dataBegin;
  let before = "the header";
  for (const { name, begin, end } of tensors) {
    if (begin < position) throw broken(file, `tensors ${before} and ${name} overlap`);
    if (begin > position)
      throw broken(file, `${begin - position} bytes between ${before} and tensor ${name} are unused`);
    position = end;
    before = name;
  }
  if (position > size) {
    throw broken(file, `it is truncated: ${position} bytes are described, ${size} are there`);
  }
  if (position < size) throw broken(file, `${size - position} bytes after the last tensor are unused`);
}

export const singleWeights = "model.safetensors";
export const weightsIndex = "model.safetensors.index.json";

/**
 * The files of a model's weights: those that its index names, or the single file. Where there are both, transformers opens
 * the single file and other readers the index's, so that they may not be different ones.
 *
 * @param named what the index names; undefined without an index
 * @param where the folder or repository, for messages
 * @throws SpaError `BAD_CHECKPOINT` naming both
 */
export function chosenWeights(
  named: readonly string[] | undefined,
  has: (file: string) => boolean,
  where: string,
): readonly string[] {
  if (named === undefined) return [singleWeights];
  const shards = named.filter((file) => file !== singleWeights);
  if (!has(singleWeights)) return named;
  const present = shards.find(has);
  // The index of an earlier save, whose files are gone, leads nobody elsewhere.
  if (present === undefined) return [singleWeights];
  throw new SpaError(
    "BAD_CHECKPOINT",
    `${where} holds weights twice: ${singleWeights}, and ${present} with ${weightsIndex}, which readers take in its place`,
    {
      hint: "one of them is of an earlier save: remove it (for the single file the index, too, with all that it names)",
    },
  );
}

/**
 * The tensors of a Hugging Face folder: of model.safetensors, or of all the shards that
 * model.safetensors.index.json names.
 *
 * @throws SpaError `BAD_CHECKPOINT`.
 */
export async function readFolderTensors(folder: string): Promise<Map<string, StoredTensor>> {
  const index = join(folder, weightsIndex);
  const weightMap = existsSync(index) ? await readIndex(index) : undefined;
  const has = (file: string) => existsSync(join(folder, file));
  const files = chosenWeights(weightMap && [...new Set(weightMap.values())], has, folder);
  if (weightMap === undefined || files.every((file) => file === singleWeights)) {
    return (await readSafetensorsHeader(join(folder, singleWeights))).tensors;
  }
  const tensors = new Map<string, StoredTensor>();
  for (const shard of files) {
    const { tensors: found } = await readSafetensorsHeader(join(folder, shard));
    for (const [name, tensor] of found) {
      if (weightMap.get(name) !== shard) {
        const other = weightMap.get(name) ?? "no shard";
        throw broken(index, `tensor ${name} is in ${shard}, but the index says: in ${other}`);
      }
      tensors.set(name, tensor);
    }
  }
  for (const [name, shard] of weightMap) {
    if (!tensors.has(name)) throw broken(index, `tensor ${name} is not in ${shard}, where the index has it`);
  }
  return tensors;
}

async function readIndex(file: string): Promise<Map<string, string>> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw broken(file, "it is not JSON", error);
  }
  const map = isRecord(json) ? json.weight_map : undefined;
  if (!isRecord(map)) throw broken(file, "it has no weight_map");
  for (const [name, shard] of Object.entries(map)) {
    // A shard stands beside its index; a path would let a checkpoint read any file.
    if (typeof shard !== "string" || shard === "" || /[/\\]/.test(shard) || shard.startsWith("..")) {
      throw broken(
        file,
        `weight_map names ${JSON.stringify(shard)} for tensor ${name}, which is not a file name`,
      );
    }
  }
  return new Map(Object.entries(map) as [string, string][]);
}

/** A tensor that must be there, or, when optional, may be. */
export interface ExpectedTensor {
  name: string;
  shape: number[];
  optional?: boolean;
  /** `"U8"`: bytes; else any float will do. */
  dtype?: StoredDtype;
}

/**
 * Picks the expected tensors from what files hold, in the expected order. `ignored` says which other names may be
 * there all the same.
 *
 * @throws SpaError `BAD_CHECKPOINT` naming tensors that are missing, extra, of a wrong shape or not of floats.
 */
export function matchTensors(
  stored: Map<string, StoredTensor>,
  expected: ExpectedTensor[],
  where: string,
  ignored: (name: string) => boolean = () => false,
): NativeTensorSource[] {
  const hint = "the weights do not belong to this config.json, or the checkpoint is incomplete";
  const missing = expected
    .filter(({ name, optional }) => !optional && !stored.has(name))
    .map(({ name }) => name);
  if (missing.length > 0) {
    throw new SpaError("BAD_CHECKPOINT", `${where}: ${list(missing, "tensor")} missing`, { hint });
  }
  const names = new Set(expected.map(({ name }) => name));
  const extra = [...stored.keys()].filter((name) => !names.has(name) && !ignored(name));
  if (extra.length > 0) {
    throw new SpaError("BAD_CHECKPOINT", `${where}: ${list(extra, "tensor")} unexpected`, { hint });
  }
  const present = expected.filter(({ name }) => stored.has(name));
  return present.map(({ name, shape, dtype }) => {
    const tensor = stored.get(name)!;
    const [fits, wanted] =
      dtype === "U8" ? [tensor.dtype === "U8", "bytes"] : [floatDtypes.includes(tensor.dtype), "floats"];
    if (!fits) {
      const message = `${tensor.file}: tensor ${name} is of ${tensor.dtype}, not of ${wanted}`;
      throw new SpaError("BAD_CHECKPOINT", message, { hint });
    }
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i])) {
      const message = `${tensor.file}: tensor ${name} has the shape [${tensor.shape}], the model needs [${shape}]`;
      throw new SpaError("BAD_CHECKPOINT", message, { hint });
    }
    return { ...tensor, dtype: tensor.dtype as StoredDtype };
  });
}

function list(names: string[], noun: string): string {
  const shown = names.slice(0, 5).join(", ") + (names.length > 5 ? `, … (${names.length} in all)` : "");
  return names.length === 1 ? `${noun} ${shown} is` : `${noun}s ${shown} are`;
}

/** A file of weights: tensors `first` and on of the model's, in their order. */
export interface Shard {
  name: string;
  first: number;
  tensors: NativeTensorInfo[];
  bytes: number;
}

/** Bytes of a tensor in a file. */
export function tensorBytes({ dtype, shape }: NativeTensorInfo): number {
  return shape.reduce((product, size) => product * size, elementSizes[dtype]);
}

/**
 * Splits a model's tensors, in their order, into files of at most `maxBytes` of data (a larger tensor gets a file of its
 * own), named as transformers names them.
 */
export function shardsOf(tensors: NativeTensorInfo[], maxBytes: number): Shard[] {
  const shards: Shard[] = [];
  for (const [index, tensor] of tensors.entries()) {
    const bytes = tensorBytes(tensor);
    const last = shards.at(-1);
    if (last && last.bytes + bytes <= maxBytes) {
      last.tensors.push(tensor);
      last.bytes += bytes;
    } else {
      shards.push({ name: "", first: index, tensors: [tensor], bytes });
    }
  }
  const number = (value: number) => String(value).padStart(5, "0");
  const nameOf = (k: number) =>
    shards.length === 1
      ? "model.safetensors"
      : `model-${number(k + 1)}-of-${number(shards.length)}.safetensors`;
  return shards.map((shard, k) => ({ ...shard, name: nameOf(k) }));
}

/** The contents of model.safetensors.index.json; undefined for a single file, which needs none. */
export function shardIndex(shards: readonly Shard[]): object | undefined {
  if (shards.length === 1) return undefined;
  const entries = shards.flatMap(({ name, tensors }) => tensors.map((tensor) => [tensor.name, name]));
  const total = shards.reduce((sum, { bytes }) => sum + bytes, 0);
  return { metadata: { total_size: total }, weight_map: Object.fromEntries(entries) };
}

/** Length and JSON of the header for tensors that are written in this order, padded to a multiple of 8 bytes. */
export function safetensorsHeader(tensors: NativeTensorInfo[], metadata: Record<string, string>): Uint8Array {
  const entries: Record<string, unknown> = { __metadata__: metadata };
  let position = 0;
  for (const { name, dtype, shape } of tensors) {
    const end = position + tensorBytes({ name, dtype, shape });
    entries[name] = { dtype, shape, data_offsets: [position, end] };
    position = end;
  }
  const json = Buffer.from(JSON.stringify(entries));
  const padded = Math.ceil(json.length / 8) * 8;
  const header = Buffer.alloc(8 + padded, " ");
  header.writeBigUInt64LE(BigInt(padded), 0);
  json.copy(header, 8);
  return header;
}
