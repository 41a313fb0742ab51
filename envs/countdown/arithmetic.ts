/** An exact fraction; `bottom` is positive, the two have no common divisor. */
export interface Fraction {
  top: number;
  bottom: number;
}

/** The operations of the game, as they are printed. */
export const OPERATORS = ["+", "-", "*", "/"] as const;

export type Operator = (typeof OPERATORS)[number];

function reduced(top: number, bottom: number): Fraction {
  let [larger, smaller] = [Math.abs(top), Math.abs(bottom)];
  while (smaller > 0) {
    [larger, smaller] = [smaller, larger % smaller];
  }
  const divisor = (larger || 1) * Math.sign(bottom);
  return { top: top / divisor, bottom: bottom / divisor };
}

/** The exact result, or null for a division by zero or a number beyond exact integers. */
export function apply(operator: Operator, left: Fraction, right: Fraction): Fraction | null {
  let [top, bottom] = [left.top * right.top, left.bottom * right.bottom];
  if (operator === "/") {
    [top, bottom] = [left.top * right.bottom, left.bottom * right.top];
  } else if (operator !== "*") {
    const sign = operator === "+" ? 1 : -1;
    top = left.top * right.bottom + sign * right.top * left.bottom;
  }
  const exact = Number.isSafeInteger(top) && Number.isSafeInteger(bottom) && bottom !== 0;
  return exact ? reduced(top, bottom) : null;
}

/** What an expression uses and what it is worth; the value is null when it is not a finite exact number. */
export interface Evaluated {
  numbers: number[];
  value: Fraction | null;
}

/** Deepest nesting of brackets that is read. */
const MAX_DEPTH = 50;

/** A recursive-descent parser of the four operations, brackets and whole numbers. */
class ExpressionParser {
  readonly numbers: number[] = [];
  private readonly tokens: string[];
  private at = 0;
  private depth = 0;

  constructor(tokens: string[]) {
    this.tokens = tokens;
  }

  get finished(): boolean {
    return this.at === this.tokens.length;
  }

  /** Operands joined by operators of one rank, from left to right; undefined where the text is no expression. */
  private chain(operators: string, operand: () => Fraction | null | undefined): Fraction | null | undefined {
    let value = operand();
    while (value !== undefined && !this.finished && operators.includes(this.tokens[this.at])) {
      const operator = this.tokens[this.at++] as Operator;
      const right = operand();
      if (right === undefined) {
        return undefined;
      }
      value = value === null || right === null ? null : apply(operator, value, right);
    }
    return value;
  }

  sum(): Fraction | null | undefined {
    return this.chain("+-", () => this.chain("*/", () => this.operand()));
  }

  private operand(): Fraction | null | undefined {
    const token = this.tokens[this.at++];
    if (token === undefined || token === ")" || this.depth > MAX_DEPTH) {
      return undefined;
    }
    if (token === "(") {
      this.depth++;
      const value = this.sum();
      this.depth--;
      return this.tokens[this.at++] === ")" ? value : undefined;
    }
    if (!/^\d+$/.test(token)) {
      return undefined;
    }
    this.numbers.push(Number(token));
    return { top: Number(token), bottom: 1 };
  }
}

/**
 * Evaluates an arithmetic expression exactly: whole numbers, `+ - * /` (also written `× · ÷ −`) and brackets. What
 * stands after an equals sign is ignored.
 *
 * @returns null when the text is no such expression
 */
export function evaluate(text: string): Evaluated | null {
  const plain = String(text).replace(/[×·]/g, "*").replace(/÷/g, "/").replace(/−/g, "-").split("=")[0];
  if (/[^\d\s+\-*/()]/.test(plain)) {
    return null;
  }
  const parser = new ExpressionParser(plain.match(/\d+|[+\-*/()]/g) ?? []);
  const value = parser.sum();
  return value === undefined || !parser.finished ? null : { numbers: parser.numbers, value };
}

/** Whether the numbers, each used once, can be combined to the target. */
export function isReachable(numbers: readonly Fraction[], target: number): boolean {
  if (numbers.length === 1) {
    return numbers[0].top === target && numbers[0].bottom === 1;
  }
  for (const [first, left] of numbers.entries()) {
    for (const [second, right] of numbers.entries()) {
      if (first === second) {
        continue;
      }
      const rest = numbers.filter((_, index) => index !== first && index !== second);
      for (const operator of OPERATORS) {
        const combined = apply(operator, left, right);
        if (combined !== null && isReachable([...rest, combined], target)) {
          return true;
        }
      }
    }
  }
  return false;
}
