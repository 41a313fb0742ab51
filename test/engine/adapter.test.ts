// LoRA adapters against PEFT (see ../fixtures/README.md), and their files.
import { cpSync, existsSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  adapterSize,
  adapterTargets,
  createTrainer,
  type Engine,
  type Model,
  type StepMetrics,
} from "../../lib/index.ts";
import { editParts, type Header, readParts, writeParts } from "../formats/safetensors-file.ts";
import {
  expectClose,
  expectedOf,
  failure,
  fingerprint,
  fixture,
  makeEngine,
  pack,
  readJson,
  scratchFolder,
  smallShape,
} from "./fixtures.ts";

interface ExpectedAdapter {
  grad_norms: Record<string, number>;
  logprobs: number[];
  greedy: number[];
  grad_total_norm: number;
  after_step1: Record<string, [sum: number, norm: number]>;
  logprobs_after_step1: number[];
  losses: number[];
}

const reference = expectedOf("qwen2_tiny");
const expected = readJson<ExpectedAdapter>(fixture("lora_tiny", "expected.json"));

let engine: Engine;
let base: Model;
beforeAll(async () => {
  engine = await makeEngine();
  base = await engine.loadModel(fixture("qwen2_tiny"));
});
afterAll(() => engine.dispose());

/** A copy of the adapter's folder, to be damaged. */
function copyOfAdapter(): string {
  const folder = scratchFolder();
  cpSync(fixture("lora_tiny"), folder, { recursive: true });
  return folder;
}

function editAdapterConfig(folder: string, change: Record<string, unknown>): void {
  const file = join(folder, "adapter_config.json");
  writeFileSync(file, JSON.stringify({ ...readJson<object>(file), ...change }));
}

/** The norm of every tensor of a float32 file. */
function norms(file: string): Record<string, number> {
  const { header, data } = readParts(file);
  const entries = Object.entries(header).map(
    ([
      name,
      {
        data_offsets: [begin, end],
      },
    ]) => {
      const values = new Float32Array(new Uint8Array(data.subarray(begin, end)).buffer);
      return [name, Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))];
    },
  );
  return Object.fromEntries(entries);
}

const sftBatch = () => {
  const batch = pack(reference.rows.map(({ ids }) => ids));
  return { ...batch, mask: new Uint8Array(batch.tokens.length).fill(1) };
};
const adamw = {
  optimizer: { learningRate: 1e-3, betas: [0.9, 0.999], weightDecay: 0.01, epsilon: 1e-8 },
  gradientClip: null,
} as const;

describe("an adapter that PEFT wrote", () => {
  test("gives PEFT's log-probs, packed and sampled, and merged too", async () => {
    await using model = await base.loadAdapter(fixture("lora_tiny"));
    expect(model.adapter).toEqual({
      rank: 2,
      alpha: 6,
      dropout: 0,
      targets: [...adapterTargets],
      rankStabilized: false,
    });
    const batch = pack([reference.input_ids]);
    const logProbs = await model.logProbs(batch);
    expectClose(logProbs.subarray(1), expected.logprobs, 2e-4);
    await using merged = await model.merge();
    expect(merged.adapter).toBeNull();
    expectClose(await merged.logProbs(batch), logProbs, 5e-5);
    const session = await model.openSession({ slots: 1, maxTokens: 64 });
    await session.extend([0], pack([reference.greedy.prompt]));
    const { tokens } = await session.generate([0], { maxNewTokens: 12, temperature: 0 });
    expect([...tokens]).toEqual(expected.greedy);
  });

  test("trains as PEFT trains it, and leaves the base model alone", async () => {
    const before = await fingerprint(base);
    await using model = await base.loadAdapter(fixture("lora_tiny"));
    await using trainer = createTrainer(model, adamw);
    const first = await trainer.step(sftBatch(), { kind: "sft" });
    expect(first.gradientNorm / expected.grad_total_norm).toBeCloseTo(1, 3);
    expectClose(
      (await model.logProbs(pack([reference.input_ids]))).subarray(1),
      expected.logprobs_after_step1,
      1e-3,
    );
    const folder = scratchFolder();
    await model.saveAdapter(folder);
    await trainer.saveState(folder);
    const weights = norms(join(folder, "adapter_model.safetensors"));
    const state = norms(join(folder, "optimizer.safetensors"));
    expect(Object.keys(weights).sort()).toEqual(Object.keys(expected.after_step1).sort());
    for (const [name, [, norm]] of Object.entries(expected.after_step1)) {
      expect(Math.abs(weights[name] / norm - 1), name).toBeLessThan(1e-4);
      // After one update the first moment is a tenth of the gradient.
      expect(Math.abs(state[`exp_avg.${name}`] / (0.1 * expected.grad_norms[name]) - 1), name).toBeLessThan(
        1e-3,
      );
    }
    const steps: StepMetrics[] = [first];
    for (let step = 1; step < 4; step++) steps.push(await trainer.step(sftBatch(), { kind: "sft" }));
    expectClose(
      steps.map(({ loss }) => loss),
      expected.losses,
      5e-4,
    );
    expect(await fingerprint(base)).toEqual(before);
  });
});

describe("files", () => {
  test("what is saved loads to the same numbers, with its value head, and names its base", async () => {
    await using model = await base.addAdapter({
      rank: 3,
      alpha: 5,
      targets: ["down_proj", "q_proj"],
      valueHead: true,
    });
    await using trainer = createTrainer(model, { critic: "shared" });
    const batch = sftBatch();
    const values = {
      mask: batch.mask,
      oldValues: new Float32Array(batch.tokens.length),
      returns: new Float32Array(batch.tokens.length).fill(1),
    };
    await trainer.step(batch, { kind: "sft" });
    await trainer.step({ ...batch, values }, { kind: "value" });
    const folder = scratchFolder();
    await model.saveAdapter(folder, { base: "Qwen/Qwen2.5-0.5B", revision: "main" });
    expect(readdirSync(folder).sort()).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
      "value_head.safetensors",
    ]);
    expect(readJson(join(folder, "adapter_config.json"))).toMatchObject({
      base_model_name_or_path: "Qwen/Qwen2.5-0.5B",
      revision: "main",
      peft_type: "LORA",
      task_type: "CAUSAL_LM",
      r: 3,
      lora_alpha: 5,
      target_modules: ["q_proj", "down_proj"],
    });
    expect(Object.keys(readParts(join(folder, "adapter_model.safetensors")).header)).toContain(
      "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
    );
    await using again = await base.loadAdapter(folder);
    expect(again.hasValueHead).toBe(true);
    expect(await fingerprint(again)).toEqual(await fingerprint(model));
    expect(await again.values(batch)).toEqual(await model.values(batch));
    // Written again without a value head, the old one goes.
    await using headless = await again.clone({ valueHead: false });
    await headless.saveAdapter(folder);
    expect(existsSync(join(folder, "value_head.safetensors"))).toBe(false);
    expect((await base.loadAdapter(folder)).hasValueHead).toBe(false);
  });

  test("an adapter's folder loads with the base model that it names", async () => {
    await using named = await engine.loadModel(fixture("lora_tiny"));
    await using loaded = await base.loadAdapter(fixture("lora_tiny"));
    expect(named.adapter).toEqual(loaded.adapter);
    expect(await fingerprint(named)).toEqual(await fingerprint(loaded));
    const folder = copyOfAdapter();
    const { message, hint } = await failure(engine.loadModel(folder), "BAD_ADAPTER");
    expect(message).toContain("names the base model ../qwen2_tiny, which is no folder here");
    expect(hint).toContain("loadAdapter");
  });

  test("a folder is of a whole model or of an adapter, not of both", async () => {
    const [whole, part] = [scratchFolder(), copyOfAdapter()];
    await base.save(whole);
    await using model = await base.loadAdapter(part);
    expect((await failure(model.saveAdapter(whole), "BAD_ARGUMENT")).message).toContain("config.json");
    expect((await failure(base.save(part), "BAD_ARGUMENT")).message).toContain("adapter_config.json");
    cpSync(part, whole, { recursive: true });
    expect((await failure(engine.loadModel(whole), "BAD_CHECKPOINT")).message).toContain(whole);
  });

  test("sizes are those of the files", async () => {
    const settings = { rank: 3, alpha: 5, targets: ["k_proj", "o_proj", "up_proj"] as const };
    await using model = await base.addAdapter(settings);
    const size = adapterSize(base.config, settings);
    expect(model.trainableCount).toBe(size.parameters);
    expect(model.parameterCount).toBe(base.parameterCount + size.parameters);
    expect(Object.values(size.byTarget).reduce((sum, count) => sum + count, 0)).toBe(size.parameters);
    expect(size.activationsPerToken).toBe(base.config.layers * 3 * 3);
  });

  test("a scale by the square root of the rank", async () => {
    const folder = copyOfAdapter();
    editAdapterConfig(folder, { use_rslora: true, lora_alpha: 6 / Math.SQRT2 });
    const [stabilized, plain] = [
      await base.loadAdapter(folder),
      await base.loadAdapter(fixture("lora_tiny")),
    ];
    expectClose(await fingerprint(stabilized), await fingerprint(plain), 1e-5);
  });

  const features: [name: string, value: unknown][] = [
    ["use_dora", true],
    ["modules_to_save", ["lm_head"]],
    ["bias", "all"],
    ["layers_to_transform", [0, 1]],
    ["rank_pattern", { q_proj: 4 }],
    ["alpha_pattern", { q_proj: 4 }],
    ["fan_in_fan_out", true],
    ["lora_bias", true],
    ["init_lora_weights", "pissa"],
    ["trainable_token_indices", [1]],
    ["a_feature_of_tomorrow", { on: 1 }],
    ["kasa_config", {}],
    ["peft_type", "IA3"],
    ["task_type", "SEQ_CLS"],
    ["target_modules", ".*_proj"],
    ["target_modules", ["q_proj", "lm_head"]],
    ["r", 0],
    ["lora_alpha", "16"],
  ];
  test.each(features)("a feature that is missing here is refused by name: %s %j", async (name, value) => {
    const folder = copyOfAdapter();
    editAdapterConfig(folder, { [name]: value });
    const { message } = await failure(base.loadAdapter(folder), "BAD_ADAPTER");
    expect(message).toContain(join(folder, "adapter_config.json"));
    expect(message).toContain({ r: "adapter.rank", lora_alpha: "adapter.alpha" }[name] ?? name);
  });

  test("an adapter for another model is refused with the first thing that does not fit", async () => {
    const message = async (model: Promise<Model>, folder = fixture("lora_tiny")) => {
      await using other = await model;
      return (await failure(other.loadAdapter(folder), "BAD_ADAPTER")).message;
    };
    const first = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    expect(await message(engine.createModel(smallShape))).toContain(
      `tensor ${first} has the shape [2,64], the model needs [2,32]`,
    );
    const shape = { ...base.config, layers: 4 };
    expect(await message(engine.createModel(shape))).toContain(
      "layers.3.self_attn.q_proj.lora_A.weight is missing",
    );
    expect(await message(engine.createModel({ ...shape, layers: 2 }))).toMatch(/layers\.2\..* has no place/);
    const folder = copyOfAdapter();
    editAdapterConfig(folder, { target_modules: ["q_proj"] });
    expect((await failure(base.loadAdapter(folder), "BAD_ADAPTER")).message).toContain("has no place");
  });

  test("a tensor that does not fit is told with what stands in its place, and what to do", async () => {
    const file = "adapter_model.safetensors";
    const first = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    const told = async (change: (header: Header) => unknown, settings: Record<string, unknown> = {}) => {
      const folder = copyOfAdapter();
      editAdapterConfig(folder, settings);
      editParts(join(folder, file), (header) => change(header));
      const { message, hint } = await failure(base.loadAdapter(folder), "BAD_ADAPTER");
      return `${message}\n${hint}`;
    };
    const renamed = (change: (name: string) => string) =>
      told((header) =>
        Object.fromEntries(Object.entries(header).map(([name, entry]) => [change(name), entry])),
      );
    for (const change of [
      (name: string) => name.replace(/(lora_[AB])/, "$1.default"),
      (name: string) => name.replace("base_model.model.", ""),
      (name: string) => name.replace("base_model.model.", "").replace(/(lora_[AB])/, "$1.policy"),
      (name: string) => `module.${name}`,
      (name: string) => name.replace("model.layers.", "model._fsdp_wrapped_module.layers."),
      (name: string) => name.replace(/\.weight$/, ""),
    ]) {
      const text = await renamed(change);
      expect(text).toContain(`tensor ${first} is missing; ${change(first)} stands in its place`);
      expect(text).toContain("save_pretrained");
    }
    const withExtra = async (name: string, shape: number[]) => {
      const folder = copyOfAdapter();
      const { header, data } = readParts(join(folder, file));
      const bytes = Buffer.alloc(4 * shape.reduce((a, b) => a * b, 1));
      const extra = { dtype: "F32", shape, data_offsets: [data.length, data.length + bytes.length] };
      writeParts(join(folder, file), { ...header, [name]: extra }, Buffer.concat([data, bytes]));
      const { message, hint } = await failure(base.loadAdapter(folder), "BAD_ADAPTER");
      expect(message).toContain(`tensor ${name} has no place in the model`);
      return hint;
    };
    const inside = "base_model.model.model.";
    for (const [name, hint] of [
      [`${inside}embed_tokens.weight`, /embeddings inside.*merge_and_unload.*resize_token_embeddings\(12\)/],
      ["base_model.model.lm_head.weight", /embeddings inside.*merge_and_unload/],
      [`${inside}layers.0.self_attn.q_proj.lora_magnitude_vector`, /DoRA.*merge_and_unload/],
      [`${inside}norm.modules_to_save.weight`, /whole modules inside.*merge_and_unload/],
      [`${inside}layers.0.self_attn.q_proj.bias`, /biases inside.*merge_and_unload/],
      [
        `${inside}layers.0.self_attn.q_proj.base_layer.weight`,
        /base model's weights are inside.*save_pretrained/,
      ],
      [`${inside}layers.9.self_attn.q_proj.lora_A.weight`, /other layers than the model/],
    ] as const) {
      expect(await withExtra(name, [12, 2])).toMatch(hint);
    }
    expect(await told(() => undefined, { r: 4 })).toMatch(/r is 4, but this adapter is of rank \d+/);
  });

  test("missing, cut off and poisoned files are broken checkpoints", async () => {
    const damages: ((folder: string) => void)[] = [
      (folder) => rmSync(join(folder, "adapter_config.json")),
      (folder) => writeFileSync(join(folder, "adapter_config.json"), "{"),
      (folder) => writeFileSync(join(folder, "adapter_config.json"), "[]"),
      (folder) => rmSync(join(folder, "adapter_model.safetensors")),
      (folder) => truncateSync(join(folder, "adapter_model.safetensors"), 20_000),
      (folder) =>
        editParts(join(folder, "adapter_model.safetensors"), (_, data) => {
          data.writeFloatLE(Number.NaN, 400);
        }),
      (folder) => writeFileSync(join(folder, "value_head.safetensors"), "none"),
    ];
    for (const damage of damages) {
      const folder = copyOfAdapter();
      damage(folder);
      const { message } = await failure(base.loadAdapter(folder), "BAD_CHECKPOINT");
      expect(message).toContain(folder);
    }
    const folder = scratchFolder();
    await using model = await base.loadAdapter(fixture("lora_tiny"));
    await failure(model.saveAdapter(folder, { signal: AbortSignal.abort() }), "ABORTED");
    expect(readdirSync(folder)).toEqual([]);
  });
});
