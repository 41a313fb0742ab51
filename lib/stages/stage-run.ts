import { join } from "node:path";
import { z } from "zod";
import type { Json } from "../../envs/environment.ts";
import type { Model } from "../engine/model.ts";
import type { Trainer } from "../engine/trainer.ts";
import { SpaError } from "../errors.ts";
import { checkShape } from "../files/shape.ts";
import type { Trajectory } from "../rollout/trajectory.ts";
import { type Checkpoint, checkLargeFiles, latestCheckpoint, saveCheckpoint } from "../run/checkpoint.ts";
import type { MetricsEntry } from "../run/metrics.ts";
import { checkTrajectories, stageFiles } from "../run/stage-files.ts";
import { saveModel } from "./adapters.ts";
import type { StageContext } from "./context.ts";

/** What a stage has cost so far. */
interface StageCost {
  /** Working time, interruptions apart. */
  seconds: number;
  tokensSampled: number;
  tokensTrained: number;
}

/** What a stage saves in a checkpoint. */
interface StageState {
  model: Model;
  trainer: Trainer;
  critic?: Model | undefined;
  /** Beyond what this class keeps itself. */
  state?: Json;
  validation?: number | undefined;
}

/**
 * A stage at work in its run folder: where it resumes, what it has cost, when it saves and when it stops.
 *
 * A stage goes on from its newest checkpoint. Everything that it logged after that is dropped first, and every random
 * choice depends on the step alone, so a resumed stage comes to the same numbers as one that was never interrupted.
 */
export class StageRun {
  readonly id: string;
  readonly context: StageContext;
  readonly cost: StageCost = { seconds: 0, tokensSampled: 0, tokensTrained: 0 };
  /** What the stage resumes from; undefined at its beginning. */
  readonly checkpoint: Checkpoint | undefined;
  #since = performance.now();

  private constructor(context: StageContext, id: string) {
    this.id = id;
    this.context = context;
    this.checkpoint = latestCheckpoint(context.run, id);
    if (this.checkpoint) Object.assign(this.cost, this.#saved(savedState).cost);
  }

  /**
   * Begins the stage, or goes on with it.
   *
   * @throws SpaError BAD_CHECKPOINT when what it goes on from is damaged; nothing has been changed then
   */
  static async begin(context: StageContext, id: string, total: number): Promise<StageRun> {
    const { run, progress } = context;
    run.beginStage(id);
    const stage = new StageRun(context, id);
    const { checkpoint } = stage;
    await checkTrajectories(
      run,
      id,
      run.checkpoints.find(({ name }) => name === checkpoint?.name),
    );
    const last = checkpoint ? stage.step : -1;
    run.rewindStage(id, last);
    context.observer.begins(id, last);
    progress.stage(id, total, stage.step);
    return stage;
  }

  /** Brings a trainer to where the checkpoint left it. */
  async restore(trainer: Trainer): Promise<void> {
    const folder = this.checkpoint?.trainerFolder;
    if (folder === undefined) return;
    await checkLargeFiles(this.context.run, folder);
    await trainer.loadState(folder);
  }

  /** Steps that are done. */
  get step(): number {
    return this.checkpoint?.step ?? 0;
  }

  /** What the stage saved beside its models; undefined at its beginning. @throws SpaError BAD_CHECKPOINT for another shape */
  state<T>(schema: z.ZodType<T>): T | undefined {
    return this.checkpoint && this.#saved(savedState.extend({ state: schema })).state;
  }

  #saved<T>(schema: z.ZodType<T>): T {
    const { folder, state } = this.checkpoint!;
    const hint = `to do the stage again from its beginning: --resume ${this.context.run.path} --redo ${this.id}`;
    return checkShape(schema, state, { file: join(folder, "state.json"), hint });
  }

  /** Logs figures of a step, with what the stage has cost so far. */
  log(step: number, figures: Omit<MetricsEntry, "stage" | "step">): void {
    this.#countTime();
    const { seconds, tokensSampled, tokensTrained } = this.cost;
    const cost = { time: Math.round(seconds * 1000) / 1000, tokens_seen: tokensSampled + tokensTrained };
    const { run, observer } = this.context;
    observer.logs(run.metrics.append({ stage: this.id, step, ...cost, ...figures }));
  }

  /** Logs some of a step's trajectories, at most `limit`. */
  logTrajectories(step: number, trajectories: readonly Trajectory[], limit?: number): void {
    const { run, observer, tokenizer } = this.context;
    const decode = (ids: Int32Array) => tokenizer.decode(ids);
    const options = { decode, ...(limit !== undefined && { limit }) };
    observer.plays(this.id, run.trajectories(this.id).append(step, trajectories, options));
  }

  async save(step: number, { model, trainer, critic, state = null, validation }: StageState): Promise<void> {
    this.#countTime();
    const saved: z.infer<typeof savedState> = { cost: { ...this.cost }, state };
    const { run, tokenizer } = this.context;
    const files = (part: Model) => ({ save: (folder: string) => saveModel(this.context, part, folder) });
    const models = { model: files(model), critic: critic && files(critic) };
    const content = { stage: this.id, step, ...models, trainer, tokenizer, validation };
    await saveCheckpoint(run, { ...content, state: saved });
    this.context.observer.saves();
  }

  /**
   * To be called after each step: saves when one is due, at the last step, and when the user wants to stop.
   *
   * @throws SpaError ABORTED, after the checkpoint has been saved
   */
  async endStep(step: number, due: boolean, state: StageState): Promise<void> {
    const aborted = this.context.signal?.aborted === true;
    if (due || aborted) await this.save(step, state);
    if (aborted) {
      throw new SpaError("ABORTED", `stopped after step ${step} of ${this.id}, which is saved`, {
        hint: "go on with --resume",
        cause: this.context.signal?.reason,
      });
    }
  }

  /** Enters the stage as done. @param files what it leaves beside its trajectories, as absolute paths */
  async complete(result: { [name: string]: Json } = {}, files: readonly string[] = []): Promise<void> {
    const { run } = this.context;
    run.sync();
    const digests = await stageFiles(run, this.id, files);
    this.#countTime();
    run.completeStage(this.id, { ...this.cost, ...result }, digests);
    this.context.observer.saves();
    this.context.progress.done();
  }

  #countTime(): void {
    const now = performance.now();
    this.cost.seconds += (now - this.#since) / 1000;
    this.#since = now;
  }
}

const count = z.number().min(0);

const savedState = z.object({
  cost: z.object({ seconds: count, tokensSampled: count, tokensTrained: count }),
  state: z.json(),
});
