/**
 * A look-up from what an agent wrote to the index of an action.
 *
 * Surrounding white space and case make no difference; the exact spelling is the fastest to find.
 *
 * @returns a function that gives the index into `actions`, or -1 for text that names none
 */
export function actionLookup(actions: readonly string[]): (text: string) => number {
  const indices = new Map<string, number>();
  for (const [index, action] of actions.entries()) {
    indices.set(action, index);
    indices.set(action.toLowerCase(), index);
  }
  return (text) => indices.get(text) ?? indices.get(String(text).trim().toLowerCase()) ?? -1;
}
