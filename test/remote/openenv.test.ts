// Environments on a server that speaks OpenEnv's protocol.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { StepResult } from "../../envs/environment.ts";
import { createGuarded } from "../../envs/guard.ts";
import { createEnvironment, FrozenLakeEnvironment } from "../../envs/index.ts";
import { environmentSettings } from "../../lib/cli/run-options.ts";
import { configSchema } from "../../lib/config/schema.ts";
import { SpaError, type SpaErrorCode } from "../../lib/errors.ts";
import { OpenEnvEnvironment } from "../../lib/remote/openenv-environment.ts";
import { checkContract } from "../../lib/rollout/contract.ts";
import { EnvironmentPool } from "../../lib/rollout/environment-pool.ts";
import { drawLevel } from "../../lib/rollout/levels.ts";
import { playScripted } from "../../lib/rollout/scripted.ts";
import { SeededGenerator } from "../../lib/rollout/seeded-generator.ts";
import { TurnProtocol } from "../../lib/rollout/turn-protocol.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { startOpenEnv } from "./openenv-server.ts";

const local = () => new FrozenLakeEnvironment({ size: 3, slippery: false });

async function refusal(what: Promise<unknown> | (() => unknown), code: SpaErrorCode): Promise<SpaError> {
  const error: unknown = await (async () => (typeof what === "function" ? what() : what))().catch(
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(SpaError);
  expect((error as SpaError).code, (error as SpaError).message).toBe(code);
  return error as SpaError;
}

test("a remote game is the game itself, step by step, with what its server says of it", async () => {
  await using server = await startOpenEnv();
  const remote = createEnvironment("openenv", { url: server.url });
  const game = local();
  for (const seed of [3, 4]) {
    expect(await remote.reset({ seed })).toBe(game.reset({ seed }));
    for (const action of ["Right", "Down", "Right", "Down", "Left"]) {
      const there = (await remote.step(action)) as StepResult;
      const here = game.step(action) as StepResult;
      expect(there).toMatchObject({ observation: here.observation, reward: here.reward });
      expect(there.terminated).toBe(here.terminated || here.truncated);
      expect(there.info.success).toBe(here.info.success);
      expect(remote.render("grid")).toBe(here.observation);
      if (there.terminated) break;
    }
  }
  expect(remote.actions).toEqual(["Left", "Down", "Right", "Up"]);
  expect(remote.instructions()).toBe("Walk over the ice to the goal.");
  await remote.close?.();
  while (server.sessions.size > 0) await sleep(5);
});

test("a state is come back to by playing again, in another session too", async () => {
  await using server = await startOpenEnv();
  const [one, other] = [1, 2].map(() => new OpenEnvEnvironment({ url: server.url }));
  await one.reset({ seed: 5 });
  await one.step("Right");
  const state = JSON.parse(JSON.stringify(one.state()));
  const next = await one.step("Down");
  await other.reset({ seed: 9 });
  other.restore(state);
  expect(other.render()).toBe(state.shown);
  expect(await other.step("Down")).toEqual(next);
  one.close();
  other.close();
});

test("it keeps what a run relies on", async () => {
  await using server = await startOpenEnv();
  await using environments = new EnvironmentPool(() => new OpenEnvEnvironment({ url: server.url }));
  const protocol = new TurnProtocol(nanoTokenizer(), configSchema.parse({}).protocol, "plain");
  const verdicts: string[] = [];
  for await (const { check, verdict, found } of checkContract({
    environments,
    protocol,
    seed: 1,
    levels: 3,
  })) {
    expect(verdict, `${check}: ${found}`).toBe("ok");
    verdicts.push(check);
  }
  expect(verdicts).toHaveLength(8);
});

test("what the server does not take as an action is an invalid one, and changes nothing", async () => {
  await using server = await startOpenEnv();
  const remote = new OpenEnvEnvironment({ url: server.url });
  const shown = await remote.reset({ seed: 1 });
  const { observation, info } = await remote.step("Fly");
  expect([observation, info]).toEqual([shown, { valid: false, effective: false, success: false }]);
  remote.close();
});

test("episodes are played side by side, each in a session of its own", async () => {
  await using server = await startOpenEnv();
  await using environments = new EnvironmentPool(() => new OpenEnvEnvironment({ url: server.url }));
  const drawing = environments.acquire();
  const levels = [await drawLevel(drawing, 1), await drawLevel(drawing, 2), await drawLevel(drawing, 3)];
  environments.release(drawing);
  const config = configSchema.parse({});
  const trajectories = await playScripted({
    protocol: new TurnProtocol(nanoTokenizer(), config.protocol, "plain"),
    environments,
    plays: levels.map((level, id) => ({ id, group: id, level })),
    slots: 3,
    script: async (_, generator) => ({ reasoning: "", actions: [generator.choice(["Right", "Down"])] }),
    generatorOf: ({ id }) => new SeededGenerator("remote", id),
  });
  expect(server.sessions.size).toBe(3);
  for (const { turns, seed } of trajectories) {
    const game = local();
    game.reset({ seed });
    for (const { actions, stateAfter } of turns)
      expect((game.step(actions[0]) as StepResult).observation).toBe(stateAfter.grid);
  }
});

test("a server that is not there, full, gone or speaks otherwise is one error", async () => {
  const nobody = new OpenEnvEnvironment({ url: "http://127.0.0.1:9" });
  expect((await refusal(nobody.reset({ seed: 1 }), "BAD_ENVIRONMENT")).hint).toContain("--env http://");
  await using server = await startOpenEnv({ mostSessions: 1 });
  const remote = new OpenEnvEnvironment({ url: server.url });
  await refusal(remote.reset({ level: "P_G" }), "BAD_LEVEL");
  await remote.reset({ seed: 1 });
  const second = new OpenEnvEnvironment({ url: server.url });
  expect((await refusal(second.reset({ seed: 1 }), "BAD_ENVIRONMENT")).message).toMatch(
    /closed|no more sessions/,
  );
  for (const odd of [
    "no JSON",
    '{"type": "observation", "data": {}}',
    '{"type": "state", "data": {}}',
    "null",
  ]) {
    server.answerWith(odd);
    const error = await refusal(remote.step("Down"), "BAD_ENVIRONMENT");
    expect(error.message).toContain("does not speak OpenEnv's protocol");
  }
  for (const socket of server.sessions) socket.terminate();
  await refusal(remote.step("Down"), "BAD_ENVIRONMENT");
  while (server.sessions.size > 0) await sleep(5);
  expect(await remote.reset({ seed: 1 })).toBe(local().reset({ seed: 1 }));
  remote.close();
});

test("options are checked, and --env takes an address", async () => {
  await refusal(() => createGuarded(() => new OpenEnvEnvironment({}), "it"), "BAD_ARGUMENT");
  await refusal(() => new OpenEnvEnvironment({ url: "file:///etc" }), "BAD_ARGUMENT");
  await refusal(() => new OpenEnvEnvironment({ url: "http://localhost:1", port: 1 }), "UNKNOWN_NAME");
  expect(await environmentSettings("http://localhost:1")).toEqual([
    "environment.name=openenv",
    'environment.options.url="http://localhost:1"',
  ]);
});
