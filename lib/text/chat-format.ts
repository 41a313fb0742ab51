import { SpaError } from "../errors.ts";
import { type ChatDelimiters, chatMl, deriveDelimiters } from "./chat-delimiters.ts";
import { chatTemplateOf, jsonOf } from "./chat-template.ts";
import { ContentEncoder } from "./content-encoder.ts";
import type { Tokenizer } from "./tokenizer.ts";

/**
 * How a model's conversations are written. Text is only ever appended to one: each turn's new text is rendered with
 * these delimiters, and what stands before it keeps its tokens, whatever the model's template does to history.
 */
export interface ChatFormat {
  readonly delimiters: Readonly<ChatDelimiters>;
  /** Ends a turn; the token with which the model ends its reply. */
  readonly endToken: number;
  /** Every token after which the model has finished its turn (`endToken` and, say, end-of-text). For `generate`. */
  readonly stopTokens: readonly number[];
  /** Encodes what messages and written replies say: text that can be no delimiter and no end. */
  readonly contents: ContentEncoder;
}

const formats = new WeakMap<Tokenizer, ChatFormat>();

/**
 * The chat format of a tokenizer, from the chat template in its files: delimiters are found and verified by rendering
 * conversations (chat-delimiters.ts). Without a template it is ChatML, if the tokenizer has ChatML's tokens.
 *
 * @throws SpaError BAD_TOKENIZER if there is neither, or if turns cannot be appended as the template would write them;
 * UNSUPPORTED if the template needs what the Jinja engine does not have
 */
export function chatFormatOf(tokenizer: Tokenizer): ChatFormat {
  let format = formats.get(tokenizer);
  if (format === undefined) {
    format = makeFormat(tokenizer);
    formats.set(tokenizer, format);
  }
  return format;
}

function makeFormat(tokenizer: Tokenizer): ChatFormat {
  const template = chatTemplateOf(tokenizer);
  if (template === undefined) {
    if (!["<|im_start|>", "<|im_end|>"].every((token) => leadingSpecial(tokenizer, token) === token)) {
      throw new SpaError(
        "BAD_TOKENIZER",
        "the tokenizer has no chat template, and no <|im_start|> and <|im_end|> tokens to do without one",
        { hint: "use an instruct model, or put its chat_template.jinja beside the tokenizer.json" },
      );
    }
  }
  const delimiters =
    template === undefined ? chatMl : deriveDelimiters(template, (text) => leadingSpecial(tokenizer, text));
  const endToken = tokenizer.encode(delimiters.end)[0];
  const stopTokens = stopTokensOf(tokenizer, endToken);
  const control = [...stopTokens, ...delimiterTokens(tokenizer, delimiters)].filter((id) =>
    tokenizer.isAdded(id),
  );
  return { delimiters, endToken, stopTokens, contents: new ContentEncoder(tokenizer, control) };
}

/** Tokens of all delimiters. */
function delimiterTokens(tokenizer: Tokenizer, delimiters: ChatDelimiters): number[] {
  const texts = Object.values(delimiters).filter((value) => typeof value === "string");
  return texts.flatMap((text) => [...tokenizer.encode(text)]);
}

/** The text of the special token with which a text begins. */
function leadingSpecial(tokenizer: Tokenizer, text: string): string | undefined {
  const tokens = tokenizer.encode(text);
  return tokens.length > 0 && tokenizer.isAdded(tokens[0]) ? tokenizer.decode([tokens[0]]) : undefined;
}

/** The end token, generation_config.json's, tokenizer_config.json's, and the token that ends documents. */
function stopTokensOf(tokenizer: Tokenizer, endToken: number): number[] {
  const listed = jsonOf(tokenizer, "generation_config.json").eos_token_id;
  const eos = jsonOf(tokenizer, "tokenizer_config.json").eos_token as
    | string
    | { content?: string }
    | null
    | undefined;
  const named = [typeof eos === "string" ? eos : eos?.content, "<|endoftext|>", "<|end_of_text|>"];
  const ids = [
    endToken,
    ...(Array.isArray(listed) ? listed : [listed]),
    ...named.map((token) => (token === undefined ? undefined : tokenizer.tokenId(token))),
  ];
  return [...new Set(ids.filter((id): id is number => Number.isInteger(id) && (id as number) >= 0))];
}
