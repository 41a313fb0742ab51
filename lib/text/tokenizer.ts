import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { SpaError } from "../errors.ts";
import { fileError } from "../files/file-error.ts";
import { makeFolders } from "../files/folders.ts";
import { BpeEncoder, type PartEncoder } from "./bpe-encoder.ts";
import { checkAddedTokens, readTokenizerJson, type TokenizerJson } from "./tokenizer-json.ts";

/** Files of a Hugging Face tokenizer by name; `save` writes them back byte for byte. */
type TokenizerFiles = ReadonlyMap<string, Uint8Array>;

const required = "tokenizer.json";
const optional = [
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
  "chat_template.json",
  "vocab.json",
  "merges.txt",
];
/** Templates for tools and documents, beside the default one: not used, but saved. */
const templateFolder = "additional_chat_templates";
/** Read for its end tokens, but the model's to write. */
const generationConfig = "generation_config.json";

/**
 * Text to token ids and back, from a Hugging Face tokenizer.json.
 *
 * Only byte-complete BPE tokenizers are accepted (byte-level as in Qwen and Llama 3, or with byte fallback), so every
 * text can be encoded and `decode` returns exactly the bytes that the tokens stand for.
 */
export class Tokenizer {
  /** One more than the largest token id. A model's vocabulary may be larger (padding), never smaller. */
  readonly vocabularySize: number;
  readonly #files: TokenizerFiles;
  readonly #json: TokenizerJson;
  readonly #encoder: BpeEncoder;
  readonly #contents: ReadonlyMap<number, string>;
  readonly #added: ReadonlySet<number>;
  readonly #bytes = new Map<number, Uint8Array>();
  // ignoreBOM: a byte order mark is text like any other; by default TextDecoder swallows it.
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

  /**
   * @param files the tokenizer's files; `tokenizer.json` must be there.
   * @param where a folder or name for error messages.
   * @throws SpaError BAD_TOKENIZER
   */
  constructor(files: TokenizerFiles, where: string) {
    this.#json = readTokenizerJson(parseJson(files.get(required), `${where}/${required}`), where);
    const configBytes = files.get("tokenizer_config.json");
    const config = configBytes === undefined ? {} : parseJson(configBytes, `${where}/tokenizer_config.json`);
    checkAddedTokens(this.#json, config, where);
    this.#files = files;
    this.#encoder = new BpeEncoder(this.#json);
    const { vocab, added } = this.#json;
    this.#added = new Set([...added.values()].map(({ id }) => id));
    const entries = [
      ...Object.entries(vocab),
      ...[...added.values()].map(({ id, content }) => [content, id] as const),
    ];
    this.#contents = new Map(entries.map(([content, id]) => [id, content]));
    this.vocabularySize = entries.reduce((largest, [, id]) => Math.max(largest, id), -1) + 1;
  }

  /**
   * Token ids of `text`: special tokens in the text are recognised, none are added. A half of a surrogate pair is U+FFFD,
   * as in UTF-8.
   */
  encode(text: string): Int32Array {
    return this.encoder().encode([{ text, isDelimiter: true }]).tokens;
  }

  /** Encodes texts in parts, of which only delimiters hold control tokens. */
  encoder(control?: ReadonlySet<number>): PartEncoder {
    return control === undefined ? this.#encoder : new BpeEncoder(this.#json, control, this.#encoder);
  }

  /**
   * The text of `ids`, special tokens included. Bytes that are no UTF-8 (a sequence cut inside a character) become
   * U+FFFD; ids without a token (a model's padded vocabulary) become nothing.
   *
   * @throws SpaError BAD_ARGUMENT for something that is no token id.
   */
  decode(ids: ArrayLike<number>): string {
    return this.#utf8.decode(this.bytes(ids));
  }

  /** The bytes of `ids`, one after another. */
  bytes(ids: ArrayLike<number>): Uint8Array {
    let length = 0;
    for (let i = 0; i < ids.length; i++) {
      length += this.bytesOf(ids[i]).length;
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (let i = 0; i < ids.length; i++) {
      const piece = this.bytesOf(ids[i]);
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  /** The bytes that one token stands for; empty for an id without a token. Do not change the array. */
  bytesOf(id: number): Uint8Array {
    const known = this.#bytes.get(id);
    if (known !== undefined) {
      return known;
    }
    if (!Number.isInteger(id) || id < 0) {
      throw new SpaError("BAD_ARGUMENT", `decode: ${id} is no token id`, {
        hint: "token ids are integers from 0 on",
      });
    }
    const content = this.#contents.get(id);
    const bytesOf = this.#added.has(id)
      ? (text: string) => new TextEncoder().encode(text)
      : this.#json.bytesOf;
    const bytes = content === undefined ? new Uint8Array() : bytesOf(content);
    this.#bytes.set(id, bytes);
    return bytes;
  }

  /** Whether a token was added to the vocabulary: a special token or a tag, which no text merges with. */
  isAdded(id: number): boolean {
    return this.#added.has(id);
  }

  /** The bytes of one of the tokenizer's files as it was read, e.g. `"chat_template.jinja"`; undefined if there is none. */
  file(name: string): Uint8Array | undefined {
    return this.#files.get(name);
  }

  /** The id of a token by its exact content in the vocabulary, e.g. `"<|im_end|>"`; undefined if there is none. */
  tokenId(token: string): number | undefined {
    const { added, vocab } = this.#json;
    return added.get(token)?.id ?? (Object.hasOwn(vocab, token) ? vocab[token] : undefined);
  }

  /**
   * Writes the tokenizer's files, its chat template among them, byte for byte as they were read.
   *
   * @throws SpaError DISK_FULL, FILE_FAILED
   */
  save(folder: string): void {
    try {
      makeFolders(folder);
      for (const [name, bytes] of this.#files) {
        if (name === generationConfig) continue;
        makeFolders(dirname(join(folder, name)));
        writeFileSync(join(folder, name), bytes);
      }
    } catch (cause) {
      throw fileError(cause, folder);
    }
  }
}

/**
 * Reads a folder with Hugging Face tokenizer files: `tokenizer.json`, and what there is of `tokenizer_config.json`, chat
 * templates and older vocabulary files.
 *
 * @throws SpaError BAD_TOKENIZER when the file is missing, broken or of an unsupported kind.
 */
export function loadTokenizer(folder: string): Tokenizer {
  const files = new Map<string, Uint8Array>();
  for (const name of [required, ...optional, ...furtherTemplates(folder), generationConfig]) {
    try {
      files.set(name, readFileSync(join(folder, name)));
    } catch (cause) {
      const missing = ["ENOENT", "ENOTDIR"].includes((cause as NodeJS.ErrnoException).code ?? "");
      if (name === required || !missing) {
        throw badTokenizer(
          missing ? `there is no ${name} in ${folder}` : `${join(folder, name)} cannot be read`,
          cause,
        );
      }
    }
  }
  return new Tokenizer(files, folder);
}

/** The paths of a folder's further chat templates. */
function furtherTemplates(folder: string): string[] {
  try {
    const names = readdirSync(join(folder, templateFolder)).filter((name) => name.endsWith(".jinja"));
    return names.sort().map((name) => `${templateFolder}/${name}`);
  } catch (cause) {
    if (["ENOENT", "ENOTDIR"].includes((cause as NodeJS.ErrnoException).code ?? "")) return [];
    throw badTokenizer(`${join(folder, templateFolder)} cannot be read`, cause);
  }
}

/**
 * Checks that a tokenizer and a model belong together: every id that the tokenizer can produce has a row in the model's
 * embedding, and the tokens that the model names as its end are in the tokenizer.
 *
 * @param vocabSize rows of the embedding (config.json's `vocab_size`).
 * @param endTokens ids at which the model stops (`eos_token_id`).
 * @throws SpaError BAD_TOKENIZER
 */
export function checkTokenizerFits(
  tokenizer: Tokenizer,
  vocabSize: number,
  endTokens: readonly number[] = [],
): void {
  const hint = "use the tokenizer.json that was published or saved with this model";
  if (tokenizer.vocabularySize > vocabSize) {
    throw new SpaError(
      "BAD_TOKENIZER",
      `the tokenizer has ${tokenizer.vocabularySize} tokens but the model's vocabulary holds only ${vocabSize}`,
      { hint },
    );
  }
  const unknown = endTokens.find((id) => id >= tokenizer.vocabularySize);
  if (unknown !== undefined) {
    throw new SpaError(
      "BAD_TOKENIZER",
      `the model ends its turns with token ${unknown}, but the tokenizer has only ${tokenizer.vocabularySize} tokens`,
      { hint },
    );
  }
}

function parseJson(bytes: Uint8Array | undefined, file: string): unknown {
  if (bytes === undefined) {
    throw badTokenizer(`${file} is missing`);
  }
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw badTokenizer(`${file} is no JSON: ${(cause as Error).message}`, cause);
  }
}

function badTokenizer(message: string, cause?: unknown): SpaError {
  return new SpaError("BAD_TOKENIZER", message, {
    hint: "give a folder with the tokenizer.json of a Qwen, Llama 3 or nano model",
    cause,
  });
}
