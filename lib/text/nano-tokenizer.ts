import { nanoPattern, nanoWords, specialTokens, tagTokens } from "./nano-vocabulary.ts";
import { Tokenizer } from "./tokenizer.ts";
import { byteToken } from "./tokenizer-json.ts";

/** ChatML, as {@link chatFormatOf} writes it; for libraries that render conversations from this folder. */
const chatTemplate =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/**
 * The nano model's tokenizer: words of nano-vocabulary.ts, and a byte token for every byte of any other text.
 *
 * It is BPE without merges: the pre-tokeniser's pattern cuts words, `ignore_merges` takes a piece that is in the
 * vocabulary whole, and everything else falls apart into characters and bytes.
 */
export function nanoTokenizer(): Tokenizer {
  return new Tokenizer(nanoFiles(), "nano");
}

/**
 * Writes the nano tokenizer as `tokenizer.json` and `tokenizer_config.json` (with a ChatML `chat_template`), which the
 * Hugging Face libraries load.
 *
 * @throws SpaError DISK_FULL, BAD_ARGUMENT
 */
export function writeNanoTokenizer(folder: string): void {
  nanoTokenizer().save(folder);
}

/** The nano tokenizer's files. */
export function nanoFiles(): Map<string, Uint8Array> {
  const bytes = Array.from({ length: 256 }, (_, byte) => byteToken(byte));
  const vocabulary = [...specialTokens, ...tagTokens, ...nanoWords, ...bytes];
  const vocab = Object.fromEntries(vocabulary.map((token, id) => [token, id]));
  const added = [
    ...specialTokens.map((content) => addedToken(content, vocab[content], true)),
    ...tagTokens.map((content) => addedToken(content, vocab[content], false)),
  ];
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: "Split", pattern: { Regex: nanoPattern() }, behavior: "Isolated", invert: false },
    post_processor: null,
    decoder: { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Fuse" }] },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: true,
      ignore_merges: true,
      vocab,
      merges: [],
    },
  };
  const config = {
    tokenizer_class: "PreTrainedTokenizerFast",
    clean_up_tokenization_spaces: false,
    eos_token: "<|im_end|>",
    pad_token: "<|endoftext|>",
    chat_template: chatTemplate,
  };
  return new Map([
    ["tokenizer.json", jsonBytes(tokenizer)],
    ["tokenizer_config.json", jsonBytes(config)],
  ]);
}

function addedToken(content: string, id: number, special: boolean): Record<string, unknown> {
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special };
}

function jsonBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value, null, 1)}\n`);
}
