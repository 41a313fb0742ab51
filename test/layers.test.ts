// The layers of lib and envs, as docs/architecture.md has them: no import leads up.
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../lib/package.ts";

const root = packageRoot();

/** The first column of the table, from the top down. */
function rooms(): string[] {
  const text = readFileSync(join(root, "docs", "architecture.md"), "utf8");
  const [, section] = text.split("## Layers\n");
  const [table] = section.split("\n## ");
  return [...table.matchAll(/^\| `([^`]+)` \|/gm)].map(([, room]) => room);
}

/** Every import, export and dynamic import of another file of the package, as paths from the root. */
function imports(): { from: string; to: string }[] {
  const sources = ["lib", "envs"].flatMap((folder) =>
    readdirSync(join(root, folder), { encoding: "utf8", recursive: true })
      .filter((file) => /\.m?ts$/.test(file))
      .map((file) => `${folder}/${file}`),
  );
  return sources.flatMap((from) => {
    const text = readFileSync(join(root, from), "utf8");
    const targets = [...text.matchAll(/\b(?:from|import\()\s*"(\.[^"]+)"/g)].map(([, target]) => target);
    return targets.map((target) => ({ from, to: posix.join(posix.dirname(from), target) }));
  });
}

function roomOf(file: string, layers: readonly string[]): number {
  const index = layers.findIndex((room) => file === room || file.startsWith(`${room}/`));
  expect(index, `${file} is in no room of the table`).toBeGreaterThanOrEqual(0);
  return index;
}

test("no import leads up", () => {
  const layers = rooms();
  const all = imports();
  expect(all.length).toBeGreaterThan(500);
  const upward = all.filter(({ from, to }) => roomOf(from, layers) > roomOf(to, layers));
  expect(upward.map(({ from, to }) => `${from} -> ${to}`)).toEqual([]);
});

test("every room is in use", () => {
  const layers = rooms();
  const used = new Set(imports().flatMap(({ from, to }) => [roomOf(from, layers), roomOf(to, layers)]));
  expect(layers.filter((_, index) => !used.has(index))).toEqual([]);
});
