// A whole run on an environment that a server has.
import { readFileSync, writeFileSync } from "node:fs";
import { expect, onTestFinished, test, vi } from "vitest";
import { Agent, train } from "../../lib/index.ts";
import { failure } from "../engine/fixtures.ts";
import { scratchFolder, tinyConfig } from "../stages/tiny-run.ts";
import { startOpenEnv } from "./openenv-server.ts";

test("a run trains and evaluates over sessions of its own, and its policy plays on", async () => {
  // Addresses that were named are kept in the cache.
  vi.stubEnv("SPA_CACHE", scratchFolder());
  onTestFinished(() => void vi.unstubAllEnvs());
  await using server = await startOpenEnv();
  const config = tinyConfig({
    ...{ arms: ["control"], base: { steps: 30 }, ppo: { steps: 1, validateEvery: 0 } },
    ...{ evaluation: { references: [], samples: 2, bootstrap: 20 }, levels: { disjoint: false } },
  });
  const environment = { name: "openenv", options: { url: server.url }, module: null, timeout: 60 };
  const { folder, results } = await train(
    { ...config, environment },
    { root: scratchFolder(), name: "remote" },
  );
  expect(results.evaluations.control).toMatchObject({ levels: 4, samples: 2 });
  await using agent = await Agent.load(folder);
  const { turns, seed } = await agent.play(undefined, { level: 5, seed: 1 });
  expect([seed, turns.length > 0]).toEqual([5, true]);
  // Who has not named the address is asked first.
  await using other = await startOpenEnv();
  const file = `${folder}/config.yaml`;
  writeFileSync(file, readFileSync(file, "utf8").replaceAll(server.url, other.url));
  const refused = await failure(Agent.load(folder), "UNTRUSTED");
  expect(refused.message).toContain(`speak to ${other.url}`);
}, 300_000);
