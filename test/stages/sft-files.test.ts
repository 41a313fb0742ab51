import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { parquetWriteFile } from "hyparquet-writer";
import { describe, expect, it } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { SeededGenerator } from "../../lib/rollout/seeded-generator.ts";
import { configuredExamples } from "../../lib/stages/schedule.ts";
import { rewriteTrajectory, type SftExample } from "../../lib/stages/sft/examples.ts";
import {
  readExamples,
  readSftFile,
  readSftRows,
  type SftRow,
  writeExamples,
  writeSftRows,
} from "../../lib/stages/sft/files.ts";
import { readParquet } from "../../lib/stages/sft/parquet-reader.ts";
import { Role } from "../../lib/text/roles.ts";
import { fixture } from "../engine/fixtures.ts";
import { publishedTokenizer } from "../text/published-tokenizers.ts";
import { rejection } from "../thrown-error.ts";
import { protocolWith, tokenizer, trajectories } from "./blind-play.ts";
import { scratchFolder } from "./tiny-run.ts";

describe("SFT files", () => {
  it("hold examples token by token", async () => {
    const protocol = protocolWith({ context: "turn" });
    const examples = (await trajectories(protocol)).map(
      (trajectory, index) =>
        rewriteTrajectory(trajectory, index % 3 ? "train" : "validation", protocol, { states: "true" })!
          .example,
    );
    const file = join(scratchFolder(), "tokens.parquet");
    writeExamples(file, examples);
    expect(await readExamples(file)).toEqual(examples);
    expect(examples.some(({ changed }) => changed.includes(1))).toBe(true);
  });

  it("are read where they do not say which turns changed the state: texts are compared", async () => {
    const protocol = protocolWith();
    const examples = (await trajectories(protocol)).map(
      (trajectory) => rewriteTrajectory(trajectory, "train", protocol, { states: "true" })!.example,
    );
    const file = join(scratchFolder(), "tokens.parquet");
    const column = (name: string, of: (example: SftExample) => unknown) => ({ name, data: examples.map(of) });
    const bytes = (array: Int32Array | Uint32Array) => new Uint8Array(array.buffer.slice(0));
    parquetWriteFile({
      filename: file,
      columnData: [
        { ...column("trajectory", ({ trajectory }) => BigInt(trajectory)), type: "INT64" },
        { ...column("split", ({ split }) => split), type: "STRING" },
        { ...column("tokens", ({ tokens }) => bytes(tokens)), type: "BYTE_ARRAY" },
        { ...column("roles", ({ roles }) => roles), type: "BYTE_ARRAY" },
        { ...column("trainable", ({ trainable }) => trainable), type: "BYTE_ARRAY" },
        { ...column("segments", ({ segments }) => bytes(Uint32Array.from(segments))), type: "BYTE_ARRAY" },
      ],
    });
    expect(await readExamples(file)).toEqual(examples);
  });

  it("hold rows in SPA's columns, which train on the same tokens when they are read back", async () => {
    const protocol = protocolWith({ maxTurns: 1 });
    const played = await trajectories(protocol);
    const rewritten = played.map(
      (trajectory) => rewriteTrajectory(trajectory, "train", protocol, { states: "true" })!,
    );
    const rows: SftRow[] = rewritten.map(({ turns, seed }, index) => ({
      data_source: "frozen-lake",
      prompt: [{ role: "user", content: turns[0].turn.message }],
      response: turns[0].response,
      ability: "world-model",
      reward_model: { style: "rule", ground_truth: turns[0].turn.stateAfter.structured },
      extra_info: { split: index === 0 ? "validation" : "train", trajectory: index, turn: 0, seed },
    }));
    const file = join(scratchFolder(), "rows.parquet");
    writeSftRows(file, rows);
    const stored = await parquetReadObjects({ file: await asyncBufferFromFile(file) });
    expect(Object.keys(stored[0])).toEqual([
      "data_source",
      "prompt",
      "response",
      "ability",
      "reward_model",
      "extra_info",
    ]);
    expect(stored[1]).toMatchObject({ ...rows[1], extra_info: { split: "train", trajectory: 1n, turn: 0n } });
    const read = await readSftFile(file, tokenizer, {
      format: "world-model",
      validationShare: 0.5,
      seed: 1,
      maxTokens: 1024,
    });
    expect(read.map(({ split }) => split)).toEqual(["validation", ...new Array(5).fill("train")]);
    for (const [index, example] of read.entries()) {
      expect(example.tokens).toEqual(rewritten[index].example.tokens);
      expect(example.roles).toEqual(rewritten[index].example.roles);
      expect(example.trainable).toEqual(rewritten[index].example.trainable);
      expect(example.changed.filter((_, token) => example.trainable[token] === 1)).toEqual(
        rewritten[index].example.changed.filter((_, token) => example.trainable[token] === 1),
      );
    }
  });

  it("reads other people's files: longer conversations, no split, other columns", async () => {
    const file = join(scratchFolder(), "other.parquet");
    const conversation = [
      { role: "system", content: "You play." },
      { role: "user", content: "State:\n_P" },
      { role: "assistant", content: "<think>I go.</think><answer>Left</answer>" },
      { role: "user", content: "Reward:\n0\nState:\nP_" },
    ];
    const response =
      "<think><observation>P_</observation><prediction>_P</prediction></think><answer>Right</answer>";
    parquetWriteFile({
      filename: file,
      columnData: [
        { name: "prompt", data: [conversation, conversation.slice(0, 2)], type: "JSON" },
        { name: "response", data: [response, response] },
      ],
    });
    const read = await readSftFile(file, tokenizer, {
      format: "world-model",
      validationShare: 0.5,
      seed: 1,
      maxTokens: 1024,
    });
    expect(tokenizer.decode(read[0].tokens)).toBe(
      "<|im_start|>system\nYou play.<|im_end|>\n<|im_start|>user\nState:\n_P<|im_end|>\n" +
        "<|im_start|>assistant\n<think>I go.</think><answer>Left</answer><|im_end|>\n" +
        "<|im_start|>user\nReward:\n0\nState:\nP_<|im_end|>\n" +
        `<|im_start|>assistant\n${response}<|im_end|>`,
    );
    const trained = read[0].tokens.filter((_, index) => read[0].trainable[index] === 1);
    expect(tokenizer.decode(trained)).toBe(`${response}<|im_end|>`);
    // The same first user message: one trajectory, one side of the split.
    expect(read[0].split).toBe(read[1].split);
    expect(read[0].trajectory).toBe(read[1].trajectory);
  });

  it.each(["qwen2_5", "llama3_2"] as const)("reads what pandas has written, for %s", async (name) => {
    const llm = publishedTokenizer(name);
    const file = fixture("sft", "wm_train.parquet");
    expect(await readSftRows(file)).toHaveLength(6);
    const options = { format: "world-model" as const, validationShare: 0.5, seed: 1, maxTokens: 1024 };
    const read = await readSftFile(file, llm, options);
    expect(read.map(({ trajectory }) => trajectory)).toEqual([0, 0, 1, 1, 2, 2]);
    expect(read.every(({ split }) => split === "train")).toBe(true);
    for (const [index, { tokens, roles, trainable }] of read.entries()) {
      const text = llm.decode(tokens);
      expect(text).toContain("You play Sokoban.");
      expect(text.split("<observation>")).toHaveLength(2 + (index % 2));
      const trained = llm.decode(tokens.filter((_, token) => trainable[token] === 1));
      expect(trained).toMatch(
        /^<think><observation>#{6}[\s\S]*<\/observation> 1 Down – I push the box\.<prediction>/,
      );
      expect(trained).toMatch(/<answer>Down \|\| Left<\/answer>(<\|im_end\|>|<\|eot_id\|>)$/);
      const predicted = llm.decode(
        tokens.filter((_, token) => roles[token] === Role.prediction && trainable[token] === 1),
      );
      expect(predicted).toContain("√");
    }
  });

  const written = (name: string) => fixture("sft", "written", `${name}.parquet`);
  const asWritten = { format: "world-model" as const, validationShare: 0, seed: 1, maxTokens: 1024 };

  it.each([
    ...["codec-zstd", "codec-gzip", "codec-brotli", "codec-lz4", "codec-none"].map((name) => [
      name,
      "train validation",
      "0 1",
    ]),
    ["extra-text", "train train", "0 1"],
    ["extra-list", "train train", "0 1"],
    ["extra-null", "train train", "0 1"],
    ["extra-nulls", "train train", "0 1"],
    ["extra-number", "train train", "0 1"],
    ["extra-other-fields", "train train", "0 1"],
    ["extra-json-text", "train validation", "0 0"],
    ["extra-map", "train validation", "0 1"],
    ["extra-deep", "train validation", "0 1"],
    ["prompt-json-text", "train train", "0 1"],
    ["prompt-more-fields", "train train", "0 1"],
    ["large-lists", "train train", "0 1"],
    ["groups", "train train", "0 1"],
  ])("reads what pyarrow has written: %s", async (name, splits, trajectories) => {
    const read = await readSftFile(written(name), tokenizer, asWritten);
    expect(read.map(({ split }) => split).join(" ")).toBe(splits);
    expect(read.map(({ trajectory }) => trajectory).join(" ")).toBe(trajectories);
    expect(read.map(({ tokens }) => tokenizer.decode(tokens))).toEqual(
      [
        ["P_", "_P", "Right"],
        ["_P", "P_", "Left"],
      ].map(
        ([before, after, action]) =>
          `<|im_start|>user\nState:\n${before}<|im_end|>\n<|im_start|>assistant\n<think><observation>${before}</observation>` +
          `<prediction>${after}</prediction></think><answer>${action}</answer><|im_end|>`,
      ),
    );
  });

  it("takes nested names for no columns, and what is no name for no split", async () => {
    expect((await rejection(readSftRows(written("only-nested")))).message).toContain(
      "it has no column response; it has prompt, a",
    );
    expect((await rejection(readSftRows(written("split-number")))).message).toContain(
      "row 0: extra_info.split",
    );
  });

  /** A file of rows as somebody else might write it. */
  function sftFile(rows: { split: string | null; response?: string }[]): string {
    const filename = join(scratchFolder(), "rows.parquet");
    const responses = rows.map(({ response }) => response ?? "<think>I go.</think><answer>Up</answer>");
    parquetWriteFile({
      filename,
      columnData: [
        {
          name: "prompt",
          data: rows.map((_, index) => [{ role: "user", content: `Play ${index}.` }]),
          type: "JSON",
        },
        { name: "response", data: responses, type: "STRING" },
        { name: "extra_info", data: rows.map(({ split }) => ({ split })), type: "JSON" },
      ],
    });
    return filename;
  }

  it("reads splits in any case, with blanks around them", async () => {
    const names = ["Train", " TRAIN ", "training", "Test", "val", "\tvalidation", "", null];
    const read = await readSftFile(sftFile(names.map((split) => ({ split }))), tokenizer, asWritten);
    expect(read.map(({ split }) => split.charAt(0)).join("")).toBe("tttvvvtt");
  });

  it("says before a run begins that a file has nothing to train on, and why", async () => {
    const expected = (data: string, changes: Record<string, unknown> = {}) =>
      rejection(configuredExamples(configSchema.parse({ sft: { data, ...changes } }), tokenizer, undefined));
    const test = sftFile([{ split: "test" }, { split: "Val" }]);
    expect(await expected(test)).toMatchObject({
      code: "BAD_ARGUMENT",
      message: `${test} has nothing to train on: all 2 rows are held back for validation (extra_info.split is "test", "Val")`,
    });
    const drawn = await expected(sftFile([{ split: null }]), { validationShare: 1 });
    expect(drawn.message).toContain("all 1 rows are held back for validation (sft.validationShare is 1)");
    const masked = await expected(sftFile([{ split: "train" }]), { mask: "state-only" });
    expect(masked.message).toContain("sft.mask=state-only selects no token of its 1 sequences");
  });

  it("gives up a file that takes too long, and stops when it is told to", async () => {
    const file = written("codec-zstd");
    const request = { columns: [{ name: "prompt" }], required: [], utf8: true };
    const readAll = async (more: { patience?: number; signal?: AbortSignal }) => {
      const rows: unknown[] = [];
      for await (const some of readParquet(file, { ...request, ...more })) rows.push(...some);
      return rows;
    };
    expect(await readAll({})).toHaveLength(2);
    await expect(readAll({ patience: 1 })).rejects.toThrow("nothing came of it in 0 seconds");
    const controller = new AbortController();
    const reading = rejection(readAll({ signal: controller.signal }));
    controller.abort();
    expect((await reading).code).toBe("ABORTED");
    expect((await rejection(readAll({ signal: controller.signal }))).code).toBe("ABORTED");
  });

  it("gives rows or one error for a damaged file", async () => {
    const bytes = readFileSync(written("groups"));
    const file = join(scratchFolder(), "damaged.parquet");
    let refused = 0;
    for (let round = 0; round < 12; round++) {
      const generator = new SeededGenerator("damage", round);
      const damaged = Buffer.from(bytes);
      for (let flip = 0; flip < 3; flip++)
        damaged[generator.integer(bytes.length)] ^= 1 << generator.integer(8);
      writeFileSync(file, round % 3 === 0 ? bytes.subarray(0, generator.integer(bytes.length)) : damaged);
      const outcome = await readSftRows(file).catch((error: unknown) => error);
      if (Array.isArray(outcome)) continue;
      expect(outcome).toMatchObject({
        name: "SpaError",
        code: "BAD_ARGUMENT",
        message: expect.stringContaining(file),
      });
      refused++;
    }
    expect(refused).toBeGreaterThan(5);
  });

  it("refuses examples whose columns do not fit each other, naming row and column", async () => {
    const whole: SftExample = {
      trajectory: 0,
      split: "train",
      tokens: Int32Array.of(1, 2, 3),
      roles: Uint8Array.of(Role.prompt, Role.answer, Role.end),
      trainable: Uint8Array.of(0, 1, 1),
      changed: Uint8Array.of(0, 0, 0),
      segments: [0],
    };
    const file = join(scratchFolder(), "tokens.parquet");
    const wrong: [change: Partial<SftExample>, message: string][] = [
      [{ roles: Uint8Array.of(0, 7) }, "row 1: roles: it has 2 entries for 3 tokens"],
      [{ trainable: Uint8Array.of(0) }, "row 1: trainable: it has 1 entries for 3 tokens"],
      [{ changed: Uint8Array.of(0, 1) }, "row 1: changed: it has 2 entries for 3 tokens"],
      [{ changed: Uint8Array.of(0, 2, 0) }, "row 1: changed: it holds more than zeros and ones"],
      [{ roles: Uint8Array.of(0, 99, 9) }, "row 1: roles: there is no such role"],
      [
        { trainable: Uint8Array.of(1, 1, 1) },
        "row 1: trainable: a token that is no part of the agent's turn",
      ],
      [{ tokens: Int32Array.of(1, -2, 3) }, "row 1: tokens: there is no such token"],
      [{ segments: [0, 2, 1] }, "row 1: segments: they do not divide the tokens"],
      [{ segments: [1] }, "row 1: segments: they do not divide the tokens"],
      [{ segments: [0, 3] }, "row 1: segments: they do not divide the tokens"],
    ];
    for (const [change, message] of wrong) {
      writeExamples(file, [whole, { ...whole, ...change }]);
      expect(await rejection(readExamples(file))).toMatchObject({
        code: "BAD_CHECKPOINT",
        message: expect.stringContaining(message),
      });
    }
  });

  it("names what is wrong with a file", async () => {
    const folder = scratchFolder();
    const options = { format: "world-model" as const, validationShare: 0, seed: 1, maxTokens: 1024 };
    const noFile = join(folder, "none.parquet");
    await expect(readSftFile(noFile, tokenizer, options)).rejects.toMatchObject({ code: "BAD_ARGUMENT" });
    const text = join(folder, "text.parquet");
    writeFileSync(text, "this is no Parquet file, only text of some length");
    await expect(readSftFile(text, tokenizer, options)).rejects.toMatchObject({ code: "BAD_ARGUMENT" });
    await expect(readExamples(text)).rejects.toMatchObject({ code: "BAD_CHECKPOINT" });
    const columns = join(folder, "columns.parquet");
    parquetWriteFile({ filename: columns, columnData: [{ name: "prompt", data: ["a text"] }] });
    expect((await rejection(readSftRows(columns))).message).toContain("it has no column response");
    expect((await rejection(readSftRows(noFile))).message).toContain("there is no such file");
    const rows = (prompts: unknown[], codec: "SNAPPY" | "LZO" = "SNAPPY") => {
      const filename = join(scratchFolder(), "rows.parquet");
      const compressors = { LZO: (bytes: Uint8Array) => bytes };
      const columnData = [
        { name: "prompt", data: prompts, type: "JSON" as const },
        { name: "response", data: prompts.map(() => "<answer>Up</answer>"), type: "STRING" as const },
      ];
      parquetWriteFile({ filename, columnData, codec, compressors });
      return filename;
    };
    expect((await rejection(readSftRows(rows(["a text"])))).message).toContain("row 0: prompt");
    expect((await rejection(readSftRows(rows([])))).message).toContain("no rows");
    const play = [{ role: "user", content: "Play." }];
    expect((await rejection(readSftRows(rows([play], "LZO")))).message).toContain("compressed with LZO");
    const long = rows([play, [{ role: "user", content: "word ".repeat(600) }]]);
    const tooLong = await rejection(readSftFile(long, tokenizer, options));
    expect([tooLong.message, tooLong.hint]).toEqual([
      expect.stringMatching(/row 1 has \d+ tokens, but protocol.maxTokens is 1024/),
      expect.stringContaining("raise protocol.maxTokens"),
    ]);
    const order = join(folder, "order.parquet");
    const [user, system] = ["user", "system"].map((role) => ({ role, content: "Play." }));
    const data = [[user], [user, system]];
    parquetWriteFile({
      filename: order,
      columnData: [
        { name: "prompt", data, type: "JSON" },
        { name: "response", data: ["<answer>Up</answer>", "<answer>Up</answer>"] },
      ],
    });
    await expect(readSftFile(order, tokenizer, options)).rejects.toMatchObject({
      code: "BAD_ARGUMENT",
      message: expect.stringMatching(/row 1: prompt: a system message can only be the first/),
    });
  });
});
