import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Environment } from "../../envs/environment.ts";
import { createEnvironment, registerEnvironment } from "../../envs/index.ts";
import { describeRun } from "../../lib/cli/dry-run.ts";
import type { Config } from "../../lib/config/schema.ts";
import { train } from "../../lib/pipeline.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { preflight } from "../../lib/stages/preflight.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { rejection } from "../thrown-error.ts";
import { scratchFolder, tinyConfig, watchingProgress } from "./tiny-run.ts";

interface LogOptions {
  /** Lines of the state at the start, and those that an action adds. */
  first?: number;
  grow?: number;
  /** Lines at the start of every eighth level. */
  late?: number;
}

/** A world whose state is a log that grows with every action, as that of a shell does. */
function growingLog({ first = 1, grow = 1, late = first }: LogOptions = {}): Environment {
  let lines: string[] = [];
  const render = () => lines.join("\n");
  return {
    name: "growing-log",
    actions: ["Up", "Down"],
    instructions: () => "Go.",
    reset({ seed = 0, level }) {
      const digits = [...String(seed)].map((digit) => "PGO_".charAt(Number(digit) % 4)).join("");
      lines = level?.split("\n") ?? [digits, ...new Array((seed % 8 === 7 ? late : first) - 1).fill("P_")];
      return render();
    },
    step() {
      lines.push(...new Array(grow).fill("_P"));
      const info = { valid: true, effective: true, success: false };
      return { observation: render(), reward: 0, terminated: false, truncated: false, info };
    },
    render,
    state: () => [...lines],
    restore(kept) {
      lines = [...(kept as string[])];
    },
  };
}

registerEnvironment("growing-log", (options) => growingLog(options as LogOptions));

function logConfig(options: LogOptions, changes: Record<string, Record<string, unknown>> = {}): Config {
  return tinyConfig({
    ...changes,
    environment: { name: "growing-log", options },
    levels: { disjoint: false, ...changes.levels },
    protocol: { maxTokens: 300, maxNewTokens: 100, maxTurns: 4, maxActions: 20, ...changes.protocol },
  });
}

const check = (config: Config) =>
  preflight({
    config,
    tokenizer: nanoTokenizer(),
    createEnvironment: () => createEnvironment(config.environment.name, config.environment.options),
  });

describe("before a run", () => {
  it("nothing is said where everything fits", async () => {
    expect(await check(tinyConfig())).toEqual([]);
    expect(await check(logConfig({}, { protocol: { maxTokens: 1000 } }))).toEqual([]);
  });

  it("first prompts that do not fit are an error with the settings, and leave no run folder", async () => {
    const config = logConfig({ first: 90 });
    const error = await rejection(check(config));
    expect(error.code).toBe("CAPACITY");
    expect(error.message).toMatch(
      /^(\d+) of \1 levels do not fit the context: the prompt of level seed \d+ has \d+ tokens; with 100 new tokens it passes the context limit of 300$/,
    );
    expect(error.hint).toContain("protocol.maxTokens");
    const root = scratchFolder();
    expect((await rejection(train(config, { root, name: "run" }))).message).toBe(error.message);
    expect(existsSync(join(root, "run"))).toBe(false);
    expect((await rejection(describeRun(config))).message).toBe(error.message);
  });

  it("one level in eight that does not fit is found and named", async () => {
    const error = await rejection(check(logConfig({ late: 90 })));
    const [, refused, seed] = /^(\d+) of \d+ levels .* level seed (\d+) has/.exec(error.message) ?? [];
    expect(Number(refused)).toBeGreaterThan(5);
    expect(Number(refused)).toBeLessThan(30);
    expect(Number(seed) % 8).toBe(7);
  });

  it("states that no reply can describe are an error, and some that are too long a note", async () => {
    const error = await rejection(check(logConfig({ first: 20 }, { protocol: { maxTokens: 300 } })));
    expect(error.message).toMatch(
      /^a reply that describes the states truly has \d+ tokens or more \(the longest met: \d+\), but protocol.maxNewTokens is 100$/,
    );
    const notes = await check(logConfig({ first: 2, grow: 3 }, { protocol: { maxTokens: 2000 } }));
    expect(notes).toEqual([
      expect.stringMatching(/^\d+ of \d+ states are too long to be described in a reply/),
    ]);
  });

  it.each(["episode", "turn"])(
    "episodes that outgrow the context are told, and end as context (%s)",
    async (context) => {
      const config = logConfig(
        { first: 1, grow: context === "turn" ? 12 : 2 },
        { protocol: { context, maxTokens: 220 }, ppo: { steps: 2 } },
      );
      const notes = await check({ ...config, arms: ["control"] });
      expect(notes).toContainEqual(
        expect.stringMatching(/^\d+ of 20 random episodes \(plain\) end for want of context/),
      );
      expect(await describeRun({ ...config, arms: ["control"] })).toContain(
        "random episodes (plain) end for want of",
      );
      const { folder } = await train(
        { ...config, arms: ["control"] },
        { root: scratchFolder(), name: "run" },
      );
      const played = RunFolder.open(folder).trajectories("control/ppo").read();
      expect(played.map(({ finish }) => finish)).toContain("context");
    },
  );

  it("self-play that would be held back as a whole is an error", async () => {
    const error = await rejection(check(tinyConfig({ sft: { validationShare: 1 } })));
    expect([error.code, error.message]).toEqual([
      "BAD_CONFIG",
      "spa/self-play would leave nothing to train on: with sft.validationShare=1 all of its 12 levels are held back for validation",
    ]);
    const world = await rejection(check(tinyConfig({ arms: ["world-model"], sft: { validationShare: 1 } })));
    expect(world.message).toBe(error.message);
    expect(await check(tinyConfig({ arms: ["control"], sft: { validationShare: 1 } }))).toEqual([]);
  });

  it("a group filter that never keeps a group is refused", () => {
    const filter = { kind: "top-p", value: 0.5 };
    expect(() => tinyConfig({ ppo: { filter, groupSize: 1 } })).toThrow(/top-p keeps no group/);
    expect(() => tinyConfig({ ppo: { filter: { ...filter, value: 0 } } })).toThrow(/top-p keeps no group/);
    expect(tinyConfig({ ppo: { filter } }).ppo.filter).toEqual(filter);
  });
});

describe("self-play data that the true states make longer than the context", () => {
  /** A state that grows so that the agent's short replies fit and the true states do not. */
  const settings = {
    arms: ["spa"],
    selfPlay: { policy: "random", trajectories: 24 },
    ppo: { steps: 1 },
    base: { steps: 5 },
  };

  it("are left out with a count, or named when nothing is left", async () => {
    const notes: string[] = [];
    const progress = { ...watchingProgress(() => {}), note: (text: string) => notes.push(text) };
    const config = logConfig(
      { first: 2, grow: 4 },
      {
        ...(settings as never as Record<string, Record<string, unknown>>),
        protocol: { maxTokens: 250, maxTurns: 3 },
      },
    );
    const root = scratchFolder();
    const { folder } = await train(config, { root, name: "some", progress });
    const row = RunFolder.open(folder)
      .metrics.read()
      .find(({ stage }) => stage === "spa/self-play");
    expect(row?.examples_too_long).toBeGreaterThan(0);
    expect(Number(row?.examples)).toBeGreaterThan(0);
    expect(Number(row?.examples) + Number(row?.examples_too_long)).toBe(24);
    expect(notes).toContainEqual(
      expect.stringMatching(/^spa\/self-play: \d+ of 24 trajectories are longer than the context/),
    );
  });
});

describe("traces of the base", () => {
  const options = { size: 3, slippery: false };
  const nothing = { createEnvironment: () => createEnvironment("frozen-lake", options) };
  const checkBase = (base: Record<string, unknown>) =>
    preflight({ config: tinyConfig({ base }), tokenizer: nanoTokenizer(), ...nothing });

  it("must fit the context in the worlds that are learnt beside the run's own", async () => {
    expect(await checkBase({ also: [{ name: "frozen-lake", options: { size: 4 } }] })).toEqual([]);
    const also = [{ name: "frozen-lake", options: { size: 12, slippery: false } }];
    expect(await rejection(checkBase({ also }))).toMatchObject({
      code: "CAPACITY",
      message: expect.stringMatching(
        /^traces of the base on frozen-lake, .*promptState grid: .* protocol\.maxTokens is 400/,
      ),
    });
  });

  it("are of environments and options that there are", async () => {
    expect(await rejection(checkBase({ also: [{ name: "frozen-lak" }] }))).toMatchObject({
      code: "UNKNOWN_NAME",
    });
    const misspelt = checkBase({ also: [{ name: "frozen-lake", options: { sise: 3 } }] });
    expect(await rejection(misspelt)).toMatchObject({ code: "UNKNOWN_NAME" });
  });
});
