import { execFileSync } from "node:child_process";
import { availableParallelism, cpus, totalmem } from "node:os";
import { packageVersion } from "../package.ts";
import type { SessionRecord } from "./ledger.ts";

/** What a run folder keeps of a process that works in it. @param devices names of the accelerators that it uses */
export function describeSession(
  devices: readonly string[],
): Pick<SessionRecord, "package" | "commit" | "machine"> {
  const commit = commitOf(process.cwd());
  return {
    package: packageVersion(),
    ...(commit !== undefined && { commit }),
    machine: describeMachine(devices),
  };
}

function describeMachine(devices: readonly string[]): string {
  const processor = cpus()[0]?.model.trim() ?? process.arch;
  const cores = availableParallelism();
  const parts = [
    ...devices,
    `${processor}, ${cores} ${cores === 1 ? "core" : "cores"}`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `${process.platform} ${process.arch}`,
    `Node.js ${process.versions.node}`,
  ];
  return parts.join(", ");
}

/** Undefined outside of a git repository, and where there is no git. */
function commitOf(folder: string): string | undefined {
  try {
    const about = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
    const text = execFileSync("git", about, {
      cwd: folder,
      encoding: "utf8",
      timeout: 5000,
      stdio: ["ignore", "pipe", "ignore"],
    });
    return text.trim() || undefined;
  } catch {
    return undefined;
  }
}
