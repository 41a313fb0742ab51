/** Tokens that two prompts must have in common before one waits for, or is copied from, the other's cache: below it a pass is as quick. */
export const worthSharing = 32;

/** A slot of a session, as the sampler sees it. */
export interface Slot {
  readonly index: number;
  /** What it holds, and after that what it is about to be given; the first `length` count. */
  tokens: Int32Array;
  length: number;
  /** Tokens of them that the session holds already. */
  held: number;
  /** A request samples in it. */
  busy: boolean;
  /** Grows with every use. */
  used: number;
}

/** The longest beginning that a slot has in common with a prompt. */
export interface Match {
  slot: Slot;
  length: number;
}

/**
 * The slots of a session and the tokens in them. A slot keeps its tokens when its request is over, until another request needs
 * it: whoever goes on with that text, or begins as it did, finds its cache again.
 */
export class SlotTable {
  readonly #slots: Slot[];
  #clock = 0;

  constructor(slots: number, maxTokens: number) {
    this.#slots = Array.from({ length: slots }, (_, index) => ({
      index,
      tokens: new Int32Array(maxTokens),
      length: 0,
      held: 0,
      busy: false,
      used: 0,
    }));
  }

  /** The slot that begins as `prompt` does for longest; undefined where none does for long enough to be of use. */
  longestMatch(prompt: Int32Array): Match | undefined {
    let best: Match | undefined;
    for (const slot of this.#slots) {
      const length = commonLength(slot, prompt);
      if (length >= worthSharing && length > (best?.length ?? 0)) best = { slot, length };
    }
    return best;
  }

  /** An idle slot to fill anew: an empty one, else the one that has been idle longest, but for `kept`. */
  toFill(kept: Slot | undefined): Slot | undefined {
    let best: Slot | undefined;
    for (const slot of this.#slots) {
      if (slot.busy || slot === kept) continue;
      if (best === undefined || rank(slot) < rank(best)) best = slot;
    }
    return best;
  }

  /** Enters that a request begins in `slot`, with a prompt of which the first `held` tokens are there. */
  begin(slot: Slot, prompt: Int32Array, held: number): void {
    slot.tokens.set(prompt);
    slot.length = prompt.length;
    slot.held = held;
    slot.busy = true;
    slot.used = ++this.#clock;
  }

  /** Enters tokens that were sampled. */
  append(slot: Slot, tokens: Int32Array): void {
    slot.tokens.set(tokens, slot.length);
    slot.length += tokens.length;
    slot.held = slot.length;
  }

  /** The request is over; what the session does not hold is forgotten. */
  end(slot: Slot): void {
    slot.busy = false;
    slot.length = slot.held;
    slot.used = ++this.#clock;
  }

  /** All slots are empty. */
  clear(): void {
    for (const slot of this.#slots) Object.assign(slot, { length: 0, held: 0, busy: false, used: 0 });
  }
}

/** Empty slots first, then by last use. */
function rank(slot: Slot): number {
  return slot.length === 0 ? -1 : slot.used;
}

function commonLength({ tokens, length }: Slot, prompt: Int32Array): number {
  const most = Math.min(length, prompt.length);
  let common = 0;
  while (common < most && tokens[common] === prompt[common]) common++;
  return common;
}
