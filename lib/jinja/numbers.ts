import { JinjaError, raised, unsupported } from "./error.ts";

const largestInteger = 1n << 8192n;

/** An int that is not so large that computing with it takes long. */
export function bounded(value: bigint): bigint {
  if (value < largestInteger && value > -largestInteger) return value;
  throw new JinjaError("limit", "it makes an int of more than 8192 bits");
}

/** A float as Python writes it: the shortest digits, an exponent from 1e16 on and below 1e-4. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  const [mantissa, exponent] = value.toExponential().split("e").map(String);
  const power = Number(exponent);
  if (value !== 0 && (power < -4 || power >= 16)) {
    return `${mantissa}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  const digits = mantissa.replace(/[-.]/g, "");
  const sign = value < 0 ? "-" : "";
  if (power < 0) return `${sign}0.${"0".repeat(-power - 1)}${digits}`;
  const whole = digits.slice(0, power + 1).padEnd(power + 1, "0");
  return `${sign}${whole}.${digits.slice(power + 1) || "0"}`;
}

/** With so many digits behind the point; halves go to the even digit, as in C. */
export function fixed(value: number, digits: number): string {
  if (!Number.isFinite(value)) return floatText(value);
  if (digits > 60) throw unsupported("numbers with more than 60 digits");
  // toFixed is exact, but takes halves away from zero; a half has a 5 and nothing behind it.
  const text =
    Math.abs(value) < 1e21
      ? Math.abs(value).toFixed(digits)
      : `${BigInt(Math.abs(value))}.${"0".repeat(digits)}`.replace(/\.$/, "");
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const exact = Math.abs(value) < 1e21 ? Math.abs(value).toFixed(Math.min(100, digits + 40)) : text;
  const cut = digits === 0 ? exact.indexOf(".") : exact.indexOf(".") + 1 + digits;
  const tail = exact.slice(cut).replace(".", "");
  if (!/^50*$/.test(tail)) return sign + text;
  const down = exact.slice(0, cut);
  return sign + (Number(down.at(-1)) % 2 === 0 ? down : text);
}

/** `float(…)` of a text; undefined if it is no number. */
export function parseFloatText(text: string): number | undefined {
  const trimmed = text.trim();
  if (
    /^[+-]?(\d+(_\d+)*)?(\.(\d+(_\d+)*)?)?(e[+-]?\d+(_\d+)*)?$/i.test(trimmed) &&
    /^[+-]?\.?\d/.test(trimmed)
  ) {
    return Number(trimmed.replaceAll("_", ""));
  }
  const named = /^([+-]?)(inf|infinity|nan)$/i.exec(trimmed);
  if (named === null) return undefined;
  if (named[2].toLowerCase() === "nan") return Number.NaN;
  return named[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

/** `int(text, base)`; undefined if it is no number of that base. */
export function parseInteger(text: string, base: number): bigint | undefined {
  const match = /^([+-]?)(0[xob])?(_?[0-9a-z]+(?:_[0-9a-z]+)*)$/i.exec(text.trim());
  if (match === null) return undefined;
  const [, sign, prefix = "", digits] = match;
  const named = { "0x": 16, "0o": 8, "0b": 2 }[prefix.toLowerCase()];
  // In a base above 11, 0b begins with a digit.
  const isPrefix = named !== undefined && (base === 0 || base === named);
  const radix = isPrefix ? named : base === 0 ? 10 : base;
  const letters = (isPrefix ? digits : prefix + digits).replaceAll("_", "").toLowerCase();
  if (!isPrefix && digits.startsWith("_")) return undefined;
  if (base === 0 && !isPrefix && /^0+[1-9]/.test(letters)) return undefined;
  let value = 0n;
  for (const letter of letters) {
    const digit = Number.parseInt(letter, 36);
    if (digit >= radix) return undefined;
    value = value * BigInt(radix) + BigInt(digit);
  }
  return sign === "-" ? -value : value;
}

/** Floor division and its rest, of ints. */
export function divideIntegers(a: bigint, b: bigint): { quotient: bigint; rest: bigint } {
  if (b === 0n) throw raised("integer division or modulo by zero");
  const rest = ((a % b) + b) % b;
  return { quotient: (a - rest) / b, rest };
}

/** Floor division and its rest, of floats, as Python computes them. */
export function divideFloats(a: number, b: number): { quotient: number; rest: number } {
  if (b === 0) throw raised("float floor division by zero");
  let rest = a % b;
  let quotient = (a - rest) / b;
  if (rest !== 0) {
    if (b < 0 !== rest < 0) {
      rest += b;
      quotient -= 1;
    }
  } else rest = b < 0 ? -0 : 0;
  const floor = Math.floor(quotient);
  return { quotient: quotient - floor > 0.5 ? floor + 1 : floor, rest };
}

/** `a ** b`; the size of the result is bounded. */
export function power(a: bigint | number, b: bigint | number): bigint | number {
  if (typeof a === "bigint" && typeof b === "bigint" && b >= 0n) {
    // Ones and zero stay small, whatever the exponent.
    const isSmall = a * a <= 1n || BigInt(a.toString(2).length) * b <= 16_384n;
    return bounded(isSmall ? a ** b : largestInteger);
  }
  const [base, exponent] = [Number(a), Number(b)];
  if (base === 0 && exponent < 0) throw raised("0.0 cannot be raised to a negative power");
  if (base < 0 && !Number.isInteger(exponent)) throw unsupported("complex numbers");
  return base ** exponent;
}

/** `round(value, digits)`: halves of the exact value go to the even digit. */
export function roundNumber(value: bigint | number, digits: number): bigint | number {
  if (typeof value === "bigint") {
    if (digits >= 0) return value;
    const unit = 10n ** BigInt(Math.min(-digits, 400));
    const { quotient, rest } = divideIntegers(value, unit);
    const up = rest * 2n > unit || (rest * 2n === unit && quotient % 2n !== 0n);
    return (quotient + (up ? 1n : 0n)) * unit;
  }
  if (!Number.isFinite(value)) return value;
  if (digits >= 0) return digits > 22 ? value : Number(fixed(value, digits));
  const unit = 10 ** -digits;
  const scaled = value / unit;
  return Number(fixed(scaled, 0)) * unit;
}
