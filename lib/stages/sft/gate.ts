import type { Config } from "../../config/schema.ts";
import type { MetricsRow } from "../../run/metrics.ts";
import type { StageContext } from "../context.ts";

/** What a gate asks of a figure of the last validation. */
interface Condition {
  setting: "formatRate" | "prediction";
  metric: string;
  what: string;
  meaning: string;
}

const conditions: readonly Condition[] = [
  {
    setting: "formatRate",
    metric: "validation_format_rate",
    what: "well-formed turns",
    meaning: "PPO would be paid for the form, and starts from a policy that SFT has damaged",
  },
  {
    setting: "prediction",
    metric: "validation_prediction_accuracy",
    what: "right predictions",
    meaning: "PPO would gain little, for the world model has not been learnt",
  },
];

const REMEDY =
  "look at how it plays (spa show), and train on more or longer (selfPlay.trajectories, sft.epochs), more gently (sft.optimizer.learningRate), or with a mask that keeps the form (sft.mask=full)";

/**
 * Looks at what an SFT stage came to in its last validation on tuning levels before PPO starts from it (`sft.gate`): where it falls
 * short, that is a note. Without validation (`sft.validationLevels` 0) nothing is known and nothing said.
 *
 * @returns why PPO is not to start, with `stop`; null where it is
 */
export function checkGate({ config, run, progress }: GateContext, stage: string): string | null {
  const { gate, validationLevels } = config.sft;
  const row = lastValidation(run.metrics.rows(), stage);
  const shortfalls = conditions.flatMap((condition) => shortfallOf(condition, gate[condition.setting], row));
  if (shortfalls.length === 0) return null;
  const problem = `${stage} is not ready for PPO, on ${validationLevels} tuning levels: ${shortfalls.join("; ")}`;
  progress.note(`warning: ${problem}. To try: ${REMEDY}`);
  return gate.stop ? problem : null;
}

type GateContext = Pick<StageContext, "run" | "progress"> & { config: Pick<Config, "sft"> };

/** What is wrong with a figure, in words; none where it is as good as asked, or unknown. */
function shortfallOf(
  { setting, metric, what, meaning }: Condition,
  least: number | null,
  row: MetricsRow | undefined,
): string[] {
  const measured = row?.[metric];
  if (least === null || typeof measured !== "number" || measured >= least) return [];
  const [share, asked] = [measured, least].map((value) => `${(100 * value).toFixed(1)} %`);
  return [`${share} ${what} where sft.gate.${setting} asks for ${asked} (${meaning})`];
}

function lastValidation(rows: Iterable<MetricsRow>, stage: string): MetricsRow | undefined {
  let last: MetricsRow | undefined;
  for (const row of rows) {
    if (row.stage === stage && "validation_format_rate" in row) last = row;
  }
  return last;
}
