import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type InvalidReason, type ParsedTurn, type ParseOptions, parseTurn } from "../../lib/text/parse.ts";
import { Role } from "../../lib/text/roles.ts";
import { strip } from "../../lib/text/tags.ts";

const actions = ["Up", "Down", "Left", "Right"];
const plain: ParseOptions = { format: "plain", actions, maxActions: 5 };
const world: ParseOptions = { format: "world-model", actions, maxActions: 5 };

interface UpstreamCase {
  maxActions: number;
  separator: string;
  plain: string[];
  worldModel: { actions: string[]; observation: string; prediction: string } | null;
}
interface UpstreamItem {
  input: string;
  cases: UpstreamCase[];
}
const upstream: { items: UpstreamItem[] } = JSON.parse(
  readFileSync(new URL("../fixtures/text/parse.json", import.meta.url), "utf8"),
);

/** Where this parser differs from upstream's: by reply, the reason given instead. docs/protocol.md says why. */
const plainDeviations: Record<string, InvalidReason> = {
  "<think>a</think> text between <answer>Up</answer>": "text-outside-tags", // upstream: no action
  "<think><think></answer> 123. </think><answer> <answer> say | hi </answer></answer>": "nested-tag",
  "<think>a</think><think>b</think><answer>Up</answer>": "repeated-tag",
  "<think>a</think><answer>Up</answer><answer>Down</answer>": "repeated-tag",
  "<think>a<answer>Down</answer></think><answer>Up</answer>": "nested-tag",
  "<think>a<|im_end|></think><answer><|im_start|>Up<|im_end|></answer>": "unknown-action",
  "<think>a</think><answer><think>Up</think> || Down</answer>": "nested-tag",
  "<think>x</think> <answer>Down</answer> <think> <observation>o</observation>b<prediction>p</prediction></think><answer>Right</answer>":
    "repeated-tag",
  "<think>a</think></think><answer>Up</answer>": "unmatched-tag",
};
const worldDeviations: Record<string, InvalidReason> = {
  "<think>pre <observation>o</observation>t<prediction>p</prediction></think><answer>Up</answer>":
    "misplaced-reasoning", // upstream: no action
  "<think><observation>o</observation>t<prediction>p</prediction> post</think><answer>Up</answer>":
    "misplaced-reasoning", // upstream: no action
  "<think>x</think> <answer>Down</answer> <think> <observation>o</observation>b<prediction>p</prediction></think><answer>Right</answer>":
    "repeated-tag",
};

describe("parseTurn beside upstream's parsers", () => {
  const known = (entries: string[]): string[] =>
    entries.flatMap((entry) => actions.find((action) => action.toLowerCase() === entry.toLowerCase()) ?? []);

  const agrees = upstream.items.filter(({ input }) => !(input in plainDeviations));
  it.each(agrees.map((item) => [item.input, item.cases] as const))(
    "plain, the same actions: %j",
    (input, cases) => {
      for (const expected of cases) {
        const turn = parseTurn(input, { ...plain, ...expected });
        expect(turn.actions).toEqual(known(expected.plain));
        if (turn.answer !== undefined) {
          expect(turn.actions.length + turn.unknownActions.length).toBe(expected.plain.length);
        }
      }
    },
  );

  const worldAgrees = upstream.items.filter(({ input }) => !(input in worldDeviations));
  it.each(worldAgrees.map((item) => [item.input, item.cases] as const))(
    "world-model, the same actions and states: %j",
    (input, cases) => {
      for (const expected of cases) {
        const turn = parseTurn(input, { ...world, ...expected });
        expect(turn.actions).toEqual(known(expected.worldModel?.actions ?? []));
        if (expected.worldModel !== null) {
          expect(turn.observation).toBe(expected.worldModel.observation);
          expect(turn.prediction).toBe(expected.worldModel.prediction);
        }
      }
    },
  );

  it.each(Object.entries(plainDeviations))("plain, another reading: %j is %s", (input, reason) => {
    expect(upstream.items.map((item) => item.input)).toContain(input);
    expect(parseTurn(input, plain).reason).toBe(reason);
  });

  it.each(Object.entries(worldDeviations))("world-model, another reading: %j is %s", (input, reason) => {
    expect(parseTurn(input, world).reason).toBe(reason);
  });
});

describe("parseTurn", () => {
  it("reads a world-model turn", () => {
    const turn = parseTurn(
      "<think><observation>\nP_\n</observation>go<prediction>_P</prediction></think><answer>right||LEFT</answer>",
      world,
    );
    expect(turn).toMatchObject({
      valid: true,
      actions: ["Right", "Left"],
      observation: "P_",
      prediction: "_P",
      reasoning: "go",
      answer: "right||LEFT",
      unknownActions: [],
      droppedActions: 0,
    });
    expect(turn.reason).toBeUndefined();
  });

  it.each<[InvalidReason, string, ParseOptions, string[]]>([
    ["missing-answer", "", plain, []],
    ["missing-answer", "<think>a</think>", plain, []],
    ["missing-think", "<answer>Up</answer>", plain, []],
    ["missing-observation", "<think>a<prediction>b</prediction></think><answer>Up</answer>", world, []],
    ["missing-prediction", "<think><observation>b</observation></think><answer>Up</answer>", world, []],
    ["missing-observation", "<think>a</think><answer>Up</answer>", world, []],
    ["unclosed-tag", "<think>a</think><answer>Up", plain, []],
    ["unclosed-tag", "<think><observation>a</think><answer>Up</answer>", world, []],
    ["truncated", "<think>a</think><answer>Up", { ...plain, finished: false }, []],
    ["truncated", "<think>a</think>", { ...plain, finished: false }, []],
    ["truncated", "", { ...plain, finished: false }, []],
    ["nested-tag", "<think>a<think>b</think></think><answer>Up</answer>", plain, []],
    ["nested-tag", "<think>a</think><answer><answer>Up</answer></answer>", plain, []],
    ["nested-tag", "<think><observation>a<prediction>b</prediction></observation></think>", world, []],
    ["repeated-tag", "<think><observation>a</observation><observation>b</observation></think>", world, []],
    ["repeated-tag", "<think>a</think><answer>Up</answer><answer>Up</answer>", plain, []],
    ["unmatched-tag", "</think><answer>Up</answer>", plain, []],
    ["misplaced-tag", "<answer>Up</answer><think>a</think>", plain, []],
    ["misplaced-tag", "<think><prediction>a</prediction><observation>b</observation></think>", world, []],
    ["misplaced-tag", "<observation>a</observation><think>b</think><answer>Up</answer>", world, []],
    ["empty-answer", "<think>a</think><answer> || </answer>", plain, []],
    ["unknown-action", "<think>a</think><answer>Up || Jump || Left</answer>", plain, ["Up", "Left"]],
    ["text-outside-tags", "Well: <think>a</think><answer>Up</answer>", plain, ["Up"]],
    ["text-outside-tags", "<think>a</think>so<answer>Up</answer>", plain, ["Up"]],
    ["text-outside-tags", "<think>a</think><answer>Up</answer>!", plain, ["Up"]],
    [
      "misplaced-reasoning",
      "<think>a<observation>o</observation><prediction>p</prediction></think><answer>Up</answer>",
      world,
      ["Up"],
    ],
  ])("says %s of %j", (reason, text, options, executed) => {
    const turn = parseTurn(text, options);
    expect(turn.valid).toBe(false);
    expect(turn.reason).toBe(reason);
    expect(turn.actions).toEqual(executed);
  });

  it("accepts a turn that was cut just behind its answer, and one with its end token", () => {
    const text = "<think>a</think><answer>Up</answer>";
    expect(parseTurn(text, { ...plain, finished: false }).valid).toBe(true);
    const ended = parseTurn(`${text}<|im_end|>\n`, plain);
    expect(ended.valid).toBe(true);
    expect(ended.spans.at(-1)).toEqual({ role: Role.end, text: "<|im_end|>\n" });
    expect(parseTurn("<think>a<|im_end|>", { ...plain, finished: false }).reason).toBe("unclosed-tag");
  });

  it("drops what stands beyond the limit before it looks for unknown names", () => {
    const turn = parseTurn("<think>a</think><answer>Jump || Up || Down || Left</answer>", {
      ...plain,
      maxActions: 2,
    });
    expect(turn).toMatchObject({ actions: ["Up"], unknownActions: ["Jump"], droppedActions: 2 });
    const longer = parseTurn("<think>a</think><answer>Up || Down || Jump</answer>", {
      ...plain,
      maxActions: 2,
    });
    expect(longer).toMatchObject({ valid: true, actions: ["Up", "Down"], droppedActions: 1 });
  });

  it("asks the environment's own parser, and takes any text where there are no names", () => {
    const parseAction = (text: string): string | null => (/^\d,\d,\d$/.test(text) ? `<${text}>` : null);
    const text = "<think>a</think><answer>1,2,3 || Up</answer>";
    const sudoku = parseTurn(text, { ...plain, parseAction });
    expect(sudoku).toMatchObject({ valid: false, actions: ["<1,2,3>"], unknownActions: ["Up"] });
    expect(parseTurn(text, { ...plain, actions: [] }).actions).toEqual(["1,2,3", "Up"]);
    const throwing = (): string => {
      throw new Error("no");
    };
    expect(parseTurn(text, { ...plain, parseAction: throwing }).reason).toBe("unknown-action");
    expect(parseTurn(text, { ...plain, parseAction: () => undefined }).reason).toBe("unknown-action");
  });

  it("takes the exact spelling first; another names none where actions differ in case alone", () => {
    const read = (answer: string, actions: string[]) =>
      parseTurn(`<think>a</think><answer>${answer}</answer>`, { ...plain, actions }).actions;
    expect(read("r || R", ["r", "R"])).toEqual(["r", "R"]);
    expect(read("go || GO || Go", ["GO", "go"])).toEqual(["go", "GO"]);
    expect(read("UP", ["Up", "Down"])).toEqual(["Up"]);
  });

  it("takes other separators literally", () => {
    const text = (answer: string): string => `<think>a</think><answer>${answer}</answer>`;
    expect(parseTurn(text("Up.Down"), { ...plain, separator: "." }).actions).toEqual(["Up", "Down"]);
    expect(parseTurn(text("Up\nDown"), { ...plain, separator: "\n" }).actions).toEqual(["Up", "Down"]);
  });

  const fragment = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.constantFrom("<think>", "</think>", "<answer>", "</answer>", "Up", " || ", "\n"),
    },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        "<observation>",
        "</observation>",
        "<prediction>",
        "</prediction>",
        "<|im_end|>",
      ),
    },
    { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 5 }) },
  );
  it("survives any text: spans join to it, and only valid turns have no reason", () => {
    fc.assert(
      fc.property(
        fc.array(fragment, { maxLength: 25 }),
        fc.constantFrom(plain, world),
        (fragments, options) => {
          const text = fragments.join("");
          const turn: ParsedTurn = parseTurn(text, options);
          expect(turn.spans.map((span) => span.text).join("")).toBe(text);
          expect(turn.valid).toBe(turn.reason === undefined);
          expect(turn.actions.length).toBeLessThanOrEqual(5);
          if (turn.valid) {
            expect(turn.actions.length).toBeGreaterThan(0);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("takes any reasoning and states that hold no tags", () => {
    const words = fc.string({ unit: "binary", maxLength: 12 }).filter((text) => !text.includes("<"));
    fc.assert(
      fc.property(words, words, words, (observation, reasoning, prediction) => {
        const turn = parseTurn(
          `<think><observation>${observation}</observation>${reasoning}<prediction>${prediction}</prediction></think>` +
            "<answer>Up</answer>",
          world,
        );
        expect(turn.valid).toBe(true);
        expect(turn.spans.find((span) => span.role === Role.observation)?.text).toBe(observation);
        expect(turn.spans.find((span) => span.role === Role.prediction)?.text).toBe(prediction);
      }),
    );
  });
});

describe("long replies", () => {
  const turn = "<think>a</think><answer>Up</answer>";
  const blanks = " \n\u0085".repeat(50_000);

  it("may hold any number of blanks", () => {
    expect(strip(`${blanks}a${blanks}b${blanks}`)).toBe(`a${blanks}b`);
    expect(strip(blanks)).toBe("");
    expect(
      parseTurn(`${blanks}<think>a${blanks}b</think>${blanks}<answer>${blanks}Up${blanks}</answer>`, plain),
    ).toMatchObject({ valid: true, reasoning: `a${blanks}b`, actions: ["Up"] });
    expect(parseTurn(`${turn}${blanks}x`, plain)).toMatchObject({
      valid: false,
      reason: "text-outside-tags",
    });
    expect(parseTurn(`<|im_end|>${blanks}x`, plain)).toMatchObject({ reason: "missing-answer" });
  });

  it("may end in any number of end tokens", () => {
    const ends = ["<|im_end|>\n", "<|endoftext|>", "<|eot_id|> "];
    const { spans, ...read } = parseTurn(turn + ends.join("").repeat(20_000), { ...plain, finished: false });
    expect(read).toMatchObject({ valid: true, actions: ["Up"] });
    expect(spans.slice(-60_000)).toEqual(
      Array.from({ length: 60_000 }, (_, index) => ({ role: Role.end, text: ends[index % 3] })),
    );
  });

  it("may hold any number of tags, half tags and separators", () => {
    const count = 50_000;
    const [opened, half] = ["<think>".repeat(count), "<\\".repeat(count)];
    expect(parseTurn(opened, plain)).toMatchObject({ reason: "nested-tag", actions: [] });
    expect(parseTurn(`<think>${half}</think><answer>Up</answer>`, plain)).toMatchObject({
      valid: true,
      reasoning: half,
    });
    const backslashes = "\\".repeat(count);
    expect(parseTurn(`<think><${backslashes}answer></think><answer>Up</answer>`, plain).reasoning).toBe(
      `<${backslashes.slice(1)}answer>`,
    );
    expect(parseTurn(`<think></think><answer>${"Up || ".repeat(count)}</answer>`, plain)).toMatchObject({
      valid: true,
      actions: ["Up", "Up", "Up", "Up", "Up"],
      droppedActions: count - 5,
    });
  });
});
