/** Figures of a PPO step under the names of metrics.jsonl. */
type Figures = Readonly<Record<string, number | undefined>>;

/** A way in which training collapses, and when it counts as seen. */
interface Symptom {
  warning: string;
  isSeen(now: Figures, first: Figures): boolean;
}

const symptoms: readonly Symptom[] = [
  {
    warning: "entropy has fallen below a tenth of what it was: the policy says nearly the same every time",
    isSeen: (now, first) => (now.entropy ?? 1) < 0.1 * (first.entropy ?? 0),
  },
  {
    warning: "all episodes of a level earn the same: there is nothing to learn from comparing them",
    isSeen: (now) => now.group_std === 0,
  },
  {
    warning: "more than half of the replies are malformed",
    isSeen: (now, first) => (now.format_rate ?? 1) < 0.5 && (first.format_rate ?? 0) >= 0.5,
  },
  {
    warning: "more than a quarter of the replies are cut by the token limit: the policy repeats itself",
    isSeen: (now, first) => (now.cut_rate ?? 0) > 0.25 && (first.cut_rate ?? 1) <= 0.25,
  },
];

/** Steps in a row that a symptom must be seen in before it is told. */
const PERSISTENCE = 3;

/** Watches PPO for the usual ways of collapse (entropy, reward variance, format, repetition) and tells each once. */
export class CollapseWatch {
  #first: Figures | undefined;
  readonly #seen = new Map<Symptom, number>();

  /** @returns warnings that have become due with this step */
  see(figures: Figures): string[] {
    this.#first ??= { ...figures };
    const due: string[] = [];
    for (const symptom of symptoms) {
      const count = symptom.isSeen(figures, this.#first) ? (this.#seen.get(symptom) ?? 0) + 1 : 0;
      const told = (this.#seen.get(symptom) ?? 0) >= PERSISTENCE;
      if (count === PERSISTENCE) due.push(symptom.warning);
      this.#seen.set(symptom, told ? PERSISTENCE + 1 : count);
    }
    return due;
  }
}
