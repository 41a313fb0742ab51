// The configuration's schema as a tree of nodes that can be walked and put into words: for error messages and
// docs/configuration.md.

import { z } from "zod";
import { configSchema } from "./schema.ts";

/** The part of JSON Schema that zod makes of our schemas. */
export interface SchemaNode {
  type?: string | string[];
  description?: string;
  default?: unknown;
  const?: unknown;
  enum?: unknown[];
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
  exclusiveMaximum?: number;
  minItems?: number;
  items?: SchemaNode | false;
  prefixItems?: SchemaNode[];
  properties?: Record<string, SchemaNode>;
  anyOf?: SchemaNode[];
  oneOf?: SchemaNode[];
}

/** The root of the configuration's schema: what a user may write. */
export const schemaRoot = z.toJSONSchema(configSchema, { io: "input" }) as SchemaNode;

/** The alternatives of a node; the node itself where it has none. */
export function alternatives(node: SchemaNode): SchemaNode[] {
  return node.anyOf ?? node.oneOf ?? [node];
}

/** Of alternative mappings the one whose fixed fields (`kind`) are those of `value`; all of them if none fits. */
function fittingAlternatives(node: SchemaNode, value: unknown): SchemaNode[] {
  const all = alternatives(node);
  const fitting = all.filter((alternative) => {
    const fixed = Object.entries(alternative.properties ?? {}).filter(
      ([, property]) => property.const !== undefined,
    );
    return fixed.length > 0 && fixed.every(([key, property]) => property.const === child(value, key));
  });
  return fitting.length > 0 ? fitting : all;
}

function child(value: unknown, key: PropertyKey): unknown {
  return value !== null && typeof value === "object"
    ? (value as Record<PropertyKey, unknown>)[key]
    : undefined;
}

/** The node at a path of keys in a configuration `value`; undefined where the schema says nothing of it. */
export function schemaAt(path: readonly PropertyKey[], value: unknown): SchemaNode | undefined {
  let node: SchemaNode | undefined = schemaRoot;
  let here = value;
  for (const key of path) {
    if (!node) return undefined;
    const found: SchemaNode[] = fittingAlternatives(node, here).flatMap((alternative) => {
      if (typeof key === "number") return alternative.prefixItems?.[key] ?? (alternative.items || []);
      return alternative.properties?.[String(key)] ?? [];
    });
    node = found.length > 1 ? { anyOf: found } : found[0];
    here = child(here, key);
  }
  return node;
}

/** The keys that a mapping at `path` may have. */
export function keysAt(path: readonly PropertyKey[], value: unknown): string[] {
  const node = schemaAt(path, value);
  const here = path.reduce(child, value);
  return node
    ? fittingAlternatives(node, here).flatMap((alternative) => Object.keys(alternative.properties ?? {}))
    : [];
}

/** Every dotted path of a setting, with its node; mappings themselves are left out. */
export function settings(node: SchemaNode = schemaRoot, prefix = ""): [path: string, node: SchemaNode][] {
  const byPath = new Map<string, SchemaNode>();
  for (const alternative of alternatives(node)) {
    for (const [key, property] of Object.entries(alternative.properties ?? {})) {
      const path = `${prefix}${key}`;
      const inner = settings(property, `${path}.`);
      for (const [innerPath, innerNode] of inner.length > 0 ? inner : [[path, property] as const]) {
        const known = byPath.get(innerPath);
        byPath.set(innerPath, known ? { anyOf: [...alternatives(known), innerNode] } : innerNode);
      }
    }
  }
  return [...byPath];
}

function listed(words: string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

function range(node: SchemaNode): string {
  const { minimum, exclusiveMinimum, exclusiveMaximum } = node;
  const maximum = node.maximum === Number.MAX_SAFE_INTEGER ? undefined : node.maximum;
  const least = minimum === -Number.MAX_SAFE_INTEGER ? undefined : minimum;
  if (least !== undefined && maximum !== undefined) return ` from ${least} to ${maximum}`;
  const limits = [
    exclusiveMinimum === undefined ? "" : `greater than ${exclusiveMinimum}`,
    least === undefined ? "" : `${least} or more`,
    maximum === undefined ? "" : `at most ${maximum}`,
    exclusiveMaximum === undefined ? "" : `less than ${exclusiveMaximum}`,
  ].filter((limit) => limit !== "");
  return limits.length > 0 ? `, ${limits.join(", ")}` : "";
}

function allowedArray(node: SchemaNode): string {
  if (node.prefixItems)
    return `a list of ${node.prefixItems.length}: ${node.prefixItems.map(allowedValues).join("; ")}`;
  const items = node.items ? allowedValues(node.items) : "anything";
  return `a list of ${node.minItems ? "at least one of " : ""}${items}`;
}

const words: Record<string, string> = {
  boolean: "true or false",
  null: "null",
  object: "a mapping",
  string: "a text",
};

/** What a node allows, in words: `a whole number, greater than 0`. */
export function allowedValues(node: SchemaNode): string {
  const choices = node.anyOf ?? node.oneOf;
  if (choices) return listed([...new Set(choices.map(allowedValues))]);
  if (Array.isArray(node.type)) return listed(node.type.map((type) => allowedValues({ ...node, type })));
  if (node.const !== undefined) return JSON.stringify(node.const);
  if (node.enum) return listed(node.enum.map((value) => JSON.stringify(value)));
  if (node.type === "integer") return `a whole number${range(node)}`;
  if (node.type === "number") return `a number${range(node)}`;
  if (node.type === "array") return allowedArray(node);
  return words[node.type ?? ""] ?? "anything";
}
