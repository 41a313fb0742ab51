import { statfsSync } from "node:fs";
import { arch, availableParallelism, cpus, freemem, platform, release, totalmem } from "node:os";
import type { Command } from "commander";
import type { AddonInfo } from "../addon/addon.ts";
import { installationProblems, loadedLibtorch, readGpus } from "../addon/gpu-problems.ts";
import { addonInfo } from "../addon/loader.ts";
import { packageVersion } from "../package.ts";
import { print } from "./print.ts";
import { describeError } from "./report-error.ts";
import { selfTest } from "./self-test.ts";
import { formatTable } from "./table.ts";

const gigabytes = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

function machineRows(): string[][] {
  const disk = statfsSync(".");
  return [
    ["spa-ai", packageVersion()],
    ["Node.js", process.version],
    ["system", `${platform()} ${release()} ${arch()}`],
    ["processor", `${cpus()[0]?.model.trim() ?? "unknown"}, ${availableParallelism()} usable cores`],
    ["memory", `${gigabytes(totalmem())}, ${gigabytes(freemem())} free`],
    ["disk", `${gigabytes(disk.bavail * disk.bsize)} free here`],
  ];
}

type Info = ReturnType<typeof addonInfo>;

function addonRows(info: Info): string[][] {
  const { version, cuda } = loadedLibtorch(info);
  const { how, path } = info.libtorchLocation;
  return [
    ["libtorch", `${version} (${cuda === null ? "CPU" : `CUDA ${cuda}`}), found by ${how}: ${path}`],
    ["addon", info.addonFile],
    ["CPU kernels", `${info.isa}; libtorch's: ${info.cpuCapability}, oneDNN ${info.mkldnn ? "yes" : "no"}`],
    ["GPU", gpuText(info)],
  ];
}

function gpuText(info: AddonInfo): string {
  const { gpus, driver } = readGpus();
  const names = gpus.map(({ name, memory, computeCapability }) => {
    return `${name}, ${gigabytes(memory)}, compute capability ${computeCapability.toFixed(1)}`;
  });
  const there = names.length > 0 ? `${names.join("; ")}; driver ${driver}; usable: ` : "";
  return `${there}${info.devices.join(", ") || "none"}${info.cuda ? "" : " (the addon is built without CUDA)"}`;
}

async function testDevice(device: "cpu" | "cuda"): Promise<boolean> {
  print(`\nself-test on ${device}`);
  const results = await selfTest(device);
  print(
    results
      .map(({ name, passed, detail }) => `  ${passed ? "ok    " : "FAILED"}  ${name}: ${detail}`)
      .join("\n"),
  );
  return results.every(({ passed }) => passed);
}

/** Prints what is installed and tests the addon. Resolves to the exit code. */
async function doctor(): Promise<number> {
  print(formatTable(["part", "found"], machineRows()));
  let info: ReturnType<typeof addonInfo>;
  try {
    info = addonInfo();
  } catch (error) {
    print(`\n${describeError(error)}`);
    return 3;
  }
  print(`\n${formatTable(["part", "found"], addonRows(info))}`);
  const problems = installationProblems(info);
  for (const { problem, remedy } of problems) print(`\nproblem: ${problem}\nhint: ${remedy}`);
  let passed = await testDevice("cpu");
  if (info.devices.length > 0) passed = (await testDevice("cuda")) && passed;
  const verdict = problems.length > 0 ? "The CPU works; for the rest see above." : "Everything works.";
  print(`\n${passed ? verdict : "Something does not work: see above."}`);
  return passed ? 0 : 3;
}

/** `spa doctor`. */
export function addDoctorCommand(program: Command, finish: (code: number) => void): void {
  program
    .command("doctor")
    .description("print versions, libtorch, CPU features and GPU, and test the addon for a few seconds")
    .action(async () => finish(await doctor()));
}
