// What this package needs to know of a tokenizer.json: that it is of a kind whose tokens are bytes, and which bytes.

import { SpaError } from "../errors.ts";
import { exactPreTokenizer } from "./pre-tokenizer.ts";

interface AddedToken {
  id: number;
  content: string;
}

/** Normalizers that JavaScript has, too. */
const normalizers = ["NFC", "NFD", "NFKC", "NFKD"];

/** The checked parts of a tokenizer.json. */
export interface TokenizerJson {
  model: { vocab: Record<string, number>; merges: (string | [string, string])[]; byte_fallback?: boolean };
  added_tokens: AddedToken[];
  decoder: { type: string; decoders?: { type: string }[] };
}

/** From a vocabulary entry (an added token is its own text) to the bytes it stands for. */
export type ByteScheme = (content: string) => Uint8Array;

/**
 * Checks the shape of a parsed tokenizer.json: a BPE model whose ids are integers, and nothing that changes ids in a way
 * that @huggingface/tokenizers does not follow. The result's pre-tokenizer is one that it follows exactly.
 *
 * @throws SpaError BAD_TOKENIZER naming the field.
 */
export function checkTokenizerJson(value: unknown, where: string): TokenizerJson {
  const json = isObject(value) ? value : fail(where, "is no JSON object");
  const model = isObject(json.model) ? json.model : fail(where, 'has no "model"');
  if (model.type !== "BPE" && !(model.type === undefined && Array.isArray(model.merges))) {
    fail(where, `has a model of type ${JSON.stringify(model.type)}; only "BPE" is supported`);
  }
  if (!Array.isArray(model.merges) || !model.merges.every(isMerge)) {
    fail(where, 'has no "model.merges" of pairs');
  }
  const vocab = isObject(model.vocab) ? model.vocab : fail(where, 'has no "model.vocab"');
  const owners = new Map<number, string>();
  for (const [token, id] of Object.entries(vocab)) {
    if (!isId(id)) {
      fail(where, `gives the token ${JSON.stringify(token)} the id ${JSON.stringify(id)}`);
    }
    if (owners.has(id as number)) {
      fail(
        where,
        `gives the id ${id} to ${JSON.stringify(owners.get(id as number))} and ${JSON.stringify(token)}`,
      );
    }
    owners.set(id as number, token);
  }
  const added = json.added_tokens ?? [];
  if (
    !Array.isArray(added) ||
    !added.every((token) => isObject(token) && typeof token.content === "string" && isId(token.id))
  ) {
    fail(where, 'has "added_tokens" that are no { id, content }');
  }
  checkSupport(json, model, added, where);
  const cut = json.pre_tokenizer ?? null;
  const parts = {
    ...{ normalizer: null, post_processor: null },
    ...json,
    pre_tokenizer: cut === null ? null : exactPreTokenizer(cut, (what) => fail(where, `has ${what}`)),
    added_tokens: added,
  };
  return parts as unknown as TokenizerJson;
}

/** Refuses what would give other ids than the tokenizers library gives. */
function checkSupport(
  json: Record<string, unknown>,
  model: Record<string, unknown>,
  added: readonly Record<string, unknown>[],
  where: string,
): void {
  for (const field of ["dropout", "continuing_subword_prefix", "end_of_word_suffix"]) {
    if (model[field]) fail(where, `has "model.${field}" ${JSON.stringify(model[field])}`);
  }
  const whole = added.find((token) => token.single_word === true);
  if (whole !== undefined)
    fail(where, `has the added token ${JSON.stringify(whole.content)} with single_word`);
  const check = (step: unknown): void => {
    if (!isObject(step)) return;
    if (step.type === "Sequence" && Array.isArray(step.normalizers)) step.normalizers.forEach(check);
    else if (!normalizers.includes(String(step.type))) {
      fail(
        where,
        `has a normalizer of type ${JSON.stringify(step.type)}; ${normalizers.join(", ")} are supported`,
      );
    }
  };
  check(json.normalizer);
}

/**
 * Refuses a tokenizer_config.json that adds tokens which tokenizer.json has not: transformers would take them, and ids
 * would differ.
 *
 * @throws SpaError BAD_TOKENIZER naming the token
 */
export function checkAddedTokens(json: TokenizerJson, config: unknown, where: string): void {
  const listed = isObject(config) && isObject(config.added_tokens_decoder) ? config.added_tokens_decoder : {};
  const ids = new Map(json.added_tokens.map(({ content, id }) => [content, id]));
  for (const [id, token] of Object.entries(listed)) {
    const content = isObject(token) ? String(token.content) : "";
    if (ids.get(content) === Number(id)) continue;
    const text = JSON.stringify(content);
    throw new SpaError(
      "BAD_TOKENIZER",
      `${where}/tokenizer_config.json adds ${text} as ${id}, tokenizer.json does not`,
      {
        hint: "load the tokenizer in transformers and save_pretrained it: that writes both files anew",
      },
    );
  }
}

/**
 * How tokens turn into bytes.
 *
 * @throws SpaError BAD_TOKENIZER for a decoder of another kind, or if some byte has no token.
 */
export function byteSchemeOf(json: TokenizerJson, where: string): ByteScheme {
  const steps = json.decoder?.type === "Sequence" ? (json.decoder.decoders ?? []) : [json.decoder];
  const types = steps.map((step) => step?.type);
  if (types.length === 1 && types[0] === "ByteLevel") {
    requireAllBytes(json, (byte) => byteLevelAlphabet[byte], where);
    const encoder = new TextEncoder();
    return (content) => {
      const bytes = Array.from(content, (character) => byteOfCharacter.get(character));
      // An entry with a character outside the alphabet stands for its own text, as in the tokenizers library.
      return bytes.includes(undefined) ? encoder.encode(content) : Uint8Array.from(bytes as number[]);
    };
  }
  if (types.includes("ByteFallback") && types.every((type) => type === "ByteFallback" || type === "Fuse")) {
    if (json.model.byte_fallback !== true) {
      fail(where, 'has a ByteFallback decoder but no "model.byte_fallback"');
    }
    requireAllBytes(json, byteToken, where);
    const encoder = new TextEncoder();
    return (content) => {
      const byte = /^<0x([0-9A-F]{2})>$/.exec(content);
      return byte === null ? encoder.encode(content) : Uint8Array.of(Number.parseInt(byte[1], 16));
    };
  }
  return fail(
    where,
    `has a decoder of type ${types.join(" + ")}; ByteLevel and ByteFallback + Fuse are supported`,
  );
}

/** The vocabulary entry of a byte in a tokenizer with byte fallback, e.g. `<0x0A>`. */
export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

/**
 * GPT-2's alphabet of byte-level BPE: printable Latin-1 characters stand for themselves, the other bytes for the
 * characters from U+0100 on, in order.
 */
const byteLevelAlphabet: readonly string[] = (() => {
  const alphabet: string[] = [];
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
    alphabet.push(String.fromCharCode(printable ? byte : next++));
  }
  return alphabet;
})();

const byteOfCharacter = new Map(byteLevelAlphabet.map((character, byte) => [character, byte]));

function requireAllBytes(json: TokenizerJson, tokenOf: (byte: number) => string, where: string): void {
  for (let byte = 0; byte < 256; byte++) {
    if (!Object.hasOwn(json.model.vocab, tokenOf(byte))) {
      fail(where, `has no token for the byte 0x${byte.toString(16)}, so some texts cannot be encoded`);
    }
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isId(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0;
}

/** Merges are written as `"a b"` by older and as `["a", "b"]` by newer versions of the tokenizers library. */
function isMerge(merge: unknown): boolean {
  return typeof merge === "string"
    ? merge.includes(" ")
    : Array.isArray(merge) && merge.length === 2 && merge.every((part) => typeof part === "string");
}

function fail(where: string, what: string): never {
  throw new SpaError("BAD_TOKENIZER", `${where}/tokenizer.json ${what}`, {
    hint: "give the tokenizer.json of a Qwen, Llama 3 or nano model",
  });
}
