// YAML that a user, or a stranger, has written. What the library does for each alias and each pair of keys takes time that
// grows with the square of the text, and an alias can make a value endless: here everything is bounded before it is read.

import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";

/** Characters of a text: a hundred times what all settings take with comments. */
const LENGTH_LIMIT = 4 * 2 ** 20;
const ALIAS_LIMIT = 1000;
/** Nodes once every alias stands written out. */
const NODE_LIMIT = 1_000_000;
const DEPTH_LIMIT = 100;

/** Why a text is no YAML that can be taken. */
export class YamlProblem extends Error {
  /** From 1 on; undefined where the problem is that of the whole text. */
  readonly place: { line: number; column: number } | undefined;

  constructor(reason: string, place?: { line: number; column: number }) {
    super(reason);
    this.place = place;
  }
}

/** A YAML text that was read. */
export interface ReadYaml {
  /** Mappings, lists, texts, numbers, booleans and null, without cycles. */
  content: unknown;
  document: Document;
  lines: LineCounter;
}

/** @throws YamlProblem */
export function readYaml(text: string): ReadYaml {
  if (text.length > LENGTH_LIMIT) {
    throw new YamlProblem(`it has ${text.length} characters; at most ${LENGTH_LIMIT} are read`);
  }
  const lines = new LineCounter();
  const fail = (reason: string, offset: number | undefined): never => {
    const { line, col } = lines.linePos(offset ?? 0);
    throw new YamlProblem(reason, { line, column: col });
  };
  try {
    // The library compares each key with every other; Walk does it by a set.
    const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false, prettyErrors: false });
    const [error] = document.errors;
    if (error?.code === "RESOURCE_EXHAUSTION") fail("it is nested too deeply", error.pos[0]);
    if (error) fail(error.message.split("\n")[0], error.pos[0]);
    if (document.contents) new Walk(fail).measure(document.contents, 0);
    return { content: document.toJS({ maxAliasCount: -1 }), document, lines };
  } catch (error) {
    if (error instanceof RangeError) throw new YamlProblem("it is nested too deeply");
    throw error;
  }
}

/** What a node comes to with all aliases written out. */
interface Extent {
  nodes: number;
  depth: number;
}

/** Goes once through a document in its order, and fails at what must not be there. */
class Walk {
  readonly #fail: (reason: string, offset: number | undefined) => never;
  /** By anchor: the node that it names from there on, and its extent once that is known. */
  readonly #anchors = new Map<string, { extent: Extent | undefined }>();
  #aliases = 0;

  constructor(fail: (reason: string, offset: number | undefined) => never) {
    this.#fail = fail;
  }

  measure(node: Node, depth: number): Extent {
    const offset = node.range?.[0];
    if (depth > DEPTH_LIMIT) this.#fail(`it is nested more than ${DEPTH_LIMIT} deep`, offset);
    if (isAlias(node)) return this.#extentOfAlias(node.source, offset, depth);
    const named: { extent: Extent | undefined } = { extent: undefined };
    const { anchor } = node as { anchor?: string };
    if (anchor !== undefined) this.#anchors.set(anchor, named);
    const extent = { nodes: 1, depth: 0 };
    for (const child of this.#children(node)) {
      const inner = this.measure(child, depth + 1);
      extent.nodes += inner.nodes;
      extent.depth = Math.max(extent.depth, inner.depth + 1);
    }
    named.extent = extent;
    return this.#bounded(extent, offset, depth);
  }

  #children(node: Node): Node[] {
    if (isSeq(node)) return node.items as Node[];
    if (!isMap(node)) return [];
    const keys = new Set<string>();
    return node.items.flatMap(({ key, value }) => {
      const offset = (key as Node | null)?.range?.[0];
      if (!isScalar(key)) return this.#fail("a key must be a text", offset);
      const name = String(key.value);
      if (keys.has(name))
        this.#fail(`keys must be unique, and ${JSON.stringify(name)} is there before`, offset);
      keys.add(name);
      return value === null ? [] : [value as Node];
    });
  }

  #extentOfAlias(source: string, offset: number | undefined, depth: number): Extent {
    const target = this.#anchors.get(source);
    if (!target) return this.#fail(`the alias *${source} has no anchor before it`, offset);
    if (!target.extent) return this.#fail(`the alias *${source} stands within what it names`, offset);
    if (++this.#aliases > ALIAS_LIMIT) this.#fail(`there are more than ${ALIAS_LIMIT} aliases`, offset);
    return this.#bounded(target.extent, offset, depth);
  }

  #bounded(extent: Extent, offset: number | undefined, depth: number): Extent {
    if (extent.nodes > NODE_LIMIT) this.#fail(`it holds more than ${NODE_LIMIT} values`, offset);
    if (depth + extent.depth > DEPTH_LIMIT) this.#fail(`it is nested more than ${DEPTH_LIMIT} deep`, offset);
    return extent;
  }
}
