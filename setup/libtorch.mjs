// Finds libtorch, or brings it. In this order: the LIBTORCH variable, the project's cache, python3's installed torch,
// a download of the wheel (a wheel of torch holds a complete libtorch; Python is not needed once it is unpacked).
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { checkDisk, checkPython } from "./prerequisites.mjs";
import { BUILD_FOLDER, inRoot, lastLines, run, SetupError, say, writeAtomically } from "./step.mjs";

const VERSION = "2.13.0";
const OLDEST = [2, 11];
const NEWEST = [2, 14];
const CPU_INDEX = "https://download.pytorch.org/whl/cpu";
const cache = inRoot(".cache", "libtorch");
const record = inRoot(BUILD_FOLDER, "libtorch.json");

/** The version in libtorch's own header, or undefined where there is no libtorch. */
export function libtorchVersion(path) {
  for (const header of ["torch/headeronly/version.h", "torch/csrc/api/include/torch/version.h"]) {
    const file = join(path, "include", header);
    if (!existsSync(file)) continue;
    const text = readFileSync(file, "utf8");
    const part = (name) => new RegExp(`#define TORCH_VERSION_${name} (\\d+)`).exec(text)?.[1];
    if (part("MAJOR")) return `${part("MAJOR")}.${part("MINOR")}.${part("PATCH")}`;
  }
  return undefined;
}

const isSupported = (version) => {
  const [major, minor] = version.split(".").map(Number);
  return major === OLDEST[0] && minor >= OLDEST[1] && minor <= NEWEST[1];
};
const range = `${OLDEST.join(".")} to ${NEWEST.join(".")}`;

function fromVariable() {
  const path = process.env.LIBTORCH;
  if (!path) return undefined;
  const version = libtorchVersion(path);
  if (!version) {
    throw new SetupError(
      `LIBTORCH is '${path}', which holds no libtorch (no include/torch version header).`,
      "point LIBTORCH at a folder with include/ and lib/, or unset it",
    );
  }
  if (!isSupported(version)) {
    throw new SetupError(
      `LIBTORCH holds libtorch ${version}; ${range} is supported.`,
      "unset LIBTORCH to let set-up bring one",
    );
  }
  return { path, version, how: "LIBTORCH variable" };
}

function fromCache() {
  const path = join(cache, "torch");
  const version = libtorchVersion(path);
  return version && isSupported(version) ? { path, version, how: "project cache" } : undefined;
}

async function fromPython() {
  try {
    const code = "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])";
    const path = (await run("python3", ["-c", code])).trim();
    const version = libtorchVersion(path);
    return version && isSupported(version) ? { path, version, how: "python3's installed torch" } : undefined;
  } catch {
    return undefined;
  }
}

/** pip's own set-up first, so that mirrors, proxies and offline wheel folders count; then the official CPU index. */
async function downloadWheel(folder) {
  const pip = ["-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--dest", folder];
  const cpu = process.platform === "linux" && process.arch === "x64" ? `${VERSION}+cpu` : VERSION;
  const attempts = [
    [...pip, `torch==${cpu}`],
    [...pip, "--index-url", CPU_INDEX, `torch==${VERSION}`],
  ];
  let output = "";
  for (const args of attempts) {
    try {
      await run("python3", args, { show: true });
      return join(
        folder,
        readdirSync(folder).find((name) => name.endsWith(".whl")),
      );
    } catch (failure) {
      output += `\n${failure.output}`;
    }
  }
  throw new SetupError(
    `libtorch ${VERSION} could not be downloaded: ${lastLines(output, 3)}`,
    `check the network (or pip's proxy settings) and run 'npm run setup' again; or install it by hand: python3 -m pip install torch==${VERSION}`,
  );
}

// Only what building and running need; members are written to a folder aside, which is renamed when it is whole.
const UNPACK = `
import sys, zipfile
wheel, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    members = [m for m in archive.infolist() if m.filename.startswith(("torch/lib/", "torch/include/")) and "libtorch_python" not in m.filename]
    total = sum(m.file_size for m in members)
    done, shown = 0, 0
    for member in members:
        archive.extract(member, target)
        done += member.file_size
        if done * 4 // total > shown:
            shown = done * 4 // total
            print(f"[setup]   unpacked {done * 100 // total} %", flush=True)
`;

async function download() {
  await checkPython();
  checkDisk();
  say(`downloading libtorch ${VERSION} (about 200 MB)`);
  mkdirSync(cache, { recursive: true });
  const aside = mkdtempSync(join(cache, "partial-"));
  try {
    const wheel = await downloadWheel(aside);
    say("unpacking libtorch (about 600 MB)");
    await run("python3", ["-c", UNPACK, wheel, aside], { show: true });
    rmSync(join(cache, "torch"), { recursive: true, force: true });
    renameSync(join(aside, "torch"), join(cache, "torch"));
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
  return { ...fromCache(), how: "download" };
}

/** Resolves `{ path, version, how }` and records it in build-cmake/libtorch.json, where the addon's loader reads it. */
export async function ensureLibtorch() {
  const found = fromVariable() ?? fromRecord() ?? fromCache() ?? (await fromPython()) ?? (await download());
  const text = `${JSON.stringify(found, null, 2)}\n`;
  if (!existsSync(record) || readFileSync(record, "utf8") !== text) writeAtomically(record, text);
  return found;
}

/** What an earlier set-up settled on, if it is still there: keeps a second call quick and its choice stable. */
function fromRecord() {
  if (!existsSync(record)) return undefined;
  const found = JSON.parse(readFileSync(record, "utf8"));
  return found.how !== "LIBTORCH variable" && libtorchVersion(found.path) === found.version
    ? found
    : undefined;
}
