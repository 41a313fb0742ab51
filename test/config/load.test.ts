import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { settings } from "../../lib/config/allowed-values.ts";
import { checkConfig, loadConfig, overrideConfig } from "../../lib/config/load.ts";
import { mergeLayers, parseOverride } from "../../lib/config/overrides.ts";
import { presetNames } from "../../lib/config/presets.ts";
import { configSchema } from "../../lib/config/schema.ts";
import type { SpaError } from "../../lib/errors.ts";
import { errorOf } from "../thrown-error.ts";

let folder: string;
let empty: string;

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-config-"));
  empty = write("empty.yaml", "");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("layers", () => {
  test("an empty file gives the defaults, named after the file", () => {
    expect(loadConfig(empty)).toEqual({ ...configSchema.parse({}), preset: "empty" });
  });

  test("overrides lie over the file, and the file over what it extends", () => {
    write("parent.yaml", "seed: 5\nppo: { steps: 7, groups: 3 }\narms: [control]\n");
    const child = write("child.yaml", "extends: ./parent.yaml\nppo:\n  groups: 4\n");
    const config = loadConfig(child, [
      "ppo.groupSize=2",
      "sft.optimizer.learningRate=1e-4",
      "ppo.targetKl=null",
    ]);
    expect(config).toMatchObject({ preset: "child", seed: 5, arms: ["control"] });
    expect(config.ppo).toMatchObject({ steps: 7, groups: 4, groupSize: 2, targetKl: null });
    expect(config.sft.optimizer).toMatchObject({ learningRate: 1e-4, betas: [0.9, 0.95] });
  });

  test("a preset is named first or extended, not set; the configuration of a run is taken as it is", () => {
    const file = write("named.yaml", "preset: nano-sokoban\nseed: 3\n");
    const error = errorOf(() => loadConfig(file)) as SpaError;
    expect(error).toMatchObject({ code: "BAD_CONFIG", message: expect.stringContaining("named.yaml:1:1") });
    expect(error.hint).toContain('extends: "nano-sokoban"');
    const set = errorOf(() => loadConfig(empty, ["preset=nano-sokoban"])) as SpaError;
    expect(set).toMatchObject({ code: "BAD_CONFIG", hint: "name it first: spa train nano-sokoban" });
    const whole = loadConfig("nano-sokoban", ["seed=9"]);
    expect(loadConfig(write("again.yaml", JSON.stringify(whole)))).toEqual({ ...whole, preset: "again" });
    // A section that an earlier version did not have.
    const { trackers: _, ...earlier } = whole;
    expect(loadConfig(write("again.yaml", JSON.stringify(earlier)))).toEqual({ ...whole, preset: "again" });
  });

  test("values are YAML: words, lists, mappings, and all arms by one word", () => {
    const config = loadConfig(empty, [
      "arms=all",
      "sft.optimizer.betas=[0.8, 0.9]",
      "environment.options={ size: 6 }",
    ]);
    expect(config.arms).toEqual(["spa", "control", "format-only"]);
    expect(config.sft.optimizer.betas).toEqual([0.8, 0.9]);
    expect(loadConfig(empty, ["environment.options.size=6"]).environment.options).toEqual({ size: 6 });
  });

  test("another environment or kind of model does not inherit the former one's options", () => {
    const file = write(
      "lake.yaml",
      "environment: { name: frozen-lake, options: { slippery: true } }\nmodel: { kind: nano, hidden: 32 }\n",
    );
    const overrides = [
      "environment.options.rows=6",
      "environment.name=sokoban",
      "model.path=/models/x",
      "model.kind=pretrained",
    ];
    const config = loadConfig(file, overrides);
    expect(config.environment).toMatchObject({ name: "sokoban", options: { rows: 6 } });
    expect(config.model).toEqual({ kind: "pretrained", path: "/models/x", revision: "main" });
    // A Hub id or folder alone is short for a pretrained model, wherever it stands; another model, another revision.
    expect(loadConfig(file, ["model=Qwen/Qwen3-0.6B", "model.revision=v1"]).model).toEqual({
      kind: "pretrained",
      path: "Qwen/Qwen3-0.6B",
      revision: "v1",
    });
    const short = write("short.yaml", "model: { kind: pretrained, path: a/b, revision: v2 }\n");
    expect(loadConfig(short, ["model=./c"]).model).toEqual({
      kind: "pretrained",
      path: "./c",
      revision: "main",
    });
    expect(loadConfig(file, ["environment.options.size=6"]).environment.options).toEqual({
      slippery: true,
      size: 6,
    });
  });

  test("every preset that comes with the package is right", () => {
    expect(presetNames()).toEqual(
      expect.arrayContaining([
        "nano-frozen-lake",
        "nano-frozen-lake-single-turn",
        "nano-sokoban",
        "nano-sudoku",
      ]),
    );
    for (const name of presetNames()) expect(loadConfig(name).preset).toBe(name);
  });

  test("a loaded configuration can be changed by further overrides", () => {
    const config = loadConfig(empty, ["seed=3"]);
    expect(overrideConfig(config, ["evaluation.samples=4"])).toEqual({
      ...config,
      evaluation: { ...config.evaluation, samples: 4 },
    });
  });
});

describe("wrong input gives one error that says where, what and what is right", () => {
  const cases: [what: string, overrides: string[], message: string][] = [
    ["unknown key", ["ppo.stps=10"], "ppo.stps=10: there is no setting ppo.stps; did you mean ppo.steps?"],
    ["other spelling", ["ppo.group_size=4"], "did you mean ppo.groupSize?"],
    [
      "key of another level",
      ["learningRate=1"],
      "did you mean base.optimizer.learningRate or sft.optimizer.learningRate",
    ],
    ["abbreviated", ["lr=1"], "there is no setting lr; did you mean base.optimizer.learningRate or sft."],
    [
      "abbreviated below",
      ["ppo.lr=1"],
      "did you mean ppo.optimizer.learningRate or ppo.criticOptimizer.learningRate?",
    ],
    ["snake case elsewhere", ["batch_size=1"], "did you mean base.batchSize or sft.batchSize?"],
    ["words cut short", ["kl_coef=1"], "did you mean ppo.loss.klCoefficient?"],
    ["words added", ["num_epochs=1"], "did you mean sft.epochs or ppo.epochs?"],
    [
      "a mapping of settings elsewhere",
      ["optimizer.betas=1"],
      "did you mean base.optimizer or sft.optimizer or ppo",
    ],
    ["nothing like it", ["x=1"], "there is no setting x; there are preset, seed, arms,"],
    ["key like nothing", ["sft.optimizer.qqqqqqqq=1"], "there are learningRate, betas, weightDecay, epsilon"],
    ["unknown section", ["pppo.steps=1"], "there is no setting pppo; did you mean ppo?"],
    ["key below a value", ["seed.x=1"], 'seed is {"x":1}; it must be a whole number, 0 or more'],
    ["__proto__", ["__proto__.x=1"], "there is no setting __proto__"],
    [
      "wrong type",
      ["ppo.steps=ten"],
      'ppo.steps=ten: ppo.steps is "ten"; it must be a whole number, greater than 0',
    ],
    ["no value", ["ppo.steps="], "ppo.steps is null; it must be a whole number, greater than 0"],
    ["fraction", ["ppo.steps=1.5"], "ppo.steps is 1.5; it must be a whole number, greater than 0"],
    ["zero", ["ppo.steps=0"], "ppo.steps is 0; it must be a whole number, greater than 0"],
    ["range", ["base.worldModelShare=1.5"], "base.worldModelShare is 1.5; it must be a number from 0 to 1"],
    [
      "not a number",
      ["sft.optimizer.learningRate=.nan"],
      "sft.optimizer.learningRate is NaN; it must be a number, greater than 0",
    ],
    [
      "choice",
      ["ppo.mask=answr"],
      'ppo.mask is "answr"; it must be "answer" or "response"; did you mean "answer"?',
    ],
    [
      "nullable",
      ["engine.threads=0"],
      "engine.threads is 0; it must be a whole number, greater than 0 or null",
    ],
    [
      "list",
      ["arms=[spa, spq]"],
      'it must be "all" or a list of "spa", "control", "format-only" or "world-model"',
    ],
    [
      "pair",
      ["sft.optimizer.betas=[0.9]"],
      "it must be a list of 2: a number, 0 or more, less than 1; a number, 0 or more, less than 1",
    ],
    [
      "element",
      ["sft.optimizer.betas=[0.9, 2]"],
      "sft.optimizer.betas.1 is 2; it must be a number, 0 or more, less than 1",
    ],
    ["kind", ["model.kind=nano2"], 'model.kind is "nano2"; it must be "nano", "pretrained" or "stage"'],
    ["field of the other kind", ["model.path=/x"], "there is no setting model.path"],
    ["missing field", ["model.kind=pretrained"], "model.path is missing; it must be a text"],
    ["a mapping for a section", ["ppo=3"], "ppo is 3; it must be a mapping"],
    ["no equals sign", ["ppo.steps"], '"ppo.steps" is no setting'],
    ["empty key", ["ppo..steps=1"], '"ppo..steps=1" is no setting'],
    ["broken value", ["arms=[spa"], "arms=[spa: the value is no YAML"],
    [
      "rule between settings",
      ["model.heads=4", "model.keyValueHeads=3"],
      "model.keyValueHeads=3: model.keyValueHeads is 3: it must divide model.heads",
    ],
    [
      "rule against a default",
      ["protocol.maxTokens=100"],
      "protocol.maxNewTokens is 110: it must be less than protocol.maxTokens",
    ],
    [
      "a critic for an estimator that has no use for one",
      ["ppo.advantage.estimator=reinforce++"],
      'ppo.critic is "model": ppo.advantage.estimator has no use for a critic: set ppo.critic=none',
    ],
    [
      "its warm-up",
      ["ppo.advantage.estimator=rloo", "ppo.critic=none", "ppo.criticWarmup=1"],
      "ppo.criticWarmup is 1: there is no critic to warm up (ppo.critic=none): set it to 0",
    ],
    [
      "groups of one to compare",
      ["ppo.advantage.estimator=grpo", "ppo.critic=none", "ppo.groupSize=1"],
      "ppo.groupSize is 1: ppo.advantage.estimator compares trajectories of the same level: set 2 or more",
    ],
    ["an arm twice", ["arms=[spa, spa]"], "an arm is named twice"],
    ["two mistakes", ["ppo.steps=0", "seed=-1"], "2 settings are wrong:\n"],
  ];
  test.each(cases)("%s", (_what, overrides, message) => {
    const error = errorOf(() => loadConfig(empty, overrides));
    expect(error.code).toBe("BAD_CONFIG");
    expect(error.message).toContain(message);
    expect(error.hint).toBeTruthy();
  });

  test("arguments of other types are refused with what to give", () => {
    const load = loadConfig as (...given: unknown[]) => unknown;
    const override = overrideConfig as (...given: unknown[]) => unknown;
    const wrong: [call: () => unknown, message: string][] = [
      [() => load({ seed: 1 }), "loadConfig: source must be a text, not an object"],
      [() => load(), "loadConfig: source must be a text, not undefined"],
      [() => load(7), "loadConfig: source must be a text, not 7"],
      [() => load(["nano-sokoban"]), "loadConfig: source must be a text, not an array of 1"],
      [() => load(empty, "seed=1"), 'overrides must be a list of key=value texts, not "seed=1"'],
      [() => load(empty, { seed: 1 }), "overrides must be a list of key=value texts, not an object"],
      [() => load(empty, ["seed=1", 2]), "overrides must be a list of key=value texts, not an array of 2"],
      [() => override("nano-sokoban", []), 'a configuration must be an object, not "nano-sokoban"'],
      [() => override(null, []), "a configuration must be an object, not null"],
    ];
    for (const [call, message] of wrong) {
      const error = errorOf(call) as SpaError;
      expect(error.code).toBe("BAD_ARGUMENT");
      expect(error.message).toContain(message);
      expect(error.hint).toContain("loadConfig(");
    }
  });

  test("a configuration that a program has made is checked as a file's is", () => {
    expect(checkConfig({ seed: 3 })).toEqual({ ...configSchema.parse({}), seed: 3 });
    const whole = loadConfig("nano-sokoban");
    expect(checkConfig(whole)).toEqual(whole);
    const error = errorOf(() => checkConfig({ ppo: { stps: 3 } })) as SpaError;
    expect(error).toMatchObject({
      code: "BAD_CONFIG",
      message: "there is no setting ppo.stps; did you mean ppo.steps?",
    });
  });

  test("an unknown preset is named with the nearest one", () => {
    const error = errorOf(() => loadConfig("nano-frozenlake"));
    expect(error.code).toBe("UNKNOWN_NAME");
    expect(error.message).toBe('there is no preset "nano-frozenlake"; did you mean "nano-frozen-lake"?');
    expect(error.hint).toContain("nano-sokoban");
  });

  test("files: place of a wrong value, an unknown key and broken YAML", () => {
    const wrong = write("wrong.yaml", "seed: 1\nppo:\n  steps: many\n");
    expect(errorOf(() => loadConfig(wrong)).message).toBe(
      `${wrong}:3:3: ppo.steps is "many"; it must be a whole number, greater than 0`,
    );
    const unknown = write("unknown.yaml", "seed: 1\n\nppo: { stepps: 4 }\n");
    expect(errorOf(() => loadConfig(unknown)).message).toContain(
      `${unknown}:3:8: there is no setting ppo.stepps`,
    );
    const broken = write("broken.yaml", "seed: 1\nppo: { steps: 4\n");
    expect(errorOf(() => loadConfig(broken)).message).toMatch(/broken\.yaml:3:1: /);
    const twice = write("twice.yaml", "seed: 1\nseed: 2\n");
    expect(errorOf(() => loadConfig(twice)).message).toMatch(/twice\.yaml:2:1: .*unique/);
  });

  test("files: missing, a list, a folder, an alias without end, a loop of extends", () => {
    expect(errorOf(() => loadConfig("./none.yaml")).message).toContain("there is no such file");
    expect(errorOf(() => loadConfig(write("list.yaml", "- 1\n"))).message).toContain("holds no settings");
    expect(errorOf(() => loadConfig(`${folder}/`)).code).toBe("BAD_CONFIG");
    const laughs = ["a: &a [x, x, x, x, x, x, x, x, x, x]"];
    for (const [next, last] of ["ba", "cb", "dc", "ed"])
      laughs.push(`${next}: &${next} [${Array(10).fill(`*${last}`)}]`);
    expect(errorOf(() => loadConfig(write("laughs.yaml", laughs.join("\n")))).code).toBe("BAD_CONFIG");
    write("one.yaml", "extends: ./two.yaml\n");
    expect(errorOf(() => loadConfig(write("two.yaml", "extends: ./one.yaml\n"))).message).toContain(
      "extends itself",
    );
    const parent = write("list-parent.yaml", "seed: 1\nextends: [x]\n");
    expect(errorOf(() => loadConfig(parent)).message).toContain("list-parent.yaml:2:1: extends must name");
  });
});

describe("properties", () => {
  // A key is a plain value in every layer or a mapping in every layer, as the schema has it: a plain value between two
  // mappings would cut the lower one off.
  const plain = fc.dictionary(fc.stringMatching(/^[a-m][a-z]{0,3}$/), fc.integer());
  const nested = fc.dictionary(fc.stringMatching(/^[n-z][a-z]{0,3}$/), plain);
  const layer = fc.tuple(plain, nested).map(([values, mappings]) => ({ ...values, ...mappings }));

  test("merging is associative and keeps the upper layer's plain values", () => {
    fc.assert(
      fc.property(layer, layer, layer, (low, middle, high) => {
        expect(mergeLayers(mergeLayers(low, middle), high)).toEqual(
          mergeLayers(low, mergeLayers(middle, high)),
        );
        for (const [name, value] of Object.entries(high)) {
          if (typeof value === "number") expect(mergeLayers(low, high)[name]).toBe(value);
        }
      }),
    );
  });

  test("a field of lora switches it on, null switches it off", () => {
    const on = loadConfig(empty, ["lora.rank=8"]).lora;
    expect(on).toMatchObject({ rank: 8, alpha: 32, dropout: 0 });
    expect(on?.targets).toHaveLength(7);
    expect(loadConfig(empty, ["lora={}"]).lora?.rank).toBe(16);
    expect(loadConfig(empty, ["lora=null"]).lora).toBeNull();
    expect(() => loadConfig(empty, ["lora.targets=[q_proj, lm_head]"])).toThrow(
      /lora.targets.1 is "lm_head"/,
    );
  });

  test("any argument is read as a setting or refused as BAD_CONFIG", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          expect(parseOverride(text).path.length).toBeGreaterThan(0);
        } catch (error) {
          expect((error as SpaError).code).toBe("BAD_CONFIG");
        }
      }),
    );
  });

  test("the resolved default of every setting is accepted as an override", () => {
    const overrides = ["model.kind=nano"];
    // Of other kinds of models.
    const foreign = ["model.revision", "model.stage", "model.digest"];
    for (const [path, node] of settings()) {
      // A field of lora, which is null by default, switches it on.
      if (node.default === undefined || foreign.includes(path) || path.startsWith("lora.")) continue;
      if (path === "preset") continue;
      overrides.push(`${path}=${JSON.stringify(node.default)}`);
    }
    expect(overrides.length).toBeGreaterThan(80);
    expect({ ...loadConfig(empty, overrides), preset: "empty" }).toEqual(loadConfig(empty));
  });
});
