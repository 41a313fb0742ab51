import { canonicalState } from "../text/turn-text.ts";

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

/** Pairs of words that the comparison of two states may look at; lines beyond that are compared place by place. */
const MAX_PAIRS = 1_000_000;

/** What is left of {@link MAX_PAIRS}. */
interface Budget {
  pairs: number;
}

/** Coordinates, words, numbers, single punctuation marks and runs of blanks. */
const wordPattern = /\(\d+,\d+\)|[\p{L}\p{N}_]+|\s+|./gu;

/**
 * Sets what an agent wrote beside the true state. White space around the states does not count, as in the judgement of
 * predictions. Lines of equal length (rows of a grid) are compared cell by cell, others word by word.
 */
export function compareStates(written: string, truth: string): StateDifference {
  const states = [written, truth].map(canonicalState);
  const [left, right] = states.map((text) => text.split("\n"));
  const count = Math.max(left.length, right.length);
  const budget: Budget = { pairs: MAX_PAIRS };
  const lines = Array.from({ length: count }, (_, index) =>
    compareLines(left[index] ?? "", right[index] ?? "", budget),
  );
  return {
    equal: states[0] === states[1],
    written: lines.map(([line]) => line),
    truth: lines.map(([, line]) => line),
  };
}

function compareLines(left: string, right: string, budget: Budget): [Fragment[], Fragment[]] {
  const cells = [Array.from(left), Array.from(right)];
  if (cells[0].length === cells[1].length && !/[(;]/.test(left + right)) {
    const same = cells[0].map((cell, index) => cell === cells[1][index]);
    return [merge(cells[0], same), merge(cells[1], same)];
  }
  const words = [left, right].map((line) => line.match(wordPattern) ?? []);
  const [keptLeft, keptRight] = sharedWords(words[0], words[1], budget);
  return [merge(words[0], keptLeft), merge(words[1], keptRight)];
}

/**
 * For each word of both lists, whether the other has it too: what they begin and end with alike, and between that a longest
 * common subsequence or, past the budget, what stands at the same place.
 */
function sharedWords(
  left: readonly string[],
  right: readonly string[],
  budget: Budget,
): [boolean[], boolean[]] {
  const shorter = Math.min(left.length, right.length);
  let begin = 0;
  while (begin < shorter && left[begin] === right[begin]) begin++;
  let end = 0;
  while (end < shorter - begin && left[left.length - 1 - end] === right[right.length - 1 - end]) end++;
  const [middleLeft, middleRight] = [left, right].map((words) => words.slice(begin, words.length - end));
  const pairs = middleLeft.length * middleRight.length;
  const affordable = pairs <= budget.pairs;
  if (affordable) budget.pairs -= pairs;
  const middles = affordable
    ? longestCommonSubsequence(middleLeft, middleRight)
    : [samePlaces(middleLeft, middleRight), samePlaces(middleRight, middleLeft)];
  const around = (middle: boolean[]): boolean[] => [
    ...new Array<boolean>(begin).fill(true),
    ...middle,
    ...new Array<boolean>(end).fill(true),
  ];
  return [around(middles[0]), around(middles[1])];
}

function samePlaces(words: readonly string[], others: readonly string[]): boolean[] {
  return words.map((word, index) => word === others[index]);
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
