/** Settings by their paths, as trackers list hyperparameters; lists and null as JSON. */
export function flatSettings(settings: object, path = ""): Record<string, number | boolean | string> {
  const entries = Object.entries(settings).map(([key, value]): Record<string, number | boolean | string> => {
    const inner = path === "" ? key : `${path}.${key}`;
    if (value !== null && typeof value === "object" && !Array.isArray(value))
      return flatSettings(value, inner);
    const isPlain = ["number", "boolean", "string"].includes(typeof value);
    return { [inner]: isPlain ? (value as number | boolean | string) : JSON.stringify(value) };
  });
  return Object.assign({}, ...entries);
}
