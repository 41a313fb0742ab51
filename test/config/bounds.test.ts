// What a stranger writes into a configuration costs no more than it is long, and ends in one error.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadConfig } from "../../lib/config/load.ts";
import type { SpaError } from "../../lib/errors.ts";
import { nearestName } from "../../lib/nearest-name.ts";
import { errorOf } from "../thrown-error.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-bounds-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function errorIn(text: string): SpaError {
  const path = join(folder, "given.yaml");
  writeFileSync(path, text);
  const error = errorOf(() => loadConfig(path)) as SpaError;
  expect(error.code).toBe("BAD_CONFIG");
  return error;
}

const lines = (count: number, line: (index: number) => string) =>
  Array.from({ length: count }, (_, i) => line(i)).join("\n");

test("of 50,000 unknown keys the first are told, with the number of the rest", () => {
  const { message } = errorIn(lines(50_000, (i) => `lerningRate${i}: 1`));
  expect(message).toMatch(
    /^50000 settings are wrong:\n {2}- .*given.yaml:1:1: there is no setting lerningRate0/,
  );
  expect(message.split("\n")).toHaveLength(22);
  expect(message).toContain("… and 49980 more");
});

test("keys and values of any length are quoted in part", () => {
  expect(errorIn(`${"steps".repeat(50_000)}: 1`).message.length).toBeLessThan(1000);
  expect(errorIn(`seed: "${"x".repeat(500_000)}"`).message.length).toBeLessThan(1000);
  const override = `seed=${"x".repeat(500_000)}`;
  expect((errorOf(() => loadConfig("nano-sokoban", [override])) as SpaError).message.length).toBeLessThan(
    1000,
  );
  expect(nearestName("x".repeat(1_000_000), ["steps"])).toBeUndefined();
});

const bomb = lines(
  7,
  (i) =>
    `${"abcdefg"[i]}: &${"abcdefg"[i]} [${Array(10)
      .fill(i === 0 ? "1" : `*${"abcdefg"[i - 1]}`)
      .join(", ")}]`,
);
const cases: [what: string, text: string, reason: RegExp][] = [
  ["a list in itself", "arms: &a [*a]", /given\.yaml:1:11: the alias \*a stands within what it names/],
  [
    "a mapping in itself",
    "ppo: &p { optimizer: { betas: *p } }",
    /the alias \*p stands within what it names/,
  ],
  ["aliases that multiply", bomb, /given\.yaml:\d+:\d+: it holds more than 1000000 values/],
  ["an alias of nothing", "seed: *s", /given\.yaml:1:7: the alias \*s has no anchor before it/],
  ["very many aliases", `a: &a 1\n${lines(2_000, (i) => `k${i}: *a`)}`, /there are more than 1000 aliases/],
  ["nested lists", `seed: ${"[".repeat(50_000)}${"]".repeat(50_000)}`, /nested/],
  ["nested mappings", lines(150, (i) => `${" ".repeat(i)}a:`), /nested more than 100 deep/],
  [
    "aliases that nest",
    lines(150, (i) => `a${i}: &a${i} [${i === 0 ? 1 : `*a${i - 1}`}]`),
    /nested more than 100 deep/,
  ],
  [
    "a key twice",
    "seed: 1\narms: [spa]\nseed: 2",
    /given\.yaml:3:1: keys must be unique, and "seed" is there before/,
  ],
  ["a key that is a list", "? [a]\n: 1", /given\.yaml:1:3: a key must be a text/],
  ["a very long file", "#".repeat(5 * 2 ** 20), /given\.yaml: it has 5242880 characters/],
  ["very many mistakes", "- a: }\n".repeat(5_000), /given\.yaml:1:\d+: /],
];
test.each(cases)("%s", (_what, text, reason) => {
  expect(errorIn(text).message).toMatch(reason);
});

test("the same in a setting", () => {
  for (const value of ["&a [*a]", "&a { b: *a }", "[".repeat(50_000), "*a", "{ a: 1, a: 2 }"]) {
    const error = errorOf(() => loadConfig("nano-sokoban", [`environment.options=${value}`])) as SpaError;
    expect(error).toMatchObject({
      code: "BAD_CONFIG",
      message: expect.stringContaining("the value is no YAML"),
    });
  }
});

test("anchors and aliases that end are as good as what they stand for", () => {
  const path = join(folder, "aliases.yaml");
  const optimizer = "{ learningRate: 0.002, betas: &b [0.8, 0.9] }";
  writeFileSync(
    path,
    `sft: { optimizer: &o ${optimizer} }\nppo: { optimizer: *o, criticOptimizer: { betas: *b } }\n`,
  );
  const { sft, ppo } = loadConfig(path);
  expect(sft.optimizer).toMatchObject({ learningRate: 0.002, betas: [0.8, 0.9] });
  expect(ppo.optimizer).toMatchObject({ learningRate: 0.002, betas: [0.8, 0.9] });
  expect(ppo.criticOptimizer.betas).toEqual([0.8, 0.9]);
});
