import { strip } from "../../text/tags.ts";

/** A stretch of a line that both states have (`same`), or that stands in one of them alone. */
export interface Fragment {
  text: string;
  same: boolean;
}

/** Two states line by line; line i of one stands beside line i of the other. */
export interface StateDifference {
  equal: boolean;
  written: Fragment[][];
  truth: Fragment[][];
}

/** Coordinates, words, numbers, single punctuation marks and runs of blanks. */
const wordPattern = /\(\d+,\d+\)|[\p{L}\p{N}_]+|\s+|./gu;

/**
 * Sets what an agent wrote beside the true state. White space around the states does not count, as in the judgement of
 * predictions. Lines of equal length (rows of a grid) are compared cell by cell, others word by word.
 */
export function compareStates(written: string, truth: string): StateDifference {
  const [left, right] = [written, truth].map((text) => strip(text).split("\n"));
  const count = Math.max(left.length, right.length);
  const lines = Array.from({ length: count }, (_, index) =>
    compareLines(left[index] ?? "", right[index] ?? ""),
  );
  return {
    equal: strip(written) === strip(truth),
    written: lines.map(([line]) => line),
    truth: lines.map(([, line]) => line),
  };
}

function compareLines(left: string, right: string): [Fragment[], Fragment[]] {
  const cells = [Array.from(left), Array.from(right)];
  if (cells[0].length === cells[1].length && !/[(;]/.test(left + right)) {
    const same = cells[0].map((cell, index) => cell === cells[1][index]);
    return [merge(cells[0], same), merge(cells[1], same)];
  }
  const words = [left, right].map((line) => line.match(wordPattern) ?? []);
  const [keptLeft, keptRight] = longestCommonSubsequence(words[0], words[1]);
  return [merge(words[0], keptLeft), merge(words[1], keptRight)];
}

/** For each item of both lists, whether it belongs to a longest common subsequence. */
function longestCommonSubsequence(left: readonly string[], right: readonly string[]): [boolean[], boolean[]] {
  const width = right.length + 1;
  const lengths = new Uint16Array((left.length + 1) * width);
  for (let i = left.length - 1; i >= 0; i--) {
    for (let j = right.length - 1; j >= 0; j--) {
      lengths[i * width + j] =
        left[i] === right[j]
          ? lengths[(i + 1) * width + j + 1] + 1
          : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  const kept: [boolean[], boolean[]] = [left.map(() => false), right.map(() => false)];
  for (let i = 0, j = 0; i < left.length && j < right.length; ) {
    if (left[i] === right[j]) {
      kept[0][i++] = true;
      kept[1][j++] = true;
    } else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) i++;
    else j++;
  }
  return kept;
}

/** Neighbours of one kind become one fragment. */
function merge(items: readonly string[], same: readonly boolean[]): Fragment[] {
  const fragments: Fragment[] = [];
  for (const [index, text] of items.entries()) {
    const last = fragments.at(-1);
    if (last && last.same === same[index]) last.text += text;
    else fragments.push({ text, same: same[index] });
  }
  return fragments;
}
