type Numbers = Int32Array | Float32Array | Uint8Array;

/** Arrays laid end to end, in a new one. */
export function joined<T extends Numbers>(kind: new (length: number) => T, parts: readonly T[]): T {
  const whole = new kind(parts.reduce((sum, part) => sum + part.length, 0));
  let begin = 0;
  for (const part of parts) {
    whole.set(part, begin);
    begin += part.length;
  }
  return whole;
}
