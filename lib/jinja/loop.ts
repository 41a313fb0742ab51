import { raised } from "./error.ts";
import { areEqual } from "./operators.ts";
import { Callable, Undefined, type Value } from "./values.ts";

/** Where a loop stands: the variable `loop` of its body. */
export class Loop {
  readonly #items: readonly Value[];
  readonly #depth: number;
  #index = 0;
  #watched: Value[] | undefined;

  constructor(items: readonly Value[], depth: number) {
    this.#items = items;
    this.#depth = depth;
  }

  moveTo(index: number): void {
    this.#index = index;
  }

  /** @param recurse renders the loop's body over other items; undefined if the loop is not recursive */
  variable(recurse: ((items: Value) => Value) | undefined): Callable {
    const call = ([items]: Value[]): Value => {
      if (recurse === undefined)
        throw raised("The loop must have the 'recursive' marker to be called recursively.");
      return recurse(items);
    };
    const printed = () => `<LoopContext ${this.#index + 1}/${this.#items.length}>`;
    return new Callable("loop", call, (name) => this.#attribute(name), printed);
  }

  #attribute(name: string): Value | undefined {
    const [index, length] = [this.#index, this.#items.length];
    switch (name) {
      case "index":
        return BigInt(index + 1);
      case "index0":
        return BigInt(index);
      case "revindex":
        return BigInt(length - index);
      case "revindex0":
        return BigInt(length - index - 1);
      case "first":
        return index === 0;
      case "last":
        return index === length - 1;
      case "length":
        return BigInt(length);
      case "depth":
        return BigInt(this.#depth + 1);
      case "depth0":
        return BigInt(this.#depth);
      case "previtem":
        return index > 0 ? this.#items[index - 1] : new Undefined("there is no previous item");
      case "nextitem":
        return index + 1 < length ? this.#items[index + 1] : new Undefined("there is no next item");
      case "cycle":
        return new Callable("cycle", (values) => {
          if (values.length === 0) throw raised("no items for cycling given");
          return values[this.#index % values.length];
        });
      case "changed":
        return new Callable("changed", (values) => {
          const isSame =
            this.#watched?.length === values.length &&
            values.every((one, i) => areEqual(one, (this.#watched as Value[])[i]));
          this.#watched = values;
          return !isSame;
        });
    }
    return undefined;
  }
}
