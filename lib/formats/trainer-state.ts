import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Moments, NativeFile, NativeTensorInfo, NativeTensorSource } from "../addon/addon.ts";
import { SpaError } from "../errors.ts";
import { replaceFiles, writeSynced } from "../files/atomic-file.ts";
import { makeFolder } from "./model-folder.ts";
import { matchTensors, readSafetensorsHeader, safetensorsHeader } from "./safetensors.ts";

/** The version of the files; another one is refused. */
const formatVersion = 1;
const actorFile = "optimizer.safetensors";
const criticFile = "critic-optimizer.safetensors";

/** The tensors of a trainer's optimisers in file order; `critic` is empty without a critic of its own. */
export interface StateTensors {
  actor: NativeTensorInfo[];
  critic: NativeTensorInfo[];
}

/**
 * Writes the files of a trainer's state, each replaced whole. `save` writes the optimisers' tensors and returns the
 * number of updates that they have seen; it is called before the first wait.
 */
export async function writeTrainerState(
  folder: string,
  tensors: StateTensors,
  save: (actor: NativeFile, critic: NativeFile | null) => Promise<number>,
): Promise<void> {
  makeFolder(folder);
  const hasCritic = tensors.critic.length > 0;
  const names = ["trainer.json", actorFile, ...(hasCritic ? [criticFile] : [])];
  const files = names.map((name) => join(folder, name));
  await replaceFiles(files, async ([json, actorPath, criticPath]) => {
    const fileOf = (path: string, infos: NativeTensorInfo[]) => ({
      path,
      header: safetensorsHeader(infos, {}),
    });
    const stepCount = await save(
      fileOf(actorPath, tensors.actor),
      hasCritic ? fileOf(criticPath, tensors.critic) : null,
    );
    const moments = momentsOf(tensors);
    const state = { version: formatVersion, stepCount, critic: hasCritic, moments };
    await writeSynced(json, `${JSON.stringify(state, null, 2)}\n`);
  });
}

/**
 * Reads and checks the files of a trainer's state, all but the numbers in the tensors.
 *
 * @throws SpaError `BAD_CHECKPOINT`.
 */
export async function readTrainerState(
  folder: string,
  tensors: StateTensors,
): Promise<{ stepCount: number; actorTensors: NativeTensorSource[]; criticTensors: NativeTensorSource[] }> {
  const file = join(folder, "trainer.json");
  const { stepCount, hasCritic, moments } = parseState(file, await readText(file));
  if (moments !== momentsOf(tensors)) {
    throw new SpaError(
      "BAD_CHECKPOINT",
      `${file}: the state was saved with ${moments} moments, this trainer has ${momentsOf(tensors)} ones`,
      { hint: `make the trainer with moments: "${moments}" (engine.moments in a run's configuration)` },
    );
  }
  if (hasCritic !== tensors.critic.length > 0) {
    const [saved, present] = hasCritic ? ["with", "has none"] : ["without", "has one"];
    throw new SpaError(
      "BAD_CHECKPOINT",
      `${file}: the state was saved ${saved} a critic of its own, this trainer ${present}`,
    );
  }
  const read = async (name: string, infos: NativeTensorInfo[]) => {
    const path = join(folder, name);
    return matchTensors((await readSafetensorsHeader(path)).tensors, infos, path);
  };
  const actorTensors = await read(actorFile, tensors.actor);
  return { stepCount, actorTensors, criticTensors: hasCritic ? await read(criticFile, tensors.critic) : [] };
}

/** Quantised moments are stored as bytes. */
function momentsOf({ actor }: StateTensors): Moments {
  return actor.some(({ dtype }) => dtype === "U8") ? "int8" : "float32";
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new SpaError("BAD_CHECKPOINT", `${file} could not be read: ${(error as Error).message}`, {
      hint: "a trainer's state is written by trainer.saveState(folder)",
      cause: error,
    });
  }
}

function parseState(file: string, text: string): { stepCount: number; hasCritic: boolean; moments: Moments } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new SpaError("BAD_CHECKPOINT", `${file} is not JSON: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const {
    version,
    stepCount,
    critic,
    moments = "float32",
  } = (json ?? {}) as {
    version?: unknown;
    stepCount?: unknown;
    critic?: unknown;
    moments?: unknown;
  };
  if (version !== formatVersion) {
    throw new SpaError(
      "BAD_CHECKPOINT",
      `${file}: version ${JSON.stringify(version)} of the format is not known`,
      {
        hint: `this package reads version ${formatVersion}`,
      },
    );
  }
  if (!Number.isSafeInteger(stepCount) || (stepCount as number) < 0 || typeof critic !== "boolean") {
    throw new SpaError("BAD_CHECKPOINT", `${file}: stepCount or critic is missing or wrong`);
  }
  return { stepCount: stepCount as number, hasCritic: critic, moments: moments as Moments };
}
