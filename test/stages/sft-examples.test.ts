import { describe, expect, it } from "vitest";
import type { Script } from "../../lib/rollout/scripted.ts";
import { SeededGenerator } from "../../lib/rollout/seeded-generator.ts";
import type { Trajectory } from "../../lib/rollout/trajectory.ts";
import {
  changedByText,
  packExamples,
  rewriteTrajectory,
  type SftExample,
} from "../../lib/stages/sft/examples.ts";
import { StateNoise } from "../../lib/stages/sft/state-noise.ts";
import { lossMask } from "../../lib/text/masks.ts";
import { Role } from "../../lib/text/roles.ts";
import { protocolWith, textOf, tokenizer, trajectories } from "./blind-play.ts";

describe("rewriteTrajectory", () => {
  for (const context of ["episode", "turn"] as const) {
    for (const forceThink of [false, true]) {
      it(`puts the true states in, context ${context}${forceThink ? ", <think> forced" : ""}`, async () => {
        const protocol = protocolWith({ context, forceThink });
        for (const trajectory of await trajectories(protocol)) {
          const { example, turns } = rewriteTrajectory(trajectory, "train", protocol, { states: "true" })!;
          const { tokens, roles, trainable } = example;
          const observed = trajectory.turns.map(({ stateBefore }) => stateBefore.structured).join("");
          const predicted = trajectory.turns.map(({ stateAfter }) => stateAfter.structured).join("");
          expect(textOf(tokens, roles, Role.observation)).toBe(observed);
          expect(textOf(tokens, roles, Role.prediction)).toBe(predicted);
          for (const role of [
            Role.prompt,
            Role.environment,
            Role.template,
            Role.answer,
            Role.reasoning,
          ] as const) {
            expect(textOf(tokens, roles, role)).toBe(textOf(trajectory.tokens, trajectory.roles, role));
          }
          expect(example.segments).toHaveLength(trajectory.segments.length);
          for (const segment of example.segments)
            expect(tokens[segment]).toBe(tokenizer.tokenId("<|im_start|>"));
          for (const [index, role] of roles.entries()) {
            if (trainable[index]) expect(role).toBeGreaterThanOrEqual(Role.tag);
            else expect([Role.prompt, Role.environment, Role.template, Role.tag]).toContain(role);
          }
          expect(turns.map(({ response }) => response).join("")).toContain("<think><observation>");
        }
      });
    }
  }

  it("keeps an invalid turn as context without loss, and cuts it off at the end", async () => {
    const protocol = protocolWith();
    const [trajectory] = (await trajectories(protocol, 20)).filter(({ turns }) => turns.length === 3);
    trajectory.turns[0].valid = false;
    trajectory.turns[2].valid = false;
    const { example } = rewriteTrajectory(trajectory, "train", protocol, { states: "true" })!;
    const [first, second] = trajectory.turns;
    expect(example.tokens.slice(0, second.begin)).toEqual(trajectory.tokens.slice(0, second.begin));
    expect(example.trainable.slice(0, second.begin).includes(1)).toBe(false);
    expect(tokenizer.decode(example.tokens.subarray(first.begin, first.end))).toContain("<observation>P<");
    const trained = example.tokens.filter((_, index) => example.trainable[index] === 1);
    expect(tokenizer.decode(trained)).toContain(second.stateAfter.structured);
    expect(example.tokens[example.tokens.length - 1]).toBe(protocol.chat.endToken);
    expect(example.trainable[example.trainable.length - 1]).toBe(1);
  });

  it("gives nothing where no turn is valid", async () => {
    const protocol = protocolWith();
    const [trajectory] = await trajectories(protocol, 1);
    for (const turn of trajectory.turns) turn.valid = false;
    expect(rewriteTrajectory(trajectory, "train", protocol, { states: "true" })).toBeUndefined();
  });

  it("leaves out valid turns that are not chosen where each turn has a prompt of its own", async () => {
    const protocol = protocolWith({ context: "turn" });
    const [trajectory] = (await trajectories(protocol, 20)).filter(({ turns }) => turns.length === 3);
    const [, second, third] = trajectory.turns;
    const only = (place: number) => (_: unknown, index: number) => index === place;
    const { example, turns } = rewriteTrajectory(
      trajectory,
      "train",
      protocol,
      { states: "sampled" },
      only(1),
    )!;
    expect(turns.map(({ trained }) => trained)).toEqual([false, true]);
    expect(example.segments).toEqual([0]);
    const [, begin] = trajectory.segments;
    expect(example.tokens).toEqual(trajectory.tokens.slice(begin, second.end));
    expect(example.trainable.indexOf(1)).toBe(second.begin - begin);
    const last = rewriteTrajectory(trajectory, "train", protocol, { states: "sampled" }, only(2))!;
    expect(last.example.tokens).toEqual(trajectory.tokens.slice(trajectory.segments[2], third.end));
  });

  it("keeps valid turns that are not chosen as context without loss in one growing sequence", async () => {
    const protocol = protocolWith();
    const [trajectory] = (await trajectories(protocol, 20)).filter(({ turns }) => turns.length === 3);
    const [, second] = trajectory.turns;
    const secondOnly = (_: unknown, index: number) => index === 1;
    const { example } = rewriteTrajectory(trajectory, "train", protocol, { states: "sampled" }, secondOnly)!;
    expect(example.tokens).toEqual(trajectory.tokens.slice(0, second.end));
    expect(example.trainable.indexOf(1)).toBe(second.begin);
  });

  it("leaves the agent's own states, or random coordinates, for ablations", async () => {
    const protocol = protocolWith();
    const [trajectory] = await trajectories(protocol, 1);
    const sampled = rewriteTrajectory(trajectory, "train", protocol, { states: "sampled" })!;
    expect(sampled.example.tokens).toEqual(trajectory.tokens);
    const noise = new StateNoise(trajectory.turns.map(({ stateBefore }) => stateBefore));
    const generator = new SeededGenerator("coordinates");
    const random = rewriteTrajectory(trajectory, "train", protocol, {
      states: "random-coordinates",
      noise,
      generator,
    })!;
    const text = textOf(random.example.tokens, random.example.roles, Role.observation);
    expect(text).toContain(trajectory.turns[0].stateBefore.grid);
    expect(text).not.toContain(trajectory.turns[0].stateBefore.structured);
  });

  it("puts the truth into one state and leaves the agent's own in the other", async () => {
    const protocol = protocolWith();
    const wrong: Script = (episode) => {
      const state = protocol.traceState(episode.state).replace("P", "_");
      return { observation: state, reasoning: "", prediction: `${state} `, actions: ["Up"] };
    };
    const [trajectory] = await trajectories(protocol, 1, wrong);
    const stateOf = (states: "true" | "sampled" | "true-observation" | "true-prediction", role: Role) => {
      const { example } = rewriteTrajectory(trajectory, "train", protocol, { states })!;
      return textOf(example.tokens, example.roles, role);
    };
    const [observation, prediction] = [Role.observation, Role.prediction];
    expect(stateOf("true", observation)).not.toBe(stateOf("sampled", observation));
    expect(stateOf("true-observation", observation)).toBe(stateOf("true", observation));
    expect(stateOf("true-observation", prediction)).toBe(stateOf("sampled", prediction));
    expect(stateOf("true-prediction", observation)).toBe(stateOf("sampled", observation));
    expect(stateOf("true-prediction", prediction)).toBe(stateOf("true", prediction));
  });

  it("trains the same tokens whatever stands in the states: with the agent's own only the truth is missing", async () => {
    const protocol = protocolWith();
    const states = (await trajectories(protocol)).flatMap(({ turns }) =>
      turns.map(({ stateBefore }) => stateBefore),
    );
    const noise = new StateNoise(states);
    // An agent that describes states in form, and wrongly.
    const wrong: Script = (episode, generator) => {
      const state = noise.randomCoordinates(protocol.traceState(episode.state), generator, 1);
      const actions = [generator.choice(["Up", "Down", "Left", "Right"])];
      return { observation: state, reasoning: " So I move closer.", prediction: state, actions };
    };
    let equal = 0;
    for (const trajectory of await trajectories(protocol, 12, wrong)) {
      const [truth, own] = (["true", "sampled"] as const).map(
        (kind) => rewriteTrajectory(trajectory, "train", protocol, { states: kind })!.example,
      );
      const isState = (role: number) => role === Role.observation || role === Role.prediction;
      const outside = ({ tokens, roles, trainable }: SftExample) =>
        [...tokens.keys()].flatMap((at) =>
          isState(roles[at]) ? [] : [[tokens[at], roles[at], trainable[at]]],
        );
      expect(outside(own)).toEqual(outside(truth));
      for (const { roles, trainable } of [truth, own])
        for (const [at, role] of roles.entries()) if (isState(role)) expect(trainable[at]).toBe(1);
      // Where an end of the episode changes what a state lists, its length changes.
      if (own.tokens.length !== truth.tokens.length) continue;
      equal++;
      expect(own.tokens).not.toEqual(truth.tokens);
      expect(own.segments).toEqual(truth.segments);
      for (const mask of ["full", "no-state", "state-only", "answer"] as const)
        expect(lossMask(mask, own.roles, own.trainable)).toEqual(
          lossMask(mask, truth.roles, truth.trainable),
        );
    }
    expect(equal).toBeGreaterThan(5);
  });

  it("takes other states of the environment at random, the same for the same turn", async () => {
    const protocol = protocolWith();
    const played = await trajectories(protocol);
    const pool = played.flatMap(({ turns }) =>
      turns.map(({ stateBefore }) => protocol.traceState(stateBefore)),
    );
    const generatorOf = (trajectory: number, turn: number) => new SeededGenerator("other", trajectory, turn);
    const rewrite = (trajectory: Trajectory) =>
      rewriteTrajectory(trajectory, "train", protocol, { states: "random", pool, generatorOf })!;
    const written = new Set<string>();
    for (const trajectory of [...played].reverse()) {
      const { example, turns } = rewrite(trajectory);
      expect(rewrite(trajectory).example).toEqual(example);
      for (const { turn, response } of turns) {
        const [, before, after] = /<observation>([^<]*)<.*<prediction>([^<]*)</s.exec(response)!;
        expect(pool).toContain(before);
        expect(pool).toContain(after);
        expect(before).not.toBe(protocol.traceState(turn.stateBefore));
        expect(after).not.toBe(protocol.traceState(turn.stateAfter));
        written.add(before).add(after);
      }
    }
    expect(written.size).toBeGreaterThan(5);
    const [only] = pool;
    const alone = rewriteTrajectory(played[0], "train", protocol, {
      states: "random",
      pool: [only],
      generatorOf,
    })!;
    expect(alone.turns[0].response).toContain(`<observation>${only}</observation>`);
  });

  it("knows the turns that changed the state, whatever is written; with the true states the texts show them", async () => {
    const protocol = protocolWith();
    const seen = new Set<boolean>();
    for (const trajectory of await trajectories(protocol, 12)) {
      const [truth, own] = (["true", "sampled"] as const).map(
        (states) => rewriteTrajectory(trajectory, "train", protocol, { states })!.example,
      );
      for (const { effective } of trajectory.turns) seen.add(effective);
      const expected = new Uint8Array(trajectory.tokens.length);
      for (const { begin, end, effective } of trajectory.turns) expected.fill(effective ? 1 : 0, begin, end);
      expect(own.changed).toEqual(expected);
      // What the blind agent writes says nothing of it: its predictions are never its observations.
      expect(changedByText(own)).toEqual(own.trainable);
      const changedTexts = trajectory.turns.flatMap(({ effective, stateAfter }) =>
        effective ? [stateAfter.structured] : [],
      );
      const { tokens, roles, changed } = truth;
      const predicted = tokens.filter((_, at) => roles[at] === Role.prediction && changed[at] === 1);
      expect(tokenizer.decode(predicted)).toBe(changedTexts.join(""));
      expect(changedByText(truth)).toEqual(changed);
    }
    expect(seen).toEqual(new Set([true, false]));
  });

  it("packs into masks that hold each kind of loss", async () => {
    const protocol = protocolWith();
    const examples = (await trajectories(protocol)).map(
      (trajectory) => rewriteTrajectory(trajectory, "train", protocol, { states: "true" })!.example,
    );
    const { tokens, roles, trainable } = packExamples(examples);
    const full = lossMask("full", roles, trainable);
    const states = lossMask("state-only", roles, trainable);
    const rest = lossMask("no-state", roles, trainable);
    expect(tokens.length).toBe(examples.reduce((sum, example) => sum + example.tokens.length, 0));
    for (let index = 0; index < full.length; index++) expect(full[index]).toBe(states[index] + rest[index]);
  });
});
