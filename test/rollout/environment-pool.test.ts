import { expect, it } from "vitest";
import type { Environment } from "../../envs/environment.ts";
import { FrozenLakeEnvironment } from "../../envs/index.ts";
import { EnvironmentPool } from "../../lib/rollout/environment-pool.ts";
import { errorOf } from "../thrown-error.ts";

/** A game with something to let go of. */
class HeldLake extends FrozenLakeEnvironment {
  closed = 0;
  readonly end: () => void | Promise<void>;
  constructor(end: () => void | Promise<void> = () => {}) {
    super({ slippery: false });
    this.end = end;
  }
  close(): void | Promise<void> {
    this.closed++;
    return this.end();
  }
}

it("gives an environment again once it is released, and two at once are two", () => {
  const pool = new EnvironmentPool(() => new HeldLake());
  const [first, second] = [pool.acquire(), pool.acquire()];
  expect(first).not.toBe(second);
  pool.release(first);
  expect(pool.acquire()).toBe(first);
});

it("refuses an object that it has already", () => {
  const one = new HeldLake();
  const pool = new EnvironmentPool(() => one);
  pool.acquire();
  expect(errorOf(() => pool.acquire())).toMatchObject({
    code: "BAD_ENVIRONMENT",
    message: expect.stringContaining("twice"),
  });
});

it("refuses what is no environment, as createEnvironment does", () => {
  const acquire = (make: () => unknown) =>
    errorOf(() => new EnvironmentPool(make as () => Environment).acquire());
  expect(acquire(() => ({ name: "half" })).message).toContain("instructions is not a function");
  expect(
    acquire(() => {
      throw "no server";
    }).message,
  ).toContain("create() threw: no server");
});

it("closes each once, idle or not, and tells what went wrong without waiting for ever", async () => {
  const made: HeldLake[] = [];
  const ends = [() => {}, () => Promise.reject(new Error("gone")), () => new Promise<void>(() => {})];
  const pool = new EnvironmentPool(
    () => {
      made.push(new HeldLake(ends[made.length]));
      return made[made.length - 1];
    },
    { timeout: 0.02 },
  );
  const environments = ends.map(() => pool.acquire());
  pool.release(environments[0]);
  const problems = await pool.close();
  expect(problems.map(String)).toEqual([
    expect.stringContaining("close() threw: gone"),
    expect.stringContaining("close() has not answered for 0.02 s"),
  ]);
  expect(await pool.close()).toEqual([]);
  expect(made.map(({ closed }) => closed)).toEqual([1, 1, 1]);
});
