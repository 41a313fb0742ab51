import { readFileSync } from "node:fs";
import { join } from "node:path";
import { homeFolder } from "#locations";
import { SpaError } from "../errors.ts";

/** Where models come from and where they are kept: what Hugging Face's own programs read from the environment. */
export interface HubSettings {
  /** Address of the Hub or of a mirror, without a slash at its end (HF_ENDPOINT). */
  endpoint: string;
  /**
   * The cache that all Hugging Face programs share (HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, the home folder); undefined for
   * a user without a home who sets none of them.
   */
  cacheFolder: string | undefined;
  /** Access token (HF_TOKEN, or the file that `hf auth login` writes). */
  token: string | undefined;
  /** Nothing is fetched (HF_HUB_OFFLINE). */
  offline: boolean;
}

type Variables = Record<string, string | undefined>;

/** Reads the settings from environment variables, with the meanings and defaults of huggingface_hub. */
export function hubSettings(variables: Variables = process.env): HubSettings {
  const value = (name: string) => variables[name]?.trim() || undefined;
  const path = (name: string) => {
    const text = value(name);
    // Without a home folder the tilde stays, as Python leaves it.
    return text?.replace(/^~(?=\/|$)/, (tilde) => homeFolder() ?? tilde);
  };
  const below = (folder: string | undefined, ...names: string[]) => folder && join(folder, ...names);
  const home =
    path("HF_HOME") ?? below(path("XDG_CACHE_HOME") ?? below(homeFolder(), ".cache"), "huggingface");
  const offline = value("HF_HUB_OFFLINE") ?? value("TRANSFORMERS_OFFLINE") ?? "";
  return {
    endpoint: (value("HF_ENDPOINT") ?? "https://huggingface.co").replace(/\/+$/, ""),
    cacheFolder: path("HF_HUB_CACHE") ?? path("HUGGINGFACE_HUB_CACHE") ?? below(home, "hub"),
    token:
      value("HF_TOKEN") ??
      value("HUGGING_FACE_HUB_TOKEN") ??
      readToken(path("HF_TOKEN_PATH") ?? below(home, "token")),
    offline: ["1", "ON", "YES", "TRUE"].includes(offline.toUpperCase()),
  };
}

/**
 * The folder for downloads.
 *
 * @throws SpaError BAD_CONFIG where there is none
 */
export function cacheOf({ cacheFolder }: HubSettings): string {
  if (cacheFolder !== undefined) return cacheFolder;
  throw new SpaError("BAD_CONFIG", "there is no home folder to keep models in", {
    hint: "set HF_HOME (or HF_HUB_CACHE) to a folder that can be written",
  });
}

function readToken(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, "utf8").trim() || undefined;
  } catch {
    return undefined;
  }
}
