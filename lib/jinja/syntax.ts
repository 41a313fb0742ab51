// What the parser makes of a template.

export type Operator = "+" | "-" | "*" | "/" | "//" | "%" | "**";
export type Comparison = "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in";

/** Arguments of a call, a filter or a test. */
export interface Arguments {
  positional: Expression[];
  named: { name: string; value: Expression }[];
  /** `*rest` and `**more` */
  rest?: Expression;
  more?: Expression;
}

export type Expression =
  | { type: "constant"; value: string | bigint | number | boolean | null }
  | { type: "name"; name: string }
  | { type: "list" | "tuple"; items: Expression[] }
  | { type: "dict"; entries: [Expression, Expression][] }
  | { type: "binary"; operator: Operator; left: Expression; right: Expression }
  | { type: "unary"; operator: "-" | "+" | "not"; operand: Expression }
  | { type: "and" | "or"; left: Expression; right: Expression }
  | { type: "compare"; first: Expression; others: { operator: Comparison; operand: Expression }[] }
  | { type: "concat"; items: Expression[] }
  | { type: "condition"; test: Expression; then: Expression; otherwise: Expression | undefined }
  | { type: "attribute"; object: Expression; name: string }
  | { type: "item"; object: Expression; key: Expression }
  | { type: "slice"; begin?: Expression; end?: Expression; step?: Expression }
  | { type: "call"; callee: Expression; args: Arguments }
  /** Without an operand it is applied to the text of a block. */
  | { type: "filter"; operand: Expression | undefined; name: string; args: Arguments }
  | { type: "test"; operand: Expression; name: string; args: Arguments };

/** What a value is assigned to. */
export type Target =
  | { type: "name"; name: string }
  | { type: "tuple"; items: Target[] }
  | { type: "namespace"; name: string; attribute: string };

export interface Signature {
  parameters: { name: string; fallback: Expression | undefined }[];
}

/** Where a statement's tag stands. */
interface Place {
  line: number;
  /** Its text, braces included. */
  tag: string;
}

export type Statement = Place &
  (
    | { type: "text"; text: string }
    | { type: "print"; value: Expression }
    | { type: "if"; branches: { test: Expression; body: Statement[] }[]; otherwise: Statement[] }
    | {
        type: "for";
        target: Target;
        items: Expression;
        test: Expression | undefined;
        isRecursive: boolean;
        body: Statement[];
        otherwise: Statement[];
      }
    | { type: "set"; target: Target; value: Expression }
    | { type: "setBlock"; target: Target; filter: Expression | undefined; body: Statement[] }
    | { type: "with"; assignments: { target: Target; value: Expression }[]; body: Statement[] }
    | { type: "macro"; name: string; signature: Signature; body: Statement[] }
    | {
        type: "callBlock";
        call: Extract<Expression, { type: "call" }>;
        signature: Signature;
        body: Statement[];
      }
    | { type: "filterBlock"; filter: Expression; body: Statement[] }
    /** transformers' mark around what the assistant writes. */
    | { type: "generation"; body: Statement[] }
    | { type: "break" | "continue" }
  );
