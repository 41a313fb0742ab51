import { describe, expect, it, test } from "vitest";
import type { Environment } from "../../envs/environment.ts";
import { createEnvironment } from "../../envs/index.ts";
import type { Trajectory, Turn } from "../../lib/rollout/trajectory.ts";
import { TraceSource } from "../../lib/stages/base/traces.ts";
import type { StageContext } from "../../lib/stages/context.ts";
import { createStageContext } from "../../lib/stages/context.ts";
import { UnknownText } from "../../lib/stages/unknown-text.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { parseTurn } from "../../lib/text/parse.ts";
import { sameState } from "../../lib/text/turn-text.ts";
import { tinyConfig } from "./tiny-run.ts";

const tokenizer = nanoTokenizer();

/** A context for what needs neither engine nor run folder. */
async function contextOf(
  createOne: () => Environment,
  changes: Record<string, unknown> = {},
): Promise<StageContext> {
  const base = { batchSize: 50, levels: 60, worldModelShare: 0.6, corruptionProbability: 0.3 };
  const { base: others, ...rest } = changes;
  const config = tinyConfig({ base: { ...base, ...(others as object) }, ...rest });
  const parts = { config, tokenizer, createEnvironment: createOne, signal: undefined };
  return createStageContext(parts as Parameters<typeof createStageContext>[0]);
}

const lake = () => createEnvironment("frozen-lake", { size: 4, slippery: false });

async function traces(context: StageContext, batches: number): Promise<Trajectory[]> {
  await using source = await TraceSource.create(context);
  const result: Trajectory[] = [];
  for (let step = 1; step <= batches; step++) result.push(...(await source.batch(step)));
  return result;
}

const share = (items: boolean[]) => items.filter(Boolean).length / items.length;
const replyText = (trace: Trajectory, turn: Turn) =>
  tokenizer.decode(trace.tokens.subarray(turn.begin, turn.end)).replace("<|im_end|>", "");
const worldModelTurns = (all: Trajectory[]) =>
  all.flatMap(({ turns }) => turns).filter((turn) => turn.prediction);

describe("traces of the base", () => {
  it("are the same for the same step and others for others", async () => {
    const context = await contextOf(lake);
    const source = await TraceSource.create(context);
    const first = await source.batch(3);
    expect(await (await TraceSource.create(context)).batch(3)).toEqual(first);
    expect((await source.batch(4)).map(({ tokens }) => tokens)).not.toEqual(
      first.map(({ tokens }) => tokens),
    );
  });

  it("are well-formed in both formats, in the wanted shares", async () => {
    const all = await traces(
      await contextOf(lake, { base: { batchSize: 100, tokenDropProbability: 0 } }),
      10,
    );
    const formats = all.map((trace) => {
      const text = replyText(trace, trace.turns[0]);
      const format = text.includes("<observation>") ? "world-model" : "plain";
      for (const turn of trace.turns) {
        const parsed = parseTurn(replyText(trace, turn), { format, actions: lake().actions, maxActions: 3 });
        expect(parsed).toMatchObject({ valid: true, actions: turn.actions });
      }
      return format === "world-model";
    });
    expect(share(formats)).toBeCloseTo(0.6, 1);
  });

  it("hold no policy: actions are uniform and independent of the state", async () => {
    const all = await traces(await contextOf(lake), 20);
    const actions = all.flatMap(({ turns }) => turns.flatMap((turn) => turn.actions));
    for (const name of lake().actions)
      expect(share(actions.map((action) => action === name))).toBeCloseTo(0.25, 1);
    const random = share(all.filter(({ turns }) => turns.length === 1).map(({ success }) => success));
    expect(random).toBeLessThan(0.2);
  });

  it("hold no dynamics: predictions are hardly ever right", async () => {
    const turns = worldModelTurns(await traces(await contextOf(lake), 20));
    expect(turns.length).toBeGreaterThan(300);
    const right = turns.map((turn) => sameState(turn.prediction ?? "", turn.stateAfter.structured));
    const changed = turns.filter(({ effective }) => effective);
    expect(share(right)).toBeLessThan(0.05);
    expect(
      share(changed.map((turn) => sameState(turn.prediction ?? "", turn.stateAfter.structured))),
    ).toBeLessThan(0.05);
  });

  it("describe states roughly: some observations are right, most are not", async () => {
    const turns = worldModelTurns(await traces(await contextOf(lake), 20));
    const right = share(turns.map((turn) => sameState(turn.observation ?? "", turn.stateBefore.structured)));
    expect(right).toBeGreaterThan(0.05);
    expect(right).toBeLessThan(0.6);
  });

  it("let the plain agent say where things are", async () => {
    const all = await traces(await contextOf(lake, { base: { batchSize: 50, tokenDropProbability: 0 } }), 2);
    const plain = all.flatMap((trace) => trace.turns.map((turn) => replyText(trace, turn)));
    const thoughts = plain.filter((text) => !text.includes("<observation>"));
    expect(thoughts.length).toBeGreaterThan(10);
    for (const text of thoughts)
      expect(text).toMatch(/^<think>\nPlayer \(P\) at \(\d,\d\).*goal \(G\) at \(\d,\d\)\./);
  });

  it("never show a test or tuning level", async () => {
    const context = await contextOf(lake);
    const all = await traces(context, 4);
    for (const { turns } of all) expect(context.split.held.has(turns[0].stateBefore.grid)).toBe(false);
  });

  it("can be written for Sokoban and for an environment of one's own without coordinates", async () => {
    const sokoban = () => createEnvironment("sokoban", { rows: 6, columns: 6, boxes: 1, searchDepth: 30 });
    const room = await traces(await contextOf(sokoban), 2);
    expect(worldModelTurns(room)[0].prediction).toContain("#");
    const corridor = await traces(
      await contextOf(corridorEnvironment, { levels: { testLevels: 2, tuningLevels: 2 } }),
      2,
    );
    const predictions = worldModelTurns(corridor).map(({ prediction }) => prediction ?? "");
    for (const prediction of predictions) expect(prediction).toMatch(/^[A.#]{12}$/);
    expect(new Set(predictions).size).toBeGreaterThan(5);
  });
});

describe("traces of several worlds", () => {
  const also = [{ name: "frozen-lake", options: { size: 6, slippery: false } }];
  const larger = { maxTurns: 2, maxNewTokens: 200, maxTokens: 900 };
  const rowsOf = ({ turns }: Trajectory) => turns[0].stateBefore.grid.split("\n").length;
  const showsPlaces = ({ turns }: Trajectory) => turns[0].message.includes("Player (P) at");

  it("come from each as often, under each kind of prompt, and are the same for the same step", async () => {
    const base = { batchSize: 100, also, promptStates: ["grid", "structured"], tokenDropProbability: 0 };
    const context = await contextOf(lake, { base, protocol: larger });
    const all = await traces(context, 4);
    const kinds = all.map((trace) => `${rowsOf(trace)} ${showsPlaces(trace)}`);
    expect([...new Set(kinds)].sort()).toEqual(["4 false", "4 true", "6 false", "6 true"]);
    for (const kind of new Set(kinds))
      expect(share(kinds.map((other) => other === kind))).toBeCloseTo(0.25, 1);
    expect(await traces(context, 4)).toEqual(all);
    // Noise of a world has the world's own coordinates.
    const columns = all.map((trace) => [
      rowsOf(trace),
      ...[...(trace.turns[0].observation ?? "").matchAll(/,(\d)\)/g)].map(([, column]) => Number(column)),
    ]);
    for (const [rows, ...places] of columns) expect(Math.max(0, ...places)).toBeLessThan(rows);
    expect(Math.max(...columns.filter(([rows]) => rows === 6).flatMap(([, ...places]) => places))).toBe(5);
  });

  it("never show what a run in one of them would be tested on", async () => {
    const levels = { testLevels: 40, tuningLevels: 10 };
    const drawn = { environment: { name: "frozen-lake", options: { size: 3, slippery: false } }, levels };
    const three = () => createEnvironment("frozen-lake", { size: 3, slippery: false });
    const [context, other] = [
      await contextOf(lake, { levels, base: { also: [drawn.environment] } }),
      await contextOf(three, drawn),
    ];
    const starts = (await traces(context, 4)).map(({ turns }) => turns[0].stateBefore.grid);
    expect(starts.some((grid) => grid.split("\n").length === 3)).toBe(true);
    for (const grid of starts) expect(other.split.held.has(grid)).toBe(false);
  });
});

describe("traces of valid actions", () => {
  const puzzle = () => createEnvironment("sudoku", { size: 4, blanks: 3, maxSteps: 30 });
  /** Shares of actions that name a cell which was empty before their turn, and the digits they place. */
  const cellsOf = (all: Trajectory[]) =>
    all.flatMap(({ turns }) =>
      turns.flatMap(({ actions, stateBefore }) => {
        const cells = stateBefore.grid.split("\n").map((row) => row.replace(/[\s|]/g, ""));
        return actions.map((action) => {
          const [row, column, value] = action.split(",").map(Number);
          return { isEmpty: cells[row - 1][column - 1] === ".", value };
        });
      }),
    );

  it("fill cells that are not given, with any digit", async () => {
    const given = cellsOf(await traces(await contextOf(puzzle), 2));
    expect(share(given.map(({ isEmpty }) => isEmpty))).toBeLessThan(0.35);
    const context = await contextOf(puzzle, { base: { validActions: true } });
    const filled = cellsOf((await traces(context, 4)).filter(({ turns }) => turns.length === 1));
    expect(filled.length).toBeGreaterThan(100);
    expect(filled.every(({ isEmpty }) => isEmpty)).toBe(true);
    for (const digit of [1, 2, 3, 4])
      expect(share(filled.map(({ value }) => value === digit))).toBeCloseTo(0.25, 0.7);
  });

  it("are tried and taken back, also where the environment answers later", async () => {
    const later = (): Environment => {
      const inner = puzzle();
      return {
        name: inner.name,
        actions: inner.actions,
        instructions: () => inner.instructions(),
        reset: async (options) => inner.reset(options),
        step: async (action) => inner.step(action),
        render: (mode) => inner.render(mode),
        state: () => inner.state(),
        restore: (state) => inner.restore(state),
        parseAction: (text) => inner.parseAction(text),
      };
    };
    const changes = { base: { validActions: true } };
    const [first] = await traces(await contextOf(puzzle, changes), 1);
    expect((await traces(await contextOf(later, changes), 1))[0].tokens).toEqual(first.tokens);
    const [turn] = first.turns;
    expect(turn.executed).toBe(turn.actions.length);
    const level = puzzle();
    level.reset({ seed: first.seed, level: turn.stateBefore.grid });
    for (const action of turn.actions) level.step(action);
    expect(level.render("structured")).toBe(turn.stateAfter.structured);
  });
});

test("the nano vocabulary has words for all that built-in games with grids write", async () => {
  const worlds = [
    ...[4, 5, 6, 7, 8].map((size) => createEnvironment("frozen-lake", { size, slippery: false })),
    createEnvironment("sokoban", { rows: 6, columns: 6, boxes: 1, searchDepth: 30 }),
    createEnvironment("sokoban", { rows: 6, columns: 6, boxes: 2, searchDepth: 60 }),
    createEnvironment("sudoku", { size: 4, blanks: 3 }),
    createEnvironment("sudoku", { size: 9, blanks: 40 }),
  ];
  const unknown = new UnknownText(tokenizer);
  for (const environment of worlds) {
    for (let seed = 1; seed <= 10; seed++) {
      await environment.reset({ seed });
      unknown.see(tokenizer.encode(environment.render("structured")));
    }
  }
  expect(unknown.found).toEqual([]);
});

/** Walk to the right end of a corridor of twelve cells with some walls drawn in: a level is a place and its walls. */
function corridorEnvironment(): Environment {
  let cells: string[] = [];
  return {
    name: "corridor",
    actions: ["Back", "Forth"],
    instructions: () => "Walk.",
    reset: ({ seed = 0, level }) => {
      cells = [
        ...(level ??
          Array.from({ length: 12 }, (_, index) => (((seed * 7919) >> index) & 1 ? "#" : ".")).join("")),
      ];
      if (level === undefined) cells[seed % 11] = "A";
      return cells.join("");
    },
    step: (action) => {
      const from = cells.indexOf("A");
      const to = Math.max(0, Math.min(11, from + (action === "Forth" ? 1 : -1)));
      cells[from] = ".";
      cells[to] = "A";
      const success = to === 11;
      return {
        observation: cells.join(""),
        reward: success ? 1 : 0,
        terminated: success,
        truncated: false,
        info: { valid: true, effective: from !== to, success },
      };
    },
    render: () => cells.join(""),
    state: () => cells.join(""),
    restore: (state) => {
      cells = [...String(state)];
    },
  };
}
