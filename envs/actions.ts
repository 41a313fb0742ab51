/**
 * A look-up from a spelling to the index of an action: the exact spelling counts first, else case makes no difference.
 * Between actions that differ in case alone, a spelling that is neither names none.
 *
 * @returns a function that gives the index into `actions`, or -1 for text that names none
 */
export function actionSpellings(actions: readonly string[]): (text: string) => number {
  const exact = new Map<string, number>();
  const folded = new Map<string, number>();
  for (const [index, action] of actions.entries()) {
    const lower = action.toLowerCase();
    exact.set(action, index);
    folded.set(lower, folded.has(lower) ? -1 : index);
  }
  return (text) => exact.get(text) ?? folded.get(text.toLowerCase()) ?? -1;
}

/** The same look-up for what an agent wrote, whatever it is: surrounding white space makes no difference either. */
export function actionLookup(actions: readonly string[]): (text: string) => number {
  const indexOf = actionSpellings(actions);
  return (text) => {
    const index = indexOf(String(text));
    return index >= 0 ? index : indexOf(String(text).trim());
  };
}
