import { raised } from "./error.ts";
import type { Expression, Signature, Statement } from "./syntax.ts";
import { Callable, Dict, Tuple, Undefined, type Value } from "./values.ts";

/** What a macro's body reads beside its parameters. */
export interface MacroUse {
  caller: boolean;
  varargs: boolean;
  kwargs: boolean;
}

/** Whether a macro's body takes further arguments or a caller: it does where it names them. */
export function macroUse(signature: Signature, body: readonly Statement[]): MacroUse {
  const names = new Set<string>();
  collectNames(body, names);
  for (const { fallback } of signature.parameters) if (fallback !== undefined) collectNames(fallback, names);
  return { caller: names.has("caller"), varargs: names.has("varargs"), kwargs: names.has("kwargs") };
}

function collectNames(node: unknown, names: Set<string>): void {
  if (typeof node !== "object" || node === null) return;
  const { type, name } = node as Partial<Extract<Expression, { type: "name" }>>;
  if (type === "name" && typeof name === "string") names.add(name);
  for (const child of Object.values(node)) collectNames(child, names);
}

/**
 * A macro as a value. Arguments go to the parameters by place, then by name; `render` gets them by name, and
 * makes the defaults of those that are missing.
 */
export function makeMacro(
  name: string | null,
  { parameters }: Signature,
  use: MacroUse,
  render: (given: ReadonlyMap<string, Value>) => string,
): Callable {
  const called = name === null ? "None" : `'${name}'`;
  const call = (positional: Value[], named: ReadonlyMap<string, Value>): Value => {
    const given = new Map<string, Value>();
    const rest = new Map(named);
    for (const [i, parameter] of parameters.entries()) {
      const value = i < positional.length ? positional[i] : rest.get(parameter.name);
      if (i >= positional.length) rest.delete(parameter.name);
      if (value !== undefined) given.set(parameter.name, value);
    }
    const takesCaller = parameters.some((parameter) => parameter.name === "caller");
    if (use.caller && !takesCaller) {
      given.set("caller", rest.get("caller") ?? new Undefined("No caller defined"));
      rest.delete("caller");
    }
    if (use.kwargs) given.set("kwargs", new Dict(rest));
    else if (rest.size > 0) {
      const [unknown] = rest.keys();
      throw raised(
        unknown === "caller"
          ? `macro ${called} was invoked with two values for the special caller argument or takes none`
          : `macro ${called} takes no keyword argument '${unknown}'`,
      );
    }
    if (use.varargs) given.set("varargs", new Tuple(positional.slice(parameters.length)));
    else if (positional.length > parameters.length) {
      throw raised(`macro ${called} takes not more than ${parameters.length} argument(s)`);
    }
    return render(given);
  };
  const attributes: Readonly<Record<string, Value>> = {
    name,
    arguments: new Tuple(parameters.map((parameter) => parameter.name)),
    catch_kwargs: use.kwargs,
    catch_varargs: use.varargs,
    caller: use.caller,
  };
  const printed = () => (name === null ? "<Macro anonymous>" : `<Macro ${called}>`);
  return new Callable(
    name ?? "caller",
    call,
    (key) => (Object.hasOwn(attributes, key) ? attributes[key] : undefined),
    printed,
  );
}
