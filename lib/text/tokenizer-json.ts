// What this package needs to know of a tokenizer.json: that it is of a kind whose tokens are bytes, and which bytes.

import { SpaError } from "../errors.ts";
import { type AddedToken, AddedTokens } from "./added-tokens.ts";
import { type PreTokenizer, readPreTokenizer } from "./pre-tokenizer.ts";

type Json = Record<string, unknown>;

/** Unicode's normal forms, the only normalizers that are followed. */
const normalForms = ["NFC", "NFD", "NFKC", "NFKD"] as const;

type NormalForm = (typeof normalForms)[number];

/** Ids are 32-bit numbers in arrays of tokens. */
const largestId = 2 ** 31 - 1;

/** From a vocabulary entry to the bytes it stands for. */
type ByteScheme = (content: string) => Uint8Array;

/** What a tokenizer.json says, checked. */
export interface TokenizerJson {
  vocab: Readonly<Record<string, number>>;
  merges: [string, string][];
  byteFallback: boolean;
  ignoreMerges: boolean;
  /** By content. */
  added: ReadonlyMap<string, AddedToken>;
  /** Of these, those that are looked for in a text as it is, and those that are looked for in its normal form. */
  written: AddedTokens;
  normalized: AddedTokens;
  /** One after another. */
  normalForms: readonly NormalForm[];
  preTokenizer: PreTokenizer;
  bytesOf: ByteScheme;
}

/**
 * Reads a parsed tokenizer.json: a BPE model of bytes in which every text can be encoded. What the tokenizers library
 * refuses, and what would give other ids here than there, is refused.
 *
 * @throws SpaError BAD_TOKENIZER naming the field.
 */
export function readTokenizerJson(value: unknown, where: string): TokenizerJson {
  const refuse = (what: string): never => fail(where, what);
  const json = isObject(value) ? value : refuse("is no JSON object");
  const model = isObject(json.model) ? json.model : refuse('has no "model"');
  if (model.type !== "BPE" && !(model.type === undefined && Array.isArray(model.merges))) {
    refuse(`has a model of type ${JSON.stringify(model.type)}; only "BPE" is supported`);
  }
  for (const field of ["dropout", "continuing_subword_prefix", "end_of_word_suffix"]) {
    if (model[field]) refuse(`has "model.${field}" ${JSON.stringify(model[field])}`);
  }
  const vocab = readVocabulary(model.vocab, refuse);
  const preTokenizer = readPreTokenizer(json.pre_tokenizer, byteLevelAlphabet, (what) =>
    refuse(`has ${what}`),
  );
  const byteFallback = model.byte_fallback === true;
  const added = readAddedTokens(json.added_tokens ?? [], vocab, refuse);
  const forms = readNormalizer(json.normalizer, refuse);
  return {
    vocab,
    merges: readMerges(model.merges, vocab, byteFallback, refuse),
    byteFallback,
    ignoreMerges: model.ignore_merges === true,
    added,
    written: new AddedTokens(new Map([...added].filter(([, { normalized }]) => !normalized))),
    normalized: new AddedTokens(inNormalForm(added, forms, refuse)),
    normalForms: forms,
    preTokenizer,
    bytesOf: readDecoder(json.decoder, { vocab, byteFallback, preTokenizer }, refuse),
  };
}

type Refuse = (what: string) => never;

function readVocabulary(value: unknown, refuse: Refuse): Record<string, number> {
  const vocab = isObject(value) ? value : refuse('has no "model.vocab"');
  const owners = new Map<unknown, string>();
  for (const [token, id] of Object.entries(vocab)) {
    if (!isId(id)) refuse(`gives the token ${JSON.stringify(token)} the id ${JSON.stringify(id)}`);
    const owner = owners.get(id);
    if (owner !== undefined) {
      refuse(`gives the id ${id} to ${JSON.stringify(owner)} and ${JSON.stringify(token)}`);
    }
    owners.set(id, token);
  }
  return vocab as Record<string, number>;
}

/** Merges are written as `"a b"` by older and as `["a", "b"]` by newer versions of the tokenizers library. */
function readMerges(
  value: unknown,
  vocab: Readonly<Record<string, number>>,
  byteFallback: boolean,
  refuse: Refuse,
): [string, string][] {
  const isPair = (pair: unknown): pair is [string, string] =>
    Array.isArray(pair) && pair.length === 2 && pair.every((part) => typeof part === "string");
  const list = Array.isArray(value) ? value : refuse('has no "model.merges" of pairs');
  const pairs = list.map((merge) => (typeof merge === "string" ? merge.split(" ") : merge) as unknown);
  if (!pairs.every(isPair)) return refuse('has no "model.merges" of pairs');
  for (const [left, right] of pairs) {
    const isKnown = (token: string): boolean => Object.hasOwn(vocab, token);
    if (!isKnown(left) || !isKnown(right) || !isKnown(left + right)) {
      const missing = [left, right, left + right].find((token) => !isKnown(token));
      refuse(
        `merges ${JSON.stringify(left)} and ${JSON.stringify(right)}, but ${JSON.stringify(missing)} is not in its vocabulary`,
      );
    }
    // There they are merged, here they are what is left of other characters.
    if (byteFallback && (byteNamed(left) ?? byteNamed(right)) !== undefined) {
      refuse(`merges ${JSON.stringify(left)} and ${JSON.stringify(right)}, of which one is a byte`);
    }
  }
  return pairs;
}

/** Added tokens by content. */
function readAddedTokens(
  value: unknown,
  vocab: Readonly<Record<string, number>>,
  refuse: Refuse,
): Map<string, AddedToken> {
  const isToken = (token: unknown): token is Json & { id: number; content: string } =>
    isObject(token) && typeof token.content === "string" && isId(token.id);
  const list =
    Array.isArray(value) && value.every(isToken)
      ? value
      : refuse('has "added_tokens" that are no { id, content }');
  const added = new Map<string, AddedToken>();
  for (const token of list.filter(({ content }) => content !== "")) {
    const { id, content } = token;
    const text = JSON.stringify(content);
    const flag = (name: string, standard = false): boolean => {
      const given = token[name] ?? standard;
      return typeof given === "boolean"
        ? given
        : refuse(`gives the added token ${text} the ${name} ${JSON.stringify(given)}`);
    };
    if (flag("single_word")) refuse(`has the added token ${text} with single_word`);
    // Of a token that is there twice the library takes the second.
    added.set(content, {
      ...{ id, content, lstrip: flag("lstrip"), rstrip: flag("rstrip") },
      normalized: flag("normalized", token.special !== true),
    });
  }
  checkAddedIds([...added.values()], vocab, refuse);
  return added;
}

/**
 * Whatever the file says, the tokenizers library gives added tokens the ids of the vocabulary, or those that follow on
 * it, in the file's order. (A vocabulary with gaps is a cut-out of another one, whose ids stand.)
 */
function checkAddedIds(
  added: readonly AddedToken[],
  vocab: Readonly<Record<string, number>>,
  refuse: Refuse,
): void {
  const ids = Object.values(vocab);
  const hasGaps = ids.some((id) => id >= ids.length);
  let next = ids.length;
  for (const { id, content } of added) {
    const given = Object.hasOwn(vocab, content) ? vocab[content] : hasGaps ? id : next++;
    if (given !== id) {
      const text = JSON.stringify(content);
      refuse(`has the added token ${text} with the id ${id}, where the tokenizers library gives it ${given}`);
    }
  }
}

/** The tokens that are looked for in normalised texts, by what is looked for. */
function inNormalForm(
  added: ReadonlyMap<string, AddedToken>,
  forms: readonly NormalForm[],
  refuse: Refuse,
): Map<string, AddedToken> {
  const found = new Map<string, AddedToken>();
  for (const [content, token] of added) {
    if (!token.normalized) continue;
    const text = forms.reduce((normal, form) => normal.normalize(form), content);
    const other = found.get(text)?.content;
    if (other !== undefined) {
      refuse(
        `has the added tokens ${JSON.stringify(other)} and ${JSON.stringify(content)}, which are normalised to the same`,
      );
    }
    found.set(text, token);
  }
  return found;
}

function readNormalizer(value: unknown, refuse: Refuse): NormalForm[] {
  if (value === null || value === undefined) return [];
  const { type, normalizers } = isObject(value) ? value : refuse("has a normalizer that is no object");
  if (type === "Sequence" && Array.isArray(normalizers)) {
    return normalizers.flatMap((step) => readNormalizer(step ?? {}, refuse));
  }
  const form = normalForms.find((name) => name === type);
  return form !== undefined
    ? [form]
    : refuse(`has a normalizer of type ${JSON.stringify(type)}; ${normalForms.join(", ")} are supported`);
}

/**
 * Refuses a tokenizer_config.json that adds tokens which tokenizer.json has not: transformers would take them, and ids
 * would differ.
 *
 * @throws SpaError BAD_TOKENIZER naming the token
 */
export function checkAddedTokens(json: TokenizerJson, config: unknown, where: string): void {
  const listed = isObject(config) && isObject(config.added_tokens_decoder) ? config.added_tokens_decoder : {};
  for (const [id, token] of Object.entries(listed)) {
    const content = isObject(token) ? String(token.content) : "";
    if (json.added.get(content)?.id === Number(id)) continue;
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

/** How tokens turn into bytes, which the decoder says. */
function readDecoder(
  value: unknown,
  { vocab, byteFallback, preTokenizer }: Pick<TokenizerJson, "vocab" | "byteFallback" | "preTokenizer">,
  refuse: Refuse,
): ByteScheme {
  const decoder = isObject(value) ? value : {};
  const steps: unknown[] =
    decoder.type === "Sequence" && Array.isArray(decoder.decoders) ? decoder.decoders : [decoder];
  const types = steps.map((step) => (isObject(step) ? step.type : undefined));
  const encoder = new TextEncoder();
  if (types.length === 1 && types[0] === "ByteLevel") {
    if (!preTokenizer.writesBytes) refuse("has a ByteLevel decoder but no ByteLevel pre-tokenizer");
    requireBytes(vocab, (byte) => byteLevelAlphabet[byte], refuse);
    return (content) => {
      const bytes = Array.from(content, (character) => byteOfCharacter.get(character));
      // An entry with a character outside the alphabet stands for its own text, as in the tokenizers library.
      return bytes.includes(undefined) ? encoder.encode(content) : Uint8Array.from(bytes as number[]);
    };
  }
  if (types.includes("ByteFallback") && types.every((type) => type === "ByteFallback" || type === "Fuse")) {
    if (!byteFallback) refuse('has a ByteFallback decoder but no "model.byte_fallback"');
    if (preTokenizer.writesBytes) refuse("has a ByteLevel pre-tokenizer but a ByteFallback decoder");
    requireBytes(vocab, byteToken, refuse);
    return (content) => {
      const byte = byteNamed(content);
      return byte === undefined ? encoder.encode(content) : Uint8Array.of(byte);
    };
  }
  return refuse(
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

/** The byte that a token with byte fallback is named after, if it is one. */
function byteNamed(token: string): number | undefined {
  const name = /^<0x([0-9A-F]{2})>$/.exec(token);
  return name === null ? undefined : Number.parseInt(name[1], 16);
}

/** Bytes that no text in UTF-8 has: a vocabulary may lack them. */
const isNever = (byte: number): boolean => byte === 0xc0 || byte === 0xc1 || byte >= 0xf5;

function requireBytes(
  vocab: Readonly<Record<string, number>>,
  tokenOf: (byte: number) => string,
  refuse: Refuse,
): void {
  for (let byte = 0; byte < 256; byte++) {
    if (!isNever(byte) && !Object.hasOwn(vocab, tokenOf(byte))) {
      refuse(`has no token for the byte 0x${byte.toString(16)}, so some texts cannot be encoded`);
    }
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isId(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < largestId;
}

function fail(where: string, what: string): never {
  throw new SpaError("BAD_TOKENIZER", `${where}/tokenizer.json ${what}`, {
    hint: "give the tokenizer.json of a Qwen, Llama 3 or nano model",
  });
}
