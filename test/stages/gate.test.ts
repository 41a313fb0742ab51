import { join } from "node:path";
import { expect, test } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { resume, train } from "../../lib/pipeline.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { checkGate } from "../../lib/stages/sft/gate.ts";
import { errorOf, rejection } from "../thrown-error.ts";
import { scratchFolder, tinyConfig, tinySettings, watchingProgress } from "./tiny-run.ts";

/** Notes of the gate, in a run whose SFT was validated with these figures, epoch by epoch. */
function notesOf(gate: Record<string, unknown>, ...epochs: Record<string, number>[]): string[] {
  const run = RunFolder.create(configSchema.parse({ sft: { gate } }), {
    root: scratchFolder(),
    name: "gate",
  });
  using _lock = run.lock();
  run.metrics.append({ stage: "spa/sft-2", step: 0, validation_format_rate: 0 });
  for (const [step, figures] of epochs.entries()) run.metrics.append({ stage: "spa/sft", step, ...figures });
  run.metrics.append({ stage: "spa/sft", step: epochs.length, loss: 1 });
  const notes: string[] = [];
  const progress = { ...watchingProgress(() => {}), note: (text: string) => notes.push(text) };
  checkGate({ run, config: run.config, progress }, "spa/sft");
  return notes;
}

const good = { validation_format_rate: 0.5, validation_prediction_accuracy: 0.1 };
const broken = { validation_format_rate: 0.125, validation_prediction_accuracy: 0.1 };

test("a broken format is a note with what was measured, what it means and what to try", () => {
  expect(notesOf({}, good, broken)).toEqual([
    expect.stringMatching(
      /^warning: spa\/sft is not ready for PPO, on 32 tuning levels: 12\.5 % well-formed turns where sft\.gate\.formatRate asks for 50\.0 % \(PPO would .*\)\. To try: .*sft\.epochs/,
    ),
  ]);
});

test("the last validation counts; without one, or where nothing is asked, there is nothing to say", () => {
  expect(notesOf({}, broken, good)).toEqual([]);
  expect(notesOf({})).toEqual([]);
  expect(notesOf({ formatRate: null, stop: true }, broken)).toEqual([]);
});

test("with stop it is one error that names the stage and each shortfall", () => {
  expect(errorOf(() => notesOf({ prediction: 0.4, stop: true }, broken))).toMatchObject({
    code: "GATE_CLOSED",
    message: expect.stringMatching(
      /^spa\/sft .*12\.5 % well-formed .*; 10\.0 % right predictions .* 40\.0 %/,
    ),
    hint: expect.stringContaining("sft.gate.stop=false"),
  });
});

test("a run ends before PPO, and again when it goes on", async () => {
  const root = scratchFolder();
  const config = tinyConfig({
    arms: ["spa"],
    sft: { ...tinySettings.sft, gate: { prediction: 1, stop: true } },
  });
  const error = await rejection(train(config, { root, name: "gate" }));
  expect(error).toMatchObject({ code: "GATE_CLOSED", folder: join(root, "gate") });
  const states = () => RunFolder.open(join(root, "gate")).stages.map(({ id, state }) => [id, state]);
  expect(states().at(-1)).toEqual(["evaluate/sft", "done"]);
  expect(await rejection(resume(join(root, "gate")))).toMatchObject({ code: "GATE_CLOSED" });
  expect(states().at(-1)).toEqual(["evaluate/sft", "done"]);
});

test("a gate that stops needs validation", () => {
  const { error } = configSchema.safeParse({ sft: { validationLevels: 0, gate: { stop: true } } });
  expect(error?.issues[0].path).toEqual(["sft", "gate", "stop"]);
});
