import { SpaError } from "../errors.ts";

const units: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
};

/** What {@link parseSize} takes. */
export const sizePattern = /^\s*(\d+(?:\.\d+)?)\s*([kmg]?i?b)\s*$/i;

/**
 * Bytes of a size: a number of bytes, or a text such as `24GB` (24e9) or `16 GiB`.
 *
 * @throws SpaError `BAD_ARGUMENT`
 */
export function parseSize(size: string | number): number {
  if (typeof size === "number" && Number.isSafeInteger(size) && size > 0) return size;
  const match = sizePattern.exec(String(size));
  const bytes = match ? Math.floor(Number(match[1]) * units[match[2].toUpperCase()]) : 0;
  if (bytes > 0) return bytes;
  throw new SpaError("BAD_ARGUMENT", `${JSON.stringify(size)} is no size of memory`, {
    hint: "write it with its unit: 24GB (10^9 bytes), 16GiB (2^30), 500MB",
  });
}

/** Bytes in the largest unit that fits: `1.98 GB`, `12.0 MB`, `0 KB`. */
export function formatSize(bytes: number): string {
  const [unit, divisor] = bytes >= 1e9 ? ["GB", 1e9] : bytes >= 1e6 ? ["MB", 1e6] : ["KB", 1e3];
  const value = bytes / divisor;
  return `${value >= 100 || value < 1 ? Math.round(value) : value.toPrecision(3)} ${unit}`;
}
