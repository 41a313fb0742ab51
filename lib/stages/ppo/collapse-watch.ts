/** Figures of a PPO step under the names of metrics.jsonl. */
type Figures = Readonly<Record<string, unknown>>;

/** A way in which training collapses, and when it counts as seen. */
interface Symptom {
  seen: string;
  meaning: string;
  remedy: string;
  isSeen(now: Figures, first: Figures): boolean;
}

/** A figure to the digits that are logged, so that a resumed stage judges alike; `missing` where there is none. */
function figure(figures: Figures, name: string, missing: number): number {
  const value = figures[name];
  return typeof value === "number" && !Number.isNaN(value) ? Number(value.toPrecision(9)) : missing;
}

/** Whether a figure is above a bound that it was not above at the start. */
function hasRisen(name: string, bound: number): Symptom["isSeen"] {
  return (now, first) =>
    figure(now, name, bound) > bound && figure(first, name, Number.POSITIVE_INFINITY) <= bound;
}

/** Whether a figure is below a bound that it was not below at the start. */
function hasFallen(name: string, bound: number): Symptom["isSeen"] {
  return (now, first) =>
    figure(now, name, bound) < bound && figure(first, name, Number.NEGATIVE_INFINITY) >= bound;
}

const MORE_VARIETY =
  "raise ppo.loss.entropyCoefficient or ppo.loss.klCoefficient, lower ppo.optimizer.learningRate, or stop at an earlier checkpoint";

const symptoms: readonly Symptom[] = [
  {
    seen: "entropy has fallen below a tenth of what it was",
    meaning: "the policy says nearly the same every time and explores no more",
    remedy: MORE_VARIETY,
    isSeen: (now, first) => figure(now, "entropy", 1) < 0.1 * figure(first, "entropy", 0),
  },
  {
    seen: "all episodes of a level earn the same",
    meaning: "there is nothing to learn from comparing them",
    remedy:
      "choose easier or harder levels (levels.maxDistance, environment.options), raise ppo.groupSize or ppo.temperature",
    isSeen: (now) => now.group_std === 0,
  },
  {
    seen: "in more than nine of ten groups all episodes earn the same",
    meaning: "the few that are left decide every update, which makes it noisy",
    remedy:
      "choose easier or harder levels (levels.maxDistance, environment.options), raise ppo.groups or ppo.groupSize",
    isSeen: (now) => figure(now, "groups_equal", 0) > 0.9 && now.group_std !== 0,
  },
  {
    seen: "more than half of the replies are malformed",
    meaning: "the policy unlearns the form, and with it whatever the form carries",
    remedy: "raise protocol.formatPenalty, lower ppo.optimizer.learningRate, or set ppo.targetKl",
    isSeen: hasFallen("format_rate", 0.5),
  },
  {
    seen: "more than a quarter of the replies are cut by the token limit",
    meaning: "the policy repeats itself within a reply",
    remedy: "raise protocol.formatPenalty or protocol.maxNewTokens, or lower ppo.optimizer.learningRate",
    isSeen: hasRisen("cut_rate", 0.25),
  },
  {
    seen: "more than nine of ten replies are repeated by another episode of their level",
    meaning: "attempts at a level are copies of each other: Pass@k falls to Pass@1",
    remedy: MORE_VARIETY,
    isSeen: hasRisen("repeated_replies", 0.9),
  },
  {
    seen: "the episodes of a level nearly all begin with the same action",
    meaning: "the policy has settled on one line of play, right or wrong",
    remedy: MORE_VARIETY,
    isSeen: (now, first) => figure(now, "first_actions", 2) < 1.1 && figure(first, "first_actions", 0) >= 1.5,
  },
];

/** Those that only a validation shows. */
const validationSymptoms: readonly Symptom[] = [
  {
    seen: "replies say less than a tenth of what they said about their prompts",
    meaning: "the policy writes a template, whatever it is asked; entropy need not show that",
    remedy:
      "raise ppo.loss.klCoefficient, compare levels that differ more (environment.options), or stop at an earlier checkpoint",
    isSeen: (now, first) =>
      figure(now, "reply_information", Number.POSITIVE_INFINITY) <
        0.1 * figure(first, "reply_information", 0) && figure(first, "reply_information", 0) > 0,
  },
];

/** Steps in a row that a symptom must be seen in before it is told; validations are few, and judged each by itself. */
const PERSISTENCE = 3;

/**
 * Watches PPO for the usual ways of collapse (entropy, reward variance, format, repetition, exploration) and tells each once:
 * what is seen, what it means and what to try. What it knows follows from the figures of the steps alone, so that a resumed
 * stage shows it those that were logged.
 */
export class CollapseWatch {
  readonly #firsts = new Map<readonly Symptom[], Figures>();
  readonly #seen = new Map<Symptom, number>();
  #collapsed = false;

  /** Whether there has been a warning. */
  get collapsed(): boolean {
    return this.#collapsed;
  }

  /** @returns warnings that have become due with this step */
  see(figures: Figures): string[] {
    return this.#judge(symptoms, figures, PERSISTENCE);
  }

  /** The same of a validation. */
  seeValidation(figures: Figures): string[] {
    return this.#judge(validationSymptoms, figures, 1);
  }

  #judge(watched: readonly Symptom[], figures: Figures, persistence: number): string[] {
    const first = this.#firsts.get(watched) ?? { ...figures };
    this.#firsts.set(watched, first);
    const due: string[] = [];
    for (const symptom of watched) {
      const count = symptom.isSeen(figures, first) ? (this.#seen.get(symptom) ?? 0) + 1 : 0;
      const told = (this.#seen.get(symptom) ?? 0) >= persistence;
      if (count === persistence) due.push(`${symptom.seen}: ${symptom.meaning}. To try: ${symptom.remedy}`);
      this.#seen.set(symptom, told ? persistence + 1 : count);
    }
    this.#collapsed ||= due.length > 0;
    return due;
  }
}
