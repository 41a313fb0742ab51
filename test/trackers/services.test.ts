import { execFileSync } from "node:child_process";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { mlflowSink } from "../../lib/trackers/mlflow.ts";
import { pythonSink } from "../../lib/trackers/python-sink.ts";
import { rowSender, TrackerState } from "../../lib/trackers/row-sender.ts";
import type { RowSink } from "../../lib/trackers/tracker.ts";
import { scratchFolder, tinyConfig } from "../stages/tiny-run.ts";

interface Call {
  path: string;
  authorization: string | undefined;
  content: Record<string, unknown>;
}

/** A server that answers as MLflow's REST API documents it, and keeps what it was told. */
async function mlflowServer(): Promise<{ address: string; calls: Call[]; state: { fails: boolean } }> {
  const calls: Call[] = [];
  const state = { fails: false };
  const answerTo = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname, searchParams } = new URL(request.url!, "http://localhost");
    let body = "";
    for await (const piece of request) body += piece;
    const path = pathname.replace("/api/2.0/mlflow/", "");
    const answer = (status: number, content: object) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(content));
    };
    if (state.fails) return answer(503, { error_code: "TEMPORARILY_UNAVAILABLE" });
    const content = body === "" ? Object.fromEntries(searchParams) : JSON.parse(body);
    calls.push({ path, authorization: request.headers.authorization, content });
    if (path === "experiments/get-by-name") return answer(404, { error_code: "RESOURCE_DOES_NOT_EXIST" });
    if (path === "experiments/create") return answer(200, { experiment_id: "3" });
    if (path === "runs/create") return answer(200, { run: { info: { run_id: "r1" } } });
    return answer(200, {});
  };
  const server = createServer((request, response) => void answerTo(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, calls, state };
}

/** A run folder whose stage has logged steps 1 to 5 and has a checkpoint of step 4. */
function checkpointedRun(): { run: RunFolder; lock: Disposable } {
  const run = RunFolder.create(tinyConfig(), { root: scratchFolder(), name: "sent" });
  const lock = run.lock();
  run.beginStage("spa/ppo");
  for (let step = 1; step <= 5; step++)
    run.metrics.append({ stage: "spa/ppo", step, time: 2 * step, reward_mean: step / 8, note: "no number" });
  run.setCheckpoints("spa/ppo", [{ name: "spa-ppo-4", stage: "spa/ppo", step: 4, training: true }]);
  return { run, lock };
}

const metricsOf = (calls: readonly Call[]) =>
  calls.flatMap(
    ({ content }) => (content.metrics as { key: string; step: number; value: number }[] | undefined) ?? [],
  );

test("MLflow gets parameters and the rows of checkpoints, once", async () => {
  const { address, calls } = await mlflowServer();
  const { run, lock } = checkpointedRun();
  using _lock = lock;
  const env = { MLFLOW_TRACKING_URI: `${address}/`, MLFLOW_TRACKING_TOKEN: "secret" };
  const track = async (change: () => void = () => {}) => {
    const state = new TrackerState(run, "mlflow");
    const tracker = rowSender(run, state, mlflowSink(run, state, env), (error) =>
      expect(error).toBeUndefined(),
    );
    tracker.begins?.("spa/ppo", 4);
    tracker.saves?.();
    change();
    await tracker.close();
  };
  await track();
  expect(calls.slice(0, 3).map(({ path, content }) => [path, content])).toEqual([
    ["experiments/get-by-name", { experiment_name: "spa-ai" }],
    ["experiments/create", { name: "spa-ai" }],
    ["runs/create", { experiment_id: "3", run_name: "sent", start_time: Date.parse(run.created) }],
  ]);
  const params = calls.flatMap(({ content }) => (content.params as { key: string }[] | undefined) ?? []);
  expect(params).toContainEqual({ key: "ppo.groups", value: "4" });
  expect(calls.every(({ content }) => ((content.params as unknown[]) ?? []).length <= 100)).toBe(true);
  const rewards = () => metricsOf(calls).filter(({ key }) => key === "spa/ppo/reward_mean");
  expect(rewards()).toEqual(
    [1, 2, 3, 4].map((step) => ({
      key: "spa/ppo/reward_mean",
      value: step / 8,
      step,
      timestamp: Date.parse(run.created) + 2000 * step,
    })),
  );
  expect(calls.at(-1)).toMatchObject({ path: "runs/update", content: { run_id: "r1", status: "KILLED" } });
  expect(new Set(calls.map(({ authorization }) => authorization))).toEqual(new Set(["Bearer secret"]));

  // The run goes on: step 5 is done again, and the stage ends.
  await track(() => run.completeStage("spa/ppo", { seconds: 1, tokensSampled: 0, tokensTrained: 0 }));
  expect(rewards().map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
  expect(calls.at(-1)).toMatchObject({ content: { run_id: "r1", status: "FINISHED" } });
  expect(calls.filter(({ path }) => path === "runs/create")).toHaveLength(1);
});

test("what a service does not take stays, and is sent later", async () => {
  const { address, calls, state: server } = await mlflowServer();
  const { run, lock } = checkpointedRun();
  using _lock = lock;
  const told: string[] = [];
  const open = (uri: string) => {
    const state = new TrackerState(run, "mlflow");
    const sink = mlflowSink(run, state, { MLFLOW_TRACKING_URI: uri });
    return rowSender(run, state, sink, (error) => void told.push((error as Error).message));
  };
  await open("").close();
  expect(told.at(-1)).toContain("MLFLOW_TRACKING_URI must be a server's address");
  server.fails = true;
  await open(address).close();
  expect(told.at(-1)).toContain("HTTP 503");
  server.fails = false;
  told.length = 0;
  await open(address).close();
  expect(told).toEqual([]);
  expect(metricsOf(calls).filter(({ key }) => key.endsWith("reward_mean"))).toHaveLength(4);
});

test("a stage that is done again is sent again, another is not", async () => {
  const { run, lock } = checkpointedRun();
  using _lock = lock;
  const sent: number[] = [];
  const sink: RowSink = {
    send: async (rows) => void sent.push(...rows.map(({ step }) => step)),
    close: async () => {},
  };
  const tracker = rowSender(run, new TrackerState(run, "any"), sink, () => {});
  await tracker.close();
  tracker.begins?.("control/ppo", -1);
  await tracker.close();
  expect(sent).toEqual([1, 2, 3, 4]);
  tracker.begins?.("spa/ppo", -1);
  await tracker.close();
  expect(sent).toEqual([1, 2, 3, 4, 1, 2, 3, 4]);
});

test("a Python without the library, and no Python, are told with what they say", async () => {
  const { run, lock } = checkpointedRun();
  using _lock = lock;
  const failure = async (python: string) => {
    const state = new TrackerState(run, "trackio");
    const sink = pythonSink("trackio", run, state, {
      ...process.env,
      SPA_PYTHON: python,
      PYTHONNOUSERSITE: "1",
    });
    const told: string[] = [];
    await rowSender(run, state, sink, (error) => void told.push((error as Error).message)).close();
    return told[0];
  };
  expect(await failure("/nowhere/python3")).toContain("ENOENT");
  if (!has("trackio", "python3")) expect(await failure("python3")).toContain("No module named 'trackio'");
});

const python = process.env.SPA_TEST_PYTHON ?? "python3";

function has(library: string, interpreter: string): boolean {
  try {
    execFileSync(interpreter, ["-c", `import ${library}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

for (const library of ["wandb", "trackio"] as const) {
  test.skipIf(!has(library, python))(
    `${library} takes rows by its own library (skipped: no Python with ${library})`,
    async () => {
      const { run, lock } = checkpointedRun();
      using _lock = lock;
      const state = new TrackerState(run, library);
      const env = {
        ...process.env,
        SPA_PYTHON: python,
        WANDB_MODE: "offline",
        TRACKIO_DIR: run.file("trackio"),
      };
      const told: unknown[] = [];
      const tracker = rowSender(run, state, pythonSink(library, run, state, env), (error) =>
        told.push(error),
      );
      tracker.saves?.();
      await tracker.close();
      expect(told).toEqual([]);
      expect(state.sent).toEqual({ "spa/ppo": 4 });
    },
  );
}
