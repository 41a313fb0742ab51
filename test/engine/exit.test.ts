// How a process ends that has, or had, engines: cleanly, with its own exit code, and without waiting for lost work.
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildProgram, type Program } from "../programs/program.ts";

let exit: Program;
let workers: Program;
beforeAll(async () => {
  exit = await buildProgram("exit");
  workers = await buildProgram("workers");
});
afterAll(() => {
  exit[Symbol.dispose]();
  workers[Symbol.dispose]();
});

test.each([
  ["undisposed", 0, /end of the script/],
  ["pending", 0, /settled 200/],
  ["exit", 7, /^$/],
  ["exit at once", 7, /^$/],
  ["throw", 1, /thrown on purpose/],
  ["abort", 0, /^ABORTED\nABORTED\n$/],
  ["disposing", 0, /disposed/],
  ["forgotten", 0, /still here 200/],
])("%s", async (mode, code, output) => {
  const ending = await exit.run(mode);
  expect(ending).toMatchObject({ code, signal: null, output: expect.stringMatching(output) });
});

test.each([
  ["together", /^the same \[\[.*true\]\n$/],
  ["one after the other", /^the same\n$/],
  ["terminate", /^terminated\n$/],
  ["terminate in a callback", /^terminated\n$/],
])("worker threads: %s", async (mode, output) => {
  const ending = await workers.run(mode);
  expect(ending).toMatchObject({ code: 0, signal: null, output: expect.stringMatching(output) });
});
