// A Node service that answers game states over HTTP while training goes on in the same process.
//
//   node examples/serve-while-training.mjs [preset] [key=value …]
//   curl -X POST localhost:8080/act -d '{"level": "P___\n_O__\n____\n___G"}'
//
// Training has an engine (and a thread) of its own. The service has another, with a frozen copy of the newest
// checkpoint, so that no answer ever comes from weights in the middle of an update. Ctrl-C saves and ends both.
import { createServer } from "node:http";
import {
  collect,
  createProgress,
  Engine,
  EnvironmentPool,
  environmentFactory,
  latestCheckpoint,
  loadConfig,
  loadTokenizer,
  RunFolder,
  resume,
  SpaError,
  TurnProtocol,
} from "spa-ai";

const [preset = "nano-frozen-lake-single-turn", ...overrides] = process.argv.slice(2);
const config = loadConfig(preset, overrides);
const run = RunFolder.create(config);
const environments = new EnvironmentPool(await environmentFactory(config));
// The number of threads is one for all engines of a process.
const { threads } = config.engine;
const engine = await Engine.create({ seed: config.seed, ...(threads !== null && { threads }) });

/** The model that answers: that of the newest checkpoint, loaded again when there is a newer one. */
let serving = null;
async function newestModel() {
  const stages = RunFolder.open(run.path).stages.map(({ id }) => id);
  const checkpoint = stages.map((id) => latestCheckpoint(RunFolder.open(run.path), id)).findLast(Boolean);
  if (checkpoint && checkpoint.name !== serving?.name) {
    const previous = serving?.model;
    serving = {
      name: checkpoint.name,
      model: await engine.loadModel(checkpoint.folder),
      tokenizer: loadTokenizer(checkpoint.folder),
    };
    await previous?.dispose();
  }
  return serving;
}

/** One turn of the agent on a level given as text. */
let answers = 0;
async function act(level) {
  const current = await newestModel();
  if (!current)
    return {
      status: 503,
      body: { error: "no checkpoint yet", hint: "try again when the base stage has saved one" },
    };
  const format = current.name.startsWith("control") ? "plain" : "world-model";
  const protocol = new TurnProtocol(current.tokenizer, { ...config.protocol, maxTurns: 1 }, format);
  const plays = [{ id: answers++, group: 0, level: { seed: 0, grid: level, distance: null } }];
  const [trajectory] = await collect({
    model: current.model,
    protocol,
    environments,
    plays,
    temperature: 0,
    slots: 1,
    seed: config.seed,
  });
  const [turn] = trajectory.turns;
  return {
    status: 200,
    body: {
      checkpoint: current.name,
      actions: turn.actions,
      prediction: turn.prediction,
      success: trajectory.success,
    },
  };
}

/** Bytes of a request, and requests that wait: clients may send what they like. */
const longestBody = 64 * 1024;
const longestQueue = 100;

/** The level that a request asks about. Throws what is wrong with it, with the status of the answer. */
async function readLevel(request) {
  const refusal = (status, error) => Object.assign(new Error(error), { status });
  if (request.method !== "POST" || request.url !== "/act") throw refusal(404, "POST /act with { level }");
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > longestBody) throw refusal(413, `a request has at most ${longestBody} bytes`);
    chunks.push(chunk);
  }
  let body;
  try {
    body = JSON.parse(Buffer.concat(chunks).toString());
  } catch (error) {
    throw refusal(400, `the request is not JSON: ${error.message}`);
  }
  if (typeof body?.level !== "string") throw refusal(400, "level must be a text: POST /act with { level }");
  return body.level;
}

/** Answers are given one after the other: a model is not replaced while it answers. */
let queue = Promise.resolve();
let waiting = 0;
async function answer(request, response) {
  const level = await readLevel(request);
  if (waiting >= longestQueue)
    return { status: 503, body: { error: "too many requests wait", hint: "try again later" } };
  waiting++;
  const answered = queue.then(() => (response.destroyed ? undefined : act(level)));
  queue = answered.then(
    () => waiting--,
    () => waiting--,
  );
  return answered;
}

/** Nothing that a client does may end the service: each request has its errors for itself. */
async function serve(request, response) {
  let reply;
  try {
    reply = await answer(request, response);
  } catch (error) {
    const status = error.status ?? (error instanceof SpaError ? 400 : 500);
    reply = { status, body: { error: error.message, code: error.code, hint: error.hint } };
  }
  // A client that hung up hears nothing; one that has not been read to its end is not read further.
  if (reply === undefined || response.destroyed) return;
  if (!request.complete) response.setHeader("connection", "close");
  response.writeHead(reply.status, { "content-type": "application/json" }).end(JSON.stringify(reply.body));
}

const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
  void serve(request, response);
});
server.maxConnections = 1000;
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () =>
  console.log(`serving on http://127.0.0.1:${server.address().port}/act`),
);

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort());
try {
  await resume(run.path, {
    signal: stop.signal,
    progress: createProgress({ mode: "plain", stream: process.stderr }),
  });
} catch (error) {
  if (error.code !== "ABORTED") throw error;
  console.log(`stopped; to go on: npx spa train --resume ${run.path}`);
} finally {
  server.close();
  server.closeAllConnections();
  await queue;
  await environments.close();
  await engine.dispose();
}
