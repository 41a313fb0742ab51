import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { allTooOld, type GpuFacts, gpuProblems, parseGpus } from "../../lib/addon/gpu-problems.ts";
import { libtorchVersion } from "../../lib/addon/libtorch-version.ts";
import { addonInfo } from "../../lib/index.ts";
import { scratchFolder } from "../engine/fixtures.ts";

const h200 = "NVIDIA H200, 9.0, 143771, 570.86.10\n";

function facts(changes: Partial<GpuFacts> = {}, smi = h200): GpuFacts {
  return {
    ...parseGpus(smi),
    libtorch: { version: "2.13.0", cuda: "12.8" },
    addonHasCuda: true,
    usable: 1,
    visible: undefined,
    ...changes,
  };
}

test("nvidia-smi's lines are read", () => {
  expect(parseGpus(`${h200}Tesla T4, 7.5, 15360, 570.86.10\n`)).toEqual({
    gpus: [
      { name: "NVIDIA H200", computeCapability: 9, memory: 143_771 * 2 ** 20 },
      { name: "Tesla T4", computeCapability: 7.5, memory: 15_360 * 2 ** 20 },
    ],
    driver: "570.86.10",
  });
  expect(parseGpus("No devices were found\n")).toEqual({ gpus: [], driver: null });
});

test("a machine without a GPU, or with one that works, has no problem", () => {
  expect(gpuProblems(facts({ gpus: [], driver: null, usable: 0 }))).toEqual([]);
  expect(gpuProblems(facts())).toEqual([]);
});

const cases: [what: string, changes: Partial<GpuFacts>, smi: string, problem: string, remedy: string][] = [
  [
    "libtorch without CUDA",
    { libtorch: { version: "2.13.0", cuda: null }, usable: 0 },
    h200,
    "without CUDA",
    "LIBTORCH",
  ],
  ["an addon without CUDA", { addonHasCuda: false }, h200, "compiled without", "CUDA toolkit 12.8"],
  [
    "an old driver",
    { usable: 0 },
    "NVIDIA A100, 8.0, 81920, 515.65\n",
    "needs 525 or newer",
    "build for CUDA 11",
  ],
  [
    "a libtorch newer than the driver",
    { libtorch: { version: "2.14.0", cuda: "13.0" }, usable: 0 },
    h200,
    "driver 570.86.10 is too old for libtorch 2.14.0 with CUDA 13.0, which needs 580",
    "build for CUDA 12",
  ],
  [
    "an old GPU",
    {},
    "Tesla V100-SXM2-32GB, 7.0, 32768, 570.86.10\n",
    "compute capability 7.0",
    "engine.device=cpu",
  ],
  ["hidden GPUs", { usable: 0, visible: "7" }, h200, "CUDA_VISIBLE_DEVICES=7", "unset"],
  ["a container without access", { usable: 0 }, h200, "cannot open the GPU", "--gpus all"],
];

test.each(cases)("%s", (_, changes, smi, problem, remedy) => {
  const problems = gpuProblems(facts(changes, smi));
  expect(problems).toHaveLength(1);
  expect(problems[0].problem).toContain(problem);
  expect(problems[0].remedy).toContain(remedy);
});

test("an engine is refused only where every GPU is too old", () => {
  const of = (...lines: string[]) => allTooOld(parseGpus(lines.join("\n")).gpus);
  const old = "Tesla T4, 7.5, 15360, 570.86.10";
  expect(of(old, old)?.problem).toContain("Tesla T4 is too old");
  expect(of(old, h200)).toBeUndefined();
  expect(of()).toBeUndefined();
});

test("libtorch's version and CUDA are read from a wheel and from an archive", () => {
  const { libtorchLocation, libtorch } = addonInfo();
  expect(libtorchVersion(libtorchLocation.path)?.version).toBe(libtorch);
  const folder = scratchFolder();
  expect(libtorchVersion(folder)).toBeUndefined();
  writeFileSync(join(folder, "build-version"), "2.12.1+cu126\n");
  expect(libtorchVersion(folder)).toEqual({ version: "2.12.1", cuda: "12.6" });
  const wheel = join(folder, "wheel");
  mkdirSync(wheel);
  const lines = [
    "__version__ = '2.13.0+cu130'",
    "debug = False",
    "cuda: Optional[str] = '13.0'",
    "hip = None",
  ];
  writeFileSync(join(wheel, "version.py"), lines.join("\n"));
  expect(libtorchVersion(wheel)).toEqual({ version: "2.13.0", cuda: "13.0" });
  const headers = join(folder, "unpacked", "include", "torch", "headeronly");
  mkdirSync(headers, { recursive: true });
  const defines = ["MAJOR 2", "MINOR 11", "PATCH 0"].map((part) => `#define TORCH_VERSION_${part}`);
  writeFileSync(join(headers, "version.h"), defines.join("\n"));
  expect(libtorchVersion(join(folder, "unpacked"))).toEqual({ version: "2.11.0", cuda: null });
  writeFileSync(join(wheel, "version.py"), "__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n");
  expect(libtorchVersion(wheel)).toEqual({ version: "2.13.0", cuda: null });
});
