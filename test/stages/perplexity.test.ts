import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEnvironment } from "../../envs/index.ts";
import type { Engine, Model } from "../../lib/index.ts";
import { playsOf } from "../../lib/rollout/player.ts";
import { randomStatesScript } from "../../lib/rollout/random-policy.ts";
import { playScripted } from "../../lib/rollout/scripted.ts";
import { SeededGenerator, seedOf } from "../../lib/rollout/seeded-generator.ts";
import { TurnProtocol } from "../../lib/rollout/turn-protocol.ts";
import { createStageContext, type StageContext } from "../../lib/stages/context.ts";
import { evaluatedPerplexity, statePerplexity, type TextFit } from "../../lib/stages/perplexity.ts";
import { continueConversation, joinPieces, openConversation } from "../../lib/text/conversation.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { Role } from "../../lib/text/roles.ts";
import { type StateForm, stateForms, writeState } from "../../lib/text/state-text.ts";
import { encodeSpans, writeTurn } from "../../lib/text/turn-text.ts";
import { makeEngine } from "../engine/fixtures.ts";
import { tinyConfig, tinyShape } from "./tiny-run.ts";

let engine: Engine;
let model: Model;
let context: StageContext;
const tokenizer = nanoTokenizer();
const levels = 3;

beforeAll(async () => {
  engine = await makeEngine();
  model = await engine.createModel(tinyShape, { seed: 2, initialization: "nano" });
  context = await contextOf({});
});
afterAll(() => engine.dispose());

function contextOf(protocol: Record<string, unknown>): Promise<StageContext> {
  const config = tinyConfig({ protocol: { maxTurns: 3, maxTokens: 800, ...protocol } });
  const lake = () => createEnvironment("frozen-lake", { size: 3, slippery: false });
  const parts = { config, tokenizer, createEnvironment: lake, signal: undefined };
  return createStageContext(parts as unknown as Parameters<typeof createStageContext>[0]);
}

/** Negative log-probs of the tokens of each true state, found without what is tested: the conversations are written as text. */
async function natsOf(form: StateForm) {
  const { config, environments, split } = context;
  const protocol = new TurnProtocol(tokenizer, { ...config.protocol, traceState: form }, "world-model");
  const seed = seedOf(config.seed, "perplexity");
  const played = await playScripted({
    protocol,
    environments,
    plays: playsOf(split.tuning.slice(0, levels)),
    script: randomStatesScript(config, protocol),
    generatorOf: ({ id }) => new SeededGenerator(seed, id),
  });
  const states: { role: number; changed: boolean; nats: number[]; text: string; grid: string }[] = [];
  for (const { turns } of played) {
    const pieces = turns.flatMap(({ message, stateBefore, stateAfter, actions }, index) => {
      const prompt =
        index === 0
          ? openConversation(tokenizer, protocol.chat, { system: null, user: message })
          : continueConversation(tokenizer, protocol.chat, { ended: true, user: message });
      const spans = writeTurn({
        format: "world-model",
        observation: writeState(stateBefore, form),
        prediction: writeState(stateAfter, form),
        reasoning: "",
        actions,
      });
      return [prompt, encodeSpans(spans, protocol.chat.contents, protocol.chat.endToken)];
    });
    const { tokens } = joinPieces(pieces);
    const logProbs = await model.logProbs({ tokens, offsets: [0, tokens.length] });
    let at = 0;
    for (const [index, piece] of pieces.entries()) {
      const turn = turns[index >> 1];
      for (const role of index % 2 === 0 ? [] : [Role.observation, Role.prediction]) {
        const places = [...piece.roles.keys()].filter((place) => piece.roles[place] === role);
        states.push({
          role,
          changed: turn.stateBefore.structured !== turn.stateAfter.structured,
          nats: places.map((place) => -logProbs[at + place]),
          text: tokenizer.decode(piece.tokens.filter((_, place) => piece.roles[place] === role)),
          grid: (role === Role.observation ? turn.stateBefore : turn.stateAfter).grid,
        });
      }
      at += piece.tokens.length;
    }
  }
  return states;
}

function expectFit(fit: TextFit, states: readonly (readonly number[])[]): void {
  const all = states.flat();
  const sum = all.reduce((a, b) => a + b, 0);
  expect(fit).toMatchObject({ tokens: all.length, states: states.length });
  expect(fit.perplexity! / Math.exp(sum / all.length)).toBeCloseTo(1, 5);
  expect(fit.natsPerState! / (sum / states.length)).toBeCloseTo(1, 5);
}

describe("statePerplexity", () => {
  it.each(stateForms)("is exp of the mean over the tokens of true states, as %s", async (form) => {
    const fits = await statePerplexity(context, model, { levels, form });
    const states = await natsOf(form);
    const nats = (isIn: (state: (typeof states)[number]) => boolean) =>
      states.filter(isIn).map((state) => state.nats);
    const predicted = nats(({ role, changed }) => role === Role.prediction && changed);
    expect(predicted.length).toBeGreaterThan(0);
    expect(predicted.length).toBeLessThan(states.length / 2);
    expectFit(
      fits.observation,
      nats(({ role }) => role === Role.observation),
    );
    expectFit(
      fits.prediction,
      nats(({ role }) => role === Role.prediction),
    );
    expectFit(fits.predictionChanged, predicted);
    expectFit(
      fits.both,
      nats(() => true),
    );
    expect(fits.tooLong).toBe(0);
  });

  it("tells grid and coordinates apart", async () => {
    const fits = await statePerplexity(context, model, { levels, form: "structured" });
    const states = await natsOf("structured");
    const parts = states.map(({ nats, text, grid }) => {
      expect(text.startsWith(grid)).toBe(true);
      const inGrid = tokenizer.encode(grid).length;
      return [nats.slice(0, inGrid), nats.slice(inGrid)];
    });
    expectFit(
      fits.grid,
      parts.map(([grid]) => grid),
    );
    expectFit(
      fits.coordinates,
      parts.map(([, coordinates]) => coordinates),
    );
    const none = { perplexity: null, natsPerState: null, tokens: 0, states: 0 };
    const plain = await statePerplexity(context, model, { levels, form: "grid" });
    expect(plain.grid).toEqual(plain.both);
    expect(plain.coordinates).toEqual(none);
    const bare = await statePerplexity(context, model, { levels, form: "coordinates" });
    expect(bare.grid).toEqual(none);
    expect(bare.coordinates).toEqual(bare.both);
  });
});

describe("in an evaluation", () => {
  it("is that of the run's form of states on all tuning levels, if they are few", async () => {
    const { form, observation, prediction, predictionChanged } = await statePerplexity(context, model, {
      levels: 3,
      form: "structured",
    });
    const kept = ({ perplexity, natsPerState }: TextFit) => ({ perplexity, natsPerState });
    expect(form).toBe(context.config.protocol.traceState);
    expect(await evaluatedPerplexity(context, model)).toEqual({
      observation: kept(observation),
      prediction: kept(prediction),
      predictionChanged: kept(predictionChanged),
    });
  });

  it("is left out where true states do not fit the context, which alone is an error", async () => {
    const short = await contextOf({ maxTokens: 60, maxNewTokens: 50 });
    expect(await evaluatedPerplexity(short, model)).toBeUndefined();
    await expect(statePerplexity(short, model, { levels: 3, form: "structured" })).rejects.toMatchObject({
      code: "CAPACITY",
    });
  });
});
