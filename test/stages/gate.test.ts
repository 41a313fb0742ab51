import { expect, test } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { resume, train } from "../../lib/pipeline.ts";
import { renderPage } from "../../lib/report/page.ts";
import { readResults } from "../../lib/run/results.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { checkGate } from "../../lib/stages/sft/gate.ts";
import { scratchFolder, tinyConfig, tinySettings, watchingProgress } from "./tiny-run.ts";

/** Notes of the gate, in a run whose SFT was validated with these figures, epoch by epoch. */
function notesOf(
  gate: Record<string, unknown>,
  epochs: Record<string, number>[],
  onReason: (reason: string | null) => void = () => {},
): string[] {
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
  onReason(checkGate({ run, config: run.config, progress }, "spa/sft"));
  return notes;
}

const good = { validation_format_rate: 0.5, validation_prediction_accuracy: 0.1 };
const broken = { validation_format_rate: 0.125, validation_prediction_accuracy: 0.1 };

test("a broken format is a note with what was measured, what it means and what to try", () => {
  expect(notesOf({}, [good, broken])).toEqual([
    expect.stringMatching(
      /^warning: spa\/sft is not ready for PPO, on 32 tuning levels: 12\.5 % well-formed turns where sft\.gate\.formatRate asks for 50\.0 % \(PPO would .*\)\. To try: .*sft\.epochs/,
    ),
  ]);
});

test("the last validation counts; without one, or where nothing is asked, there is nothing to say", () => {
  expect(notesOf({}, [broken, good])).toEqual([]);
  expect(notesOf({}, [])).toEqual([]);
  expect(notesOf({ formatRate: null, stop: true }, [broken])).toEqual([]);
});

test("with stop PPO is not to start, for a reason that names the stage and each shortfall", () => {
  const reasons: (string | null)[] = [];
  const notes = notesOf({ prediction: 0.4, stop: true }, [broken], (reason) => reasons.push(reason));
  expect(reasons).toEqual([
    expect.stringMatching(/^spa\/sft .*12\.5 % well-formed .*; 10\.0 % right predictions .* 40\.0 % \(.*\)$/),
  ]);
  expect(notes).toEqual([expect.stringContaining(`warning: ${reasons[0]}. To try: `)]);
});

test("an arm ends before PPO, the others go on, and a resume tries nothing again", async () => {
  const root = scratchFolder();
  const config = tinyConfig({
    arms: ["spa", "control"],
    evaluation: { references: [] },
    sft: { ...tinySettings.sft, gate: { prediction: 1, stop: true } },
    ppo: { ...tinySettings.ppo, steps: 1, validateEvery: 0 },
  });
  const { folder, results } = await train(config, { root, name: "gate" });
  const run = RunFolder.open(folder);
  expect(run.stages.map(({ id, state }) => [id, state])).toEqual([
    ["base", "done"],
    ["spa/self-play", "done"],
    ["spa/sft", "done"],
    ["evaluate/sft", "done"],
    ["spa/ppo", "skipped"],
    ["control/ppo", "done"],
    ["evaluate/control", "done"],
  ]);
  const reason = expect.stringContaining("sft.gate.prediction asks for 100.0 %");
  expect(results.untrained).toEqual({ spa: reason });
  expect(Object.keys(results.evaluations)).toEqual(["sft", "control"]);
  expect(results.stages.map(({ name }) => name)).not.toContain("spa/ppo");
  expect(readResults(folder)).toEqual(results);
  const page = renderPage(run, results);
  expect(page).toContain("<strong>SPA has not been trained</strong>: spa/sft is not ready");
  expect(page).toMatch(/<span title="spa\/ppo">[^<]+<\/span> <em>skipped<\/em>/);

  const notes: string[] = [];
  const progress = { ...watchingProgress(() => {}), note: (text: string) => notes.push(text) };
  const again = await resume(folder, { progress });
  expect(again.results).toEqual(results);
  expect(notes).toContainEqual(expect.stringMatching(/^spa\/ppo has been skipped: spa\/sft is not ready/));
});

test("a run that starts from another run's SFT passes the same gate", async () => {
  const root = scratchFolder();
  const gated = { ...tinySettings.sft, gate: { prediction: 1, stop: true } };
  const shared = { evaluation: { references: [] }, sft: gated };
  const taught = await train(tinyConfig({ ...shared, arms: ["world-model"] }), { root, name: "taught" });
  expect(Object.keys(taught.results.evaluations)).toEqual(["sft"]);
  const model = { kind: "stage", run: taught.folder, stage: "spa/sft", digest: null };
  const { results } = await train(tinyConfig({ ...shared, arms: ["format-only"], model }), {
    root,
    name: "ppo",
  });
  expect(results.untrained).toEqual({
    "format-only": expect.stringContaining("sft.gate.prediction asks for 100.0 %"),
  });
});

test("a gate that stops needs validation", () => {
  const { error } = configSchema.safeParse({ sft: { validationLevels: 0, gate: { stop: true } } });
  expect(error?.issues[0].path).toEqual(["sft", "gate", "stop"]);
});
