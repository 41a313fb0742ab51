// Settings that a user means by a key that is none: by its name alone, abbreviated, or as other programs call it.

import { nearestName, normalized } from "../nearest-name.ts";
import { settings } from "./allowed-values.ts";

/** The words of a key in camel case, snake case or kebab case, in small letters. */
function wordsOf(key: string): string[] {
  return key
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .split(/[-_\s]+/)
    .filter((word) => word !== "");
}

/** Whether `short` is how people abbreviate `long`: by its words' beginnings (`kl_coef`), or by their first letters (`lr`). */
function abbreviates(short: string, long: string): boolean {
  const [given, whole] = [wordsOf(short), wordsOf(long)];
  if (given.length === 1 && whole.length > 1 && given[0] === whole.map(([first]) => first).join(""))
    return true;
  return given.length === whole.length && given.every((word, index) => whole[index].startsWith(word));
}

/** Whether the words of `part` stand in `whole`, abbreviated or not: `clip` in `clipLow`, `epochs` in `ppo_epochs`. */
function isWithin(part: string, whole: string): boolean {
  const others = wordsOf(whole);
  return wordsOf(part).every((word) => others.some((other) => other.startsWith(word)));
}

/** The last part of a path. */
function nameOf(path: string): string {
  return path.slice(path.lastIndexOf(".") + 1);
}

/** Every setting and every mapping of settings, by its path. */
function allPaths(): string[] {
  const paths = settings().flatMap(([path]) => {
    const keys = path.split(".");
    return keys.map((_, index) => keys.slice(0, index + 1).join("."));
  });
  return [...new Set(paths)];
}

/** Ways in which a name may be meant by a key, the likeliest first. */
const likenesses: readonly ((key: string, name: string) => boolean)[] = [
  (key, name) => normalized(name) === normalized(key),
  (key, name) => abbreviates(key, name),
  (key, name) => isWithin(key, name) || isWithin(name, key),
  (key, name) => nearestName(key, [name]) !== undefined,
];

/** Settings that `key`, written under `parent` (empty: at the top), may mean: those under `parent`, else any. */
export function nearestSettings(key: string, parent: string): string[] {
  // A letter may stand for anything, and no setting has so long a name.
  if (normalized(key).length < 2 || key.length > 100) return [];
  const all = allPaths();
  const near = all.filter((path) => path.startsWith(`${parent}.`));
  for (const paths of [near, all]) {
    for (const isLike of likenesses) {
      const found = paths.filter((path) => isLike(key, nameOf(path)));
      if (found.length > 0) return found;
    }
  }
  return [];
}
