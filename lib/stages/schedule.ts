import type { ArmName, Config, PpoConfig } from "../config/schema.ts";
import { SpaError } from "../errors.ts";
import { checkStageFile } from "../run/stage-files.ts";
import type { TurnFormat } from "../text/tags.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { pretrain } from "./base/pretrain.ts";
import { BASE_STAGE, baseFolder, type StageContext, stageFolder } from "./context.ts";
import { evaluate, evaluationStage } from "./evaluate/evaluate.ts";
import { noteHeldStarts, withoutHeldStates, writtenStates } from "./held-states.ts";
import { ppo } from "./ppo/ppo.ts";
import { examplesFile, levelsPerRound, selfPlay, selfPlayStage } from "./self-play/self-play.ts";
import type { SftExample } from "./sft/examples.ts";
import { readExamples, readSftFile, readSftRows, whyHeldBack } from "./sft/files.ts";
import { checkGate } from "./sft/gate.ts";
import { type SftData, sft } from "./sft/sft.ts";
import { checkTrainable } from "./sft/trainable.ts";
import { openSourceStage } from "./source-stage.ts";
import type { DrawingStage } from "./training-levels.ts";

/** A stage of a run's schedule. */
export interface ScheduledStage extends DrawingStage {
  id: string;
  kind: "base" | "self-play" | "sft" | "ppo" | "evaluate";
  /** Undefined for stages that the arms share. */
  arm?: ArmName;
  /** Of the turns that are played or trained on; undefined where both are. */
  format?: TurnFormat;
  /** Does the stage, from wherever it stands. The stages before it must be done. */
  run(context: StageContext): Promise<void>;
}

/** The schedule of a run: what it does, in order. */
export function scheduleStages(config: Config): ScheduledStage[] {
  const arms: Record<ArmName, (config: Config) => ScheduledStage[]> = {
    "world-model": (all) => worldModelArm(all),
    spa: spaArm,
    control: controlArm,
    "format-only": formatOnlyArm,
  };
  return [
    ...referenceEvaluations(config, ["random", "optimal"]),
    ...baseStages(config),
    ...referenceEvaluations(config, ["base", "baseWorldModel"]),
    ...config.arms.flatMap((arm) => arms[arm](config)),
  ];
}

/** The stage that trains the base; none where the run starts from a model that is there. */
function baseStages({ model, base }: Config): ScheduledStage[] {
  if (model.kind !== "nano") return [];
  const draws = { kind: "base" as const, count: base.levels };
  return [{ id: BASE_STAGE, kind: "base", draws, run: pretrain }];
}

type Reference = Config["evaluation"]["references"][number];

/** Of these reference policies those that are asked for, in this order. */
function referenceEvaluations(config: Config, policies: readonly Reference[]): ScheduledStage[] {
  const references = {
    random: evaluation("random", "plain", null, config),
    optimal: evaluation("optimal", "plain", null, config),
    base: evaluation("base", "plain", BASE_STAGE, config),
    baseWorldModel: evaluation("baseWorldModel", "world-model", BASE_STAGE, config),
  };
  return policies
    .filter((policy) => config.evaluation.references.includes(policy))
    .map((policy) => references[policy]);
}

/** Name of what an arm has trained in results.json. */
export const trainedPolicies = {
  "world-model": "sft",
  spa: "spa",
  control: "control",
  "format-only": "formatOnly",
} as const satisfies Record<ArmName, string>;

/** World-model fine-tuning, then PPO in world-model format. */
function spaArm(config: Config): ScheduledStage[] {
  const arm = "spa";
  return [
    ...worldModelArm(config, arm),
    ppoStage(arm, worldModelStage(config), "world-model", config.ppo),
    evaluation(trainedPolicies[arm], "world-model", "spa/ppo", config, arm),
  ];
}

/** World-model fine-tuning alone: what other runs start from. */
function worldModelArm(config: Config, arm: ArmName = "world-model"): ScheduledStage[] {
  const tuning =
    config.sft.data === null ? selfPlayRounds(config, arm) : [sftStage(sftStageId(1), BASE_STAGE, null, arm)];
  return [
    ...tuning,
    evaluation(trainedPolicies["world-model"], "world-model", worldModelStage(config), config, arm),
  ];
}

/** The SFT stage that ends with the world model which SPA's PPO starts from. */
export function worldModelStage({ selfPlay, sft }: Pick<Config, "selfPlay" | "sft">): string {
  return sftStageId(sft.data === null ? selfPlay.rounds : 1);
}

/** Id of the SFT stage of a round, from 1 on. */
function sftStageId(round: number): string {
  return selfPlayStage(round).replace("self-play", "sft");
}

/** Self-play and SFT by turns: each round plays with the model of the one before, and trains it further. */
function selfPlayRounds(config: Config, arm: ArmName): ScheduledStage[] {
  const stages: ScheduledStage[] = [];
  let source = BASE_STAGE;
  for (let round = 1; round <= config.selfPlay.rounds; round++) {
    const [id, sftId, from] = [selfPlayStage(round), sftStageId(round), source];
    stages.push(
      {
        id,
        kind: "self-play",
        arm,
        format: "world-model",
        draws: { kind: "self-play", round, count: levelsPerRound(config) },
        run: (context) => selfPlay(context, { id, round, source: modelFolder(context, from) }),
      },
      sftStage(sftId, from, id, arm),
    );
    source = sftId;
  }
  return stages;
}

/**
 * What the file `sft.data` holds.
 *
 * @throws SpaError BAD_ARGUMENT as {@link readSftFile}, and when there is nothing to train on
 */
export async function configuredExamples(
  { sft, protocol, seed }: Config,
  tokenizer: Tokenizer,
  signal: AbortSignal | undefined,
): Promise<SftExample[]> {
  const { validationShare } = sft;
  const { maxTokens } = protocol;
  const file = sft.data ?? "";
  const options = { format: "world-model" as const, validationShare, seed, maxTokens, signal };
  const examples = await readSftFile(file, tokenizer, options);
  if (!examples.some(({ split }) => split === "train")) {
    const why = whyHeldBack(await readSftRows(file, signal), validationShare);
    throw new SpaError(
      "BAD_ARGUMENT",
      `${file} has nothing to train on: all ${examples.length} rows are held back for validation (${why})`,
      {
        hint: 'rows to train on have "train" in extra_info.split, or no split and an sft.validationShare below 1',
      },
    );
  }
  checkTrainable(examples, sft, file);
  return examples;
}

/** SFT on the data of a self-play stage, or on the configured file. */
function sftStage(id: string, source: string, selfPlayId: string | null, arm: ArmName): ScheduledStage {
  const dataOf = async (context: StageContext): Promise<SftData> => {
    const { config, run, tokenizer, progress, signal } = context;
    if (selfPlayId === null) {
      const rows = await readSftRows(config.sft.data ?? "", signal);
      const examples = await configuredExamples(config, tokenizer, signal);
      // An example is a row.
      const all = examples.map((example, index) => ({
        example,
        states: [...writtenStates([rows[index].response])],
      }));
      const kept = withoutHeldStates(
        context,
        id,
        all,
        ({ states }) => states,
        ({ example }) => example.trajectory,
      );
      const states = kept.flatMap((item) => item.states);
      return {
        examples: kept.map(({ example }) => example),
        result: { heldStarts: noteHeldStarts(context, id, states) },
      };
    }
    const file = examplesFile(run, selfPlayId);
    const compared = await checkStageFile(run, selfPlayId, file);
    if (!compared)
      progress.note(`${file} was made by a version that kept no digests: only its form is checked`);
    return { examples: await readExamples(file, signal) };
  };
  return {
    id,
    kind: "sft",
    arm,
    format: "world-model",
    run: async (context) => {
      const data = await dataOf(context);
      await sft(context, { id, source: modelFolder(context, source), ...data });
    },
  };
}

/** PPO from the base with the plain prompt: the same steps, its own tuned settings. */
function controlArm(config: Config): ScheduledStage[] {
  return [
    ppoStage("control", BASE_STAGE, "plain", controlSettings(config)),
    evaluation(trainedPolicies.control, "plain", "control/ppo", config, "control"),
  ];
}

/** PPO from the base in world-model format, without SFT: what the format alone does. */
function formatOnlyArm(config: Config): ScheduledStage[] {
  return [
    ppoStage("format-only", BASE_STAGE, "world-model", config.ppo),
    evaluation(trainedPolicies["format-only"], "world-model", "format-only/ppo", config, "format-only"),
  ];
}

function controlSettings({ ppo: settings, control }: Config): PpoConfig {
  const { entropyCoefficient, ...own } = control;
  return {
    ...settings,
    ...own,
    loss: { ...settings.loss, entropyCoefficient, supervisedCoefficient: 0 },
    rewards: { ...settings.rewards, observation: 0, prediction: 0 },
  };
}

function ppoStage(arm: ArmName, source: string, format: TurnFormat, settings: PpoConfig): ScheduledStage {
  const id = `${arm}/ppo`;
  return {
    id,
    kind: "ppo",
    arm,
    format,
    draws: { kind: "ppo", count: settings.steps * settings.groups },
    run: async (context) => {
      const begins = context.run.stage(id) === undefined;
      const closed = begins ? gateBefore(context, source) : null;
      if (closed !== null) {
        context.progress.note(`${id} is not done, and its arm ends here (sft.gate.stop)`);
        return context.run.skipStage(id, closed);
      }
      await ppo(context, { id, source: modelFolder(context, source), format, settings });
    },
  };
}

/** Why PPO is not to start from a model, of this run or of the one that it starts from. */
function gateBefore(context: StageContext, source: string): string | null {
  if (source !== BASE_STAGE) return checkGate(context, source);
  const { model } = context.config;
  if (model.kind !== "stage" || model.stage === null) return null;
  return checkGate({ ...context, run: openSourceStage(model).run }, model.stage);
}

function evaluation(
  policy: string,
  format: TurnFormat,
  source: string | null,
  config: Config,
  arm?: ArmName,
): ScheduledStage {
  return {
    id: evaluationStage(policy, config.evaluation.split),
    kind: "evaluate",
    ...(arm && { arm }),
    format,
    run: async (context) => {
      await evaluate(context, {
        policy,
        format,
        source: source === null ? null : modelFolder(context, source),
      });
    },
  };
}

/** The folder of the model that a stage ended with. Errors as in {@link baseFolder}. */
export function modelFolder(context: Pick<StageContext, "run" | "pretrainedFolder">, stage: string): string {
  return stage === BASE_STAGE ? baseFolder(context) : stageFolder(context.run, stage);
}
