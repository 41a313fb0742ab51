// What `npm publish` would upload.
import { type ExecFileSyncOptionsWithStringEncoding, execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../lib/package.ts";

const root = packageRoot();
const options: ExecFileSyncOptionsWithStringEncoding = {
  cwd: root,
  encoding: "utf8",
  stdio: ["ignore", "pipe", "ignore"],
};
const [packed] = JSON.parse(
  execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], options),
) as [{ files: { path: string }[] }];
const files = packed.files.map(({ path }) => path);
const description = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

test("everything in it has a use, and what installs would misread is left out", () => {
  const wanted = [
    /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|CONTRIBUTING\.md|CMakeLists\.txt)$/,
    /^bin\/spa\.mjs$/,
    /^dist\/(lib|envs)\/.*\.(js|d\.ts)$/,
    /^setup\/[\w-]+\.(mjs|d\.mts)$/,
    /^native\/(addon\.cc|loader_stub\.c|(binding|engine|kernels|cmake)\/.*\.(cc|h|cu|cuh|cmake))$/,
    /^lib\/config\/presets\/.*\.yaml$/,
    /^lib\/stages\/sft\/parquet-process\.mjs$/,
    /^lib\/report\/assets\/(report\.(css|js)|charts\.js)$/,
    /^lib\/watch\/assets\/watch\.(css|js)$/,
    /^lib\/trackers\/python_tracker\.py$/,
    /^docs\/[\w-]+\.md$/,
    /^docs\/recipes\/[\w-]+\.mjs$/,
    /^docs\/figures\/[\w-]+\/[\w-]+\.svg$/,
    /^examples\/[\w-]+\.mjs$/,
    /^prebuilds\//,
  ];
  expect(files.filter((file) => !wanted.some((pattern) => pattern.test(file)))).toEqual([]);
  // With a binding.gyp npm runs node-gyp when it installs from a lock file.
  expect(files).not.toContain("binding.gyp");
  expect(files).not.toContain("setup/gyp.mjs");
});

test("what package.json, bin and sources name is in it", () => {
  const named = [
    ...Object.values<string>(description.bin),
    ...Object.values<string>(description.imports),
    ...Object.values(description.exports).flatMap((entry) =>
      typeof entry === "string" ? [entry] : Object.values(entry as object),
    ),
  ].map((path) => path.replace(/^\.\//, ""));
  const tracked = execFileSync("git", ["ls-files", "lib", "envs", "native", "docs"], options).split("\n");
  const compiled = tracked
    .filter((path) => path.endsWith(".ts"))
    .map((path) => `dist/${path.slice(0, -3)}.js`);
  const read = tracked.filter((path) => path.startsWith("lib/") && !path.endsWith(".ts"));
  const native = tracked.filter((path) => /^native\/(?!bench|test|third_party)/.test(path));
  const documentation = tracked.filter((path) => path.startsWith("docs/"));
  expect(compiled.length).toBeGreaterThan(100);
  expect(
    [...named, ...compiled, ...read, ...native, ...documentation].filter((path) => !files.includes(path)),
  ).toEqual([]);
});

test("no script speaks of a source map that is not there", () => {
  const scripts = files.filter((file) => file.endsWith(".js") && file.startsWith("dist/"));
  const speaking = scripts.filter((file) =>
    readFileSync(join(root, file), "utf8").includes("sourceMappingURL="),
  );
  expect(speaking).toEqual([]);
});

test("links between its pages lead somewhere", () => {
  const broken = files
    .filter((file) => file.endsWith(".md"))
    .flatMap((file) => {
      const links = readFileSync(join(root, file), "utf8").matchAll(
        /\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)/g,
      );
      return [...links].map(([, link]) => [file, join(dirname(file), link).replace(/\/$/, "")]);
    })
    .filter(([, target]) => !files.some((file) => file === target || file.startsWith(`${target}/`)));
  expect(broken).toEqual([]);
});

test("it can be found and is called by both its names", () => {
  expect(description.bin).toEqual({ spa: "bin/spa.mjs", "spa-ai": "bin/spa.mjs" });
  expect(description.homepage).toMatch(/^https:\/\//);
  expect(description.keywords.length).toBeGreaterThan(5);
});
