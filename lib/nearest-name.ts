/**
 * Edit distance with adjacent transpositions counted as one edit ("optimal string alignment").
 * Three rows of the table are kept, since a transposition looks two rows back.
 */
function editDistance(left: string, right: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let row = 1; row <= left.length; row++) {
    const current = [row];
    for (let column = 1; column <= right.length; column++) {
      const replaced = last[column - 1] + (left[row - 1] === right[column - 1] ? 0 : 1);
      let best = Math.min(replaced, last[column] + 1, current[column - 1] + 1);
      const swapped = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (row > 1 && column > 1 && swapped) {
        best = Math.min(best, beforeLast[column - 2] + 1);
      }
      current.push(best);
    }
    beforeLast = last;
    last = current;
  }
  return last[right.length];
}

/** "learning-rate", "learning_rate" and "LearningRate" are one word to whoever mistypes a key. */
export function normalized(word: string): string {
  return word.toLowerCase().replace(/[-_\s]/g, "");
}

/**
 * The candidate that `word` was most likely meant to be, for "did you mean …" hints.
 *
 * Case, hyphens and underscores are ignored. Among equally near candidates the first wins.
 *
 * @returns the candidate as it is spelled in `candidates`, or undefined when none is within a third of the word's
 *   length (at least two edits, and never all of a word's letters)
 */
export function nearestName(word: string, candidates: Iterable<string>): string | undefined {
  const wanted = normalized(word);
  const limit = Math.min(Math.max(2, Math.floor(wanted.length / 3)), wanted.length - 1);
  let nearest: string | undefined;
  let distance = limit + 1;
  for (const candidate of candidates) {
    const other = normalized(candidate);
    // Each letter that one of them has more is an edit.
    if (Math.abs(wanted.length - other.length) >= distance) continue;
    const edits = editDistance(wanted, other);
    if (edits < distance) {
      nearest = candidate;
      distance = edits;
    }
  }
  return nearest;
}

/** `; did you mean "…"?` to put behind a message; empty where no candidate is near. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const nearest = nearestName(word, candidates);
  return nearest === undefined ? "" : `; did you mean "${nearest}"?`;
}
