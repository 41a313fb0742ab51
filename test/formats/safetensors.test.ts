// Damaged headers at random: each loads or is refused with one clear error; native code never sees a lie.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { readSafetensorsHeader, safetensorsHeader } from "../../lib/formats/safetensors.ts";
import { SpaError } from "../../lib/index.ts";
import { scratchFolder, testEngine } from "../engine/fixtures.ts";

const shape = {
  vocabularySize: 8,
  hiddenSize: 8,
  intermediateSize: 8,
  layers: 1,
  heads: 2,
  maxPositions: 16,
};

async function tinyFolder() {
  const engine = await testEngine();
  const folder = scratchFolder();
  await (await engine.createModel(shape)).save(folder);
  const file = join(folder, "model.safetensors");
  return { engine, folder, file, bytes: readFileSync(file) };
}

/** Loads, or is refused as a checkpoint that is not in order. */
async function loadsOrRefuses(loading: Promise<unknown>): Promise<void> {
  const error = await loading.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error === undefined) return;
  expect(error).toBeInstanceOf(SpaError);
  expect(["BAD_CHECKPOINT", "UNSUPPORTED"]).toContain((error as SpaError).code);
}

test("changed bytes", async () => {
  const { engine, folder, file, bytes } = await tinyFolder();
  const headerEnd = 8 + Number(bytes.readBigUInt64LE(0));
  const change = fc.record({ at: fc.nat(headerEnd - 1), byte: fc.integer({ min: 0, max: 255 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const damaged = Buffer.from(bytes);
      for (const { at, byte } of changes) damaged[at] = byte;
      writeFileSync(file, damaged);
      await loadsOrRefuses(engine.loadModel(folder));
    }),
    { numRuns: 200 },
  );
});

test("changed digits: shapes and offsets that lie plausibly", async () => {
  const { engine, folder, file, bytes } = await tinyFolder();
  const headerEnd = 8 + Number(bytes.readBigUInt64LE(0));
  const digits: number[] = [];
  for (let i = 8; i < headerEnd; i++) if (bytes[i] >= 0x30 && bytes[i] <= 0x39) digits.push(i);
  await fc.assert(
    fc.asyncProperty(fc.nat(digits.length - 1), fc.nat(9), async (index, digit) => {
      const damaged = Buffer.from(bytes);
      damaged[digits[index]] = 0x30 + digit;
      writeFileSync(file, damaged);
      await loadsOrRefuses(engine.loadModel(folder));
    }),
    { numRuns: 200 },
  );
});

test("cut off anywhere", async () => {
  const { engine, folder, file, bytes } = await tinyFolder();
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), async (length) => {
      writeFileSync(file, bytes.subarray(0, length));
      await expect(engine.loadModel(folder)).rejects.toMatchObject({ code: "BAD_CHECKPOINT" });
    }),
    { numRuns: 100 },
  );
});

test("a header that is written can be read", async () => {
  const folder = scratchFolder();
  const file = join(folder, "x.safetensors");
  const tensor = fc.record({
    name: fc.string({ minLength: 1 }).filter((name) => name !== "__metadata__" && name !== "__proto__"),
    dtype: fc.constantFrom("F32" as const, "BF16" as const),
    shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(tensor, { selector: (t) => t.name, maxLength: 6 }), async (tensors) => {
      const header = safetensorsHeader(tensors, { format: "pt" });
      expect(header.length % 8).toBe(0);
      const sizes = tensors.map((t) => t.shape.reduce((a, b) => a * b, t.dtype === "F32" ? 4 : 2));
      const data = Buffer.alloc(sizes.reduce((a, b) => a + b, 0));
      writeFileSync(file, Buffer.concat([header, data]));
      const read = await readSafetensorsHeader(file);
      expect(read.metadata).toEqual({ format: "pt" });
      expect(read.tensors.size).toBe(tensors.length);
      for (const [i, { name, dtype, shape }] of tensors.entries()) {
        const found = read.tensors.get(name)!;
        expect(found).toMatchObject({ dtype, shape });
        expect(found.end - found.begin).toBe(sizes[i]);
      }
    }),
  );
});
