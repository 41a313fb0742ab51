// A run's weights, to the last bit, with each instruction set's kernels: a change that was not to change numbers has not. After
// one that was: `npx vitest run test/cli/reproduction.test.ts -u`. A nano model's sampling, scoring and training depend on nothing
// else of the machine: no product of theirs comes from MKL, whose order of additions depends on the CPU's maker.
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { addonInfo } from "../../lib/addon/loader.ts";
import { latestCheckpoint } from "../../lib/run/checkpoint.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { spa, writeTinyConfig } from "./spa.ts";

const folder = mkdtempSync(join(tmpdir(), "spa-reproduction-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
writeTinyConfig(folder);

const instructionSets = ["baseline", "avx2", "avx512"];
const best = instructionSets.indexOf(addonInfo().isa);

/** Of the numbers of a safetensors file, without its header. */
function weightsDigest(file: string): string {
  const bytes = readFileSync(file);
  const data = bytes.subarray(8 + Number(bytes.readBigUInt64LE()));
  return createHash("sha256").update(data).digest("hex");
}

test.each(instructionSets.filter((_, index) => index <= best))("%s", async (isa) => {
  const outcome = await spa(folder, ["train", "tiny.yaml", "--name", isa, "arms=[spa]", "ppo.steps=1"], {
    SPA_ISA: isa,
  });
  expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
  const run = RunFolder.open(join(folder, "runs", isa));
  const lines = ["base", "spa/sft", "spa/ppo"].flatMap((stage) => {
    const checkpoint = latestCheckpoint(run, stage);
    const folders = [checkpoint?.folder ?? "", checkpoint?.criticFolder].filter(
      (folder) => folder !== undefined,
    );
    return folders.map((folder, index) => {
      const name = index === 0 ? stage : `${stage}/critic`;
      return `${name} ${weightsDigest(join(folder, "model.safetensors"))}\n`;
    });
  });
  await expect(lines.join("")).toMatchFileSnapshot(`../fixtures/weights/${isa}.txt`);
});

test("an instruction set that there is not is an error", async () => {
  const outcome = await spa(folder, ["doctor"], { SPA_ISA: "avx1024" });
  expect(outcome.code).not.toBe(0);
  expect(outcome.stdout + outcome.stderr).toContain("SPA_ISA=avx1024: this build or CPU has no such kernels");
});
