import fc from "fast-check";
import { expect, test } from "vitest";
import { compareStates, type Fragment } from "../../lib/report/state-difference.ts";
import { strip } from "../../lib/text/tags.ts";

const textOf = (lines: Fragment[][]) => lines.map((line) => line.map(({ text }) => text).join("")).join("\n");
const kept = (line: Fragment[], words: boolean) =>
  line
    .filter(({ same }) => same === words)
    .map(({ text }) => text)
    .join("");

test("rows of a grid are compared cell by cell", () => {
  const { equal, written, truth } = compareStates("_P_\nO_G", "__P\nO_G");
  expect(equal).toBe(false);
  expect(written[0]).toEqual([
    { text: "_", same: true },
    { text: "P_", same: false },
  ]);
  expect(truth[0]).toEqual([
    { text: "_", same: true },
    { text: "_P", same: false },
  ]);
  expect(written[1]).toEqual([{ text: "O_G", same: true }]);
});

test("lines with coordinates are compared word by word", () => {
  const written = "Player (P) at (1,2); holes (O) at (0,1) and (3,3).";
  const truth = "Player (P) at (1,3); hole (O) at (0,1).";
  const difference = compareStates(written, truth);
  expect(kept(difference.written[0], false)).toBe("(1,2)holes and (3,3)");
  expect(kept(difference.truth[0], false)).toBe("(1,3)hole");
  expect(kept(difference.written[0], true)).toBe(kept(difference.truth[0], true));
});

test("a state that lacks lines stands beside empty ones", () => {
  const { equal, written, truth } = compareStates("__", "__\nP_");
  expect(equal).toBe(false);
  expect(written).toEqual([[{ text: "__", same: true }], []]);
  expect(truth[1]).toEqual([{ text: "P_", same: false }]);
});

test("states of any size are compared, past a bound place by place", () => {
  const words = (count: number, first: string) =>
    `(${first}${Array.from({ length: count }, (_, index) => ` w${index}`).join("")} end`;
  const near = compareStates(words(50_000, "a"), words(50_000, "b c"));
  expect(near.equal).toBe(false);
  expect(near.truth[0][1]).toEqual({ text: "b c", same: false });
  expect(kept(near.written[0], true)).toBe(words(50_000, "a").replace("(a", "("));

  const far = compareStates(`(${"a b ".repeat(50_000)}`, `(${"b a ".repeat(50_000)}c`);
  expect(far.written[0].filter(({ same }) => !same)).toHaveLength(100_000);
  expect(kept(far.written[0], true)).toBe(kept(far.truth[0], true));

  const line = (first: string) => `(${first}${" x y".repeat(400)} ${first}`;
  const lines = compareStates(`${line("a")}\n`.repeat(300), `${line("b")} c\n`.repeat(300));
  expect(lines.written).toHaveLength(300);
  for (const index of [0, 299]) expect(kept(lines.written[index], true)).toBe(kept(lines.truth[index], true));
});

test("white space around states does not count", () => {
  expect(compareStates("\n _P \n", "_P").equal).toBe(true);
});

test("fragments add up to the texts, and what is the same is the same in both", () => {
  const state = fc.string({
    unit: fc.constantFrom("_", "P", "√", "(", ",", ";", "1", " ", "\n"),
    maxLength: 40,
  });
  fc.assert(
    fc.property(state, state, (left, right) => {
      const { equal, written, truth } = compareStates(left, right);
      expect(textOf(written).trimEnd()).toBe(strip(left).trimEnd());
      expect(textOf(truth).trimEnd()).toBe(strip(right).trimEnd());
      expect(written.map((line) => kept(line, true))).toEqual(truth.map((line) => kept(line, true)));
      expect(equal).toBe([...written, ...truth].every((line) => line.every(({ same }) => same)));
    }),
  );
});
