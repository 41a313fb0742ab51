// What each call refuses before native code sees it: one error that names the argument, and nothing changes.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { lossFields } from "../../lib/addon/loss-fields.ts";
import {
  biLevelGae,
  createTrainer,
  Engine,
  gae,
  type Model,
  type Session,
  type Trainer,
  whiten,
} from "../../lib/index.ts";
import {
  failure,
  fixture,
  makeEngine,
  pack,
  scratchFolder,
  smallShape,
  someRows,
} from "../engine/fixtures.ts";

let engine: Engine;
let model: Model;
let critic: Model;
let session: Session;
let trainer: Trainer;
let withCritic: Trainer;
beforeAll(async () => {
  engine = await makeEngine();
  model = await engine.createModel(smallShape);
  critic = await model.clone({ valueHead: true });
  session = await model.openSession({ slots: 4, maxTokens: 32 });
  trainer = createTrainer(model);
  withCritic = createTrainer(model, { critic });
});
afterAll(() => engine.dispose());

// biome-ignore lint/suspicious/noExplicitAny: these are the calls of someone who does not use TypeScript
type Wrong = any;

const rows = pack(someRows([5, 4]));
const mask = new Uint8Array(9).fill(1);
const floats = new Float32Array(9);
const ppo = { ...rows, mask, oldLogProbs: floats, advantages: floats };
const values = { mask, oldValues: floats, returns: floats };

type Case = [name: string, text: RegExp, call: () => unknown];

async function refuses(cases: Case[]): Promise<void> {
  for (const [name, text, call] of cases) {
    const error = await failure(async () => call(), "BAD_ARGUMENT");
    expect(error.message, name).toMatch(text);
  }
}

test("Engine.create", async () => {
  const create = (options: Wrong) => () => Engine.create(options);
  await refuses([
    ["no object", /options must be an object, not 3/, create(3)],
    ["unknown key", /options has an unknown key "thread"/, create({ thread: 2 })],
    ["device", /device must be one of "cpu", "cuda", "auto", not "gpu"/, create({ device: "gpu" })],
    ["no threads", /threads must be a whole number from 1 to 1024, not 0/, create({ threads: 0 })],
    ["half a thread", /threads .* not 1.5/, create({ threads: 1.5 })],
    ["seed", /seed must be a whole number of at least 0, not -1/, create({ seed: -1 })],
    ["seed too large", /seed/, create({ seed: 2 ** 53 })],
  ]);
});

test("addAdapter and copyFrom", async () => {
  const add = (options: Wrong) => () => model.addAdapter({ rank: 2, alpha: 2, ...options });
  const one = await model.addAdapter({ rank: 2, alpha: 2 });
  const scaled = await model.addAdapter({ rank: 2, alpha: 4 });
  const elsewhere = await critic.addAdapter({ rank: 2, alpha: 2 });
  const larger = await engine.createModel({ ...smallShape, layers: 3 });
  const kind = /not adapters of one kind on the same backbone/;
  await refuses([
    ["a scale beyond float32", /adapter.alpha must be .* at most 1.7/, add({ alpha: 1e300 })],
    ["another scale", kind, () => one.copyFrom(scaled)],
    ["another backbone", kind, () => one.copyFrom(elsewhere)],
    ["a whole model", kind, () => one.copyFrom(model)],
    ["another shape", /different shapes/, () => model.copyFrom(larger)],
  ]);
  expect(one.version).toBe(2);
  await one.copyFrom(await model.addAdapter({ rank: 2, alpha: 2, valueHead: true }));
  expect(one.version).toBe(3);
  await model.clone().then((copy) => copy.copyFrom(critic));
});

test("another number of threads than a living engine's is refused", async () => {
  const error = await failure(Engine.create({ device: "cpu", threads: 2 }), "BAD_ARGUMENT");
  expect(error.message).toMatch(/1 threads.*2/);
  expect(error.hint).toMatch(/same number|dispose/);
  const same = await makeEngine();
  await same.dispose();
});

test("createModel", async () => {
  const make =
    (change: Wrong, options: Wrong = {}) =>
    () =>
      engine.createModel({ ...smallShape, ...change }, options);
  await refuses([
    ["no config", /config must be an object/, () => engine.createModel(undefined as Wrong)],
    ["unknown key", /unknown key "hiden"/, make({ hiden: 3 })],
    ["no vocabulary", /config.vocabularySize must be a whole number/, make({ vocabularySize: undefined })],
    ["zero layers", /config.layers .* not 0/, make({ layers: 0 })],
    [
      "kv heads",
      /config.heads \(4\) must be a multiple of config.keyValueHeads \(3\)/,
      make({ keyValueHeads: 3 }),
    ],
    [
      "head dimension",
      /config.hiddenSize \(32\) must be a multiple of config.heads \(5\)/,
      make({ heads: 5, keyValueHeads: 1 }),
    ],
    ["layers without end", /config.layers .* from 1 to 65536/, make({ layers: 2 ** 31 - 1 })],
    [
      "sizes whose product passes 64 bits",
      /config describes a model of 2.8e\+19 weights/,
      make({ hiddenSize: 8, heads: 2 ** 29, keyValueHeads: 2 ** 28, headDimension: 2 ** 30 }),
    ],
    ["odd head dimension", /headDimension \(7\) must be even/, make({ headDimension: 7 })],
    ["architecture", /architecture must be one of/, make({ architecture: "gpt2" })],
    ["bias", /attentionBias does not apply to qwen2/, make({ attentionBias: true })],
    ["mlp bias", /mlpBias does not apply to qwen3/, make({ architecture: "qwen3", mlpBias: true })],
    ["theta", /ropeTheta .* above 0, not -1/, make({ ropeTheta: -1 })],
    ["scaling", /ropeScaling.kind must be one of/, make({ ropeScaling: { kind: "yarn" } })],
    ["scaling factor", /ropeScaling.factor/, make({ ropeScaling: { kind: "linear" } })],
    ["end token", /endTokens\[0\].* 0 to 47, not 48/, make({ endTokens: [48] })],
    ["dtype", /dtype must be one of "float32", "bfloat16", not "float16"/, make({}, { dtype: "float16" })],
    ["initialization", /initialization must be one of/, make({}, { initialization: "zeros" })],
    ["value head", /valueHead must be true or false, not 1/, make({}, { valueHead: 1 })],
    ["option", /unknown key "sead"/, make({}, { sead: 1 })],
  ]);
});

test("values of other types, for every option of every call, are one error or none", async () => {
  const wrong: Wrong[] = [
    -1.5,
    "x",
    {},
    [],
    true,
    null,
    Symbol("s"),
    10n,
    () => 0,
    Number.NaN,
    [Symbol("s")],
    [10n],
  ];
  const other = await engine.createModel(smallShape, { valueHead: true });
  const slots = await other.openSession({ slots: 2, maxTokens: 16 });
  await slots.extend([0], pack(someRows([3])));
  const own = createTrainer(other, { critic: "shared" });
  const batch = {
    ...ppo,
    values,
    referenceLogProbs: floats,
    supervisedMask: mask,
    supervisedWeights: mask,
    environmentMask: mask,
  };
  const loss = {
    kind: "ppo",
    klCoefficient: 0.1,
    supervisedCoefficient: 0.1,
    environmentCoefficient: 0.1,
  };
  const long = ["signal", "onProgress"];
  const shape = Object.keys(other.config);
  const gaeInput = { rewards: floats, values: floats, mask, offsets: rows.offsets, gamma: 1, lambda: 1 };
  const folder = scratchFolder();
  const calls: [names: string[], call: (change: Wrong) => unknown][] = [
    [["device", "threads", "seed", "memoryLimit"], (change) => Engine.create(change)],
    [shape, (change) => engine.createModel({ ...smallShape, ...change })],
    [["dtype", "seed", "initialization", "valueHead"], (change) => engine.createModel(smallShape, change)],
    [["dtype", ...long], (change) => engine.loadModel(fixture("qwen2_tiny"), change)],
    [
      ["rows", "inner", "columns", "dtype", "repeats"],
      (change) => engine.gemmRate({ rows: 2, inner: 2, columns: 2, ...change }),
    ],
    [["maxShardBytes", "endTokens", ...long], (change) => other.save(folder, change)],
    [["valueHead"], (change) => other.clone(change)],
    [
      ["rank", "alpha", "dropout", "targets", "rankStabilized", "seed", "valueHead"],
      (change) => other.addAdapter({ rank: 2, alpha: 2, ...change }),
    ],
    [["tokens", "offsets", "temperature"], (change) => other.logProbs({ ...rows, ...change })],
    [["logProbs", "entropy", "values"], (change) => other.score(rows, change)],
    [long, (change) => other.values(rows, change)],
    [["slots", "maxTokens", "seed"], (change) => other.openSession({ slots: 1, maxTokens: 8, ...change })],
    [
      ["maxNewTokens", "temperature", "topK", "topP", "stopTokens", "streams", ...long],
      (change) => slots.generate([0], { maxNewTokens: 1, ...change }),
    ],
    [
      [
        "optimizer",
        "gradientClip",
        "schedule",
        "critic",
        "criticOptimizer",
        "microBatchTokens",
        "seed",
        "activationCheckpointing",
        "moments",
      ],
      (change) => createTrainer(other, change),
    ],
    [
      ["learningRate", "betas", "weightDecay", "epsilon"],
      (change) => createTrainer(other, { optimizer: change }),
    ],
    [
      ["kind", "warmupSteps", "totalSteps", "minimumRatio"],
      (change) => createTrainer(other, { schedule: { kind: "linear", totalSteps: 4, ...change } }),
    ],
    [Object.keys(batch), (change) => own.step({ ...batch, ...change }, loss as Wrong)],
    [
      ["mask", "oldValues", "returns"],
      (change) => own.step({ ...batch, values: { ...values, ...change } }, loss as Wrong),
    ],
    [["kind", ...Object.keys(lossFields)], (change) => own.step(batch, { ...loss, ...change })],
    [Object.keys(gaeInput), (change) => gae({ ...gaeInput, ...change })],
    [
      ["turnEnds", "highLevelGamma"],
      (change) => biLevelGae({ ...gaeInput, turnEnds: [4, 8], highLevelGamma: 1, ...change }),
    ],
    [["values", "mask"], (change) => whiten({ values: floats, mask, ...change })],
  ];
  for (const [names, call] of calls) {
    for (const name of names) {
      for (const value of wrong) {
        try {
          await call({ [name]: value });
        } catch (error) {
          const told = `${name}: ${String(Array.isArray(value) ? typeof value[0] : value)} ${error}`;
          expect(["BAD_ARGUMENT", "CAPACITY"], told).toContain((error as { code?: string }).code);
        }
      }
    }
  }
  await refuses([
    [
      "end tokens",
      /config.endTokens must be a list/,
      () => engine.createModel({ ...smallShape, endTokens: 5 as Wrong }),
    ],
    [
      "what is no JSON",
      /config.generation cannot be written as JSON/,
      () => engine.createModel({ ...smallShape, generation: { seed: 1n } }),
    ],
    [
      "a symbol among floats",
      /advantages\[0\] is Symbol\(s\)/,
      () => own.step({ ...batch, advantages: Array(9).fill(Symbol("s")) as Wrong }, loss as Wrong),
    ],
    [
      "texts in a mask",
      /mask\[0\] is "1"/,
      () => whiten({ values: floats, mask: Array(9).fill("1") as Wrong }),
    ],
    ["streams", /streams must be/, () => slots.generate([0], { maxNewTokens: 1, streams: 0 as Wrong })],
    [
      "the critic's optimizer",
      /criticOptimizer must be an object, not 0/,
      () => createTrainer(other, { criticOptimizer: 0 as Wrong }),
    ],
  ]);
});

test("loadModel and save", async () => {
  await refuses([
    ["no folder", /folder must be a text/, () => engine.loadModel(undefined as Wrong)],
    ["empty folder", /folder must be a text/, () => engine.loadModel("")],
    ["dtype", /dtype must be one of/, () => engine.loadModel("x", { dtype: "int8" as Wrong })],
    ["signal", /signal must be an AbortSignal/, () => model.save("/tmp/never", { signal: {} as Wrong })],
    ["progress", /onProgress must be a function/, () => model.save("/tmp/never", { onProgress: 3 as Wrong })],
    ["save to nothing", /folder must be a text/, () => model.save(7 as Wrong)],
  ]);
});

test("ragged batches", async () => {
  const score = (batch: Wrong) => () => model.logProbs(batch);
  await refuses([
    ["nothing", /batch must be an object/, score(undefined)],
    [
      "no tokens",
      /batch.tokens must be a Int32Array or an array of numbers, not undefined/,
      score({ offsets: [0] }),
    ],
    ["no offsets", /batch.offsets must be a Uint32Array/, score({ tokens: [1] })],
    ["texts", /batch.tokens\[1\] is "a"/, score({ tokens: [1, "a"], offsets: [0, 2] })],
    ["bigints", /batch.tokens must be/, score({ tokens: new BigInt64Array(2), offsets: [0, 2] })],
    [
      "token too large",
      /batch.tokens\[2\] is 48; it must be a whole number from 0 to 47/,
      score({ tokens: [1, 2, 48], offsets: [0, 3] }),
    ],
    ["negative token", /batch.tokens\[0\] is -1/, score({ tokens: [-1], offsets: [0, 1] })],
    ["fractional token", /batch.tokens\[0\] is 1.5/, score({ tokens: [1.5], offsets: [0, 1] })],
    [
      "NaN token",
      /batch.tokens\[0\] is NaN/,
      score({ tokens: new Float32Array([Number.NaN]), offsets: [0, 1] }),
    ],
    [
      "offsets start",
      /offsets\[0\] is 1; the first offset must be 0/,
      score({ tokens: [1, 2], offsets: [1, 2] }),
    ],
    ["offsets fall", /offsets\[2\] is 1, less than/, score({ tokens: [1, 2], offsets: [0, 2, 1, 2] })],
    [
      "offsets end",
      /offsets ends with 3, but batch.tokens has 2 entries/,
      score({ tokens: [1, 2], offsets: [0, 3] }),
    ],
    ["empty offsets", /offsets is empty/, score({ tokens: [], offsets: [] })],
    ["temperature", /temperature must be a finite number above 0, not 0/, score({ ...rows, temperature: 0 })],
    ["infinite temperature", /temperature/, score({ ...rows, temperature: Number.POSITIVE_INFINITY })],
    ["values", /no value head/, () => model.values(rows)],
    ["nothing asked for", /unknown key "logprobs"/, () => model.score(rows, { logprobs: true } as Wrong)],
    ["options", /unknown key "sginal"/, () => model.logProbs(rows, { sginal: 1 } as Wrong)],
  ]);
  const long = await failure(model.logProbs(pack(someRows([5, 129]))), "CAPACITY");
  expect(long.message).toMatch(/row 1 has 129 tokens.*128 positions/);
});

test("what is harmless is taken: plain arrays, other integer arrays, empty batches and rows", async () => {
  const expected = await model.logProbs(rows);
  expect(await model.logProbs({ tokens: [...rows.tokens], offsets: [...rows.offsets] })).toEqual(expected);
  expect(
    await model.logProbs({ tokens: Uint8Array.from(rows.tokens), offsets: new Float64Array(rows.offsets) }),
  ).toEqual(expected);
  expect((await model.logProbs({ tokens: [], offsets: [0] })).length).toBe(0);
  expect(await model.logProbs({ tokens: rows.tokens, offsets: [0, 0, 5, 5, 9] })).toEqual(expected);
  expect([...(await model.logProbs({ tokens: [3], offsets: [0, 1] }))]).toEqual([0]);
});

test("arrays may change once the call is made", async () => {
  const batch = pack(someRows([5, 4]));
  const expected = await model.logProbs(batch);
  const call = model.logProbs(batch);
  batch.tokens.fill(0);
  structuredClone(batch.tokens, { transfer: [batch.tokens.buffer as ArrayBuffer] });
  expect(await call).toEqual(expected);
});

test("sessions", async () => {
  const open = (options: Wrong) => () => model.openSession(options);
  const generate =
    (slots: Wrong, options: Wrong = {}) =>
    () =>
      session.generate(slots, { maxNewTokens: 1, ...options });
  await refuses([
    ["no options", /options must be an object/, open(undefined)],
    ["no slots", /slots must be a whole number/, open({ slots: 0, maxTokens: 8 })],
    ["no tokens", /maxTokens/, open({ slots: 1 })],
    ["slot", /slot must be a whole number from 0 to 3, not 4/, () => session.lengthOf(4)],
    ["slot of extend", /slots\[1\] is 4/, () => session.extend([0, 4], rows)],
    ["slot twice", /slots\[1\] names slot 2 a second time/, () => session.extend([2, 2], rows)],
    ["rows", /batch has 2 rows for 1 slots/, () => session.extend([0], rows)],
    [
      "empty row",
      /row 1 of the batch holds no tokens/,
      () => session.extend([0, 1], { tokens: [1], offsets: [0, 1, 1] }),
    ],
    ["token", /batch.tokens\[0\] is 99/, () => session.extend([0], { tokens: [99], offsets: [0, 1] })],
    ["fork of nothing", /slot 0 is empty/, () => session.fork(0, [1])],
    ["generate on nothing", /slot 0 is empty/, generate([0])],
    ["no limit", /maxNewTokens must be/, generate([0], { maxNewTokens: undefined })],
  ]);
  await session.extend([0, 1], rows);
  await refuses([
    ["fork onto itself", /slot 0 cannot be forked onto itself/, () => session.fork(0, [0, 2])],
    ["fork onto a full slot", /slot 1 is not empty \(4 tokens\)/, () => session.fork(0, [2, 1])],
    ["fork onto no slot", /targets\[0\] is 9/, () => session.fork(0, [9])],
    ["limit 0", /maxNewTokens must be a whole number from 1/, generate([0], { maxNewTokens: 0 })],
    ["too few limits", /maxNewTokens has 1 entries for 2 slots/, generate([0, 1], { maxNewTokens: [1] })],
    ["a limit", /maxNewTokens\[1\] is -3/, generate([0, 1], { maxNewTokens: [1, -3] })],
    [
      "temperature",
      /temperature must be a finite number at least 0, not -1/,
      generate([0], { temperature: -1 }),
    ],
    ["NaN temperature", /temperature .* not NaN/, generate([0], { temperature: Number.NaN })],
    ["topK", /topK must be/, generate([0], { topK: -1 })],
    ["topP 0", /topP must be a finite number above 0 and at most 1, not 0/, generate([0], { topP: 0 })],
    ["topP 2", /topP/, generate([0], { topP: 2 })],
    ["stop token", /stopTokens\[0\] is 48/, generate([0], { stopTokens: [48] })],
    ["streams", /streams has 1 entries for 2 slots/, generate([0, 1], { streams: [1] })],
    ["a stream", /streams\[0\] must be a whole number/, generate([0], { streams: [-1] })],
    ["unknown option", /unknown key "maxTokens"/, generate([0], { maxTokens: 3 })],
    ["release", /slots\[0\] is -1/, () => session.release([-1])],
  ]);
  expect([0, 1, 2, 3].map((slot) => session.lengthOf(slot))).toEqual([5, 4, 0, 0]);
  const capacity = await failure(model.openSession({ slots: 1, maxTokens: 129 }), "CAPACITY");
  expect(capacity.message).toMatch(/129.*128/);
  const long = await engine.createModel({ ...smallShape, maxPositions: 2 ** 31 - 1 });
  const many = () => long.openSession({ slots: 2 ** 20, maxTokens: 2 ** 20 });
  await refuses([["blocks", /1048576 slots of 1048576 tokens are more than the 68719476736/, many]]);
  await session.extend([], { tokens: [], offsets: [0] });
  expect((await session.generate([], { maxNewTokens: 1 })).tokens.length).toBe(0);
});

test("createTrainer", async () => {
  const create = (options: Wrong) => () => createTrainer(model, options);
  await refuses([
    ["no model", /createTrainer takes a Model, not an object/, () => createTrainer({} as Wrong)],
    ["unknown key", /unknown key "optimiser"/, create({ optimiser: {} })],
    ["unknown key of the optimiser", /optimizer has an unknown key "lr"/, create({ optimizer: { lr: 1 } })],
    [
      "learning rate",
      /optimizer.learningRate must be a finite number at least 0, not -1/,
      create({ optimizer: { learningRate: -1 } }),
    ],
    ["betas", /optimizer.betas must be two numbers/, create({ optimizer: { betas: [0.9] } })],
    ["beta", /optimizer.betas\[1\] .* below 1, not 1/, create({ optimizer: { betas: [0.9, 1] } })],
    ["epsilon", /optimizer.epsilon/, create({ optimizer: { epsilon: 0 } })],
    ["weight decay", /criticOptimizer.weightDecay/, create({ criticOptimizer: { weightDecay: -0.1 } })],
    ["clip", /gradientClip must be a finite number above 0, not 0/, create({ gradientClip: 0 })],
    ["schedule", /schedule.kind must be one of/, create({ schedule: { kind: "step" } })],
    [
      "schedule without end",
      /totalSteps \(0\) must be greater than schedule.warmupSteps \(5\)/,
      create({ schedule: { kind: "linear", warmupSteps: 5 } }),
    ],
    [
      "minimum",
      /minimumRatio .* at most 1, not 2/,
      create({ schedule: { kind: "constant", minimumRatio: 2 } }),
    ],
    ["micro-batch", /microBatchTokens/, create({ microBatchTokens: 0 })],
    ["critic", /critic must be a Model, "shared" or null, not "own"/, create({ critic: "own" })],
    ["critic without head", /the critic has no value head/, () => createTrainer(critic, { critic: model })],
    ["shared without head", /"shared", but the model has no value head/, create({ critic: "shared" })],
    ["critic that is the model", /say "shared"/, () => createTrainer(critic, { critic })],
  ]);
});

test("matrix products", async () => {
  const product = { rows: 8, inner: 8, columns: 8 };
  const gemm = (options: Wrong) => () => engine.gemmRate(options);
  await refuses([
    ["no options", /options must be an object/, gemm(undefined)],
    ["rows", /rows .* not 0/, gemm({ ...product, rows: 0 })],
    ["missing", /columns .* not undefined/, gemm({ rows: 8, inner: 8 })],
    ["dtype", /dtype must be one of "float32", "bfloat16", not "int8"/, gemm({ ...product, dtype: "int8" })],
    ["repeats", /repeats .* not 0/, gemm({ ...product, repeats: 0 })],
    ["key", /unknown key "depth"/, gemm({ ...product, depth: 8 })],
  ]);
});

describe("steps", () => {
  const step =
    (batch: Wrong, loss: Wrong, of = () => trainer) =>
    () =>
      of().step(batch, loss);

  test("losses", async () => {
    await refuses([
      ["no loss", /loss must be an object/, step(ppo, undefined)],
      ["kind", /loss.kind must be one of "sft", "ppo", "value", not "dpo"/, step(ppo, { kind: "dpo" })],
      ["key of sft", /unknown key "clipLow"/, step({ ...rows, mask }, { kind: "sft", clipLow: 0.2 })],
      ["key of ppo", /unknown key "clip"/, step(ppo, { kind: "ppo", clip: 0.2 })],
      ["clip", /loss.clipLow .* below 1, not 1/, step(ppo, { kind: "ppo", clipLow: 1 })],
      ["dual clip", /loss.dualClip .* above 1, not 0.5/, step(ppo, { kind: "ppo", dualClip: 0.5 })],
      ["estimator", /loss.klEstimator must be one of/, step(ppo, { kind: "ppo", klEstimator: "k4" })],
      ["aggregation", /loss.aggregation must be one of/, step(ppo, { kind: "ppo", aggregation: "mean" })],
      ["temperature", /loss.temperature/, step(ppo, { kind: "ppo", temperature: 0 })],
      [
        "NaN",
        /loss.entropyCoefficient .* not NaN/,
        step(ppo, { kind: "ppo", entropyCoefficient: Number.NaN }),
      ],
      [
        "no reference",
        /klCoefficient is 0.1, but batch.referenceLogProbs is missing/,
        step(ppo, { kind: "ppo", klCoefficient: 0.1 }),
      ],
      [
        "no supervised mask",
        /batch.supervisedMask is missing/,
        step(ppo, { kind: "ppo", supervisedCoefficient: 1 }),
      ],
      [
        "no environment mask",
        /batch.environmentMask is missing/,
        step(ppo, { kind: "ppo", environmentCoefficient: 1 }),
      ],
      ["no critic", /the trainer has no critic/, step(ppo, { kind: "value" })],
    ]);
  });

  test("batches", async () => {
    const change = (changes: Wrong) => step({ ...ppo, ...changes }, { kind: "ppo" });
    const nan = floats.slice();
    nan[3] = Number.NaN;
    await refuses([
      ["no mask", /batch.mask must be a Uint8Array/, step(rows, { kind: "sft" })],
      [
        "short mask",
        /batch.mask has 8 entries, but there are 9 tokens/,
        step({ ...rows, mask: mask.subarray(1) }, { kind: "sft" }),
      ],
      ...(
        [
          ["short weights", /batch.weights has 8 entries, but there are 9 tokens/, floats.subarray(1)],
          [
            "negative weight",
            /batch.weights\[2\] is -0.5; it must be 0 or above/,
            [1, 1, -0.5, 1, 1, 1, 1, 1, 1],
          ],
          ["NaN as weight", /batch.weights\[3\] is NaN/, nan],
          ["endless weight", /batch.weights\[0\] is Infinity/, new Array(9).fill(Number.POSITIVE_INFINITY)],
          ["no weight", /batch.weights is 0 for every token of batch.mask/, new Array(9).fill(0)],
        ] as const
      ).map(([name, message, weights]): [string, RegExp, () => unknown] => [
        name,
        message,
        step({ ...rows, mask, weights }, { kind: "sft" }),
      ]),
      ["weights of PPO", /unknown key "weights"/, change({ weights: floats })],
      [
        "supervised weights without a mask",
        /batch.supervisedWeights is given, but batch.supervisedMask is not/,
        change({ supervisedWeights: floats }),
      ],
      [
        "negative supervised weight",
        /batch.supervisedWeights\[0\] is -1/,
        change({ supervisedMask: mask, supervisedWeights: new Array(9).fill(-1) }),
      ],
      [
        "mask of other numbers",
        /batch.mask\[0\] is 2/,
        step({ ...rows, mask: mask.map(() => 2) }, { kind: "sft" }),
      ],
      [
        "empty mask",
        /batch.mask selects no token/,
        step({ ...rows, mask: new Uint8Array(9) }, { kind: "sft" }),
      ],
      [
        "mask of first tokens only",
        /selects no token/,
        step({ ...rows, mask: [1, 0, 0, 0, 0, 1, 0, 0, 0] }, { kind: "sft" }),
      ],
      ["unknown key", /batch has an unknown key "oldLogProbs"/, step(ppo, { kind: "sft" })],
      ["NaN advantages", /batch.advantages\[3\] is NaN/, change({ advantages: nan })],
      [
        "advantages that overflow float32",
        /batch.advantages\[0\] is 1e\+300/,
        change({ advantages: new Float64Array(9).fill(1e300) }),
      ],
      ["NaN old log-probs", /batch.oldLogProbs\[3\] is NaN/, change({ oldLogProbs: nan })],
      ["no old log-probs", /batch.oldLogProbs must be a Float32Array/, change({ oldLogProbs: undefined })],
      ["short advantages", /batch.advantages has 8 entries/, change({ advantages: floats.subarray(1) })],
      [
        "short reference",
        /batch.referenceLogProbs has 8 entries/,
        change({ referenceLogProbs: floats.subarray(1) }),
      ],
      ["values without critic", /batch.values is given, but the trainer has no critic/, change({ values })],
      ["critic without values", /batch.values is missing/, step(ppo, { kind: "ppo" }, () => withCritic)],
      [
        "NaN returns",
        /batch.values.returns\[3\] is NaN/,
        step({ ...ppo, values: { ...values, returns: nan } }, { kind: "ppo" }, () => withCritic),
      ],
      [
        "value mask",
        /batch.values.mask has 3 entries/,
        step({ ...rows, values: { ...values, mask: [1, 1, 1] } }, { kind: "value" }, () => withCritic),
      ],
    ]);
    expect(trainer.stepCount).toBe(0);
    expect(withCritic.stepCount).toBe(0);
    expect(model.version).toBe(1);
    await failure(
      trainer.step({ ...pack(someRows([200])), mask: new Uint8Array(200).fill(1) }, { kind: "sft" }),
      "CAPACITY",
    );
  });
});

test("models of two engines do not mix", async () => {
  const other = await makeEngine();
  try {
    const foreign = await other.createModel(smallShape, { valueHead: true });
    await refuses([
      ["copyFrom", /belongs to another engine/, () => model.copyFrom(foreign)],
      ["critic", /belongs to another engine/, () => createTrainer(model, { critic: foreign })],
      ["copyFrom something else", /copyFrom takes a Model/, () => model.copyFrom({} as Wrong)],
    ]);
  } finally {
    await other.dispose();
  }
  const larger = await engine.createModel({ ...smallShape, layers: 3 });
  await failure(model.copyFrom(larger), "BAD_ARGUMENT");
});
