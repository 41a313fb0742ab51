// Finds libtorch, or brings it. In this order: the LIBTORCH variable, what an earlier set-up settled on, the cache,
// python3's installed torch, a download of the wheel (a wheel of torch holds a complete libtorch; Python is not needed
// once it is unpacked).
import { createHash } from "node:crypto";
import { createReadStream, existsSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { cacheFolder, nativeFolder, readLibtorchRecord, writeLibtorchRecord } from "./locations.mjs";
import { checkDisk, checkPython } from "./prerequisites.mjs";
import { lastLines, root, run, SetupError, say, withScratchFolder } from "./step.mjs";
import { wheelDigests } from "./wheel-digests.mjs";

const VERSION = "2.13.0";
const OLDEST = [2, 11];
const NEWEST = [2, 14];
const CPU_INDEX = "https://download.pytorch.org/whl/cpu";
const DOWNLOADED = `${VERSION}-${process.platform}-${process.arch}`;

/** The version in libtorch's own header, or undefined where there is no libtorch. */
function libtorchVersion(path) {
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
  if (!process.env.LIBTORCH) return undefined;
  const path = resolve(process.env.LIBTORCH);
  const version = libtorchVersion(path);
  if (!version) {
    throw new SetupError(
      `LIBTORCH is '${process.env.LIBTORCH}', which holds no libtorch (no include/torch version header).`,
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
  const cache = cacheFolder();
  if (cache === undefined) return undefined;
  const path = join(cache, "libtorch", DOWNLOADED);
  return libtorchVersion(path) === VERSION ? { path, version: VERSION, how: "cache" } : undefined;
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
  // On Linux the plain name stands for a wheel with CUDA.
  const cpu = process.platform === "linux" ? `${VERSION}+cpu` : VERSION;
  const attempts = [
    [...pip, `torch==${cpu}`],
    // Any Python's wheel will do, and this one's digest is known.
    [...pip, "--index-url", CPU_INDEX, "--python-version", "3.12", `torch==${cpu}`],
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
    `check the network (or pip's proxy settings) and run set-up again; or install it by hand: python3 -m pip install torch==${VERSION}`,
  );
}

/** The wheel runs as code in this process once it is unpacked: it must be the one that PyTorch has published. */
async function checkDigest(wheel) {
  const name = basename(wheel);
  const expected = wheelDigests[name];
  const hash = createHash("sha256");
  await pipeline(createReadStream(wheel), hash);
  const found = hash.digest("hex");
  if (found === expected) return;
  rmSync(wheel);
  throw new SetupError(
    expected === undefined
      ? `The wheel ${name} (sha256 ${found}) is none of those whose digest set-up knows; it was removed.`
      : `The wheel ${name} has the sha256 ${found} in place of ${expected}; it was removed.`,
    `look at where pip takes torch from (python3 -m pip config list); to use a libtorch that you trust, set LIBTORCH to its folder`,
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
  return withScratchFolder("libtorch", async (scratch) => {
    checkDisk(scratch);
    say(`downloading libtorch ${VERSION} (about 200 MB)`);
    const wheel = await downloadWheel(scratch);
    await checkDigest(wheel);
    say("unpacking libtorch (about 500 MB)");
    await run("python3", ["-c", UNPACK, wheel, scratch], { show: true });
    const target = join(cacheFolder(), "libtorch", DOWNLOADED);
    // Another set-up may have been quicker.
    if (!fromCache()) {
      rmSync(target, { recursive: true, force: true });
      renameSync(join(scratch, "torch"), target);
    }
    return { ...fromCache(), how: "download" };
  });
}

/** Resolves `{ path, version, how }` and records it in the package's native folder, where the addon's loader reads it. */
export async function ensureLibtorch() {
  const found = fromVariable() ?? fromRecord() ?? fromCache() ?? (await fromPython()) ?? (await download());
  const native = nativeFolder(root);
  if (native !== undefined) writeLibtorchRecord(native, found);
  return found;
}

/** What an earlier set-up settled on, if it is still there: keeps a second call quick and its choice stable. */
function fromRecord() {
  const native = nativeFolder(root);
  const found = native === undefined ? undefined : readLibtorchRecord(native);
  if (found === undefined || found.how === "LIBTORCH variable") return undefined;
  return libtorchVersion(found.path) === found.version ? found : undefined;
}
