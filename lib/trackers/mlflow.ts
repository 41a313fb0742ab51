import { EnvHttpProxyAgent, fetch } from "undici";
import type { Json } from "../../envs/environment.ts";
import type { MetricsRow } from "../run/metrics.ts";
import type { RunFolder } from "../run/run-folder.ts";
import { flatSettings } from "./flat-settings.ts";
import type { TrackerState } from "./row-sender.ts";
import type { RowSink } from "./tracker.ts";

/** Milliseconds that a request may take. */
const patience = 10_000;

/** What a request to `runs/log-batch` may hold (https://mlflow.org/docs/latest/rest-api.html). */
const mostMetrics = 1000;
const mostParameters = 100;
/** Of a parameter's value. */
const mostCharacters = 500;

type Answer = Record<string, Record<string, Json> | string | undefined>;

/**
 * An MLflow server, by its REST API: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME (spa-ai), MLFLOW_TRACKING_TOKEN or
 * MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. A row's time stamp is the run's beginning and what its stage has worked, so that a row
 * which comes twice is the same row.
 */
export function mlflowSink(
  run: RunFolder,
  state: TrackerState,
  env: NodeJS.ProcessEnv = process.env,
): RowSink {
  const address = env.MLFLOW_TRACKING_URI;
  const dispatcher = new EnvHttpProxyAgent();
  const call = async (
    method: "GET" | "POST",
    path: string,
    content: Record<string, Json>,
  ): Promise<Answer> => {
    if (!address || !/^https?:\/\//.test(address))
      throw new Error("MLFLOW_TRACKING_URI must be a server's address, http://… or https://…");
    const query = method === "GET" ? `?${new URLSearchParams(content as Record<string, string>)}` : "";
    const answer = await fetch(`${address.replace(/\/+$/, "")}/api/2.0/mlflow/${path}${query}`, {
      method,
      dispatcher,
      headers: { "content-type": "application/json", ...authorization(env) },
      body: method === "POST" ? JSON.stringify(content) : null,
      signal: AbortSignal.timeout(patience),
    });
    const text = await answer.text();
    if (answer.ok) return JSON.parse(text) as Answer;
    throw Object.assign(new Error(`${path}: HTTP ${answer.status} ${text.slice(0, 200)}`), {
      status: answer.status,
    });
  };
  const ensureRun = async (): Promise<string> => {
    if (state.id !== undefined) return state.id;
    const experiment = await experimentId(call, env.MLFLOW_EXPERIMENT_NAME ?? "spa-ai");
    const start_time = Date.parse(run.created);
    const created = await call("POST", "runs/create", {
      experiment_id: experiment,
      run_name: run.name,
      start_time,
    });
    const { info } = created.run as unknown as { info: { run_id: string } };
    state.write({ id: info.run_id });
    return info.run_id;
  };
  let isOpen = false;
  return {
    send: async (rows) => {
      const run_id = await ensureRun();
      if (!isOpen) {
        await call("POST", "runs/update", { run_id, status: "RUNNING" });
        for (const params of parts(parametersOf(run), mostParameters))
          await call("POST", "runs/log-batch", { run_id, params });
        isOpen = true;
      }
      const metrics = rows.flatMap((row) => metricsOf(row, Date.parse(run.created)));
      for (const part of parts(metrics, mostMetrics))
        await call("POST", "runs/log-batch", { run_id, metrics: part });
    },
    close: async (isDone) => {
      if (state.id !== undefined) {
        const status = isDone ? "FINISHED" : "KILLED";
        await call("POST", "runs/update", { run_id: state.id, status, end_time: Date.now() });
      }
      await dispatcher.close();
    },
  };
}

async function experimentId(
  call: (method: "GET" | "POST", path: string, content: Record<string, Json>) => Promise<Answer>,
  name: string,
): Promise<string> {
  try {
    const found = await call("GET", "experiments/get-by-name", { experiment_name: name });
    return String((found.experiment as Record<string, Json>).experiment_id);
  } catch (error) {
    if ((error as { status?: number }).status !== 404) throw error;
    return String((await call("POST", "experiments/create", { name })).experiment_id);
  }
}

function authorization(env: NodeJS.ProcessEnv): Record<string, string> {
  const {
    MLFLOW_TRACKING_TOKEN: token,
    MLFLOW_TRACKING_USERNAME: user,
    MLFLOW_TRACKING_PASSWORD: password,
  } = env;
  if (token) return { authorization: `Bearer ${token}` };
  if (!user) return {};
  return { authorization: `Basic ${Buffer.from(`${user}:${password ?? ""}`).toString("base64")}` };
}

function parametersOf({ config }: RunFolder): { key: string; value: string }[] {
  return Object.entries(flatSettings(config)).map(([key, value]) => ({
    key,
    value: String(value).slice(0, mostCharacters),
  }));
}

function metricsOf({ stage, step, ...figures }: MetricsRow, began: number): Json[] {
  const timestamp = Math.round(began + 1000 * Number(figures.time ?? 0));
  return Object.entries(figures).flatMap(([name, value]) =>
    typeof value === "number" ? [{ key: `${stage}/${name}`, value, step, timestamp }] : [],
  );
}

function parts<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, k) =>
    items.slice(k * size, (k + 1) * size),
  );
}
