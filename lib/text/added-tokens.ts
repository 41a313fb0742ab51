// How added tokens are found in a text: as `AddedVocabulary` of Hugging Face's tokenizers library (Rust) finds them.

/** A token that is found in texts before anything else happens to them. */
export interface AddedToken {
  id: number;
  content: string;
  /** Takes the white space before it, or behind it, with it. */
  lstrip: boolean;
  rstrip: boolean;
  /** Is looked for in the normalised text, as its normal form. */
  normalized: boolean;
}

/** A piece of a text: an added token's own place, without the white space that it takes, or what lies between two. */
interface Section {
  begin: number;
  end: number;
  token?: AddedToken;
}

/** Whether a token may be taken where it was found. */
export type Permission = (token: AddedToken, begin: number, end: number) => boolean;

interface Match {
  begin: number;
  end: number;
  token: AddedToken;
}

// What the regular expressions of Rust mean by \s, which is one UTF-16 unit everywhere.
const space = /\p{White_Space}/u;

/** A set of added tokens. The longest of those that begin at the same place counts, the leftmost first. */
export class AddedTokens {
  readonly #byText: ReadonlyMap<string, AddedToken>;
  readonly #pattern: RegExp;

  /** @param texts the tokens by the text that is looked for: their content, or its normal form */
  constructor(texts: ReadonlyMap<string, AddedToken>) {
    this.#byText = texts;
    const longestFirst = [...texts.keys()].sort((a, b) => b.length - a.length);
    const escaped = longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
    this.#pattern = new RegExp(escaped.join("|"), "gu");
  }

  /** The sections of a text, in order. Beside a token with `rstrip`, a token of white space overlaps what was taken. */
  split(text: string, isAllowed: Permission): Section[] {
    const sections: Section[] = [];
    let start = 0;
    for (const { begin, end, token } of this.#find(text, isAllowed)) {
      let from = begin;
      if (token.lstrip) {
        while (from > 0 && space.test(text[from - 1])) from--;
        from = Math.max(from, start);
      }
      let to = end;
      if (token.rstrip) while (to < text.length && space.test(text[to])) to++;
      if (start < from) sections.push({ begin: start, end: from });
      // A token of white space that the one before it has taken whole is gone.
      if (from < to) sections.push({ begin, end, token });
      start = to;
    }
    if (start < text.length) sections.push({ begin: start, end: text.length });
    return sections;
  }

  *#find(text: string, isAllowed: Permission): Generator<Match> {
    if (this.#byText.size === 0) return;
    for (let at = 0; at < text.length; ) {
      this.#pattern.lastIndex = at;
      const found = this.#pattern.exec(text);
      if (found === null) return;
      const begin = found.index;
      const token = this.#longestAllowed(text, begin, found[0].length, isAllowed);
      if (token !== undefined) yield token;
      at = token?.end ?? begin + String.fromCodePoint(text.codePointAt(begin)!).length;
    }
  }

  /** Where the longest token may not be taken, a shorter one that begins at the same place may be. */
  #longestAllowed(text: string, begin: number, longest: number, isAllowed: Permission): Match | undefined {
    for (let length = longest; length > 0; length--) {
      const token = this.#byText.get(text.slice(begin, begin + length));
      const end = begin + length;
      if (token !== undefined && isAllowed(token, begin, end)) return { begin, end, token };
    }
    return undefined;
  }
}
