import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Where models come from and where they are kept: what Hugging Face's own programs read from the environment. */
export interface HubSettings {
  /** Address of the Hub or of a mirror, without a slash at its end (HF_ENDPOINT). */
  endpoint: string;
  /** The cache that all Hugging Face programs share (HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME). */
  cacheFolder: string;
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
    return text === undefined ? undefined : text.replace(/^~(?=\/|$)/, homedir());
  };
  const home = path("HF_HOME") ?? join(path("XDG_CACHE_HOME") ?? join(homedir(), ".cache"), "huggingface");
  const offline = value("HF_HUB_OFFLINE") ?? value("TRANSFORMERS_OFFLINE") ?? "";
  return {
    endpoint: (value("HF_ENDPOINT") ?? "https://huggingface.co").replace(/\/+$/, ""),
    cacheFolder: path("HF_HUB_CACHE") ?? path("HUGGINGFACE_HUB_CACHE") ?? join(home, "hub"),
    token:
      value("HF_TOKEN") ??
      value("HUGGING_FACE_HUB_TOKEN") ??
      readToken(path("HF_TOKEN_PATH") ?? join(home, "token")),
    offline: ["1", "ON", "YES", "TRUE"].includes(offline.toUpperCase()),
  };
}

function readToken(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8").trim() || undefined;
  } catch {
    return undefined;
  }
}
