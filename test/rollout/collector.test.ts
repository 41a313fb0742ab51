import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Environment } from "../../envs/environment.ts";
import { createEnvironment } from "../../envs/index.ts";
import { type Config, configSchema } from "../../lib/config/schema.ts";
import { Engine } from "../../lib/engine/engine.ts";
import type { Model } from "../../lib/engine/model.ts";
import { createTrainer } from "../../lib/engine/trainer.ts";
import { packTrajectories } from "../../lib/rollout/batch.ts";
import { type CollectOptions, collect } from "../../lib/rollout/collector.ts";
import { EnvironmentPool } from "../../lib/rollout/environment-pool.ts";
import { LevelStream } from "../../lib/rollout/levels.ts";
import { type Play, playsOf } from "../../lib/rollout/player.ts";
import type { Trajectory } from "../../lib/rollout/trajectory.ts";
import { TurnProtocol } from "../../lib/rollout/turn-protocol.ts";
import { lossMask } from "../../lib/text/masks.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { isAssistantRole, Role } from "../../lib/text/roles.ts";

// The model is untrained: its replies are noise of every length, which is the hardest case for what is checked here.

const tokenizer = nanoTokenizer();
const lake = () => createEnvironment("frozen-lake", { slippery: false });
let engine: Engine;
let model: Model;

beforeAll(async () => {
  engine = await Engine.create({ device: "cpu", threads: 1, seed: 3 });
  model = await engine.createModel(
    { vocabularySize: tokenizer.vocabularySize, hiddenSize: 32, intermediateSize: 48, layers: 2, heads: 2 },
    { initialization: "nano" },
  );
});
afterAll(() => engine.dispose());

function protocolWith(settings: Partial<Config["protocol"]>): TurnProtocol {
  const { protocol } = configSchema.parse({
    protocol: { maxTurns: 3, maxNewTokens: 24, maxTokens: 400, ...settings },
  });
  return new TurnProtocol(tokenizer, protocol, "world-model");
}

async function playsOn(levels: number, groupSize: number): Promise<Play[]> {
  return playsOf(await new LevelStream(lake(), 10_000).take(levels), groupSize);
}

async function collectWith(
  protocol: TurnProtocol,
  options: Partial<CollectOptions> = {},
  create: () => Environment = lake,
): Promise<Trajectory[]> {
  const plays = options.plays ?? (await playsOn(3, 4));
  const environments = new EnvironmentPool(create);
  return collect({ model, protocol, environments, plays, temperature: 1, slots: 64, seed: 11, ...options });
}

/** What the trajectory must decode to: user messages in chat delimiters, and the sampled replies. */
function expectedText(trajectory: Trajectory, protocol: TurnProtocol): string {
  const { endToken } = protocol.chat;
  let text = "";
  for (const [index, turn] of trajectory.turns.entries()) {
    const before = trajectory.turns[index - 1];
    if (before && protocol.settings.context === "episode") {
      text += `${trajectory.tokens[before.end - 1] === endToken ? "" : "<|im_end|>"}\n`;
    }
    text += `<|im_start|>user\n${turn.message}<|im_end|>\n<|im_start|>assistant\n${protocol.forced}`;
    text += tokenizer.decode(trajectory.tokens.subarray(turn.begin, turn.end));
  }
  return text;
}

async function expectSameLogProbs(trajectories: Trajectory[], temperature = 1): Promise<void> {
  const batch = packTrajectories(trajectories);
  const logProbs = await model.logProbs({ ...batch, temperature });
  let largest = 0;
  for (let index = 0; index < logProbs.length; index++) {
    if (batch.sampled[index]) largest = Math.max(largest, Math.abs(logProbs[index] - batch.logProbs[index]));
    else expect(batch.logProbs[index]).toBe(0);
  }
  expect(largest).toBeLessThan(1e-4);
}

/** An environment in which nothing can be done. */
function withoutTask(): Environment {
  const info = { valid: false, effective: false, success: false };
  return {
    name: "idle",
    actions: ["Wait"],
    instructions: () => "",
    reset: () => "",
    step: () => ({ observation: "", reward: 0, terminated: false, truncated: false, info }),
    render: () => "",
    state: () => null,
    restore: () => {},
  };
}

describe("collect", () => {
  for (const context of ["episode", "turn"] as const) {
    for (const forceThink of [false, true]) {
      it(`keeps the exact tokens, context ${context}${forceThink ? ", <think> forced" : ""}`, async () => {
        const protocol = protocolWith({ context, forceThink });
        const trajectories = await collectWith(protocol);
        expect(trajectories).toHaveLength(12);
        for (const trajectory of trajectories) {
          expect(tokenizer.decode(trajectory.tokens)).toBe(expectedText(trajectory, protocol));
          expect(trajectory.segments).toHaveLength(context === "turn" ? trajectory.turns.length : 1);
        }
        await expectSameLogProbs(trajectories);
      });
    }
  }

  it("computes equal prompts of a group once, also where a group has several", async () => {
    let made = 0;
    // A level that looks different to every third player.
    const blurred = (): Environment => {
      const view = ["near", "far", "hidden"][made++ % 3];
      let grid = "";
      return {
        ...withoutTask(),
        reset: ({ level = "" }) => {
          grid = level;
          return grid;
        },
        render: (mode) => (mode === "grid" ? grid : `${grid}\nThe goal is ${view}.`),
      };
    };
    for (const context of ["episode", "turn"] as const) {
      const protocol = protocolWith({ context, promptState: "structured" });
      const trajectories = await collectWith(protocol, { plays: await playsOn(2, 7) }, blurred);
      for (const trajectory of trajectories) {
        expect(tokenizer.decode(trajectory.tokens)).toBe(expectedText(trajectory, protocol));
      }
      await expectSameLogProbs(trajectories);
    }
  });

  it("marks as sampled the turns and nothing else", async () => {
    for (const trajectory of await collectWith(protocolWith({ forceThink: true }))) {
      const inTurn = new Uint8Array(trajectory.tokens.length);
      for (const { begin, end } of trajectory.turns) inTurn.fill(1, begin, end);
      expect(trajectory.sampled).toEqual(inTurn);
      const mask = lossMask("response", trajectory.roles, trajectory.sampled);
      expect(mask).toEqual(inTurn);
      for (const [index, role] of trajectory.roles.entries()) {
        const forced = role === Role.tag && inTurn[index] === 0;
        expect(isAssistantRole(role)).toBe(inTurn[index] === 1 || forced);
      }
    }
  });

  it("takes log-probs at the temperature that it samples with", async () => {
    const trajectories = await collectWith(protocolWith({}), { temperature: 0.7 });
    await expectSameLogProbs(trajectories, 0.7);
  });

  it("gives a trajectory the same tokens whatever the order of plays and the number of slots", async () => {
    const protocol = protocolWith({});
    const plays = await playsOn(4, 3);
    const all = await collectWith(protocol, { plays });
    const few = await collectWith(protocol, { plays, slots: 5 });
    const backwards = await collectWith(protocol, { plays: [...plays].reverse(), slots: 7 });
    expect(backwards.map(({ id }) => id)).toEqual(plays.map(({ id }) => id).reverse());
    for (const [index, trajectory] of all.entries()) {
      expect(few[index].tokens).toEqual(trajectory.tokens);
      expect(backwards[plays.length - 1 - index].tokens).toEqual(trajectory.tokens);
    }
  });

  it("gives trajectories of a level different random streams, and other seeds other replies", async () => {
    const protocol = protocolWith({ maxTurns: 1 });
    const plays = await playsOn(1, 4);
    const first = await collectWith(protocol, { plays });
    const replies = first.map(({ tokens }) => tokenizer.decode(tokens));
    expect(new Set(replies).size).toBe(4);
    const second = await collectWith(protocol, { plays, seed: 12 });
    expect(second[0].tokens).not.toEqual(first[0].tokens);
  });

  it("starts every turn only where a whole reply fits, and ends as context otherwise", async () => {
    const protocol = protocolWith({ maxTokens: 110, maxTurns: 5 });
    const trajectories = await collectWith(protocol);
    const cut = trajectories.filter(({ finish }) => finish === "context");
    expect(cut.length).toBeGreaterThan(0);
    for (const trajectory of trajectories) {
      expect(trajectory.tokens.length).toBeLessThanOrEqual(110);
      const last = trajectory.turns[trajectory.turns.length - 1];
      expect(last.end).toBe(trajectory.tokens.length);
    }
  });

  it("ends a trajectory as context where a turn's own prompt has outgrown it", async () => {
    const growing = (): Environment => {
      let length = 0;
      const render = () => "P\n".repeat(length);
      return {
        name: "growing",
        actions: ["Wait"],
        instructions: () => "Wait.",
        reset: ({ level = "P\n" }) => {
          length = level.length / 2;
          return render();
        },
        step: () => {
          length += 3;
          return {
            observation: render(),
            reward: 0,
            terminated: false,
            truncated: false,
            info: { valid: true, effective: true, success: false },
          };
        },
        render,
        state: () => length,
        restore: () => {},
      };
    };
    const level = { seed: 1, grid: "P\n", distance: null };
    const plays = [0, 1].map((id) => ({ id, group: 0, level }));
    const protocol = protocolWith({ context: "turn", maxTokens: 80, maxTurns: 50, maxActions: 50 });
    // The model's replies are noise: each is taken for an action.
    const read = protocol.read.bind(protocol);
    protocol.read = (tokens, environment) => {
      const reply = read(tokens, environment);
      return { ...reply, parsed: { ...reply.parsed, valid: true, actions: ["Wait"] } };
    };
    const trajectories = await collectWith(protocol, { plays, slots: 1 }, growing);
    for (const { finish, turns, segments, tokens } of trajectories) {
      expect(finish).toBe("context");
      expect(turns.length).toBeGreaterThan(0);
      expect(segments).toHaveLength(turns.length);
      expect(turns[turns.length - 1].end).toBe(tokens.length);
    }
  });

  it("says so when a first prompt leaves no room for a reply", async () => {
    await expect(collectWith(protocolWith({ maxTokens: 40 }))).rejects.toMatchObject({
      code: "CAPACITY",
      hint: "raise protocol.maxTokens or lower protocol.maxNewTokens",
    });
  });

  it("plays asynchronous environments at the same time, with the same outcome", async () => {
    const protocol = protocolWith({});
    let waiting = 0;
    let most = 0;
    const later = (): Environment => {
      const inner = lake();
      const wait = async () => {
        most = Math.max(most, ++waiting);
        await new Promise((resolve) => setTimeout(resolve, 2));
        waiting--;
      };
      return Object.assign(Object.create(inner) as Environment, {
        reset: (options: Parameters<Environment["reset"]>[0]) => wait().then(() => inner.reset(options)),
        step: (action: string) => wait().then(() => inner.step(action)),
        render: (mode: "grid" | "structured") => inner.render(mode),
        state: () => inner.state(),
        instructions: () => inner.instructions(),
      });
    };
    const [slow, fast] = [await collectWith(protocol, {}, later), await collectWith(protocol)];
    expect(slow).toEqual(fast);
    expect(most).toBe(12);
  });

  it("stops at once when it is aborted, and reports progress", async () => {
    const controller = new AbortController();
    const seen: number[] = [];
    const collecting = collectWith(protocolWith({}), {
      slots: 4,
      signal: controller.signal,
      onProgress: (done) => {
        seen.push(done);
        if (done >= 4) controller.abort();
      },
    });
    await expect(collecting).rejects.toMatchObject({ code: "ABORTED" });
    expect(seen[seen.length - 1]).toBeLessThan(12);
  });
});

it("stops when the model has diverged", async () => {
  const diverged = await model.clone();
  const trainer = createTrainer(diverged, { optimizer: { learningRate: 1e30 }, gradientClip: null });
  const tokens = tokenizer.encode("Up || Down || Left");
  const mask = new Uint8Array(tokens.length).fill(1);
  mask[0] = 0;
  await trainer.step({ tokens, offsets: Uint32Array.of(0, tokens.length), mask }, { kind: "sft" });
  await expect(collectWith(protocolWith({}), { model: diverged })).rejects.toMatchObject({
    code: "NOT_FINITE",
    message: expect.stringMatching(/turn 1 of trajectory \d+, level seed \d+/),
  });
  await diverged.dispose();
});
