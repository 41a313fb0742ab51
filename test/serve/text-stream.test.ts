// Replies as text while their tokens come.
import fc from "fast-check";
import { expect, test } from "vitest";
import { TextStream } from "../../lib/serve/text-stream.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";

const tokenizer = nanoTokenizer();
const end = tokenizer.tokenId("<|im_end|>")!;

/** Pushes tokens in pieces of the given sizes. */
function streamed(text: string, stop: string[], sizes: number[]): { parts: string[]; stream: TextStream } {
  const ids = Int32Array.of(...tokenizer.encode(text), end);
  const logProbs = ids.map((_, index) => index) as unknown as Float32Array;
  const stream = new TextStream(tokenizer, stop, [end]);
  const parts: string[] = [];
  for (let begin = 0, turn = 0; begin < ids.length && stream.stopped === null; turn++) {
    const to = begin + sizes[turn % sizes.length];
    parts.push(stream.push(ids.subarray(begin, to), logProbs.subarray(begin, to)));
    begin = to;
  }
  parts.push(stream.finish());
  return { parts, stream };
}

test("text comes whole, whatever its characters and wherever tokens are cut", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), sizes, (text, pieces) => {
      const { parts, stream } = streamed(text, ["\0never"], pieces);
      expect(parts.join("")).toBe(text);
      expect(stream.text).toBe(text);
      expect(parts.every((part) => part.isWellFormed())).toBe(true);
    }),
  );
});

test("it ends before the first stop text, of which nothing is given out", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "c") });
  const stops = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 3 }), {
    minLength: 1,
    maxLength: 3,
  });
  fc.assert(
    fc.property(letters, stops, fc.integer({ min: 1, max: 4 }), (text, stop, size) => {
      const { parts, stream } = streamed(text, stop, [size]);
      // The stop text that is complete first ends the reply, as whoever reads letter by letter finds it.
      const lengths = Array.from({ length: text.length }, (_, index) => index + 1);
      const found = lengths.find((length) => stop.some((each) => text.slice(0, length).includes(each)));
      const expected = found === undefined ? text : beforeStop(text.slice(0, found), stop);
      expect(parts.join("")).toBe(expected);
      expect(stream.stopped === null).toBe(found === undefined);
      if (found !== undefined) expect(stream.tokens).toHaveLength(found);
    }),
  );
});

function beforeStop(text: string, stop: string[]): string {
  return text.slice(0, Math.min(...stop.map((each) => text.indexOf(each)).filter((at) => at >= 0)));
}

test("tokens keep ids, bytes and log-probs; the end token has no text", () => {
  const { stream } = streamed("Up é", [], [2]);
  expect(stream.text).toBe("Up é");
  expect(stream.tokens.at(-1)).toEqual({
    id: end,
    logProb: stream.tokens.length - 1,
    bytes: tokenizer.bytesOf(end),
  });
  expect(stream.stopped).toBeNull();
});

test("bytes that are no text are replaced, and cut characters at the end, too", () => {
  const stream = new TextStream(tokenizer, [], [end]);
  const cut = tokenizer.encode("é").subarray(0, 1);
  expect(stream.push(cut, new Float32Array(1))).toBe("");
  expect(stream.finish()).toBe("\ufffd");
});
