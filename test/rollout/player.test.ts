import { describe, expect, it } from "vitest";
import { createEnvironment } from "../../envs/index.ts";
import { type Config, configSchema } from "../../lib/config/schema.ts";
import { EnvironmentPool } from "../../lib/rollout/environment-pool.ts";
import { LevelStream } from "../../lib/rollout/levels.ts";
import { playsOf } from "../../lib/rollout/player.ts";
import { playScripted, type ScriptedOptions } from "../../lib/rollout/scripted.ts";
import { SeededGenerator } from "../../lib/rollout/seeded-generator.ts";
import type { Trajectory } from "../../lib/rollout/trajectory.ts";
import { TurnProtocol } from "../../lib/rollout/turn-protocol.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { rejection } from "../thrown-error.ts";

const lake = () => createEnvironment("frozen-lake", { slippery: false });
const tokenizer = nanoTokenizer();

async function play(
  settings: Partial<Config["protocol"]>,
  options: Partial<ScriptedOptions> = {},
): Promise<Trajectory[]> {
  const { protocol } = configSchema.parse({ protocol: { maxTurns: 4, ...settings } });
  return playScripted({
    protocol: new TurnProtocol(tokenizer, protocol, "plain"),
    environments: new EnvironmentPool(lake),
    plays: playsOf(await new LevelStream(lake(), 10_000).take(5), 2),
    script: (_, generator) => ({ reasoning: "", actions: [generator.choice(["Up", "Down", "Left"])] }),
    generatorOf: ({ id }) => new SeededGenerator("player", id),
    ...options,
  });
}

describe("playsOf", () => {
  it("numbers plays and groups in order, from a first group on", async () => {
    const levels = await new LevelStream(lake(), 10_000).take(2);
    const numbers = playsOf(levels, 3, 10).map(({ id, group, level }) => [id, group, levels.indexOf(level)]);
    expect(numbers).toEqual([
      [30, 10, 0],
      [31, 10, 0],
      [32, 10, 0],
      [33, 11, 1],
      [34, 11, 1],
      [35, 11, 1],
    ]);
    expect(playsOf(levels).map(({ id, group }) => [id, group])).toEqual([
      [0, 0],
      [1, 1],
    ]);
  });
});

describe("a scripted play", () => {
  for (const context of ["episode", "turn"] as const) {
    it(`is the same beside others as alone, context ${context}`, async () => {
      const alone = await play({ context });
      expect(alone.map(({ id, group }) => [id, group])).toEqual(
        Array.from({ length: 10 }, (_, id) => [id, Math.floor(id / 2)]),
      );
      expect(await play({ context }, { slots: 3 })).toEqual(alone);
      expect(await play({ context }, { slots: 64 })).toEqual(alone);
      for (const { segments, turns, sampled } of alone) {
        expect(segments).toHaveLength(context === "turn" ? turns.length : 1);
        expect(sampled).not.toContain(1);
      }
    });
  }

  it("ends with its last turn", async () => {
    const whole = await play({});
    const begun = await play({}, { turns: 2 });
    for (const [index, { turns, finish }] of begun.entries()) {
      expect(turns).toEqual(whole[index].turns.slice(0, 2));
      expect(finish).toBe(whole[index].turns.length > 2 ? "turns" : whole[index].finish);
    }
  });

  it("ends where the next reply finds no room, and holds no prompt without a reply", async () => {
    const whole = await play({});
    const room = Math.max(...whole.map(({ turns }) => turns[1]?.end ?? 0));
    const cut = await play({ maxTokens: room, maxNewTokens: 1 });
    for (const [index, { tokens, turns, finish }] of cut.entries()) {
      const fitting = whole[index].turns.filter(({ end }) => end <= room);
      expect(turns).toEqual(fitting);
      expect(tokens).toHaveLength(turns[turns.length - 1].end);
      expect(finish).toBe(fitting.length < whole[index].turns.length ? "context" : whole[index].finish);
    }
    expect(cut.map(({ finish }) => finish)).toContain("context");
    expect(await rejection(play({ maxTokens: 20, maxNewTokens: 1 }))).toMatchObject({ code: "CAPACITY" });
  });

  it("stops between turns and tells how many are finished", async () => {
    const stop = new AbortController();
    const told: number[] = [];
    const onProgress = (done: number, total: number) => {
      expect(total).toBe(10);
      told.push(done);
      if (done === 3) stop.abort();
    };
    const stopped = play({}, { signal: stop.signal, onProgress });
    expect(await rejection(stopped)).toMatchObject({ code: "ABORTED" });
    expect(told[told.length - 1]).toBe(3);
  });
});
