/** Texts that are remembered before a memory is emptied. */
const CAPACITY = 20_000;

/**
 * What texts come to, for texts that come over and over: a group plays one level, replies write the same tags and states, and the
 * rows of a data file begin with the same conversation.
 */
export class TextMemory<T> {
  readonly #known = new Map<string, T>();

  /** What was made of a text; made now if it is new. Whoever changes it changes it for all. */
  of(text: string, make: () => T): T {
    let value = this.#known.get(text);
    if (value === undefined) {
      if (this.#known.size >= CAPACITY) this.#known.clear();
      value = make();
      this.#known.set(text, value);
    }
    return value;
  }
}
