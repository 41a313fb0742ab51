import { execFileSync } from "node:child_process";
import type { AddonInfo } from "./addon.ts";
import { type LibtorchVersion, libtorchVersion } from "./libtorch-version.ts";
import type { LibtorchLocation } from "./loader.ts";

/** A GPU as the driver describes it. */
export interface Gpu {
  name: string;
  /** NVIDIA's number for the generation: 8.0 is Ampere, 9.0 Hopper. */
  computeCapability: number;
  /** Bytes. */
  memory: number;
}

/** What is known of GPUs without opening them. */
export interface GpuFacts {
  gpus: Gpu[];
  /** The driver's version, e.g. `570.86.10`; null where there is no NVIDIA driver. */
  driver: string | null;
  libtorch: LibtorchVersion;
  /** The addon was compiled with CUDA. */
  addonHasCuda: boolean;
  /** GPUs that libtorch can open. */
  usable: number;
  /** CUDA_VISIBLE_DEVICES, undefined if it is not set. */
  visible: string | undefined;
}

/** Why a GPU that is there cannot be used (or not well), and the way out. */
export interface GpuProblem {
  problem: string;
  remedy: string;
}

/** The oldest generation that the addon's kernels are compiled for (native/cmake/cuda.cmake), and that computes in bfloat16. */
const oldestCapability = 8;

/** The oldest Linux driver that runs programs of a major version of CUDA (NVIDIA's table of minor version compatibility). */
const oldestDriver: Record<string, number> = { "11": 450, "12": 525, "13": 580 };

/** GPUs and driver as nvidia-smi tells them; none where there is no such program. */
export function readGpus(): Pick<GpuFacts, "gpus" | "driver"> {
  const query = ["--query-gpu=name,compute_cap,memory.total,driver_version", "--format=csv,noheader,nounits"];
  try {
    return parseGpus(
      execFileSync("nvidia-smi", query, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
    );
  } catch {
    return { gpus: [], driver: null };
  }
}

/** Reads nvidia-smi's lines `name, compute capability, MiB, driver version`. */
export function parseGpus(text: string): Pick<GpuFacts, "gpus" | "driver"> {
  const lines = text.split("\n").map((line) => line.split(",").map((field) => field.trim()));
  const rows = lines.filter((fields) => fields.length === 4);
  const gpus = rows.map(([name, capability, memory]) => ({
    name,
    computeCapability: Number(capability),
    memory: Number(memory) * 2 ** 20,
  }));
  return { gpus, driver: rows[0]?.[3] ?? null };
}

type Installation = AddonInfo & { libtorchLocation: LibtorchLocation };

/** What the libtorch that is loaded says of itself. */
export function loadedLibtorch({ libtorch, libtorchLocation }: Installation): LibtorchVersion {
  return libtorchVersion(libtorchLocation.path) ?? { version: libtorch, cuda: null };
}

/** What keeps libtorch, addon, driver and GPUs of this machine from working together. */
export function installationProblems(info: Installation): GpuProblem[] {
  const libtorch = loadedLibtorch(info);
  const visible = process.env.CUDA_VISIBLE_DEVICES;
  const facts = { ...readGpus(), libtorch, addonHasCuda: info.cuda, usable: info.devices.length, visible };
  if (libtorch.version === info.libtorch) return gpuProblems(facts);
  const mixed = {
    problem: `the addon was compiled for libtorch ${info.libtorch}, but ${libtorch.version} is loaded`,
    remedy:
      "npm run setup compiles it for the one that is found; unset LIBTORCH to go back to the former one",
  };
  return [mixed, ...gpuProblems(facts)];
}

/** What keeps the GPUs that are there from being used, the first cause first. Nothing for a machine without. */
export function gpuProblems(facts: GpuFacts): GpuProblem[] {
  const { gpus, libtorch, addonHasCuda, usable } = facts;
  if (gpus.length === 0) return [];
  if (libtorch.cuda === null) {
    return [
      {
        problem: `libtorch ${libtorch.version} is a build without CUDA`,
        remedy:
          "set LIBTORCH to a CUDA build (a wheel of torch with +cu in its version), then: npm run setup",
      },
    ];
  }
  const driver = driverProblem(facts, libtorch.cuda);
  if (driver) return [driver];
  if (!addonHasCuda) {
    return [
      {
        problem: `libtorch has CUDA ${libtorch.cuda}, but the addon was compiled without`,
        remedy: `install the CUDA toolkit ${libtorch.cuda} (nvcc must be in the PATH), then: npm run setup`,
      },
    ];
  }
  const problems = gpus.filter(isOld).map(tooOld);
  if (problems.length > 0 || usable > 0) return problems;
  return [unopened(facts)];
}

const isOld = ({ computeCapability }: Gpu) => computeCapability < oldestCapability;

function tooOld({ name, computeCapability }: Gpu): GpuProblem {
  const needed = `the kernels need ${oldestCapability.toFixed(1)} (Ampere) or newer`;
  return {
    problem: `${name} is too old: compute capability ${computeCapability.toFixed(1)}, ${needed}`,
    remedy: "use another GPU (CUDA_VISIBLE_DEVICES chooses one), or engine.device=cpu",
  };
}

/** Why none of the GPUs can compute, although libtorch opens them; undefined if one can, or none is known. */
export function allTooOld(gpus: readonly Gpu[]): GpuProblem | undefined {
  return gpus.length > 0 && gpus.every(isOld) ? tooOld(gpus[0]) : undefined;
}

/** Driver and libtorch are of different times. */
function driverProblem({ driver, libtorch }: GpuFacts, cuda: string): GpuProblem | undefined {
  const needed = oldestDriver[cuda.split(".")[0]];
  if (driver === null || needed === undefined || Number.parseInt(driver, 10) >= needed) return undefined;
  const older = Object.entries(oldestDriver).findLast(
    ([, version]) => version <= Number.parseInt(driver, 10),
  );
  const other = older ? `, or set LIBTORCH to a build for CUDA ${older[0]} and run npm run setup` : "";
  return {
    problem: `driver ${driver} is too old for libtorch ${libtorch.version} with CUDA ${cuda}, which needs ${needed} or newer`,
    remedy: `update the NVIDIA driver${other}`,
  };
}

function unopened({ visible, driver, libtorch }: GpuFacts): GpuProblem {
  if (visible !== undefined) {
    return {
      problem: `CUDA_VISIBLE_DEVICES=${visible} leaves no usable GPU`,
      remedy: "unset it, or give numbers that nvidia-smi -L lists",
    };
  }
  return {
    problem: `libtorch with CUDA ${libtorch.cuda} cannot open the GPU (driver ${driver})`,
    remedy:
      "in a container: start it with --gpus all; else check that nvidia-smi works and that no other libcuda is in LD_LIBRARY_PATH",
  };
}
