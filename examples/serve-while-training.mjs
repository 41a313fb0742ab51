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
const engine = await Engine.create({ seed: config.seed });

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

/** Answers are given one after the other: a model is not replaced while it answers. */
let queue = Promise.resolve();
const server = createServer(async (request, response) => {
  const send = (status, body) =>
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  if (request.method !== "POST" || request.url !== "/act")
    return send(404, { error: "POST /act with { level }" });
  let text = "";
  for await (const chunk of request) text += chunk;
  queue = queue.then(async () => {
    try {
      const { status, body } = await act(JSON.parse(text).level);
      send(status, body);
    } catch (error) {
      const expected = error instanceof SpaError || error instanceof SyntaxError;
      send(expected ? 400 : 500, { error: error.message, code: error.code, hint: error.hint });
    }
  });
});
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () =>
  console.log(`serving on http://127.0.0.1:${server.address().port}/act`),
);

const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
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
  await queue;
  await engine.dispose();
}
