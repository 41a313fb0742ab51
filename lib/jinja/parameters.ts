import { raised } from "./error.ts";
import type { Value } from "./values.ts";

/** Arguments by the places of the parameters; what was not given is undefined. */
export type Bound = (Value | undefined)[];

/**
 * Puts arguments to the parameters of a function that Python or Jinja2 has.
 *
 * @param parameters names in order; one with `?` behind it may be left out, and behind `/` none can be given by name before it
 * @throws JinjaError like Python's TypeError
 */
export function bindParameters(
  name: string,
  parameters: readonly string[],
  positional: readonly Value[],
  named: ReadonlyMap<string, Value>,
): Bound {
  const slash = parameters.indexOf("/");
  const names = parameters
    .filter((parameter) => parameter !== "/")
    .map((parameter) => parameter.replace("?", ""));
  if (positional.length > names.length) {
    throw raised(`${name}() takes at most ${names.length} arguments (${positional.length} given)`);
  }
  const bound: Bound = names.map((_, i) => positional[i]);
  for (const [key, value] of named) {
    const place = names.indexOf(key);
    if (place < Math.max(0, slash)) throw raised(`${name}() got an unexpected keyword argument '${key}'`);
    if (bound[place] !== undefined) throw raised(`${name}() got multiple values for argument '${key}'`);
    bound[place] = value;
  }
  for (const [i, parameter] of parameters.filter((parameter) => parameter !== "/").entries()) {
    if (bound[i] === undefined && !parameter.endsWith("?"))
      throw raised(`${name}() misses its argument '${names[i]}'`);
  }
  return bound;
}
