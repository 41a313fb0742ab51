import type { Budget } from "./budget.ts";
import { raised } from "./error.ts";
import { asInteger } from "./operators.ts";
import type { Bound } from "./parameters.ts";
import { typeName, type Value } from "./values.ts";

/** What filters and tests need of the rendering in which they are applied. */
export interface Context {
  readonly budget: Budget;
  applyFilter(
    name: string,
    value: Value,
    positional: readonly Value[],
    named: ReadonlyMap<string, Value>,
  ): Value;
  applyTest(
    name: string,
    value: Value,
    positional: readonly Value[],
    named: ReadonlyMap<string, Value>,
  ): boolean;
  /** `value[key]` */
  item(value: Value, key: Value): Value;
}

export type Filter =
  | {
      /** Of the arguments behind the value, see `bindParameters`. */
      parameters: readonly string[];
      run: (value: Value, args: Bound, context: Context) => Value;
    }
  | {
      parameters: "any";
      run: (
        value: Value,
        positional: readonly Value[],
        named: ReadonlyMap<string, Value>,
        context: Context,
      ) => Value;
    };

/** A filter with named parameters: `"width? fill?"`. */
export function filter(
  parameters: string,
  run: (value: Value, args: Bound, context: Context) => Value,
): Filter {
  return { parameters: parameters === "" ? [] : parameters.split(" "), run };
}

/** An argument that must be an int. */
export function integer(value: Value | undefined, otherwise: number): number {
  if (value === undefined) return otherwise;
  const found = asInteger(value);
  if (found === undefined) throw raised(`'${typeName(value)}' object cannot be interpreted as an integer`);
  return found;
}
